package endpoint

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/crisp-im/crisp-status-local/v2/internal/status"
)

func TestReadinessSaysMoreWhereThereIsMoreToSay(t *testing.T) {
	f := newFake(t)
	h := New(f, Options{})
	for note, want := range map[string]string{"": "ok\n", "standby: host-b is on duty": "ok: standby: host-b is on duty\n"} {
		f.note = note
		if resp := get(t, h, "GET", "/readyz", "localhost"); resp.StatusCode != http.StatusOK || bodyOf(t, resp) != want {
			t.Errorf("got status %d with the note %q, want 200 and %q", resp.StatusCode, note, want)
		}
	}
}

func TestADaemonByItselfShowsNoCluster(t *testing.T) {
	f := newFake(t)
	f.state.Head.Cluster = nil
	h := New(f, Options{})
	text := bodyOf(t, get(t, h, "GET", "/metrics", "localhost"))
	for _, line := range []string{`crisp_status_local_reporting{scope="everything"} 1`, `crisp_status_local_reporting{scope="nothing"} 0`} {
		if !strings.Contains(text, line+"\n") {
			t.Errorf("/metrics lacks %s", line)
		}
	}
	for _, name := range []string{"cluster_info", "takeovers_total", "members", "engine_reachable"} {
		if strings.Contains(text, namespace+name) {
			t.Errorf("/metrics has %s%s of a daemon by itself, want nothing about a cluster", namespace, name)
		}
	}
	var state map[string]json.RawMessage
	if err := json.Unmarshal([]byte(bodyOf(t, get(t, h, "GET", "/replicas.json", "localhost"))), &state); err != nil {
		t.Fatal(err)
	}
	if got := string(state["cluster"]); got != "null" {
		t.Errorf("got the cluster %s, want null", got)
	}
}

func TestMetricsSayWhoReports(t *testing.T) {
	f := newFake(t)
	h := New(f, Options{})
	c := f.state.Head.Cluster
	c.Group = "of\"fice"
	for scope, want := range map[status.Scope]string{status.ReportsEverything: "everything", status.ReportsAlive: "alive", status.ReportsNothing: "nothing"} {
		c.Scope = scope
		text := bodyOf(t, get(t, h, "GET", "/metrics", "localhost"))
		if n := strings.Count(text, `crisp_status_local_reporting{scope="`); n != 3 || !strings.Contains(text, `crisp_status_local_reporting{scope="`+want+`"} 1`) {
			t.Errorf("%s: got %d scopes, want three of which %s is 1", scope, n, want)
		}
		for _, line := range []string{
			`crisp_status_local_cluster_info{engine="etcd",group="of\"fice",member="host-a"} 1`, "crisp_status_local_takeovers_total 1",
			"crisp_status_local_members 2", "crisp_status_local_engine_reachable 1",
		} {
			if !strings.Contains(text, line+"\n") {
				t.Errorf("/metrics lacks %s", line)
			}
		}
	}
	c.Trouble, c.TroubleSince = "connection refused", time.Now()
	if text := bodyOf(t, get(t, h, "GET", "/metrics", "localhost")); !strings.Contains(text, "crisp_status_local_engine_reachable 0\n") {
		t.Error("/metrics does not say that the engine cannot be asked")
	}
}

func TestMetricsSayWhetherTheAddressIsOnTwoHosts(t *testing.T) {
	f := newFake(t)
	h := New(f, Options{})
	c := f.state.Head.Cluster
	const name = "crisp_status_local_address_conflict"
	for _, tt := range []struct {
		engine    string
		conflict  bool
		unchecked string
		want      string // empty: nothing
	}{
		{"address", false, "", name + " 0\n"},
		{"address", true, "", name + " 1\n"},
		{"address", false, "lo is no Ethernet", ""},
		{"etcd", false, "", ""},
	} {
		c.Engine, c.Conflict, c.Unchecked = tt.engine, tt.conflict, tt.unchecked
		text := bodyOf(t, get(t, h, "GET", "/metrics", "localhost"))
		if got := strings.Contains(text, name); got != (tt.want != "") || !strings.Contains(text, tt.want) {
			t.Errorf("%+v: /metrics has it: %v, want %q", tt, got, tt.want)
		}
	}
}

// The names are documented; who reads them by a program relies on them.
func TestTheNamesOfAClusterAreStable(t *testing.T) {
	f := newFake(t)
	c := f.state.Head.Cluster
	c.Trouble, c.TroubleKind, c.TroubleSince, c.Warnings = "connection refused", status.Unreachable, f.state.Head.Now, []string{"mend it"}
	c.Members = c.Members[:1]
	c.Conflict, c.Unchecked = true, "lo is no Ethernet"
	got, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	const want = `{"engine":"etcd","group":"office","member":"host-a","scope":"everything","since":"2026-05-01T12:00:00Z","why":"this daemon holds the lease",` +
		`"holder":"host-a","takeovers":1,"kept":0,"members":[{"name":"host-a","version":"1.2.3","healthy":1,"sick":1,"dead":1,"api_answers":true}],` +
		`"trouble":"connection refused","trouble_kind":"unreachable","trouble_since":"2026-05-01T12:00:00Z","warnings":["mend it"],"conflict":true,"unchecked":"lo is no Ethernet"}`
	if string(got) != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}
