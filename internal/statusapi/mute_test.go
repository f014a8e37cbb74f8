package statusapi

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/crisp-im/crisp-status-local/v2/internal/probe"
)

// overHTTP2 returns a client of a server that handles requests so over HTTP/2, and the number
// of connections that were made.
func overHTTP2(t *testing.T, handle http.HandlerFunc) (*Client, *atomic.Int32) {
	t.Helper()
	connections := new(atomic.Int32)
	server := httptest.NewUnstartedServer(handle)
	server.EnableHTTP2 = true
	server.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			connections.Add(1)
		}
	}
	server.StartTLS()
	t.Cleanup(server.Close)
	c := New(server.URL, testToken, testAgent, paced(time.Minute))
	t.Cleanup(c.Close)
	trust(c, server)
	return c, connections
}

// TestAConnectionThatAnswersNothingIsLeft: it is alive, and what is behind it is gone. It is
// never idle, since others have begun by the time that a report has failed.
func TestAConnectionThatAnswersNothingIsLeft(t *testing.T) {
	var first atomic.Value
	var asked atomic.Int32
	c, connections := overHTTP2(t, func(w http.ResponseWriter, r *http.Request) {
		if first.CompareAndSwap(nil, r.RemoteAddr) || first.Load() != r.RemoteAddr {
			return
		}
		asked.Add(1)
		<-r.Context().Done()
	})
	v := verdict("s", "n", "tcp://a:1", probe.Healthy)
	if err := c.Report(t.Context(), v, time.Minute); err != nil {
		t.Fatalf("the first report: %v", err)
	}
	c.http.Timeout = 500 * time.Millisecond
	var taken atomic.Bool
	var reporters sync.WaitGroup
	for range 4 {
		reporters.Go(func() {
			for range 6 {
				if c.Report(t.Context(), v, time.Minute) == nil {
					taken.Store(true)
				}
				if taken.Load() {
					return
				}
			}
		})
		time.Sleep(c.http.Timeout / 4)
	}
	reporters.Wait()
	if !taken.Load() || asked.Load() == 0 || connections.Load() < 2 {
		t.Errorf("got %d reports that hung, %d connections, and one taken: %v; want one over a second connection",
			asked.Load(), connections.Load(), taken.Load())
	}
}

// TestAConnectionThatAnswersOthersIsKept: a single report hangs.
func TestAConnectionThatAnswersOthersIsKept(t *testing.T) {
	hangs := make(chan struct{})
	c, connections := overHTTP2(t, func(_ http.ResponseWriter, r *http.Request) {
		if body, _ := io.ReadAll(r.Body); strings.Contains(string(body), "tcp://hangs:1") {
			close(hangs)
			<-r.Context().Done()
		}
	})
	other := verdict("s", "n", "tcp://a:1", probe.Healthy)
	if err := c.Report(t.Context(), other, time.Minute); err != nil {
		t.Fatalf("the first report: %v", err)
	}
	c.http.Timeout = 2 * time.Second
	over := make(chan error)
	go func() { over <- c.Report(t.Context(), verdict("s", "n", "tcp://hangs:1", probe.Healthy), time.Minute) }()
	<-hangs
	for waiting := true; waiting; {
		select {
		case err := <-over:
			if waiting = false; err == nil {
				t.Error("the report that hangs: got it taken")
			}
		default:
			if err := c.Report(t.Context(), other, time.Minute); err != nil {
				t.Errorf("a report beside it: %v", err)
			}
			time.Sleep(time.Millisecond)
		}
	}
	if got := connections.Load(); got != 1 {
		t.Errorf("got %d connections, want the one", got)
	}
}

// TestAConnectionIsLeftWithAReportThatIsGivenUp, if it has answered nothing for long enough;
// before that it is kept.
func TestAConnectionIsLeftWithAReportThatIsGivenUp(t *testing.T) {
	for _, long := range []bool{false, true} {
		var hangs atomic.Bool
		asked := make(chan struct{}, 1)
		c, connections := overHTTP2(t, func(_ http.ResponseWriter, r *http.Request) {
			if hangs.Load() {
				asked <- struct{}{}
				<-r.Context().Done()
			}
		})
		if c.muteFor = time.Hour; long {
			c.muteFor = time.Millisecond
		}
		v := verdict("s", "n", "tcp://a:1", probe.Healthy)
		if err := c.Report(t.Context(), v, time.Minute); err != nil {
			t.Fatalf("the first report: %v", err)
		}
		hangs.Store(true)
		ctx, giveUp := context.WithCancel(t.Context())
		over := make(chan error)
		go func() { over <- c.Report(ctx, v, time.Minute) }()
		<-asked
		time.Sleep(10 * time.Millisecond)
		giveUp()
		if err := <-over; err == nil {
			t.Error("the report that is given up: got it taken")
		}
		hangs.Store(false)
		if err := c.Report(t.Context(), v, time.Minute); err != nil {
			t.Errorf("the report that follows: %v", err)
		}
		if got := connections.Load(); (got == 2) != long || got > 2 {
			t.Errorf("given up after long enough: %v: got %d connections, want another one only then", long, got)
		}
	}
}

// TestReportAfresh goes over a connection that no other request has used, and that none
// uses later. Over HTTP/2 others leave the one that there was, since it was taken; and the next
// one, at once, has none of its own.
func TestReportAfresh(t *testing.T) {
	for _, http2 := range []bool{false, true} {
		var mu sync.Mutex
		var over []string // the connection of each request
		server := httptest.NewUnstartedServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			mu.Lock()
			defer mu.Unlock()
			over = append(over, r.RemoteAddr)
		}))
		server.EnableHTTP2 = http2
		server.StartTLS()
		defer server.Close()
		c := New(server.URL, testToken, testAgent, paced(time.Minute))
		defer c.Close()
		trust(c, server)
		for i, report := range []func(context.Context, Verdict, time.Duration) error{c.Report, c.ReportAfresh, c.Report, c.ReportAfresh} {
			if i == 3 {
				c.lanes.apart = time.Now().Add(time.Hour) // however long this machine takes
			}
			if err := report(t.Context(), verdict("s", "n", "tcp://a:1", probe.Healthy), time.Minute); err != nil {
				t.Fatalf("HTTP/2 %v: report %d: %v", http2, i+1, err)
			}
		}
		apart := func(i int) bool { return slices.Index(over, over[i]) == i && !slices.Contains(over[i+1:], over[i]) }
		if !apart(1) || apart(3) == http2 || (over[0] == over[2]) == http2 {
			t.Errorf("HTTP/2 %v: got the connections %v, want the second of its own, and the last unless it is HTTP/2", http2, over)
		}
	}
}
