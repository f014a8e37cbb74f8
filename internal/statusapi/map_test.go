package statusapi

import (
	"fmt"
	"io"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"github.com/crisp-im/crisp-status-local/v2/internal/pace"
	"github.com/crisp-im/crisp-status-local/v2/internal/probe"
)

// decoded returns the map that text is.
func decoded(t testing.TB, text string) *Map {
	t.Helper()
	m, err := decodeMap(strings.NewReader(text), largest())
	if err != nil {
		t.Fatalf("decoding %.200s: %v", text, err)
	}
	return m
}

// withReplicas returns a map of one node with these replicas, as JSON has them.
func withReplicas(replicas string) string {
	return `{"data":{"services":[{"id":"s","nodes":[{"id":"n","replicas":[` + replicas + `]}]}]}}`
}

// rulesOf returns the rules of the one replica of a map with these metrics and
// this http, as JSON has them, and what was said about the map.
func rulesOf(t *testing.T, metrics, http string) (*probe.Rules, []string) {
	t.Helper()
	m := decoded(t, `{"data":{`+metrics+`"services":[{"id":"s","nodes":[{"id":"n",`+http+`"replicas":["http://a/"]}]}]}}`)
	if len(m.Checks) != 1 {
		t.Fatalf("metrics %s, http %s: got %d checks, want 1", metrics, http, len(m.Checks))
	}
	return m.Checks[0].Rules, m.Problems
}

func TestMapOfTheProtocol(t *testing.T) {
	m := decoded(t, `{ "data": {
    "date": 1700000000000,
    "metrics": { "local": { "retry": 3, "delay_dead": 10, "delay_sick": 5 } },
    "services": [ { "id": "3f0c", "nodes": [ {
        "id": "9b1e",
        "replicas": [ "tcp://10.0.0.5:3306", "icmp://10.0.0.1", "https://10.0.0.7/health" ],
        "http": { "status": { "healthy_above": 201, "healthy_below": 399 },
                  "body":   { "healthy_match": "ok", "dead_match": "maintenance" } } } ] } ] } }`)
	if m.date != "1700000000000" || len(m.Problems) != 0 {
		t.Errorf("got the date %q and the problems %q, want 1700000000000 and none", m.date, m.Problems)
	}
	want := probe.Rules{
		Retry: 3, DeadAfter: 10 * time.Second, SickAfter: 5 * time.Second,
		HealthyAbove: 201, HealthyBelow: 399, HealthyMatch: "ok", DeadMatch: "maintenance",
	}
	ids := []string{"tcp://10.0.0.5:3306", "icmp://10.0.0.1", "https://10.0.0.7/health"}
	if len(m.Checks) != len(ids) {
		t.Fatalf("got %d checks, want %d", len(m.Checks), len(ids))
	}
	for i, c := range m.Checks {
		if got, want := c.ID(), (probe.ID{Service: "3f0c", Node: "9b1e", Replica: ids[i]}); got != want {
			t.Errorf("check %d: got %v, want %v", i, got, want)
		}
		got := stated(c.Rules)
		if got != want {
			t.Errorf("check %d: got the rules %+v, want %+v", i, got, want)
		}
	}
}

// stated returns what rules say, without what Compile has made of it.
func stated(r *probe.Rules) probe.Rules {
	return probe.Rules{
		Retry: r.Retry, DeadAfter: r.DeadAfter, SickAfter: r.SickAfter,
		HealthyAbove: r.HealthyAbove, HealthyBelow: r.HealthyBelow,
		HealthyMatch: r.HealthyMatch, DeadMatch: r.DeadMatch,
	}
}

