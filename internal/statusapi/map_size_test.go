package statusapi

import (
	"fmt"
	"net/http"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// mapOfReplicas returns a map whose only node has n replicas.
func mapOfReplicas(n int, format string) string {
	var text strings.Builder
	text.WriteString(`{"data":{"services":[{"id":"s","nodes":[{"id":"n","replicas":[`)
	for i := range n {
		if i > 0 {
			text.WriteByte(',')
		}
		fmt.Fprintf(&text, format, i)
	}
	text.WriteString("]}]}]}}")
	return text.String()
}

// withRules returns a map of n nodes with a replica and rules of its own each.
func withRules(n int) string {
	var nodes strings.Builder
	for i := range n {
		fmt.Fprintf(&nodes, `{"id":"n","replicas":["tcp://h%d:1"],"http":{"body":{"dead_match":"%d"}}},`, i, i)
	}
	return `{"data":{"services":[{"id":"s","nodes":[` + strings.TrimSuffix(nodes.String(), ",") + `]}]}}`
}

// TestManualStatesTheBoundsOfAMap, and the tour, beside those of requests at a time.
func TestManualStatesTheBoundsOfAMap(t *testing.T) {
	most := largest()
	for want, file := range map[string]string{
		fmt.Sprintf("a map of over %d MiB or %s replicas", most.bytes>>20, grouped(most.replicas)):                      "../../README.md",
		fmt.Sprintf("| %d MiB, %s values, %s replicas (", most.bytes>>20, grouped(most.values), grouped(most.replicas)): "../README.md",
		fmt.Sprintf("%d over HTTP/1.1, %d a connection over HTTP/2 |", maxConns-spareConns, streams):                    "../README.md",
	} {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Skipf("the source is not beside the test binary: %v", err)
		}
		if !strings.Contains(strings.Join(strings.Fields(string(text)), " "), want) {
			t.Errorf("%s does not say %q", file, want)
		}
	}
}

// grouped returns a number of up to nine digits as people write it.
func grouped(n int) string {
	text := fmt.Sprint(n)
	for at := len(text) - 3; at > 0; at -= 3 {
		text = text[:at] + "," + text[at:]
	}
	return text
}

// TestMapOfTooManyReplicasIsRefused: or of as much by rules that are a node's own.
func TestMapOfTooManyReplicasIsRefused(t *testing.T) {
	few := largest()
	few.replicas = 1000
	for text, want := range map[string]error{
		mapOfReplicas(1000, `"tcp://h%d:1"`):     nil,
		mapOfReplicas(1001, `"tcp://h%d:1"`):     few.errReplicas(),
		mapOfReplicas(1001, `"tcp:\\/\\/h%d:1"`): few.errReplicas(),
		withRules(1000 / (1 + rulesCost)):        nil,
		withRules(1000/(1+rulesCost) + 1):        few.errReplicas(),
	} {
		if _, err := decodeMap(strings.NewReader(text), few); fmt.Sprint(err) != fmt.Sprint(want) {
			t.Errorf("%.80s…: got %v, want %v", text, err, want)
		}
	}
}

// TestWhatDoesNotFitTheMemoryIsLeftOut: the others are watched, it is said, and a limit
// that is higher than what could be carried changes nothing.
func TestWhatDoesNotFitTheMemoryIsLeftOut(t *testing.T) {
	text := mapOfReplicas(11, `"tcp://h%d:1"`)
	c := newTestClient(time.Minute, func(*http.Request) (*http.Response, error) { return mapAnswer(text), nil })
	c.LimitReplicas(1 << 30)
	if c.bounds != largest() {
		t.Errorf("got the bounds %+v, want %+v", c.bounds, largest())
	}
	c.LimitReplicas(10)
	fetch := func(replicas int, left string) {
		t.Helper()
		synctest.Test(t, func(t *testing.T) {
			m, err := c.FetchMap(t.Context(), nil)
			if err != nil {
				t.Fatal(err)
			}
			said := strings.Join(m.Problems, "; ")
			if len(m.Checks) != replicas || !strings.HasPrefix(said, left) || !strings.Contains(said, "MemoryMax=") {
				t.Errorf("got %d replicas and %q, want %d, and how many are left out and why", len(m.Checks), said, replicas)
			}
		})
	}
	fetch(10, "1 replicas are left out")
	text = withRules(4)
	fetch(2, "2 replicas are left out")
	c.LimitReplicas(11)
	if c.bounds.replicas != 10 {
		t.Errorf("got a bound of %d, want it not raised", c.bounds.replicas)
	}
}

// TestNodesWithTheSameRulesShareThem: what a match costs it costs once.
func TestNodesWithTheSameRulesShareThem(t *testing.T) {
	node := func(id, match string) string {
		return fmt.Sprintf(`{"id":%q,"replicas":["http://h/"],"http":{"body":{"healthy_match":%q}}}`, id, match)
	}
	m, err := decodeMap(strings.NewReader(`{"data":{"services":[{"id":"s","nodes":[`+
		node("a", "ok")+","+node("b", "ok")+","+node("c", "other")+"]}]}}"), largest())
	if err != nil {
		t.Fatal(err)
	}
	if m.Checks[0].Rules != m.Checks[1].Rules || m.Checks[0].Rules == m.Checks[2].Rules {
		t.Error("want the rules shared by those that have the same, and by no others")
	}
}
