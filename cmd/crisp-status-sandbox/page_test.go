package main

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

	"github.com/crisp-im/crisp-status-local/v2/internal/sandbox"
)

// bubble is a server with its page, called without a connection.
type bubble struct {
	t *testing.T
	s *sandbox.Server
	h http.Handler
}

func newBubble(t *testing.T, o sandbox.Options) bubble {
	t.Helper()
	o.Page = func(s *sandbox.Server) http.Handler { return newPage(s, daemon{}, nil) }
	s, err := sandbox.New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return bubble{t, s, s.Handler()}
}

func (b bubble) request(method, path, body string) int {
	b.t.Helper()
	return b.requestTo("", method, path, body)
}

// requestTo is a request to the endpoint of one of several daemons.
func (b bubble) requestTo(endpoint, method, path, body string) int {
	b.t.Helper()
	r := httptest.NewRequest(method, "http://api.example.com"+endpoint+"/v1"+path, strings.NewReader(body))
	r.SetBasicAuth("", b.s.Token())
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("User-Agent", "crisp-status-local/2.0.0")
	w := httptest.NewRecorder()
	b.h.ServeHTTP(w, r)
	return w.Code
}

func (b bubble) fetch() { b.t.Helper(); b.request("GET", "/probes/local", "") }

func (b bubble) report(replica string, health sandbox.Health) {
	b.t.Helper()
	if got := b.request("POST", "/report/S/N", reportOf(replica, health)); got != 200 {
		b.t.Fatalf("a report of %s is answered %d, want 200", replica, got)
	}
}

func reportOf(replica string, health sandbox.Health) string {
	return fmt.Sprintf(`{"replica_id":%q,"health":%q,"interval":120}`, replica, health)
}

func mapOf(replicas ...string) sandbox.Map {
	return sandbox.Map{Services: []sandbox.Service{{ID: "S", Nodes: []sandbox.Node{{ID: "N", Replicas: replicas}}}}}
}

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
		b := newBubble(t, sandbox.Options{Map: mapOf("tcp://h:1", "tcp://h:2", "tcp://h:3", "tcp://late:4", "icmp://h")})
		if got := b.page("/"); !strings.Contains(got, "Waiting for the first report") {
			t.Error("before any report the page does not say that it waits for one")
		}
		b.fetch()
		b.report("tcp://late:4", sandbox.Healthy)
		time.Sleep(155 * time.Second)
		b.report("tcp://h:1", sandbox.Healthy)
		b.report("tcp://h:2", sandbox.Sick)
		b.report("tcp://h:3", sandbox.Dead)
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

func TestPageDatesWhatTheDaemonReported(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBubble(t, sandbox.Options{Map: mapOf("tcp://h:1")})
		b.fetch()
		b.report("tcp://h:1", sandbox.Healthy)
		want := "As the daemon reported it, " + time.Now().Format("15:04:05")
		time.Sleep(6 * time.Minute)
		page := b.page("/")
		for _, want := range []string{want, `data-label="Worst gap">360 s`, "<dt>Worst gap</dt><dd>360 s"} {
			if !strings.Contains(page, want) {
				t.Errorf("six minutes after the last report the page lacks %q", want)
			}
		}
	})
}

func TestPageHidesPasswordsAndToken(t *testing.T) {
	b := newBubble(t, sandbox.Options{Map: mapOf("https://user:hush@h/"), Token: "open sesame"})
	b.fetch()
	b.request("POST", "/report/S/N", strings.Replace(reportOf("https://user:hush@h/", sandbox.Dead), ":", ": ", 1)) // held against the client
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
	b := newBubble(t, sandbox.Options{Map: mapOf("tcp://h:1")})
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
	b := newBubble(t, sandbox.Options{Map: mapOf(`http://h/<script>alert(1)</script>`)})
	if strings.Contains(b.page("/"), "<script>alert") {
		t.Error("the page runs what a replica's URL holds")
	}
}

func TestStateOfAnEmptyMap(t *testing.T) {
	b := newBubble(t, sandbox.Options{})
	if got := b.page("/"); !strings.Contains(got, "The map is empty") {
		t.Error("the page of an empty map does not say so")
	}
	var state pageState
	if err := json.Unmarshal([]byte(b.page("/state.json")), &state); err != nil || state.Summary.Replicas != 0 {
		t.Errorf("state.json of an empty map is %+v, %v", state, err)
	}
}

