package endpoint

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"

	"github.com/crisp-im/crisp-status-local/v2/internal/probe"
	"github.com/crisp-im/crisp-status-local/v2/internal/status"
)

// fake is a daemon whose state a test makes.
type fake struct {
	state State
	err   error
	ready error
	note  string
}

func (f *fake) Totals(context.Context) (State, error)   { return f.state, f.err }
func (f *fake) Replicas(context.Context) (State, error) { return f.state, f.err }
func (f *fake) Alive(context.Context) error             { return f.err }
func (f *fake) Ready(context.Context) (string, error)   { return f.note, f.ready }

// secrets are in the URLs of the fake's replicas and must never be shown.
var secrets = []string{"hunter2", "topsecret", "fragment"}

// newFake returns a daemon with one replica of each health, and one that the name
// of its service tries to break out of.
func newFake(t testing.TB) *fake {
	t.Helper()
	now := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	f := &fake{state: State{
		Head:     status.Snapshot{Version: "1.2.3", Go: "go1.26", Now: now, API: status.API{State: status.APIAnswers, MapAt: now}, Ignored: []status.Ignored{}},
		Reported: func(probe.ID) *status.Report { return &status.Report{Health: "healthy", At: now} },
		Probing:  status.NewProbing(),
		Maps:     status.NewRequests(),
		Reports:  status.NewRequests(),
	}}
	refused := &probe.Error{Kind: probe.KindRefused, Reason: "connection refused"}
	for i, r := range []probe.Result{
		{Health: probe.Healthy, Attempts: 1, Latency: 4 * time.Millisecond, Expiry: now.Add(time.Hour)},
		{Health: probe.Sick, Attempts: 1, Latency: 4 * time.Second},
		{Health: probe.Dead, Attempts: 1, Err: refused, Trace: []probe.Attempt{{Err: refused}}},
		{},
	} {
		target, err := probe.ParseTarget(fmt.Sprintf("https://user:hunter2@replica-%d.example/?key=topsecret#fragment", i))
		if err != nil {
			t.Fatal(err)
		}
		rec := status.Record{Check: &probe.Check{ServiceID: "s\"\n\\<script>", NodeID: "n", Target: target}}
		if r.Health != probe.Unknown {
			rec.History.Record(now, r)
			f.state.Probing.Verdict(probe.HTTPS, r.Health)
			f.state.Probing.Probed(probe.HTTPS, r)
		}
		f.state.Records = append(f.state.Records, rec)
	}
	f.state.Maps.Count("changed", time.Second)
	f.state.Head.Cluster = &status.Cluster{
		Engine: "etcd", Group: "office", Member: "host-a", Scope: status.ReportsEverything, Since: now, Why: "this daemon holds the lease", Holder: "host-a", Takeovers: 1,
		Members: []status.ClusterMember{{Name: "host-a", Version: "1.2.3", Healthy: 1, Sick: 1, Dead: 1, APIAnswers: true}, {Name: "host-b", Version: "1.2.2", Healthy: 3}},
	}
	return f
}

// get returns the answer to a request of the handler.
func get(t testing.TB, h http.Handler, method, uri, host string) *http.Response {
	t.Helper()
	r := httptest.NewRequest(method, uri, nil)
	r.Host = host
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Result()
}