func TestWhatAMapMayLeaveOut(t *testing.T) {
	defaults := *probe.DefaultRules()
	if want := (probe.Rules{Retry: 2, DeadAfter: 20 * time.Second, HealthyAbove: 200, HealthyBelow: 400}); defaults != want {
		t.Fatalf("defaults: got %+v, want %+v", defaults, want)
	}
	for _, tt := range []struct{ metrics, http string }{
		{``, ``},
		{`"metrics":null,`, `"http":null,`},
		{`"metrics":{},`, `"http":{},`},
		{`"metrics":{"local":null},`, `"http":{"status":null,"body":null},`},
		{`"metrics":{"local":{}},`, `"http":{"status":{},"body":{}},`},
		{`"metrics":{"local":{"retry":null,"delay_dead":null,"delay_sick":null}},`, `"http":{"status":{"healthy_above":null,"healthy_below":null},"body":{"healthy_match":null,"dead_match":null}},`},
		{`"metrics":{"local":{"delay_sick":0}},`, `"http":{"body":{"healthy_match":"","dead_match":""}},`},
		{`"metrics":{"remote":{"retry":9},"local":{"unknown":[1]}},"unknown":{"a":1},`, `"unknown":1,"http":{"unknown":{}},`},
	} {
		if got, problems := rulesOf(t, tt.metrics, tt.http); *got != defaults || len(problems) != 0 {
			t.Errorf("metrics %s, http %s: got %+v and %q, want the defaults without a word", tt.metrics, tt.http, *got, problems)
		}
	}
	for _, text := range []string{
		`{"data":{"services":[]}}`,
		`{"data":{"date":null,"services":[{"id":"s","nodes":[]}]},"unknown":[[[]]]}`,
		`{"data":{"services":[{"id":"s","nodes":[{"id":"n"},{"id":"o","replicas":null},{"id":"p","replicas":[]}]}]}}`,
	} {
		if m := decoded(t, text); len(m.Checks) != 0 || len(m.Problems) != 0 || m.date != "" {
			t.Errorf("%s: got %+v, want an empty map", text, m)
		}
	}
}

// TestNumbersOutOfRangeAreClampedAndSaid: however large, a number is no reason
// to refuse a map.
func TestNumbersOutOfRangeAreClampedAndSaid(t *testing.T) {
	const huge, low = "99999999999999999999", "-99999999999999999999"
	local := func(field, number string) string { return fmt.Sprintf(`"metrics":{"local":{%q:%s}},`, field, number) }
	status := func(field, number string) string { return fmt.Sprintf(`"http":{"status":{%q:%s}},`, field, number) }
	for _, tt := range []struct {
		field, number string
		want          probe.Rules // in it, only what the field says
		said          bool
	}{
		{"retry", "0", probe.Rules{Retry: 0}, false},
		{"retry", "100", probe.Rules{Retry: 100}, false},
		{"retry", "101", probe.Rules{Retry: 100}, true},
		{"retry", "-1", probe.Rules{Retry: 0}, true},
		{"retry", "2.0", probe.Rules{Retry: 2}, false},
		{"retry", "1e1", probe.Rules{Retry: 10}, false},
		{"retry", huge, probe.Rules{Retry: 100}, true},
		{"retry", low, probe.Rules{Retry: 0}, true},
		{"retry", "1e400", probe.Rules{Retry: 100}, true},
		{"retry", "-1e400", probe.Rules{Retry: 0}, true},
		{"retry", "1e19", probe.Rules{Retry: 100}, true},
		{"delay_dead", "1", probe.Rules{DeadAfter: time.Second}, false},
		{"delay_dead", "0", probe.Rules{DeadAfter: time.Second}, true},
		{"delay_dead", "35", probe.Rules{DeadAfter: 35 * time.Second}, false},
		{"delay_dead", "36", probe.Rules{DeadAfter: 35 * time.Second}, true},
		{"delay_dead", huge, probe.Rules{DeadAfter: 35 * time.Second}, true},
		{"delay_dead", low, probe.Rules{DeadAfter: time.Second}, true},
		{"delay_sick", "0", probe.Rules{SickAfter: 0}, false},
		{"delay_sick", "7", probe.Rules{SickAfter: 7 * time.Second}, false},
		{"delay_sick", "-7", probe.Rules{SickAfter: 0}, true},
		{"delay_sick", huge, probe.Rules{SickAfter: time.Hour}, true},
		{"healthy_above", "0", probe.Rules{HealthyAbove: 0}, false},
		{"healthy_above", "-1", probe.Rules{HealthyAbove: 0}, true},
		{"healthy_above", huge, probe.Rules{HealthyAbove: 1000}, true},
		{"healthy_below", "600", probe.Rules{HealthyBelow: 600}, false},
		{"healthy_below", "1e400", probe.Rules{HealthyBelow: 1000}, true},
	} {
		metrics, http, pick := "", "", func(r probe.Rules) any { return nil }
		switch tt.field {
		case "retry":
			metrics, pick = local(tt.field, tt.number), func(r probe.Rules) any { return r.Retry }
		case "delay_dead":
			metrics, pick = local(tt.field, tt.number), func(r probe.Rules) any { return r.DeadAfter }
		case "delay_sick":
			metrics, pick = local(tt.field, tt.number), func(r probe.Rules) any { return r.SickAfter }
		case "healthy_above":
			http, pick = status(tt.field, tt.number), func(r probe.Rules) any { return r.HealthyAbove }
		case "healthy_below":
			http, pick = status(tt.field, tt.number), func(r probe.Rules) any { return r.HealthyBelow }
		}
		got, problems := rulesOf(t, metrics, http)
		if pick(*got) != pick(tt.want) {
			t.Errorf("%s %s: got %v, want %v", tt.field, tt.number, pick(*got), pick(tt.want))
		}
		said := len(problems) == 1 && strings.Contains(problems[0], tt.field+" is "+tt.number)
		if said != tt.said || len(problems) > 1 {
			t.Errorf("%s %s: got the problems %q, want it said: %v", tt.field, tt.number, problems, tt.said)
		}
	}
}

