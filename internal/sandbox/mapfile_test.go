package sandbox

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestParseMap(t *testing.T) {
	m, err := ParseMap([]byte(`
[metrics]
retry = 1
[[service]]
name = "Shop"
[[service.node]]
id = "9b1e"
replicas = ["tcp://10.0.0.5:3306", "nonsense"]
http = { healthy_above = 200, dead_match = "maintenance" }
`))
	if err != nil {
		t.Fatal(err)
	}
	if got := *m.Metrics.Retry; got != 1 {
		t.Errorf("retry is %d, want 1", got)
	}
	if m.Metrics.DelayDead != nil {
		t.Errorf("delay_dead is %d, want it left out", *m.Metrics.DelayDead)
	}
	if got := m.Services[0].ID; got != "Shop" {
		t.Errorf("id of a service without one is %q, want its name", got)
	}
	node := m.Services[0].Nodes[0]
	if node.Name != "9b1e" || len(node.Replicas) != 2 || *node.HTTP.DeadMatch != "maintenance" {
		t.Errorf("node is %+v, want what the file says", node)
	}
}

func TestParseMapComplains(t *testing.T) {
	for _, tt := range []struct {
		name, text string
		want       []string
	}{
		{"syntax", "[metrics]\nretry = = 1", []string{"line 2", "expected value"}},
		{"wrong type", "[metrics]\nretry = \"many\"", []string{"retry"}},
		{"unknown key", "[metrics]\nretries = 2", []string{"metrics.retries: unknown key"}},
		{"no name", "[[service]]\n", []string{"service 1: name must be set"}},
		{"node without a name", "[[service]]\nname = \"A\"\n[[service.node]]\n", []string{`service "A", node 1: name must be set`}},
		{"two services", "[[service]]\nname = \"A\"\n[[service]]\nid = \"A\"", []string{`service "A": there are two`}},
		{"two replicas", "[[service]]\nname = \"A\"\n[[service.node]]\nname = \"B\"\nreplicas = [\"tcp://u:hush@h:1\", \"tcp://u:hush@h:1\"]", []string{`replica "tcp://u:***@h:1" appears twice`}},
		{"no such target", "[[service]]\nname = \"A\"\n[[service.node]]\nname = \"B\"\nreplicas = [\"target:ftp\"]", []string{`service "A", node "B"`, `kind "ftp"`}},
		{"all at once", "[metrics]\nretries = 2\n[[service]]\n", []string{"unknown key", "name must be set"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := ParseMap([]byte(tt.text))
			if err == nil {
				t.Fatalf("ParseMap(%q) took it, want an error", tt.text)
			}
			for _, want := range tt.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("ParseMap(%q) = %v, want %q in it", tt.text, err, want)
				}
			}
			if strings.Contains(err.Error(), "hush") {
				t.Errorf("ParseMap(%q) = %v, which shows a password", tt.text, err)
			}
		})
	}
}

func TestMapFileIsReadAtEveryMapRequest(t *testing.T) {
	path := filepath.Join(t.TempDir(), "map.toml")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	oneNode := "[[service]]\nname = \"S\"\n[[service.node]]\nname = \"N\"\nreplicas = [%]\n"
	write(strings.Replace(oneNode, "%", `"tcp://h:1"`, 1))
	var log bytes.Buffer
	c := serve(t, Options{MapFile: path, Log: &log})

	first := c.fetch(t, 0, 200)
	c.report(t, "S", "N", "tcp://h:1", Healthy, 200)
	c.fetch(t, first.Data.Date, 304)

	write(strings.Replace(oneNode, "%", `"tcp://h:1", "target:tcp#new"`, 1))
	second := c.fetch(t, first.Data.Date, 200)
	if second.Data.Date <= first.Data.Date {
		t.Errorf("date went from %d to %d, want it to grow with the edit", first.Data.Date, second.Data.Date)
	}
	if got := second.Data.Services[0].Nodes[0].Replicas; len(got) != 2 || !strings.HasPrefix(got[1], "tcp://127.0.0.1:") {
		t.Errorf("replicas are %q, want the new target at its address", got)
	}
	if got, _ := c.server.Replica("S", "N", "tcp://h:1"); got.Reports != 1 {
		t.Errorf("the replica that stayed has %d reports, want its history kept", got.Reports)
	}

	write("[[service]]\nname = ")
	c.fetch(t, second.Data.Date, 304)
	state := c.server.State()
	if !strings.Contains(state.MapError, "line 2") || !strings.Contains(log.String(), state.MapError) {
		t.Errorf("a broken edit shows %q on the page and %q in the log, want its line in both", state.MapError, &log)
	}
	c.fetch(t, second.Data.Date, 304)
	if got := strings.Count(log.String(), "line 2"); got != 1 {
		t.Errorf("a broken edit was logged %d times, want once", got)
	}

	write(strings.Replace(oneNode, "%", `"target:tcp#new"`, 1))
	third := c.fetch(t, second.Data.Date, 200)
	if got := c.server.State().MapError; got != "" {
		t.Errorf("after the repair the page still says %q", got)
	}
	if got, want := third.Data.Services[0].Nodes[0].Replicas[0], second.Data.Services[0].Nodes[0].Replicas[1]; got != want {
		t.Errorf("the own target moved from %s to %s, want it left running", want, got)
	}
	c.report(t, "S", "N", "tcp://h:1", Healthy, 404)

	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	c.fetch(t, third.Data.Date, 304)
	if got := c.server.State().MapError; !strings.Contains(got, "no such file") {
		t.Errorf("without its file the page says %q, want that the file is missing", got)
	}
}

func TestMask(t *testing.T) {
	for raw, want := range map[string]string{
		"tcp://10.0.0.5:3306":                  "tcp://10.0.0.5:3306",
		"https://user@host/":                   "https://user@host/",
		"https://user:hush@host/a@b:c":         "https://user:***@host/a@b:c",
		"https://user:hush@[::1]:8443/?q=a:b@": "https://user:***@[::1]:8443/?q=a:b@",
		"https://user:hu:s@h@host/":            "https://user:***@host/",
		"https://user:hu/sh@host/":             "https://user:***@host/",
		"https://:hush@host":                   "https://:***@host",
		"nonsense":                             "nonsense",
	} {
		if got := mask(raw); got != want {
			t.Errorf("mask(%q) = %q, want %q", raw, got, want)
		}
	}
}