func bodyOf(t testing.TB, resp *http.Response) string {
	t.Helper()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestEveryPathIsHardenedAndShowsNoSecret(t *testing.T) {
	h := New(newFake(t), Options{ReplicaMetrics: true})
	for _, path := range []string{"/", "/page.js", "/page.css", "/icon.svg", "/healthz", "/readyz", "/metrics", "/metrics/replicas", "/replicas.json", "/nowhere"} {
		resp := get(t, h, "GET", path, "127.0.0.1:8112")
		want := http.StatusOK
		if path == "/nowhere" {
			want = http.StatusNotFound
		}
		if resp.StatusCode != want {
			t.Errorf("%s: got status %d, want %d", path, resp.StatusCode, want)
		}
		csp := resp.Header.Get("Content-Security-Policy")
		if !strings.Contains(csp, "default-src 'none'") || strings.Contains(csp, "unsafe") || resp.Header.Get("X-Content-Type-Options") != "nosniff" || resp.Header.Get("Access-Control-Allow-Origin") != "" {
			t.Errorf("%s: got the header %v, want a strict policy, nosniff and no CORS", path, resp.Header)
		}
		body := bodyOf(t, resp)
		for _, secret := range secrets {
			if strings.Contains(body, secret) {
				t.Errorf("%s: shows %q of a replica's URL", path, secret)
			}
		}
		if path == "/" && (strings.Contains(body, "<style") || strings.Contains(body, "onclick") || strings.Contains(body, "<script>")) {
			t.Error("the page has inline script or style, which its policy forbids")
		}
	}
}

func TestOnlyGetAndHeadAreAnswered(t *testing.T) {
	h := New(newFake(t), Options{ReplicaMetrics: true})
	for _, method := range []string{"POST", "PUT", "DELETE", "OPTIONS", "TRACE", "CONNECT"} {
		if resp := get(t, h, method, "/replicas.json", "localhost"); resp.StatusCode != http.StatusMethodNotAllowed || resp.Header.Get("Allow") != "GET, HEAD" {
			t.Errorf("%s: got status %d, want 405", method, resp.StatusCode)
		}
	}
	if resp := get(t, h, "HEAD", "/replicas.json", "localhost"); resp.StatusCode != http.StatusOK || bodyOf(t, resp) != "" {
		t.Errorf("HEAD: got status %d, want 200 without a body", resp.StatusCode)
	}
}

func TestHostsThatAreNotKnownAreRefused(t *testing.T) {
	for host, want := range map[string]bool{
		"127.0.0.1": true, "127.0.0.1:8112": true, "[::1]:8112": true, "[::1]": true, "192.0.2.7:80": true, "localhost:8112": true, "LOCALHOST": true,
		"monitor": true, "Monitor.:8112": true, "status.example": true, "status.example:443": true,
		"evil.example": false, "evil.example:8112": false, "127.0.0.1.evil.example": false, "localhost.evil.example": false, "": false, ":8112": false, "[evil]": false,
	} {
		h := New(newFake(t), Options{Hosts: []string{"monitor", "status.example"}})
		resp := get(t, h, "GET", "/replicas.json", host)
		if got := resp.StatusCode == http.StatusOK; got != want {
			t.Errorf("host %q: got status %d, want it taken: %v", host, resp.StatusCode, want)
		}
		if !want && !strings.Contains(bodyOf(t, resp), "hosts in [server]") {
			t.Errorf("host %q: the answer does not say what to do", host)
		}
	}
	h := New(newFake(t), Options{AnyHost: true})
	if resp := get(t, h, "GET", "/healthz", "whatever"); resp.StatusCode != http.StatusOK {
		t.Errorf("got status %d over a unix socket, want any host taken", resp.StatusCode)
	}
}

func TestHealthAndReadinessSayWhyNot(t *testing.T) {
	f := newFake(t)
	h := New(f, Options{})
	f.err, f.ready = errors.New("the scheduler does not respond"), errors.New("there is no map yet")
	for path, want := range map[string]string{"/healthz": "the scheduler does not respond", "/readyz": "there is no map yet", "/replicas.json": "the scheduler does not respond"} {
		resp := get(t, h, "GET", path, "localhost")
		if body := bodyOf(t, resp); resp.StatusCode != http.StatusServiceUnavailable || !strings.Contains(body, want) {
			t.Errorf("%s: got %d %q, want 503 that says %q", path, resp.StatusCode, body, want)
		}
	}
	if resp := get(t, h, "GET", "/metrics", "localhost"); resp.StatusCode != http.StatusInternalServerError {
		t.Errorf("/metrics of a daemon that hangs: got status %d, want 500", resp.StatusCode)
	}
}

func TestStateAsJSON(t *testing.T) {
	h := StateHandler(newFake(t))
	for query, want := range map[string]int{
		"": 4, "?replica=replica-1": 1, "?replica=replica-1&replica=replica-2": 2, "?replica=nothing": 0,
		"?health=dead": 1, "?health=dead&health=unknown": 2, "?after=1": 3, "?after=4000000000": 0, "?after=x": 4,
	} {
		resp := get(t, h, "GET", "/replicas.json"+query, "localhost")
		var got status.Snapshot
		if err := json.Unmarshal([]byte(bodyOf(t, resp)), &got); err != nil {
			t.Fatalf("%q: %v", query, err)
		}
		if len(got.Replicas) != want || got.Version != "1.2.3" {
			t.Errorf("%q: got %d replicas of version %q, want %d", query, len(got.Replicas), got.Version, want)
		}
	}
	var got status.Snapshot
	json.Unmarshal([]byte(bodyOf(t, get(t, h, "GET", "/replicas.json?health=dead", "localhost"))), &got)
	if r := got.Replicas[0]; r.Reason != "connection refused" || r.Kind != "refused" || r.LastFailure == nil || r.Reported == nil {
		t.Errorf("got %+v, want reason, kind, last failure and report", r)
	}
	if resp := get(t, h, "GET", "/metrics", "localhost"); resp.StatusCode != http.StatusNotFound {
		t.Errorf("got status %d for metrics over the daemon's own socket, want 404", resp.StatusCode)
	}
}

func TestMetricsPassTheLint(t *testing.T) {
	problems, err := testutil.CollectAndLint(collector{newFake(t)})
	if err != nil || len(problems) > 0 {
		t.Errorf("got %v, %v, want nothing that promtool complains of", problems, err)
	}
	text := bodyOf(t, get(t, New(newFake(t), Options{}), "GET", "/metrics", "localhost"))
	for _, want := range []string{
		`crisp_status_local_verdicts_total{health="dead",scheme="https"} 1`, `crisp_status_local_attempts_total{reason="refused",scheme="https"} 1`,
		`crisp_status_local_attempt_duration_seconds_bucket{scheme="https",le="0.004"} 1`, `crisp_status_local_api_requests_total{outcome="changed",request="map"} 1`,
		`crisp_status_local_build_info{goversion="go1.26",version="1.2.3"} 1`, "process_resident_memory_bytes", "go_goroutines",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("/metrics lacks %s", want)
		}
	}
}

