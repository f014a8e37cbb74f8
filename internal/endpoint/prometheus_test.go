package endpoint

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/crisp-im/crisp-status-local/v2/internal/probe"
	"github.com/crisp-im/crisp-status-local/v2/internal/status"
)

// living is a daemon that works on from scrape to scrape, in trouble or not.
type living struct {
	*fake

	mu      sync.Mutex // protects the fake's state and trouble
	trouble bool
}

func (l *living) Totals(context.Context) (State, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	state := &l.state
	head := &state.Head
	head.IntervalSeconds = 120
	head.Counts = status.Counts{Replicas: 4, Healthy: 4}
	head.Promise.ProbesLimit, head.Promise.ProbesNeeded, head.API.Waiting = 100, 10, 0
	state.CycleBegan = time.Now()
	state.Maps.Count("unchanged", 20*time.Millisecond)
	state.Reports.Count("taken", 30*time.Millisecond)
	state.Probing.Probed(probe.HTTPS, probe.Result{Health: probe.Healthy, Attempts: 1, Trace: []probe.Attempt{{Total: time.Millisecond}}})
	if l.trouble {
		head.Counts.Dead, head.Counts.Healthy = 1, 3
		head.Promise.Late++
		head.Promise.ProbesNeeded, head.API.Waiting = 1000, 3
		state.CycleBegan = time.Now().Add(-time.Hour)
		cluster := *head.Cluster
		cluster.Scope, cluster.Trouble = status.ReportsAlive, "connection refused"
		head.Cluster = &cluster
	}
	shown := *state
	shown.Maps, shown.Reports, shown.Probing = state.Maps.Clone(), state.Reports.Clone(), state.Probing.Clone()
	return shown, nil
}

func (l *living) fail() { l.mu.Lock(); defer l.mu.Unlock(); l.trouble = true }

// prometheusServer is Debian's Prometheus that scrapes an endpoint every second.
type prometheusServer struct {
	t   *testing.T
	url string
}

// missing skips the test for want of a Debian package, or fails it where all are to
// be there.
func missing(t *testing.T, name string) {
	t.Helper()
	if os.Getenv("CRISP_REQUIRE_TOOLS") != "" {
		t.Fatalf("%s is not installed", name)
	}
	t.Skipf("%s is not installed (apt install %s)", name, name)
}

// startPrometheus starts one whose rules are ours, without the minutes for which a
// rule must hold.
func startPrometheus(t *testing.T, endpoint string) prometheusServer {
	t.Helper()
	program, err := exec.LookPath("prometheus")
	if err != nil {
		missing(t, "prometheus")
	}
	folder := t.TempDir()
	rules, err := os.ReadFile(monitoring + "alerts.yml")
	if err != nil {
		t.Fatal(err)
	}
	rules = regexp.MustCompile(`(?m)^( +)for: .*$`).ReplaceAll(rules, []byte("${1}for: 0s"))
	rules = bytes.ReplaceAll(rules, []byte("[4m]"), []byte("[3s]"))
	config := fmt.Sprintf(`global: {scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 1s}
rule_files: [alerts.yml]
scrape_configs:
  - job_name: crisp-status-local
    static_configs: [{targets: ["%s"]}]
`, endpoint)
	for name, text := range map[string][]byte{"alerts.yml": rules, "prometheus.yml": []byte(config)} {
		if err := os.WriteFile(filepath.Join(folder, name), text, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := free.Addr().String()
	free.Close()
	ctx, cancel := context.WithCancel(t.Context())
	var said strings.Builder
	cmd := exec.CommandContext(ctx, program, "--config.file="+filepath.Join(folder, "prometheus.yml"),
		"--storage.tsdb.path="+filepath.Join(folder, "data"), "--web.listen-address="+address)
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cancel()
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("prometheus: %s", &said)
		}
	})
	return prometheusServer{t, "http://" + address}
}

