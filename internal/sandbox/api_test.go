package sandbox

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/crisp-im/crisp-status-local/v2/internal/sandbox/judge"
)

// client speaks to a served Server as a well-behaved daemon does.
type client struct {
	server *Server
	http   *http.Client
	agent  string
}

// serve runs a Server for as long as the test, and checks that it ends cleanly.
func serve(t *testing.T, o Options) *client {
	t.Helper()
	server, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- server.Run(ctx) }()
	transport := &http.Transport{}
	t.Cleanup(func() {
		cancel()
		transport.CloseIdleConnections()
		if err := <-ended; err != nil {
			t.Errorf("Run ended with %v, want nil", err)
		}
	})
	noRedirect := func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &client{server, &http.Client{Transport: transport, CheckRedirect: noRedirect}, "crisp-status-local/2.0.0"}
}

func (c *client) request(ctx context.Context, t *testing.T, method, path, body string) *http.Request {
	t.Helper()
	r, err := http.NewRequestWithContext(ctx, method, c.server.Endpoint()+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.SetBasicAuth("", c.server.Token())
	r.Header.Set("User-Agent", c.agent)
	if method == http.MethodPost {
		r.Header.Set("Content-Type", "application/json")
	}
	return r
}

func (c *client) do(t *testing.T, r *http.Request) (*http.Response, string) {
	t.Helper()
	res, err := c.http.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res, string(body)
}

func (c *client) fetch(t *testing.T, since int64, want int) wireMap {
	t.Helper()
	path := "/probes/local"
	if since != 0 {
		path += fmt.Sprintf("?since=%d", since)
	}
	res, body := c.do(t, c.request(t.Context(), t, http.MethodGet, path, ""))
	if res.StatusCode != want {
		t.Fatalf("GET %s is answered %d (%s), want %d", path, res.StatusCode, body, want)
	}
	var m wireMap
	if want == http.StatusOK {
		if got := res.Header.Get("Content-Type"); !strings.HasPrefix(got, "application/json") {
			t.Errorf("the map's Content-Type is %q, want application/json", got)
		}
		if err := json.Unmarshal([]byte(body), &m); err != nil {
			t.Fatal(err)
		}
	}
	return m
}

func reportOf(replica string, health Health, interval int) string {
	return strings.TrimSuffix(string(encode(wireReport{replica, health, interval})), "\n")
}

func (c *client) report(t *testing.T, service, node, replica string, health Health, want int) {
	t.Helper()
	path := "/report/" + url.PathEscape(service) + "/" + url.PathEscape(node)
	res, body := c.do(t, c.request(t.Context(), t, http.MethodPost, path, reportOf(replica, health, 120)))
	if res.StatusCode != want {
		t.Errorf("POST %s of %s is answered %d (%s), want %d", path, replica, res.StatusCode, body, want)
	}
}

// small is a map with ids that are no good for a path, one of them twice used.
func small() Map {
	return Map{Services: []Service{
		{ID: "S", Nodes: []Node{{ID: "N", Replicas: []string{"tcp://h:1", "http://h/?a=1&b=2"}}}},
		{ID: "a/b", Nodes: []Node{{ID: "..", Replicas: []string{"tcp://h:1"}}, {ID: "50% é", Replicas: []string{"tcp://h:1"}}}},
	}}
}

func TestMapRequests(t *testing.T) {
	m := small()
	m.Metrics.DelayDead = new(7)
	m.Services[0].Nodes[0].HTTP.HealthyMatch = new("ok")
	c := serve(t, Options{Map: m})
	got := c.fetch(t, 0, 200)
	if len(got.Data.Services) != 2 || *got.Data.Metrics.Local.DelayDead != 7 || *got.Data.Services[0].Nodes[0].HTTP.Body.HealthyMatch != "ok" {
		t.Errorf("the map is %+v, want the one given", got)
	}
	c.fetch(t, got.Data.Date, 304)
	if s := c.server.Summary(); s.MapsSent != 1 || s.MapsCurrent != 1 || len(s.Violations) != 0 {
		t.Errorf("the summary counts %d maps, %d times 304 and %v, want 1, 1 and no violation", s.MapsSent, s.MapsCurrent, s.Violations)
	}
	if err := c.server.SetMap(small()); err != nil {
		t.Fatal(err)
	}
	if next := c.fetch(t, got.Data.Date, 200); next.Data.Date <= got.Data.Date {
		t.Errorf("date went from %d to %d, want it to grow", got.Data.Date, next.Data.Date)
	}
}

func TestTokens(t *testing.T) {
	c := serve(t, Options{Map: small(), Token: "right"})
	for _, tt := range []struct {
		name, user, password string
		want                 int
	}{
		{"right", "", "right", 200},
		{"wrong", "", "wrong", 401},
		{"none", "", "", 401},
		{"with a user", "me", "right", 401},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := c.request(t.Context(), t, http.MethodGet, "/probes/local", "")
			r.SetBasicAuth(tt.user, tt.password)
			if res, _ := c.do(t, r); res.StatusCode != tt.want {
				t.Errorf("status is %d, want %d", res.StatusCode, tt.want)
			}
		})
	}
	c.server.SetToken("new")
	c.fetch(t, 0, 200)
	if got := c.server.Summary().Unauthorized; got != 3 {
		t.Errorf("%d requests were counted as unauthorized, want 3", got)
	}
}