func TestMetricsOfEachReplica(t *testing.T) {
	if resp := get(t, New(newFake(t), Options{}), "GET", "/metrics/replicas", "localhost"); resp.StatusCode != http.StatusNotFound {
		t.Errorf("got status %d without replica_metrics, want 404", resp.StatusCode)
	}
	resp := get(t, New(newFake(t), Options{ReplicaMetrics: true}), "GET", "/metrics/replicas", "localhost")
	text := bodyOf(t, resp)
	const labels = `{service="s\"\n\\<script>",node="n",replica="https://replica-`
	for _, want := range []string{
		"probe_success" + labels + `0.example/`, "probe_failure_info" + labels + `2.example/`, `,reason="refused"} 1` + "\n",
		"probe_ssl_earliest_cert_expiry" + labels + `0.example/`, "probe_health_changed_timestamp_seconds" + labels + `1.example/`,
	} {
		if !strings.Contains(text, want) {
			t.Errorf("the metrics of replicas lack %s in\n%s", want, text)
		}
	}
	linter := promlint.New(strings.NewReader(text))
	problems, err := linter.Lint()
	if err != nil || len(problems) > 0 {
		t.Errorf("got %v, %v, want nothing that promtool complains of", problems, err)
	}
}

func TestWhereItCannotListenItSaysWhatToDo(t *testing.T) {
	busy, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer busy.Close()
	folder := t.TempDir()
	file := filepath.Join(folder, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	taken := filepath.Join(folder, "taken")
	other, err := net.Listen("unix", taken)
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	for where, want := range map[string]string{
		busy.Addr().String(): "is in use by another process", "192.0.2.1:8112": "is no address of this host",
		file: "exists and is no socket", taken: "is the socket of a process that runs", filepath.Join(folder, "none", "socket"): "no such file",
	} {
		s, err := Serve(where, http.NotFoundHandler())
		if err == nil {
			s.Close()
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want that it %s", where, err, want)
		}
	}
}

func TestTheSocketOfADaemonThatIsGoneIsReplaced(t *testing.T) {
	path := filepath.Join(t.TempDir(), "socket")
	gone, err := net.ListenUnix("unix", &net.UnixAddr{Net: "unix", Name: path})
	if err != nil {
		t.Fatal(err)
	}
	gone.SetUnlinkOnClose(false)
	gone.Close()
	s, err := Serve(path, New(newFake(t), Options{AnyHost: true}))
	if err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(context.Context, string, string) (net.Conn, error) { return net.Dial("unix", path) }}}
	resp, err := client.Get("http://whatever/healthz")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if body := bodyOf(t, resp); body != "ok\n" {
		t.Errorf("got %q, want ok", body)
	}
	s.Close()
	if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v of the socket after the end, want it gone", err)
	}
}

// hangingSource does not answer before it is released.
type hangingSource struct {
	*fake
	asked, release chan struct{}
}

func (s hangingSource) Totals(ctx context.Context) (State, error) {
	s.asked <- struct{}{}
	<-s.release
	return s.fake.Totals(ctx)
}

// TestScrapesAreBounded: more of them than are answered at a time are told to come later,
// rather than kept.
func TestScrapesAreBounded(t *testing.T) {
	source := hangingSource{newFake(t), make(chan struct{}), make(chan struct{})}
	h := New(source, Options{})
	statuses := make(chan int)
	for range mostScrapes {
		go func() { statuses <- get(t, h, "GET", "/metrics", "localhost").StatusCode }()
		<-source.asked
	}
	if resp := get(t, h, "GET", "/metrics", "localhost"); resp.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("got status %d for one more than %d at a time, want 503", resp.StatusCode, mostScrapes)
	}
	close(source.release)
	for range mostScrapes {
		if status := <-statuses; status != http.StatusOK {
			t.Errorf("got status %d for one of %d, want 200", status, mostScrapes)
		}
	}
	go func() { <-source.asked }()
	resp := get(t, h, "GET", "/metrics", "localhost")
	if got := resp.Header.Get("Content-Type"); resp.StatusCode != http.StatusOK || got != "text/plain; version=0.0.4; charset=utf-8" {
		t.Errorf("got status %d of type %q afterwards, want 200 of the type that Prometheus reads as its text format", resp.StatusCode, got)
	}
}
