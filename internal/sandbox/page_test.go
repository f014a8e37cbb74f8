package sandbox

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func (b bubble) page(path string) string {
	b.t.Helper()
	w := httptest.NewRecorder()
	b.h.ServeHTTP(w, httptest.NewRequest("GET", "http://page.example.com"+path, nil))
	if w.Code != 200 {
		b.t.Fatalf("GET %s is answered %d (%s), want 200", path, w.Code, w.Body)
	}
	return w.Body.String()
}

func TestPageShowsEveryStatus(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBubble(t, Options{Map: mapOf("tcp://h:1", "tcp://h:2", "tcp://h:3", "tcp://late:4", "icmp://h")})
		if got := b.page("/"); !strings.Contains(got, "Waiting for the first report") {
			t.Error("before any report the page does not say that it waits for one")
		}
		b.fetch()
		b.report("tcp://late:4", Healthy)
		time.Sleep(155 * time.Second)
		b.report("tcp://h:1", Healthy)
		b.report("tcp://h:2", Sick)
		b.report("tcp://h:3", Dead)
		time.Sleep(5 * time.Second)
		page := b.page("/")
		for _, want := range []string{"Healthy", "Sick", "Dead", "No report yet", "1 of 5 replicas are down", "5 s ago", "every 120 s", "No ICMP replica has a report yet"} {
			if !strings.Contains(page, want) {
				t.Errorf("the page lacks %q", want)
			}
		}
		time.Sleep(time.Second)
		if got := b.page("/"); !strings.Contains(got, "last reported healthy") || !strings.Contains(got, "3 of 5 replicas are down") {
			t.Error("the page does not say that a replica is late, and what it was")
		}
	})
}

func TestPageHidesPasswordsAndToken(t *testing.T) {
	b := newBubble(t, Options{Map: mapOf("https://user:hush@h/"), Token: "open sesame"})
	b.fetch()
	b.request("POST", "/report/S/N", strings.Replace(reportOf("https://user:hush@h/", Dead, 120), ":", ": ", 1)) // held against the client
	for _, path := range []string{"/", "/state.json"} {
		got := b.page(path)
		for _, secret := range []string{"hush", "open sesame"} {
			if strings.Contains(got, secret) {
				t.Errorf("%s shows %q", path, secret)
			}
		}
		if !strings.Contains(got, "user:***@h") {
			t.Errorf("%s does not show the replica without its password", path)
		}
	}
}

func TestPageNeedsNoScriptAndNothingFromElsewhere(t *testing.T) {
	b := newBubble(t, Options{Map: mapOf("tcp://h:1")})
	page := b.page("/")
	if !strings.Contains(page, `<noscript><meta http-equiv="refresh"`) {
		t.Error("without a script the page does not refresh itself")
	}
	for _, part := range []string{"/page.css", "/page.js"} {
		if !strings.Contains(page, part) || b.page(part) == "" {
			t.Errorf("the page does not use %s", part)
		}
	}
	if strings.Contains(page, "https://") || strings.Contains(page, `="http://`) {
		t.Error("the page refers to another host")
	}
}

func TestPageEscapesWhatTheMapHolds(t *testing.T) {
	b := newBubble(t, Options{Map: mapOf(`http://h/<script>alert(1)</script>`)})
	if strings.Contains(b.page("/"), "<script>alert") {
		t.Error("the page runs what a replica's URL holds")
	}
}

func TestStateOfAnEmptyMap(t *testing.T) {
	b := newBubble(t, Options{})
	if got := b.page("/"); !strings.Contains(got, "The map is empty") {
		t.Error("the page of an empty map does not say so")
	}
	var state State
	if err := json.Unmarshal([]byte(b.page("/state.json")), &state); err != nil || state.Summary.Replicas != 0 {
		t.Errorf("state.json of an empty map is %+v, %v", state, err)
	}
}

func TestLargeMapIsShownByNode(t *testing.T) {
	replicas := make([]string, 1200)
	for i := range replicas {
		replicas[i] = fmt.Sprintf("tcp://h:%d", i+1)
	}
	b := newBubble(t, Options{Map: mapOf(replicas...)})
	b.fetch()
	for i, url := range replicas {
		health := Healthy
		if i == 777 {
			health = Dead
		}
		b.report(url, health)
	}
	page := b.page("/")
	if got := strings.Count(page, "<code>tcp://"); got != 1+sampleSize {
		t.Errorf("the page shows %d replicas, want the dead one and a sample of %d", got, sampleSize)
	}
	for _, want := range []string{"1,200 replicas", "1,199 of 1,200 healthy", "tcp://h:778</code>", "state.json"} {
		if !strings.Contains(page, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
}

func TestButtons(t *testing.T) {
	c := serve(t, Options{Map: mapOf("target:tcp#door", "target:tcp-blackhole")})
	press := func(path string, values url.Values) int {
		t.Helper()
		res, err := c.http.PostForm(strings.TrimSuffix(c.server.URL(), "/")+path, values)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		return res.StatusCode
	}
	target, ok := c.server.Target("target:tcp#door")
	if !ok {
		t.Fatal("the map has no target:tcp#door")
	}
	for _, tt := range []struct {
		path    string
		values  url.Values
		want    int
		running bool
		status  int // of a map request then
	}{
		{"/target", url.Values{"name": {"target:tcp#door"}, "do": {"stop"}}, 303, false, 200},
		{"/target", url.Values{"name": {"target:tcp#door"}, "do": {"start"}}, 303, true, 200},
		{"/target", url.Values{"name": {"target:tcp#door"}, "do": {"dance"}}, 400, true, 200},
		{"/target", url.Values{"name": {"target:tcp-blackhole"}, "do": {"stop"}}, 404, true, 200},
		{"/target", url.Values{"name": {"target:tcp"}, "do": {"stop"}}, 404, true, 200},
		{"/mood", url.Values{"mood": {"500"}}, 303, true, 500},
		{"/mood", url.Values{"mood": {"401"}}, 303, true, 401},
		{"/mood", url.Values{"mood": {"merry"}}, 400, true, 401},
		{"/mood", url.Values{"mood": {"normal"}}, 303, true, 200},
	} {
		t.Run(tt.path+tt.values.Encode(), func(t *testing.T) {
			if got := press(tt.path, tt.values); got != tt.want {
				t.Errorf("the button is answered %d, want %d", got, tt.want)
			}
			if running, _ := target.Running(); running != tt.running {
				t.Errorf("the target runs: %v, want %v", running, tt.running)
			}
			c.fetch(t, 0, tt.status)
		})
	}
}

func TestNoOtherSiteMayPressTheButtons(t *testing.T) {
	b := newBubble(t, Options{})
	r := httptest.NewRequest("POST", "http://page.example.com/mood", strings.NewReader("mood=500"))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("Sec-Fetch-Site", "cross-site")
	w := httptest.NewRecorder()
	b.h.ServeHTTP(w, r)
	if w.Code != http.StatusForbidden || b.s.currentMood().Name != "normal" {
		t.Errorf("another site's form is answered %d, want 403 and no change", w.Code)
	}
}

func TestSummaryIsReadable(t *testing.T) {
	b := newBubble(t, Options{Map: mapOf("tcp://h:1")})
	b.fetch()
	b.report("tcp://h:1", Healthy)
	b.request("PUT", "/probes/local", "")
	var text strings.Builder
	if err := b.s.Summary().Write(&text); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"1: 1 healthy", "1 accepted in 1 cycle, 0 refused", "late gaps       0", "PUT /v1/probes/local"} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("the summary lacks %q:\n%s", want, &text)
		}
	}
}