func TestReports(t *testing.T) {
	c := serve(t, Options{Map: small()})
	c.fetch(t, 0, 200)
	c.report(t, "S", "N", "tcp://h:1", Healthy, 200)
	c.report(t, "S", "N", "http://h/?a=1&b=2", Sick, 200)
	c.report(t, "a/b", "50% é", "tcp://h:1", Dead, 200)
	c.report(t, "S", "N", "tcp://h:2", Dead, 404)
	c.report(t, "S", "no", "tcp://h:1", Dead, 404)
	c.report(t, "no", "N", "tcp://h:1", Dead, 404)
	dots := c.request(t.Context(), t, http.MethodPost, "/report/a%2Fb/%2E%2E", reportOf("tcp://h:1", Sick, 120))
	if res, _ := c.do(t, dots); res.StatusCode != 200 {
		t.Errorf("a report for a node named .. is answered %d, want 200", res.StatusCode)
	}
	for _, tt := range []struct {
		service, node string
		want          Health
	}{{"S", "N", Healthy}, {"a/b", "50% é", Dead}, {"a/b", "..", Sick}} {
		got, ok := c.server.Replica(tt.service, tt.node, "tcp://h:1")
		if !ok || got.Health != tt.want || got.Interval != 120 {
			t.Errorf("the replica in %s, %s is %+v, want it %s for 120 s", tt.service, tt.node, got, tt.want)
		}
	}
	s := c.server.Summary()
	if s.Reports != 4 || s.Refused != 3 || len(s.Violations) != 0 {
		t.Errorf("the summary has %d reports, %d refused and violations %v, want 4, 3 and none", s.Reports, s.Refused, s.Violations)
	}
}