// TestMapsThatDoNotParse: a wrong type anywhere but among the replicas, and
// what must be there and is not. The error names the field.
func TestMapsThatDoNotParse(t *testing.T) {
	node := func(fields string) string {
		return `{"data":{"services":[{"id":"s","nodes":[{` + fields + `}]}]}}`
	}
	for _, tt := range []struct{ text, want string }{
		{``, "unexpected end"},
		{`null`, "no data"},
		{`{}`, "no data"},
		{`[]`, "must not be array"},
		{`{"data":null}`, "no data"},
		{`{"data":[]}`, "data must not be array"},
		{`{"data":{}}`, "no data.services"},
		{`{"data":{"services":null}}`, "no data.services"},
		{`{"data":{"services":{}}}`, "data.services must not be object"},
		{`{"data":{"services":[null]}}`, "data.services[0] has no id"},
		{`{"data":{"services":[{"nodes":[]}]}}`, "data.services[0] has no id"},
		{`{"data":{"services":[{"id":"","nodes":[]}]}}`, "has no id"},
		{`{"data":{"services":[{"id":null,"nodes":[]}]}}`, "has no id"},
		{`{"data":{"services":[{"id":7,"nodes":[]}]}}`, "id must not be number"},
		{`{"data":{"services":[{"id":"s"}]}}`, `service "s" has no nodes`},
		{`{"data":{"services":[{"id":"s","nodes":null}]}}`, `service "s" has no nodes`},
		{`{"data":{"services":[{"id":"s","nodes":{}}]}}`, "nodes must not be object"},
		{`{"data":{"services":[{"id":"s","nodes":[null]}]}}`, `node 0 of service "s" has no id`},
		{`{"data":{"services":[{"id":"s","nodes":["n"]}]}}`, "nodes must not be string"},
		{node(`"replicas":[]`), `node 0 of service "s" has no id`},
		{node(`"id":{}`), "id must not be object"},
		{node(`"id":"n","replicas":"tcp://a:1"`), "replicas must not be string"},
		{node(`"id":"n","replicas":{}`), "replicas must not be object"},
		{node(`"id":"n","http":[]`), "http must not be array"},
		{node(`"id":"n","http":{"status":7}`), "http.status must not be number"},
		{node(`"id":"n","http":{"status":{"healthy_above":"200"}}`), "healthy_above must not be a string"},
		{node(`"id":"n","http":{"status":{"healthy_below":2.5}}`), "healthy_below must not be 2.5"},
		{node(`"id":"n","http":{"body":"ok"}`), "http.body must not be string"},
		{node(`"id":"n","http":{"body":{"healthy_match":7}}`), "healthy_match must not be number"},
		{node(`"id":"n","http":{"body":{"dead_match":["a"]}}`), "dead_match must not be array"},
		{`{"data":{"date":"today","services":[]}}`, "data.date must not be a string"},
		{`{"data":{"date":{},"services":[]}}`, "data.date must not be an object"},
		{`{"data":{"date":1.5,"services":[]}}`, "data.date must not be 1.5"},
		{`{"data":{"date":1` + strings.Repeat("0", 100) + `,"services":[]}}`, "date of 101 digits"},
		{`{"data":{"metrics":[],"services":[]}}`, "metrics must not be array"},
		{`{"data":{"metrics":{"local":7},"services":[]}}`, "metrics.local must not be number"},
		{`{"data":{"metrics":{"local":{"retry":"2"}},"services":[]}}`, "data.metrics.local.retry must not be a string"},
		{`{"data":{"metrics":{"local":{"retry":true}},"services":[]}}`, "retry must not be a boolean"},
		{`{"data":{"metrics":{"local":{"retry":[2]}},"services":[]}}`, "retry must not be an array"},
		{`{"data":{"metrics":{"local":{"delay_dead":0.5}},"services":[]}}`, "delay_dead must not be 0.5"},
		{`{"data":{"services":[]}} x`, "after top-level value"},
		{`{"data":{"services":[]}}{"data":{"services":[]}}`, "after top-level value"},
		{`{"data":{"services":[`, "unexpected end"},
		{`<!DOCTYPE html><html></html>`, "invalid character '<'"},
		{strings.Repeat("[", 1_000_000), "the whole must not be array"},
		{`{"data":` + strings.Repeat(`{"data":`, 1_000_000), "exceeded max depth"},
		{withReplicas(strings.Repeat("[", 1_000_000) + strings.Repeat("]", 1_000_000)), "exceeded max depth"},
		{`{"unknown":` + strings.Repeat("[", 1_000_000) + strings.Repeat("]", 1_000_000) + `,"data":{"services":[]}}`, "exceeded max depth"},
	} {
		m, err := decodeMap(strings.NewReader(tt.text), largest())
		if err == nil || m != nil || !strings.Contains(err.Error(), tt.want) || len(err.Error()) > 300 {
			t.Errorf("%.100s: got the error %v, want a short one with %q", tt.text, err, tt.want)
		}
	}
}

