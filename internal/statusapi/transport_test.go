package statusapi

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/crisp-im/crisp-status-local/v2/internal/probe"
)

// idleCloser is a network that counts how often its idle connections are closed.
type idleCloser struct {
	roundTripFunc
	closed int
}

func (i *idleCloser) CloseIdleConnections() { i.closed++ }

// TestThreeTimeOutsInARowCloseIdleConnections: a firewall may have forgotten
// them. One failure costs nobody a connection, and an answer begins anew.
func TestThreeTimeOutsInARowCloseIdleConnections(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := verdict("s", "n", "tcp://a:1", probe.Healthy)
		taken := func(*http.Request) (*http.Response, error) { return answer(204, ""), nil }
		failed := func(*http.Request) (*http.Response, error) { return nil, errors.New("connection reset") }
		network := &idleCloser{}
		c := newTestClient(time.Minute, nil)
		c.http.Transport = network
		for i, step := range []struct {
			api  roundTripFunc
			want int
		}{
			{failed, 0}, {failed, 0}, {failed, 0}, {failed, 0},
			{hang, 0}, {hang, 0}, {taken, 0},
			{hang, 0}, {hang, 0}, {hang, 1},
			{hang, 1}, {hang, 1}, {hang, 2},
			{taken, 2}, {hang, 2},
		} {
			network.roundTripFunc = step.api
			c.Report(t.Context(), r, time.Minute)
			if network.closed != step.want {
				t.Fatalf("after request %d: idle connections were closed %d times, want %d", i, network.closed, step.want)
			}
		}
		network.roundTripFunc = failed
		c.FetchMap(t.Context(), nil)
		if network.closed != 2 {
			t.Errorf("after a map request that failed: idle connections were closed %d times, want 2", network.closed)
		}
		if c.Close(); network.closed != 3 {
			t.Errorf("after Close: idle connections were closed %d times, want 3", network.closed)
		}
	})
}

// TestFewConnectionsForManyReports: 1,000 reports, eight at a time.
func TestFewConnectionsForManyReports(t *testing.T) {
	var connections atomic.Int32
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, strings.Repeat("taken ", 1000)) // a body must not cost the connection
	}))
	server.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			connections.Add(1)
		}
	}
	server.Start()
	defer server.Close()
	c := New(server.URL, testToken, testAgent, paced(time.Minute))
	defer c.Close()
	report(t, c, 8, 125)
	if got := connections.Load(); got > 32 {
		t.Errorf("got %d connections for 1,000 reports, want at most 32", got)
	}
}

// report makes workers × each reports.
func report(t *testing.T, c *Client, workers, each int) {
	t.Helper()
	r := verdict("s", "n", "tcp://a:1", probe.Healthy)
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			for range each {
				if err := c.Report(t.Context(), r, time.Minute); err != nil {
					t.Errorf("got %v, want the report taken", err)
				}
			}
		})
	}
	wg.Wait()
}

// TestHeadOfAnAnswerIsBounded over HTTP/1.1 and HTTP/2, to what the tour states.
func TestHeadOfAnAnswerIsBounded(t *testing.T) {
	if maxAnswer != 64<<10 {
		t.Errorf("got a bound of %d bytes, want 64 KiB", maxAnswer)
	}
	for _, major := range []int{1, 2} {
		for size, want := range map[int]bool{maxAnswer / 2: true, 2 * maxAnswer: false} {
			server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				for i := range size >> 10 {
					w.Header().Set(fmt.Sprint("Filler-", i), strings.Repeat("x", 1<<10))
				}
			}))
			server.EnableHTTP2 = major == 2
			server.StartTLS()
			c := New(server.URL, testToken, testAgent, paced(time.Minute))
			roots := x509.NewCertPool()
			roots.AddCert(server.Certificate())
			c.http.Transport.(*http.Transport).TLSClientConfig.RootCAs = roots
			if err := c.Report(t.Context(), verdict("s", "n", "tcp://a:1", probe.Healthy), time.Minute); (err == nil) != want {
				t.Errorf("HTTP/%d, a head of %d bytes: got %v, want the report taken: %t", major, size, err, want)
			}
			c.Close()
			server.Close()
		}
	}
}

