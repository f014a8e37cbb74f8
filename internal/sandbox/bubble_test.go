package sandbox

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// bubble is a Server without sockets, for tests in faked time.
type bubble struct {
	t *testing.T
	s *Server
	h http.Handler
}

func newBubble(t *testing.T, o Options) bubble {
	t.Helper()
	s, err := newServer(o)
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

func (b bubble) report(replica string, health Health) {
	b.t.Helper()
	if got := b.request("POST", "/report/S/N", reportOf(replica, health, 120)); got != 200 {
		b.t.Fatalf("a report of %s is answered %d, want 200", replica, got)
	}
}

func mapOf(replicas ...string) Map {
	return Map{Services: []Service{{ID: "S", Nodes: []Node{{ID: "N", Replicas: replicas}}}}}
}

func TestRequestsPerSecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBubble(t, Options{Map: mapOf("tcp://h:1")})
		for range 5 {
			b.fetch()
		}
		time.Sleep(time.Second)
		b.fetch()
		if s := b.s.Summary(); s.PerSecond != 5 || s.MaxPerSecond != 5 {
			t.Errorf("the second before had %d requests, at most %d, want 5 and 5", s.PerSecond, s.MaxPerSecond)
		}
		time.Sleep(3 * time.Second)
		if s := b.s.Summary(); s.PerSecond != 0 || s.MaxPerSecond != 5 {
			t.Errorf("the second before had %d requests, at most %d, want 0 and 5", s.PerSecond, s.MaxPerSecond)
		}
	})
}

func TestAPIDelay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBubble(t, Options{Map: mapOf("tcp://h:1"), APIDelay: 50 * time.Millisecond})
		start := time.Now()
		b.fetch()
		b.report("tcp://h:1", Healthy)
		if got := time.Since(start); got != 100*time.Millisecond {
			t.Errorf("two requests took %v, want 50 ms each", got)
		}
	})
}