// TestOddReplicasAreLeftOutAndSaid: one odd entry costs the map nothing else.
func TestOddReplicasAreLeftOutAndSaid(t *testing.T) {
	for _, tt := range []struct{ replica, want string }{
		{`null`, "null"},
		{`7`, "a number"},
		{`true`, "a boolean"},
		{`{"url":"tcp://a:1"}`, "an object"},
		{`["tcp://a:1"]`, "an array"},
		{`""`, "no scheme"},
		{`"ftp://a/"`, "unknown scheme"},
		{`"tcp://a"`, "no port"},
		{`"tcp://:1"`, "no host"},
		{`"http://a:99999/"`, "port"},
		{`"http://user:s3cr3t@[bad/"`, "is not a URL"},
		{`"gopher://user:s3cr3t@a/"`, "unknown scheme"},
		{`"tcp://user:s3cr3t@a"`, "no port"},
		{`"tcp://a:1"`, "twice"},
		{`"\u0000://a"`, "no scheme"},
		{`"tcp://\ud800:1"`, "is not Unicode"},
		{`"tcp://\udc00\ud800:1"`, "is not Unicode"},
		{`"tcp://\ud83d\u0061:1"`, "is not Unicode"},
		{`"tcp://\\\ud83d"`, "is not Unicode"},
		{"\"tcp://b\xfccher:1\"", "is not Unicode"},
		{`"http://user:s3cr3t@web\ud800/?s3cr3t#s3cr3t"`, "is not Unicode"},
		{`"http://web:s3cr3t/?a=s3cr3t#s3cr3t@x"`, "is not a URL"},
		{`"http://` + strings.Repeat("a", 10000) + `/"`, "URL of 10008 bytes"},
		{`"` + strings.Repeat("a", 8000) + `://a/"`, "unknown scheme"},
		{`"http://a:` + strings.Repeat("9", 8000) + `/"`, "port"},
	} {
		m := decoded(t, withReplicas(`"tcp://a:1",`+tt.replica+`,"tcp://b:1"`))
		if len(m.Checks) != 2 || m.Checks[0].Target.ID() != "tcp://a:1" || m.Checks[1].Target.ID() != "tcp://b:1" {
			t.Errorf("replica %.80s: got %d checks, want its two neighbours", tt.replica, len(m.Checks))
		}
		if len(m.Problems) != 1 || !strings.Contains(m.Problems[0], tt.want) || !strings.Contains(m.Problems[0], `node "n"`) {
			t.Errorf("replica %.80s: got the problems %.300q, want one of the node with %q", tt.replica, m.Problems, tt.want)
			continue
		}
		if strings.Contains(m.Problems[0], "s3cr3t") || len(m.Problems[0]) > 1000 {
			t.Errorf("replica %.80s: got the problem %q, want it short and without the password", tt.replica, m.Problems[0])
		}
	}
}