// TestNoTLSBelow12: the token goes to no API that speaks TLS 1.1, whatever the environment
// permits.
func TestNoTLSBelow12(t *testing.T) {
	t.Setenv("GODEBUG", "tls10server=1")
	for version, want := range map[uint16]bool{tls.VersionTLS11: false, tls.VersionTLS12: true, tls.VersionTLS13: true} {
		var requests atomic.Int32
		server := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { requests.Add(1) }))
		server.TLS = &tls.Config{MinVersion: tls.VersionTLS10, MaxVersion: version}
		server.Config.ErrorLog = log.New(io.Discard, "", 0)
		server.StartTLS()
		c := New(server.URL, testToken, testAgent, paced(time.Minute))
		roots := x509.NewCertPool()
		roots.AddCert(server.Certificate())
		c.http.Transport.(*http.Transport).TLSClientConfig.RootCAs = roots
		err := c.Report(t.Context(), verdict("s", "n", "tcp://a:1", probe.Healthy), time.Minute)
		if (err == nil) != want || (requests.Load() > 0) != want {
			t.Errorf("%s: got %v and %d requests, want the report taken: %t", tls.VersionName(version), err, requests.Load(), want)
		}
		c.Close()
		server.Close()
	}
}

// trust has c trust the certificate of server.
func trust(c *Client, server *httptest.Server) {
	roots := x509.NewCertPool()
	roots.AddCert(server.Certificate())
	c.http.Transport.(*http.Transport).TLSClientConfig = &tls.Config{RootCAs: roots}
}

func TestHTTP2WhereOffered(t *testing.T) {
	var connections, others atomic.Int32
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.ProtoMajor != 2 {
			others.Add(1)
		}
	}))
	server.EnableHTTP2 = true
	server.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			connections.Add(1)
		}
	}
	server.StartTLS()
	defer server.Close()
	c := New(server.URL, testToken, testAgent, paced(time.Minute))
	defer c.Close()
	trust(c, server)

	report(t, c, 1, 1)
	report(t, c, 8, 10)
	if others.Load() != 0 || connections.Load() != 1 {
		t.Errorf("got %d requests that are not HTTP/2, over %d connections; want none, over 1", others.Load(), connections.Load())
	}
	transport := newTransport(proxiesOfEnvironment(), new(conns))
	if h := transport.HTTP2; h == nil || h.SendPingTimeout != 10*time.Second || h.PingTimeout != 5*time.Second {
		t.Errorf("HTTP/2 pings: got %+v, want one after 10s idle, 5s to answer", h)
	}
}

// TestFewConnectionsForManyStreams: as many reports at a time as Carries says wait for no
// other, and have a connection for each hundred.
func TestFewConnectionsForManyStreams(t *testing.T) {
	var connections, inFlight atomic.Int32
	var expected int32
	all := make(chan struct{})
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if inFlight.Add(1) == expected {
			close(all)
		}
		select {
		case <-all:
		case <-r.Context().Done():
		}
	}))
	server.EnableHTTP2 = true
	server.Config.HTTP2 = &http.HTTP2Config{MaxConcurrentStreams: streams}
	server.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			connections.Add(1)
		}
	}
	server.StartTLS()
	defer server.Close()
	c := New(server.URL, testToken, testAgent, paced(time.Minute))
	defer c.Close()
	trust(c, server)

	wantCarried := func(wantNow, wantMost int) {
		t.Helper()
		if now, most := c.Carries(); now != wantNow || most != wantMost {
			t.Errorf("got %d reports at a time and %d at most, want %d and %d", now, most, wantNow, wantMost)
		}
	}
	wantCarried(maxConns-spareConns, maxConns-spareConns)
	for i, atATime := range []int{1, 101, 202, 404, 404} {
		all, expected = make(chan struct{}), int32(atATime)
		inFlight.Store(0)
		report(t, c, atATime, 1)
		lanes := []int{1, 2, 4, 8, 8}[i]
		wantCarried(lanes*(streams+1), maxLanes*streams)
		// On a busy machine the streams of the reports before take their places for longer than
		// until their answers.
		if got := int(connections.Load()); got < lanes || got > max(2*lanes, atATime/2) {
			t.Errorf("%d reports at a time: got %d connections so far, want %d or some more", atATime, got, lanes)
		}
		time.Sleep(200 * time.Millisecond) // until most of these are over
	}
}

