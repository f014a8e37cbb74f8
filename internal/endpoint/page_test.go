package endpoint

import (
	"context"
	"fmt"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/crisp-im/crisp-status-local/v2/internal/probe"
	"github.com/crisp-im/crisp-status-local/v2/internal/status"
)

// browser returns the document of the page as it is once its script has run.
func browser(t *testing.T, url string) string {
	t.Helper()
	chromium, err := exec.LookPath("chromium")
	if err != nil {
		missing(t, "chromium")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	out, err := exec.CommandContext(ctx, chromium, "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--user-data-dir="+t.TempDir(),
		"--window-size=1000,800", "--virtual-time-budget=8000", "--dump-dom", url).Output()
	if err != nil {
		t.Fatalf("chromium: %v", err)
	}
	return string(out)
}

func TestThePageInABrowser(t *testing.T) {
	if testing.Short() {
		t.Skip("a browser takes seconds to start")
	}
	f := newFake(t)
	for i := range 10_000 - len(f.state.Records) {
		target, err := probe.ParseTarget(fmt.Sprintf("tcp://10.0.%d.%d:1", i/250, i%250+1))
		if err != nil {
			t.Fatal(err)
		}
		rec := status.Record{Check: &probe.Check{ServiceID: "s", NodeID: "n", Target: target}}
		rec.History.Record(f.state.Head.Now, probe.Result{Health: probe.Healthy, Attempts: 1, Latency: time.Millisecond})
		f.state.Records = append(f.state.Records, rec)
	}
	f.state.Head.Counts = status.Counts{Replicas: 10_000, Healthy: 9_997, Sick: 1, Dead: 1, Unknown: 1}
	c := f.state.Head.Cluster
	c.Trouble, c.TroubleKind, c.TroubleSince, c.Warnings = "correct user", status.Excluded, f.state.Head.Now, []string{"give each its own name"}
	s, err := Serve("127.0.0.1:0", New(f, Options{}))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	page := browser(t, "http://"+s.Addr().String()+"/")
	for _, want := range []string{"10000 of 10000 replicas", "(1 dead) Crisp Status Local", ">connection refused, for 0s<", `class="health dead">dead<`, `aria-label="last verdicts: healthy"`, ">live, ",
		">on duty: this daemon holds the lease, for 0s; taken over 1 time<", "host-a (this daemon), on duty: 1 healthy, 1 sick, 1 dead<", "host-b: 3 healthy, 0 sick, 0 dead; the Status API does not answer it; version 1.2.2<",
		">The engine etcd answers, but this daemon cannot take part, for 0s: correct user<", ">give each its own name<"} {
		if !strings.Contains(page, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	if rows := strings.Count(page, `role="option"`); rows < 4 || rows > 60 {
		t.Errorf("the page has %d rows, want those that can be seen and a few more", rows)
	}
	if strings.Contains(page, "<script>\"") || strings.Contains(page, secrets[0]) {
		t.Error("the page takes a name for markup, or shows a secret")
	}

	one := browser(t, "http://"+s.Addr().String()+"/#tcp%3A%2F%2F10.0.0.7%3A1")
	for _, want := range []string{`open="">`, `<h2 id="detail-title">tcp://10.0.0.7:1</h2>`, "service s, node n"} {
		if !strings.Contains(one, want) {
			t.Errorf("the page at the address of a replica lacks %q", want)
		}
	}
}
