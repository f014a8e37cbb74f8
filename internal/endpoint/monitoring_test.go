package endpoint

import (
	"encoding/json"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
)

// monitoring is where the alert rules and the dashboard are that ship with the
// package.
const monitoring = "../../debian/monitoring/"

func TestAlertsAndDashboardAskForMetricsThatExist(t *testing.T) {
	text := bodyOf(t, get(t, New(newFake(t), Options{}), "GET", "/metrics", "localhost"))
	name := regexp.MustCompile(`\b(?:crisp_status_local|process)_[a-z_]+`)
	for _, file := range []string{"alerts.yml", "dashboard.json"} {
		content, err := os.ReadFile(monitoring + file)
		if err != nil {
			t.Fatal(err)
		}
		names := name.FindAllString(string(content), -1)
		if len(names) < 5 {
			t.Errorf("%s: got the metrics %q, want more", file, names)
		}
		for _, metric := range names {
			if !strings.Contains(text, "\n"+metric+"{") && !strings.Contains(text, "\n"+metric+" ") {
				t.Errorf("%s asks for %s, which /metrics does not have", file, metric)
			}
		}
	}
	content, err := os.ReadFile(monitoring + "dashboard.json")
	if err != nil {
		t.Fatal(err)
	}
	var dashboard struct {
		Panels []struct{ Targets []struct{ Expr string } }
	}
	if err := json.Unmarshal(content, &dashboard); err != nil || len(dashboard.Panels) == 0 {
		t.Errorf("dashboard.json: got %d panels, %v, want some", len(dashboard.Panels), err)
	}
}

func TestPromtoolAcceptsAlertsAndMetrics(t *testing.T) {
	promtool, err := exec.LookPath("promtool")
	if err != nil {
		missing(t, "prometheus")
	}
	if out, err := exec.Command(promtool, "check", "rules", monitoring+"alerts.yml").CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, out)
	}
	h := New(newFake(t), Options{ReplicaMetrics: true})
	for _, path := range []string{"/metrics", "/metrics/replicas"} {
		cmd := exec.Command(promtool, "check", "metrics")
		resp := get(t, h, http.MethodGet, path, "localhost")
		cmd.Stdin = resp.Body
		if out, err := cmd.CombinedOutput(); err != nil || len(out) > 0 {
			t.Errorf("%s: %v: %s", path, err, out)
		}
	}
}

func TestTheWholeMetricsPagePassesTheLint(t *testing.T) {
	resp := get(t, New(newFake(t), Options{}), "GET", "/metrics", "localhost")
	problems, err := promlint.New(resp.Body).Lint()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		if strings.HasPrefix(p.Metric, "crisp_status_local_") {
			t.Errorf("%s: %s", p.Metric, p.Text)
		}
	}
}