// TestOneLaneWithoutHTTP2: there are as many connections as there are reports at a time.
func TestOneLaneWithoutHTTP2(t *testing.T) {
	var l lanes
	base := &http.Client{Transport: newTransport(proxiesOfEnvironment(), new(conns))}
	answer := func(major int) *http.Response { return &http.Response{ProtoMajor: major} }
	enter := func(n int) (entered []*lane) {
		for range n {
			lane, _ := l.enter(base, false)
			entered = append(entered, lane)
		}
		return entered
	}
	for _, lane := range enter(2 * maxConns) {
		if l.leave(lane, time.Now(), answer(1)); lane != l.lanes[0] || lane.client != base {
			t.Fatal("got another lane, want one for all")
		}
	}
	l.leave(enter(1)[0], time.Now(), answer(2))
	for _, lane := range enter(streams + 1) {
		l.leave(lane, time.Now(), answer(2))
	}
	if now, most := l.carry(); now != 2*(streams+1) || most != maxLanes*streams {
		t.Errorf("over HTTP/2: got %d at a time, want two lanes", now)
	}
	// A proxy comes in between, which does not speak it.
	for _, lane := range enter(streams + 1) {
		l.leave(lane, time.Now(), answer(1))
	}
	if now, most := l.carry(); now != maxConns-spareConns || most != now || l.open != 0 {
		t.Errorf("over HTTP/1.1 again: got %d and %d at a time, %d lanes, want one lane", now, most, l.open)
	}
}

// serve answers every connection with f until the test ends.
func serve(t *testing.T, f func(n int, conn net.Conn)) (endpoint string) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for n := 1; ; n++ {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer conn.Close()
				f(n, conn)
			})
		}
	})
	t.Cleanup(func() { listener.Close(); wg.Wait() })
	return "http://" + listener.Addr().String()
}

// TestDroppedConnectionFailsNoReport: a server that closes an idle connection
// just as the next report comes over it gets that report over another one.
func TestDroppedConnectionFailsNoReport(t *testing.T) {
	seen := make(chan string, 10)
	endpoint := serve(t, func(n int, conn net.Conn) {
		in := bufio.NewReader(conn)
		for i := range 2 {
			req, err := http.ReadRequest(in)
			if err != nil {
				return
			}
			body, _ := io.ReadAll(req.Body)
			if n == 1 && i == 1 {
				seen <- "dropped"
				return
			}
			seen <- string(body)
			io.WriteString(conn, "HTTP/1.1 204 No Content\r\n\r\n")
		}
	})
	c := New(endpoint, testToken, testAgent, paced(time.Minute))
	defer c.Close()
	for _, health := range []probe.Health{probe.Healthy, probe.Dead} {
		if err := c.Report(t.Context(), verdict("s", "n", "tcp://a:1", health), time.Minute); err != nil {
			t.Fatalf("reporting %s: %v", health, err)
		}
	}
	var got []string
	for len(seen) > 0 {
		got = append(got, <-seen)
	}
	if len(got) != 3 || got[1] != "dropped" || !strings.Contains(got[2], "dead") {
		t.Errorf("the API saw %q, want a report, a dropped one, and that one again", got)
	}
}