// TestByteOrderMarkIsIgnored: once, and before all else (RFC 8259, 8.1).
func TestByteOrderMarkIsIgnored(t *testing.T) {
	text := withReplicas(`"tcp://a:1"`)
	for _, read := range []func(io.Reader) io.Reader{iotest.OneByteReader, iotest.DataErrReader, func(r io.Reader) io.Reader { return r }} {
		m, err := decodeMap(read(strings.NewReader("\uFEFF"+text)), largest())
		if err != nil || len(m.Checks) != 1 {
			t.Errorf("got %v, want the map behind the mark", err)
		}
	}
	for _, odd := range []string{"\uFEFF\uFEFF" + text, " \uFEFF" + text, "\uFEFF", "\xef\xbb" + text, text + "\uFEFF"} {
		if _, err := decodeMap(strings.NewReader(odd), largest()); err == nil {
			t.Errorf("%.12q…: got a map, want an error", odd)
		}
	}
}

func TestSameURLInTwoNodesIsTwoReplicas(t *testing.T) {
	m := decoded(t, `{"data":{"services":[
		{"id":"s","nodes":[{"id":"n","replicas":["tcp://a:1"]},{"id":"o","replicas":["tcp://a:1"]}]},
		{"id":"t","nodes":[{"id":"n","replicas":["tcp://a:1","TCP://a:1"]}]},
		{"id":"t","nodes":[{"id":"n","replicas":["tcp://a:1"]}]}]}}`)
	var got []string
	for _, c := range m.Checks {
		got = append(got, c.ServiceID+" "+c.NodeID+" "+c.Target.ID())
	}
	want := "s n tcp://a:1, s o tcp://a:1, t n tcp://a:1, t n TCP://a:1"
	if strings.Join(got, ", ") != want || len(m.Problems) != 1 {
		t.Errorf("got %q and the problems %q, want %s, and the one that is there twice said", got, m.Problems, want)
	}
}

func TestRulesOfANodeAreItsOwn(t *testing.T) {
	m := decoded(t, `{"data":{"metrics":{"local":{"retry":7}},"services":[{"id":"s","nodes":[
		{"id":"n","replicas":["http://a/"],"http":{"body":{"dead_match":"x"}}},
		{"id":"o","replicas":["http://a/"]},
		{"id":"p","replicas":["http://a/"],"http":{"status":{"healthy_above":500}}}]}]}}`)
	for i, want := range []probe.Rules{
		{Retry: 7, DeadAfter: 20 * time.Second, HealthyAbove: 200, HealthyBelow: 400, DeadMatch: "x"},
		{Retry: 7, DeadAfter: 20 * time.Second, HealthyAbove: 200, HealthyBelow: 400},
		{Retry: 7, DeadAfter: 20 * time.Second, HealthyAbove: 500, HealthyBelow: 400},
	} {
		if got := stated(m.Checks[i].Rules); got != want {
			t.Errorf("node %d: got %+v, want %+v", i, got, want)
		}
	}
}

// TestWhatIsTooLongIsLeftOutAndSaid: ids and matches are held by each request
// and probe under way.
func TestWhatIsTooLongIsLeftOutAndSaid(t *testing.T) {
	long := strings.Repeat("x", maxMatch+1)
	for _, tt := range []struct{ name, service, node, want string }{
		{"service id", long, `"id":"n"`, "id of 65537 bytes"},
		{"node id", "s", `"id":"` + long + `"`, "id of 65537 bytes"},
		{"healthy_match", "s", `"id":"n","http":{"body":{"healthy_match":"` + long + `"}}`, "match of 65537 bytes"},
		{"dead_match", "s", `"id":"n","http":{"body":{"dead_match":"` + long + `"}}`, "match of 65537 bytes"},
	} {
		m := decoded(t, `{"data":{"services":[{"id":"`+tt.service+`","nodes":[{"replicas":["tcp://a:1"],`+tt.node+`}]},
			{"id":"other","nodes":[{"id":"n","replicas":["tcp://a:1"]}]}]}}`)
		if len(m.Checks) != 1 || m.Checks[0].ServiceID != "other" {
			t.Errorf("%s: got %d checks, want that of the other service alone", tt.name, len(m.Checks))
		}
		if len(m.Problems) != 1 || !strings.Contains(m.Problems[0], tt.want) || len(m.Problems[0]) > 300 {
			t.Errorf("%s: got the problems %.300q, want a short one with %q", tt.name, m.Problems, tt.want)
		}
	}
}

