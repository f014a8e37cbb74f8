package statusapi

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/crisp-im/crisp-status-local/v2/internal/probe"
)

// TestAReportThatIsGivenUpIsTakenBack: the kernel keeps nothing of it that it would
// send later. A connection that is idle is closed in peace.
func TestAReportThatIsGivenUpIsTakenBack(t *testing.T) {
	asked, end := make(chan bool), make(chan error)
	endpoint := serve(t, func(n int, conn net.Conn) {
		in := bufio.NewReader(conn)
		req, err := http.ReadRequest(in)
		if err != nil {
			return
		}
		io.Copy(io.Discard, req.Body)
		if n == 1 {
			asked <- true
		} else {
			io.WriteString(conn, "HTTP/1.1 204 No Content\r\n\r\n")
		}
		_, err = in.ReadByte()
		end <- err
	})
	c := New(endpoint, testToken, testAgent, paced(time.Minute))
	defer c.Close()
	ctx, giveUp := context.WithCancel(t.Context())
	go func() { <-asked; giveUp() }()
	r := verdict("s", "n", "tcp://a:1", probe.Dead)
	if err := c.Report(ctx, r, time.Minute); !errors.Is(err, context.Canceled) {
		t.Fatalf("a report that was given up: got %v, want %v", err, context.Canceled)
	}
	if err := <-end; !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("its connection ended with %v, want %v", err, syscall.ECONNRESET)
	}
	if err := c.Report(t.Context(), r, time.Minute); err != nil {
		t.Fatal(err)
	}
	c.Close()
	if err := <-end; err != io.EOF {
		t.Errorf("an idle connection ended with %v, want %v", err, io.EOF)
	}
}

// mutable is a listener whose connections discard, while it is mute, whatever is written.
type mutable struct {
	net.Listener
	mute atomic.Bool
}

type mutableConn struct {
	net.Conn
	of *mutable
}

func (m *mutable) Accept() (net.Conn, error) {
	conn, err := m.Listener.Accept()
	return mutableConn{conn, m}, err
}

func (c mutableConn) Write(b []byte) (int, error) {
	if c.of.mute.Load() {
		return len(b), nil
	}
	return c.Conn.Write(b)
}

// TestSeveredConnectionsDeliverNothing: over HTTP/2, a report that is given up is taken back
// only with its connection. It is not repeated; the others are as those of any connection
// that breaks, and one over which answers came lives on.
func TestSeveredConnectionsDeliverNothing(t *testing.T) {
	var requests, connections atomic.Int32
	asked, over := make(chan bool, 32), make(chan bool)
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if requests.Add(1) == 1 {
			return
		}
		asked <- true
		select {
		case <-r.Context().Done():
		case <-over:
		}
	}))
	server.EnableHTTP2 = true
	server.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			connections.Add(1)
		}
	}
	network := &mutable{Listener: server.Listener}
	server.Listener = network
	server.StartTLS()
	defer server.Close()
	c := New(server.URL, testToken, testAgent, paced(time.Minute))
	defer c.Close()
	trust(c, server)
	r := verdict("s", "n", "tcp://a:1", probe.Dead)
	if err := c.Report(t.Context(), r, time.Minute); err != nil {
		t.Fatal(err)
	}
	c.Sever() // nothing is asked
	network.mute.Store(true)
	open := func() int {
		c.conns.mu.Lock()
		defer c.conns.mu.Unlock()
		return len(c.conns.open)
	}
	tries := int32(0)
	for ; open() > 0 && tries < 20; tries++ { // an old frame of the server may have come after a request
		ctx, giveUp := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- c.Report(ctx, r, time.Minute) }()
		<-asked
		giveUp()
		if c.Sever(); <-ended == nil {
			t.Error("a report that was given up was taken, want it to fail")
		}
	}
	if n := connections.Load(); n != 1 {
		t.Errorf("got %d connections so far, want one, which lives on while nothing is asked over it", n)
	}
	close(over)
	network.mute.Store(false)
	for try := 1; c.Report(t.Context(), r, time.Minute) != nil; try++ { // the first one may find the closed connection
		if try == 3 {
			t.Fatal("no report is taken any more, want them taken over another connection")
		}
	}
	if n := connections.Load(); n != 2 {
		t.Errorf("got %d connections, want another one after the first was severed", n)
	}
	if n := requests.Load(); n != 1+tries+1 {
		t.Errorf("got %d requests, want each that was given up once, of %d", n, tries)
	}
}

// TestTunnelThatIsNeverMade: a proxy takes connections and never answers CONNECT. They are
// closed long before the minute that package http waits.
func TestTunnelThatIsNeverMade(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	closed := make(chan struct{})
	go func() {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		_, _ = io.Copy(io.Discard, conn)
		close(closed)
	}()
	c := New("https://report.example.com/v1", testToken, testAgent, paced(time.Minute))
	defer c.Close()
	c.conns.firstByte = 100 * time.Millisecond
	c.http.Transport.(*http.Transport).Proxy = http.ProxyURL(&url.URL{Scheme: "http", Host: l.Addr().String()})
	if err := c.Report(t.Context(), verdict("s", "n", "tcp://a:1", probe.Healthy), time.Minute); err == nil {
		t.Error("got it taken, want an error")
	}
	<-closed
}

// TestMapIsAskedForAgainOverAnotherConnection: the first one may lead to a server that fails.
func TestMapIsAskedForAgainOverAnotherConnection(t *testing.T) {
	for _, http2 := range []bool{false, true} {
		var bad atomic.Value
		var status atomic.Int32
		status.Store(http.StatusInternalServerError)
		server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if bad.CompareAndSwap(nil, r.RemoteAddr) || bad.Load() == r.RemoteAddr {
				w.WriteHeader(int(status.Load()))
				return
			}
			w.Header().Set("Content-Type", "application/json")
			_, _ = io.WriteString(w, `{"data":{"date":1,"metrics":{},"services":[]}}`)
		}))
		server.EnableHTTP2 = http2
		server.StartTLS()
		defer server.Close()
		c := New(server.URL, testToken, testAgent, func(time.Duration) time.Duration { return time.Millisecond })
		defer c.Close()
		trust(c, server)
		for range 3 {
			if _, err := c.FetchMap(t.Context(), nil); err != nil {
				t.Errorf("HTTP/2 %v: %v, want a map by the second attempt", http2, err)
			}
		}
		status.Store(http.StatusUnauthorized)
		if _, err := c.FetchMap(t.Context(), nil); !errors.Is(err, ErrUnauthorized) {
			t.Errorf("HTTP/2 %v: got %v, want no second attempt after a 401", http2, err)
		}
		if _, err := c.FetchMap(t.Context(), nil); err != nil {
			t.Errorf("HTTP/2 %v: %v, want a map by the next request", http2, err)
		}
	}
}