func TestLargeMapIsShownByNode(t *testing.T) {
	replicas := make([]string, 1200)
	for i := range replicas {
		replicas[i] = fmt.Sprintf("tcp://h:%d", i+1)
	}
	b := newBubble(t, sandbox.Options{Map: mapOf(replicas...)})
	b.fetch()
	for i, url := range replicas {
		health := sandbox.Healthy
		if i == 777 {
			health = sandbox.Dead
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
	b := newBubble(t, sandbox.Options{Map: mapOf("target:tcp#door", "target:tcp-blackhole")})
	press := func(path string, values url.Values) int {
		r := httptest.NewRequest("POST", "http://page.example.com"+path, strings.NewReader(values.Encode()))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		w := httptest.NewRecorder()
		b.h.ServeHTTP(w, r)
		return w.Code
	}
	target, ok := b.s.Target("target:tcp#door")
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
		{"/failure-mode", url.Values{"mode": {"500"}}, 303, true, 500},
		{"/failure-mode", url.Values{"mode": {"401"}}, 303, true, 401},
		{"/failure-mode", url.Values{"mode": {"merry"}}, 400, true, 401},
		{"/failure-mode", url.Values{"mode": {"404"}}, 303, true, 404},
		{"/failure-mode", url.Values{"mode": {"429"}}, 303, true, 429},
		{"/failure-mode", url.Values{"mode": {"503"}, "for": {"soon"}}, 400, true, 429},
		{"/failure-mode", url.Values{"mode": {"503"}, "for": {"-1s"}}, 400, true, 429},
		{"/failure-mode", url.Values{"mode": {"503"}, "for": {"1h"}}, 303, true, 503},
		{"/failure-mode", url.Values{"mode": {"normal"}}, 303, true, 200},
	} {
		t.Run(tt.path+tt.values.Encode(), func(t *testing.T) {
			if got := press(tt.path, tt.values); got != tt.want {
				t.Errorf("the button is answered %d, want %d", got, tt.want)
			}
			if running, _ := target.Running(); running != tt.running {
				t.Errorf("the target runs: %v, want %v", running, tt.running)
			}
			if got := b.request("GET", "/probes/local", ""); got != tt.status {
				t.Errorf("a map request is answered %d, want %d", got, tt.status)
			}
		})
	}
}

func TestFailureModeEndsByItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBubble(t, sandbox.Options{})
		r := httptest.NewRequest("POST", "http://page.example.com/failure-mode", strings.NewReader("mode=503&for=6s"))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		b.h.ServeHTTP(httptest.NewRecorder(), r)
		until := time.Now().Add(6 * time.Second)
		time.Sleep(6*time.Second - 1)
		if got := b.page("/"); !strings.Contains(got, "broken on purpose</strong> until "+until.Format("15:04:05")) {
			t.Error("the page does not say until when the API is broken")
		}
		if got := b.request("GET", "/probes/local", ""); got != 503 {
			t.Errorf("before the end of the failure mode the API answers %d, want 503", got)
		}
		time.Sleep(time.Nanosecond)
		if got := b.page("/state.json"); !strings.Contains(got, `"failure_mode": "normal"`) {
			t.Error("after the end of the failure mode the state still has it")
		}
		if got := b.request("GET", "/probes/local", ""); got != 200 {
			t.Errorf("after the end of the failure mode the API answers %d, want 200", got)
		}
	})
}

func TestEveryFailureModeHasAButton(t *testing.T) {
	b := newBubble(t, sandbox.Options{})
	page := b.page("/")
	for _, m := range failureModes {
		if !strings.Contains(page, `name="mode" value="`+m.Name+`"`) {
			t.Errorf("the page has no button for %q", m.Name)
		}
	}
}

func TestNoOtherSiteMayPressTheButtons(t *testing.T) {
	b := newBubble(t, sandbox.Options{})
	r := httptest.NewRequest("POST", "http://page.example.com/failure-mode", strings.NewReader("mode=500"))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("Sec-Fetch-Site", "cross-site")
	w := httptest.NewRecorder()
	b.h.ServeHTTP(w, r)
	if w.Code != http.StatusForbidden || !strings.Contains(b.page("/state.json"), `"failure_mode": "normal"`) {
		t.Errorf("another site's form is answered %d, want 403 and no change", w.Code)
	}
}

func TestSummaryIsReadable(t *testing.T) {
	b := newBubble(t, sandbox.Options{Map: mapOf("tcp://h:1")})
	b.fetch()
	b.report("tcp://h:1", sandbox.Healthy)
	b.request("PUT", "/probes/local", "")
	var text strings.Builder
	if err := writeSummary(&text, b.s.Summary()); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"1: 1 healthy", "1 accepted in 1 cycle, 0 refused", "late gaps       0", "PUT /v1/probes/local"} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("the summary lacks %q:\n%s", want, &text)
		}
	}
}