func TestProblemsOfAMapAreFew(t *testing.T) {
	m := decoded(t, withReplicas(`"tcp://a:1"`+strings.Repeat(`,"no"`, 10_000)))
	if len(m.Checks) != 1 || len(m.Problems) != maxProblems+1 {
		t.Fatalf("got %d checks and %d problems, want 1 and %d", len(m.Checks), len(m.Problems), maxProblems+1)
	}
	if got, want := m.Problems[maxProblems], "and 9950 more like these"; got != want {
		t.Errorf("last problem: got %q, want %q", got, want)
	}
}

// TestHugeMapIsAnErrorAndMemoryFlat: with and without a length told in advance,
// several times over; and what is large in one way.
func TestHugeMapIsAnErrorAndMemoryFlat(t *testing.T) {
	few := bounds{bytes: 8 << 20, values: 1 << 18, replicas: 1 << 16}
	again := strings.Repeat("x", 100_000) + `","` // a long one, or reading it is all that is measured
	body := func() io.Reader {
		return io.LimitReader(io.MultiReader(strings.NewReader(`{"unknown":["`), &endless{text: again}), 2*int64(few.bytes))
	}
	for _, length := range []int64{2 * int64(few.bytes), -1} {
		synctest.Test(t, func(t *testing.T) {
			var read counter
			c := newTestClient(time.Minute, func(*http.Request) (*http.Response, error) {
				resp := mapAnswer("")
				resp.ContentLength, resp.Body = length, io.NopCloser(io.TeeReader(body(), &read))
				return resp, nil
			})
			if c.bounds != largest() {
				t.Errorf("got the bounds %+v, want %+v", c.bounds, largest())
			}
			c.bounds = few
			if _, err := c.FetchMap(t.Context(), nil); err == nil || !strings.Contains(err.Error(), "map over 8 MiB") {
				t.Fatalf("length %d: got the error %v, want map over 8 MiB", length, err)
			}
			if most := counter(3 * (few.bytes + 1<<20)); read > most || length > 0 && read > 1<<20 {
				t.Errorf("length %d: got %d bytes read in three attempts, want no more of each than a map may have, and none that is told to be too long", length, read)
			}
		})
	}
	for _, tt := range []struct {
		text string
		want error
	}{
		{withReplicas("0" + strings.Repeat(",0", few.values)), few.errValues()},
		{withReplicas(`"tcp://a:1"` + strings.Repeat(`,"tcp://a:1"`, few.replicas)), few.errReplicas()},
		{`{"unknown":"` + strings.Repeat("x", 5<<20) + `"}`, errMapValue},
		{`{"` + strings.Repeat("x", 5<<20) + `":1}`, errMapValue},
		{`{"unknown":1` + strings.Repeat("0", 5<<20) + `}`, errMapValue},
		{`{` + strings.Repeat(" ", 5<<20) + `}`, errMapValue},
		{`{"data":{"metrics":{"unknown":[` + strings.Repeat("0,", 3<<20) + `0]}}}`, errMapValue},
		{withReplicas("[" + strings.Repeat("0,", 3<<20) + "0]"), errMapValue},
	} {
		if _, err := decodeMap(strings.NewReader(tt.text), few); err == nil || err.Error() != tt.want.Error() {
			t.Errorf("%.40s… of %d MiB: got the error %v, want %v", tt.text, len(tt.text)>>20, err, tt.want)
		}
	}
	var first, last runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&first)
	for range 3 {
		if _, err := decodeMap(body(), few); err == nil {
			t.Fatalf("got no error, want %v", few.errBytes())
		}
	}
	runtime.GC()
	runtime.ReadMemStats(&last)
	if last.HeapAlloc > first.HeapAlloc+1<<20 {
		t.Errorf("heap in use: got %d KiB after three answers more, %d KiB before; want no growth", last.HeapAlloc>>10, first.HeapAlloc>>10)
	}
}

