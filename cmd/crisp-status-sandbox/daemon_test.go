package main

import (
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"

	"github.com/crisp-im/crisp-status-local/v2/internal/sandbox"
)

// saying returns a daemon whose endpoint answers with text.
func saying(t *testing.T, text string) daemon {
	t.Helper()
	socket := filepath.Join(t.TempDir(), "s")
	ln, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/replicas.json" || r.Host != "localhost" {
			http.Error(w, "no such page", http.StatusNotFound)
			return
		}
		io.WriteString(w, text)
	})}
	go server.Serve(ln)
	t.Cleanup(func() { server.Close() })
	return daemon{socket}
}

func TestPageHasTheWordsOfTheDaemon(t *testing.T) {
	const reason, api = "connection refused &lt;b&gt;", "The daemon says: the Status API is down since"
	words := `{"api":{"state":"down","since":"2026-05-01T12:00:00Z","error":"status 503","waiting":3},"replicas":[
		{"service":"S","node":"N","replica":"tcp://h:1","health":"dead","reason":"connection refused <b>","history":[
			{"at":"2026-05-01T12:00:02Z","health":"dead"},
			{"at":"2026-05-01T12:00:01Z","health":"healthy","latency_seconds":0.0042}]}]}`
	for _, tt := range []struct {
		name   string
		beside daemon
		shown  bool
	}{
		{"a daemon that answers", saying(t, words), true},
		{"a daemon that answers with half of it", saying(t, words[:len(words)-9]), false},
		{"a daemon whose replicas are others", saying(t, strings.Replace(words, "tcp://h:1", "tcp://h:2", 1)), false},
		{"a daemon that is gone", daemon{filepath.Join(t.TempDir(), "s")}, false},
		{"no daemon", daemon{}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := newBubble(t, sandbox.Options{Map: mapOf("tcp://h:1")})
			b.fetch()
			b.report("tcp://h:1", sandbox.Dead)
			w := httptest.NewRecorder()
			newPage(b.s, tt.beside, nil).ServeHTTP(w, httptest.NewRequest("GET", "/", nil))
			text := w.Body.String()
			if w.Code != http.StatusOK || !strings.Contains(text, "1 of 1 replica is down") || !strings.Contains(text, "the longest open gap now is") {
				t.Errorf("got the page %d %s, want the replica and the promise, whatever the daemon says", w.Code, text)
			}
			for _, part := range []string{reason, `aria-label="last verdicts, the newest first: dead, healthy"`, "healthy, 4.2 ms"} {
				if got := strings.Contains(text, part); got != tt.shown {
					t.Errorf("the page has %q: %v, want %v", part, got, tt.shown)
				}
			}
			if tt.shown && !strings.Contains(text, api) {
				t.Errorf("the page lacks %q", api)
			}
		})
	}
}

func TestAMeasuredDaemonHasNoEndpoint(t *testing.T) {
	command := []string{"daemon"}
	for _, tt := range []struct {
		name     string
		settings settings
		folder   string
		want     string
	}{
		{"a demonstration", settings{command: command}, "/tmp/x", "/tmp/x/endpoint.sock"},
		{"a measurement", settings{command: command, generated: &sandbox.Generated{}}, "/tmp/x", ""},
		{"a configuration to paste", settings{}, "/tmp/x", ""},
		{"a path too long for a socket", settings{command: command}, "/" + strings.Repeat("x", 100), ""},
	} {
		if got := daemonOf(tt.settings, tt.folder).socket; got != tt.want {
			t.Errorf("%s: got the socket %q, want %q", tt.name, got, tt.want)
		}
	}
}

func TestBannerLeadsToThePage(t *testing.T) {
	for listen, want := range map[string]string{
		"http://127.0.0.1:8113/": "http://127.0.0.1:8113/ | ssh -N -L 8113:127.0.0.1:8113 ",
		"http://[::]:8113/":      "http://127.0.0.1:8113/ | http://THIS-HOST:8113/ ",
		"http://0.0.0.0:8113/":   "http://127.0.0.1:8113/ | http://THIS-HOST:8113/ ",
		"http://10.1.2.3:8113/":  "http://10.1.2.3:8113/ | ",
	} {
		page, elsewhere := addresses(listen)
		if got := page + " | " + elsewhere; !strings.HasPrefix(got, want) {
			t.Errorf("%s: got %q, want %q", listen, got, want)
		}
	}
}