// ask returns the data of an answer of its API, nil while it gives none.
func (p prometheusServer) ask(path string) json.RawMessage {
	p.t.Helper()
	resp, err := http.Get(p.url + path)
	if err != nil {
		return nil
	}
	defer resp.Body.Close()
	var answer struct {
		Status string          `json:"status"`
		Error  string          `json:"error"`
		Data   json.RawMessage `json:"data"`
	}
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil {
		return nil // it starts
	}
	if answer.Error != "" {
		p.t.Fatalf("%s: %s", path, answer.Error)
	}
	return answer.Data
}

// query returns how many series an expression has now.
func (p prometheusServer) query(expr string) int {
	p.t.Helper()
	var data struct{ Result []json.RawMessage }
	if raw := p.ask("/api/v1/query?query=" + url.QueryEscape(expr)); raw == nil || json.Unmarshal(raw, &data) != nil {
		return 0
	}
	return len(data.Result)
}

// firing returns the names of the alerts that fire now.
func (p prometheusServer) firing() []string {
	p.t.Helper()
	var data struct {
		Alerts []struct {
			State  string
			Labels map[string]string
		}
	}
	if raw := p.ask("/api/v1/alerts"); raw == nil || json.Unmarshal(raw, &data) != nil {
		return nil
	}
	var names []string
	for _, a := range data.Alerts {
		if a.State == "firing" {
			names = append(names, a.Labels["alertname"])
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// await waits until holds does.
func (p prometheusServer) await(what string, holds func() bool) {
	p.t.Helper()
	for deadline := time.Now().Add(time.Minute); !holds(); time.Sleep(100 * time.Millisecond) {
		if time.Now().After(deadline) {
			p.t.Fatalf("prometheus never has %s; alerts that fire: %q", what, p.firing())
		}
	}
}

// queries are the expressions of the dashboard, for all instances.
func queries(t *testing.T) []string {
	t.Helper()
	content, err := os.ReadFile(monitoring + "dashboard.json")
	if err != nil {
		t.Fatal(err)
	}
	var dashboard struct {
		Panels []struct{ Targets []struct{ Expr string } }
	}
	if err := json.Unmarshal(content, &dashboard); err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, panel := range dashboard.Panels {
		for _, target := range panel.Targets {
			all = append(all, strings.ReplaceAll(target.Expr, "$instance", ".*"))
		}
	}
	return all
}

func TestPrometheusScrapesAlertsAndDraws(t *testing.T) {
	if testing.Short() {
		t.Skip("prometheus takes seconds")
	}
	t.Parallel()
	daemon := &living{fake: newFake(t)}
	s, err := Serve("127.0.0.1:0", New(daemon, Options{}))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	p := startPrometheus(t, s.Addr().String())
	p.await("two scrapes", func() bool { return p.query(`count_over_time(up{job="crisp-status-local"}[1m]) >= 2`) == 1 })
	drawn := queries(t)
	if len(drawn) < 10 {
		t.Errorf("got %d queries in the dashboard, want more", len(drawn))
	}
	for _, expr := range drawn {
		p.await("data for "+expr, func() bool { return p.query("("+expr+") >= 0") > 0 }) // NaN is no data
	}
	if firing := p.firing(); len(firing) > 0 {
		t.Errorf("got the alerts %q of a daemon that is well, want none", firing)
	}

	daemon.fail()
	want := []string{"CrispStatusLocalEngineUnreachable", "CrispStatusLocalNobodyOnDuty", "CrispStatusLocalReplicasDead", "CrispStatusLocalReportsLate", "CrispStatusLocalReportsWait", "CrispStatusLocalStandsStill", "CrispStatusLocalTooFewProbes"}
	p.await("the alerts of a daemon in trouble", func() bool {
		firing := p.firing()
		return !slices.ContainsFunc(want, func(name string) bool { return !slices.Contains(firing, name) })
	})
	s.Close()
	p.await("the alert of a daemon that is gone", func() bool { return slices.Contains(p.firing(), "CrispStatusLocalGone") })
}