// TestFieldsComeInAnyOrder: what depends on a later field, or comes twice, is no
// other for that.
func TestFieldsComeInAnyOrder(t *testing.T) {
	m := decoded(t, `{"DATA":{"services":[
		{"Nodes":[{"http":{"body":{"dead_match":"x"}},"replicas":["http://a/","no"],"id":"n"}],"id":"s"},
		{"nodes":[{"replicas":["tcp://a:1"],"id":"n"}],"id":"s","nodes":[{"replicas":["tcp://b:1"],"replicas":["tcp://a:1"],"id":"n"}]}],
		"metrics":{"local":{"retry":7,"delay_dead":99}},"date":5}}`)
	var got []string
	for _, c := range m.Checks {
		got = append(got, fmt.Sprintf("%s %s %v %d %v %q", c.ServiceID, c.NodeID, c.Target, c.Rules.Retry, c.Rules.DeadAfter, c.Rules.DeadMatch))
	}
	if want := `s n http://a/ 7 35s "x", s n tcp://a:1 7 35s "", s n tcp://b:1 7 35s ""`; strings.Join(got, ", ") != want || m.date != "5" {
		t.Errorf("got %q of the date %s, want %s of 5", got, m.date, want)
	}
	if len(m.Problems) != 3 || !strings.Contains(m.Problems[0], "delay_dead is 99") || !strings.Contains(m.Problems[1], "no scheme") || !strings.Contains(m.Problems[2], "tcp://a:1 is there twice") {
		t.Errorf("got the problems %q, want delay_dead first, then the odd replica, then the one that is there twice", m.Problems)
	}
}

// counter counts what is written to it.
type counter int64

func (c *counter) Write(p []byte) (int, error) {
	*c += counter(len(p))
	return len(p), nil
}

// endless reads as text, again and again.
type endless struct {
	text string
	at   int
}

func (e *endless) Read(p []byte) (int, error) {
	n := 0
	for n < len(p) {
		copied := copy(p[n:], e.text[e.at:])
		n += copied
		e.at = (e.at + copied) % len(e.text)
	}
	return n, nil
}

// BenchmarkDecodeMap tells what a map of 100,000 replicas costs: the garbage of
// decoding it, and what is kept of it.
func BenchmarkDecodeMap(b *testing.B) {
	var text strings.Builder
	for i := range 100_000 {
		fmt.Fprintf(&text, `,"https://server-%06d.internal.example.com:8443/health?check=1"`, i)
	}
	whole := withReplicas(text.String()[1:])
	b.SetBytes(int64(len(whole)))
	b.ReportAllocs()
	var m *Map
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	for b.Loop() {
		m = decoded(b, whole)
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/float64(len(m.Checks)), "kept-B/replica")
}

func FuzzDecodeMap(f *testing.F) {
	for _, seed := range []string{
		emptyMap,
		withReplicas(`"tcp://10.0.0.5:3306","icmp://10.0.0.1","https://user:pw@10.0.0.7/health",7,null,"no"`),
		`{"data":{"date":1700000000000,"metrics":{"local":{"retry":2,"delay_dead":10,"delay_sick":5}},"services":[]}}`,
		`{"data":{"metrics":{"local":{"retry":1e400,"delay_dead":-99999999999999999999}},"services":[]}}`,
		`{"data":{"services":[{"id":"s","nodes":[{"id":"n","http":{"status":{"healthy_above":200},"body":{"dead_match":"x"}}}]}]}}`,
		`{"data":{"services":[{"id":"../..","nodes":[]}]}}{}`,
		`[[[[[[`, `<html>`, ``,
		`{"data":{"services":[{"id":"s","nodes":` + strings.Repeat("7", 2000) + `}]}}`,
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		m, err := decodeMap(strings.NewReader(text), largest())
		if err != nil {
			if m != nil || len(err.Error()) > 1000 {
				t.Fatalf("got a map and the error %v, want a short error alone", err)
			}
			return
		}
		if len(m.Problems) > maxProblems+1 || len(m.date) > maxDate {
			t.Errorf("got %d problems and a date of %d bytes, want few and short", len(m.Problems), len(m.date))
		}
		for _, problem := range m.Problems {
			if len(problem) > 2000 {
				t.Errorf("got a problem of %d bytes, want it short", len(problem))
			}
		}
		seen := make(map[probe.ID]bool)
		for _, c := range m.Checks {
			r := c.Rules
			if c.ServiceID == "" || c.NodeID == "" || seen[c.ID()] {
				t.Errorf("got the check %v, want ids, and each once", c)
			}
			seen[c.ID()] = true
			if r.Retry < 0 || r.Retry > maxRetry || r.DeadAfter < time.Second || r.DeadAfter > pace.LongestProbe || r.SickAfter < 0 {
				t.Errorf("got the rules %+v, want them in range", *r)
			}
			if path := escape(c.ServiceID); strings.ContainsAny(path, "/?# ") || path == "." || path == ".." {
				t.Errorf("id %q: got the segment %q, want it escaped", c.ServiceID, path)
			}
		}
	})
}