func TestManners(t *testing.T) {
	good := reportOf("tcp://h:1", Healthy, 120)
	for _, tt := range []struct {
		name, method, path, body string
		change                   func(*http.Request)
		want                     int
		rule                     string // empty: no violation
	}{
		{"good report", "POST", "/report/S/N", good, nil, 200, ""},
		{"a final line feed", "POST", "/report/S/N", good + "\n", nil, 200, ""},
		{"not JSON", "POST", "/report/S/N", "{", nil, 400, "must be valid"},
		{"two values", "POST", "/report/S/N", good + good, nil, 400, "must be valid"},
		{"health", "POST", "/report/S/N", strings.Replace(good, "healthy", "fine", 1), nil, 400, "must be valid"},
		{"interval zero", "POST", "/report/S/N", reportOf("tcp://h:1", Healthy, 0), nil, 400, "must be valid"},
		{"interval broken", "POST", "/report/S/N", strings.Replace(good, "120", "1.5", 1), nil, 400, "must be valid"},
		{"no replica", "POST", "/report/S/N", reportOf("", Healthy, 120), nil, 400, "must be valid"},
		{"a field more", "POST", "/report/S/N", strings.Replace(good, "{", `{"x":1,`, 1), nil, 200, "protocol's form"},
		{"blanks", "POST", "/report/S/N", strings.Replace(good, ":", ": ", 1), nil, 200, "protocol's form"},
		{"escaped &", "POST", "/report/S/N", strings.Replace(reportOf("http://h/?a=1&b=2", Healthy, 120), "&", `\u0026`, 1), nil, 200, "protocol's form"},
		{"content type", "POST", "/report/S/N", good, func(r *http.Request) { r.Header.Set("Content-Type", "text/plain") }, 400, "Content-Type"},
		{"user agent", "POST", "/report/S/N", good, func(r *http.Request) { r.Header.Set("User-Agent", "curl/8") }, 200, "User-Agent"},
		{"agent without a version", "POST", "/report/S/N", good, func(r *http.Request) { r.Header.Set("User-Agent", "crisp-status-local/") }, 200, "User-Agent"},
		{"a user", "POST", "/report/S/N", good, func(r *http.Request) { r.SetBasicAuth("me", "x") }, 401, "user of the Basic"},
		{"dots", "POST", "/report/a%2Fb/..", reportOf("tcp://h:1", Healthy, 120), nil, 200, "dots included"},
		{"three ids", "POST", "/report/S/N/M", good, nil, 404, "two ids"},
		{"a query", "POST", "/report/S/N?a=b", good, nil, 200, "no query"},
		{"method", "PUT", "/report/S/N", good, nil, 405, "GET, reports sent with POST"},
		{"HEAD", "HEAD", "/probes/local", "", nil, 405, "GET, reports sent with POST"},
		{"since of no map", "GET", "/probes/local?since=1", "", nil, 200, "date that the API has handed out"},
		{"since of no number", "GET", "/probes/local?since=x", "", nil, 200, "date that the API has handed out"},
		{"another query", "GET", "/probes/local?until=1", "", nil, 200, "only query"},
		{"another path", "GET", "/probes/remote", "", nil, 404, "only the map and reports"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := serve(t, Options{Map: small()})
			r := c.request(t.Context(), t, tt.method, tt.path, tt.body)
			if tt.change != nil {
				tt.change(r)
			}
			if res, body := c.do(t, r); res.StatusCode != tt.want {
				t.Errorf("%s %s is answered %d (%s), want %d", tt.method, tt.path, res.StatusCode, body, tt.want)
			}
			got := c.server.Summary().Violations
			switch {
			case tt.rule == "" && len(got) != 0:
				t.Errorf("violations are %v, want none", got)
			case tt.rule != "" && (len(got) != 1 || !strings.Contains(got[0].Rule, tt.rule) || got[0].Count != 1):
				t.Errorf("violations are %v, want one of the rule with %q", got, tt.rule)
			}
		})
	}
}

func TestOneRequestPerReplicaAtATime(t *testing.T) {
	c := serve(t, Options{Map: small()})
	held := make(chan chan struct{}) // requests, until what they bring is closed
	c.server.Break(Reports, func(http.ResponseWriter, *http.Request) {
		release := make(chan struct{})
		held <- release
		<-release
	})
	var work sync.WaitGroup
	send := func(replica string) { work.Go(func() { c.report(t, "S", "N", replica, Healthy, 200) }) }

	send("tcp://h:1")
	send("http://h/?a=1&b=2")
	one, two := <-held, <-held
	close(one)
	close(two)
	work.Wait()
	if got := c.server.Summary().Violations; len(got) != 0 {
		t.Errorf("reports of two replicas at once are held against the client: %v", got)
	}

	newest := func() *flight {
		c.server.flightMu.Lock()
		defer c.server.flightMu.Unlock()
		return c.server.flights[replicaKey{"", judge.NodeID{Service: "S", Node: "N"}, "tcp://h:1"}]
	}
	send("tcp://h:1")
	one = <-held
	first := newest()
	send("tcp://h:1")
	for newest() == first { // the test's own deadline is the bound
		time.Sleep(time.Millisecond)
	}
	close(one)
	close(<-held)
	work.Wait()
	if got := c.server.Summary().Violations; len(got) != 1 || !strings.Contains(got[0].Rule, "one request per replica") {
		t.Errorf("violations are %v, want one for two requests about one replica", got)
	}
	if got := c.server.Summary(); got.MaxInFlight != 2 || got.InFlight != 0 || got.MaxConnections != 2 {
		t.Errorf("the summary has %d in flight, at most %d, over at most %d connections, want 0, 2 and 2", got.InFlight, got.MaxInFlight, got.MaxConnections)
	}
	c.http.CloseIdleConnections()
	for c.server.Summary().Connections > 0 { // the test's own deadline is the bound
		time.Sleep(time.Millisecond)
	}
}