func TestWhatIsNotAnAnswerIsSaidSo(t *testing.T) {
	for _, tt := range []struct{ name, answer, want string }{
		{"not HTTP", "SSH-2.0-OpenSSH_9.2\r\n", "malformed HTTP"},
		{"nothing", "", "EOF"},
		{"headers without end", "HTTP/1.1 200 OK\r\n" + strings.Repeat("X-Filler: "+strings.Repeat("x", 1000)+"\r\n", 1000), "headers exceeded 65536 bytes"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			endpoint := serve(t, func(_ int, conn net.Conn) {
				http.ReadRequest(bufio.NewReader(conn))
				io.WriteString(conn, tt.answer)
			})
			c := New(endpoint, testToken, testAgent, paced(time.Minute))
			defer c.Close()
			err := c.Report(t.Context(), verdict("s", "n", "tcp://a:1", probe.Healthy), time.Minute)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got the error %v, want %q", err, tt.want)
			}
		})
	}
	t.Run("nobody listens", func(t *testing.T) {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		listener.Close()
		c := New("http://"+listener.Addr().String(), testToken, testAgent, paced(time.Minute))
		if err := c.Report(t.Context(), verdict("s", "n", "tcp://a:1", probe.Healthy), time.Minute); err == nil || !strings.Contains(err.Error(), "connection refused") {
			t.Errorf("got the error %v, want connection refused", err)
		}
	})
}

// TestProxyOfTheEnvironment runs itself with another environment, since that is
// read once in a process.
func TestProxyOfTheEnvironment(t *testing.T) {
	endpoint := "http://report.invalid/v1"
	if os.Getenv("TEST_PROXY") != "" {
		endpoint = os.Getenv("TEST_PROXY")
		c := New(endpoint, testToken, testAgent, paced(time.Minute))
		if os.Getenv("NO_PROXY") != "" {
			req, _ := http.NewRequest(http.MethodGet, endpoint, nil)
			u, err := proxiesOfEnvironment().of(req)
			fmt.Printf("proxy %v, error %v\n", u, err)
			return
		}
		fmt.Printf("error %v\n", c.Report(t.Context(), verdict("s", "n", "tcp://a:1", probe.Healthy), time.Minute))
		return
	}
	asked := make(chan string, 10)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked <- r.RequestURI
		if r.Method == http.MethodConnect {
			w.WriteHeader(http.StatusProxyAuthRequired)
		}
	}))
	defer server.Close()
	run := func(env ...string) string {
		t.Helper()
		self, err := os.Executable()
		if err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command(self, "-test.run=^TestProxyOfTheEnvironment$")
		cmd.Env = append([]string{"TEST_PROXY=" + endpoint}, env...)
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("running %s: %v\n%s", self, err, out)
		}
		return string(out)
	}

	out := run("HTTP_PROXY=" + server.URL)
	if len(asked) != 1 {
		t.Fatalf("got %q, and the proxy was asked %d times; want the report to go through it", out, len(asked))
	}
	if uri := <-asked; !strings.Contains(out, "error <nil>") || uri != endpoint+"/report/s/n" {
		t.Errorf("got %q, and the proxy was asked for %q; want the report to go through it", out, uri)
	}
	if out := run("HTTP_PROXY="+server.URL, "NO_PROXY=report.invalid"); !strings.Contains(out, "proxy <nil>, error <nil>") {
		t.Errorf("got %q, want no proxy for what is in NO_PROXY", out)
	}
	for address, want := range map[string]string{
		"http://user:s3cr3t@proxy.invalid:port": "HTTP_PROXY or HTTPS_PROXY in the environment is not a URL",
		"user:s3cr3t":                           "HTTP_PROXY or HTTPS_PROXY in the environment is not a URL",
		"ftp://user:s3cr3t@127.0.0.1:1":         "is one for ftp://",
	} {
		if out := run("HTTP_PROXY=" + address); strings.Contains(out, "s3cr3t") || !strings.Contains(out, want) {
			t.Errorf("proxy %s: got %q, want to hear %q, and no password", address, out, want)
		}
	}
	out = run("HTTPS_PROXY="+server.URL, "TEST_PROXY=https://report.invalid/v1")
	if want := fmt.Sprintf("the proxy %s answers status 407", server.Listener.Addr()); !strings.Contains(out, want) {
		t.Errorf("got %q, want %q: it is not the API that refuses", out, want)
	}
}