func TestTextThatIsUnicodeIsTaken(t *testing.T) {
	for _, replica := range []string{`"http://a/\ud83d\ude00"`, `"http://a/\uFFFD"`, "\"http://a/\uFFFD\"", `"http://a/\\ud800"`, `"http://a/\\\\ud800\n"`} {
		if m := decoded(t, withReplicas(replica)); len(m.Checks) != 1 || len(m.Problems) != 0 {
			t.Errorf("replica %s: got %d checks and the problems %q, want it taken", replica, len(m.Checks), m.Problems)
		}
	}
}

// TestDamagedTextIsLeftOutAndSaid: reports would go to another id, and a match
// that is another would never be found.
func TestDamagedTextIsLeftOutAndSaid(t *testing.T) {
	for _, tt := range []struct{ service, node, http, want string }{
		{`s\ud800`, "n", "", `service "s�" has an id that is not Unicode`},
		{"s", "n\xff", "", `node "n�" has an id that is not Unicode`},
		{"s", "n", `,"http":{"body":{"healthy_match":"\udc00"}}`, "match that is not Unicode"},
		{"s", "n", `,"http":{"body":{"dead_match":"\udc00"}}`, "match that is not Unicode"},
	} {
		m := decoded(t, `{"data":{"services":[{"id":"`+tt.service+`","nodes":[{"id":"`+tt.node+`","replicas":["tcp://a:1"]`+tt.http+`}]},
			{"id":"other","nodes":[{"id":"n","replicas":["tcp://a:1"]}]}]}}`)
		if len(m.Checks) != 1 || m.Checks[0].ServiceID != "other" || len(m.Problems) != 1 || !strings.Contains(m.Problems[0], tt.want) {
			t.Errorf("%+v: got %d checks and the problems %q, want that of the other service, and it said", tt, len(m.Checks), m.Problems)
		}
	}
}

func TestLookAlikesAreNumberedAlsoInProblems(t *testing.T) {
	m := decoded(t, withReplicas(`"http://a/?k=1","http://b/","http://a/?k=2","http://a/?k=2"`))
	if got := fmt.Sprint(m.Checks[0].Target, m.Checks[1].Target, m.Checks[2].Target); got != "http://a/?k=… #1 http://b/ http://a/?k=… #2" {
		t.Errorf("got %s, want the look-alikes numbered", got)
	}
	if len(m.Problems) != 1 || !strings.Contains(m.Problems[0], "replica http://a/?k=… #2 is there twice") {
		t.Errorf("got the problems %q, want the second one to be there twice", m.Problems)
	}
}

func TestEditedIsAnotherDate(t *testing.T) {
	first, same := decoded(t, `{"data":{"date":7,"services":[]}}`), decoded(t, `{"data":{"date":7,"services":[]}}`)
	edited, dateless := decoded(t, `{"data":{"date":8,"services":[]}}`), decoded(t, `{"data":{"services":[]}}`)
	if same.Edited(first) || dateless.Edited(dateless) {
		t.Error("got a map of the same date called edited")
	}
	if !edited.Edited(first) {
		t.Error("got a map of another date called the same")
	}
}