func TestARequestThatWasGivenUpIsNotHeldAgainstTheNext(t *testing.T) {
	c := serve(t, Options{Map: small()})
	heal := c.server.Break(Reports, Hang())
	for range 3 {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		if res, err := c.http.Do(c.request(ctx, t, http.MethodPost, "/report/S/N", reportOf("tcp://h:1", Healthy, 120))); err == nil {
			res.Body.Close()
			t.Errorf("a hanging API answered %d", res.StatusCode)
		}
		cancel()
	}
	heal()
	c.report(t, "S", "N", "tcp://h:1", Healthy, 200)
	if got := c.server.Summary().Violations; len(got) != 0 {
		t.Errorf("violations are %v, want none", got)
	}
}

func TestFaults(t *testing.T) {
	c := serve(t, Options{Map: small()})
	other := "http://h/?a=1&b=2"
	for _, tt := range []struct {
		name    string
		aim     func(Request) bool
		fault   Fault
		broken  string // map, report or other
		want    int
		headers map[string]string
	}{
		{"status", Reports, Refuse(503, "7"), "report", 503, map[string]string{"Retry-After": "7"}},
		{"HTML", Maps, Answer(200, "text/html", []byte("<p>hello")), "map", 200, map[string]string{"Content-Type": "text/html"}},
		{"redirect", All, Redirect(307, "http://127.0.0.1:1/"), "map", 307, map[string]string{"Location": "http://127.0.0.1:1/"}},
		{"one replica", ReportsOf("tcp://h:1"), Refuse(500, ""), "report", 500, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			heal := c.server.Break(tt.aim, tt.fault)
			r := c.request(t.Context(), t, http.MethodGet, "/probes/local", "")
			if tt.broken == "report" {
				r = c.request(t.Context(), t, http.MethodPost, "/report/S/N", reportOf("tcp://h:1", Healthy, 120))
			}
			res, _ := c.do(t, r)
			if res.StatusCode != tt.want {
				t.Errorf("the broken request is answered %d, want %d", res.StatusCode, tt.want)
			}
			for name, want := range tt.headers {
				if got := res.Header.Get(name); got != want {
					t.Errorf("header %s is %q, want %q", name, got, want)
				}
			}
			if tt.name == "one replica" {
				c.report(t, "S", "N", other, Healthy, 200)
			}
			if tt.broken == "report" {
				c.fetch(t, 0, 200)
			}
			heal()
			c.fetch(t, 0, 200)
			c.report(t, "S", "N", "tcp://h:1", Healthy, 200)
		})
	}
	t.Run("disconnect", func(t *testing.T) {
		defer c.server.Break(All, Disconnect())()
		if res, err := c.http.Do(c.request(t.Context(), t, http.MethodGet, "/probes/local", "")); err == nil {
			res.Body.Close()
			t.Errorf("an API that disconnects answered %d, want no answer", res.StatusCode)
		}
	})
}

func TestAPIOverHTTPS(t *testing.T) {
	c := serve(t, Options{Map: small(), TLS: true})
	c.http.Transport = trusting(t, c.server.CA())
	res, _ := c.do(t, c.request(t.Context(), t, http.MethodGet, "/probes/local", ""))
	if !strings.HasPrefix(c.server.Endpoint(), "https://") || res.StatusCode != 200 || res.ProtoMajor != 2 {
		t.Errorf("%s is answered %d over %s, want 200 over HTTP/2", c.server.Endpoint(), res.StatusCode, res.Proto)
	}
	c.report(t, "S", "N", "tcp://h:1", Healthy, 200)
	if got := c.server.Summary().TotalConnections; got != 1 {
		t.Errorf("two requests over HTTP/2 took %d connections, want 1", got)
	}
}
