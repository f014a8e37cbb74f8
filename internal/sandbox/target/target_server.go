package target

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"
)

// clientTimeout is how long a target waits for a client that stopped sending.
const clientTimeout = 10 * time.Second

// targetServer serves a target from one Start to the next Stop. It does without
// net/http: with ten thousand replicas the cost of the targets would be part of
// the measurement.
type targetServer struct {
	target   *Target
	listener *net.TCPListener
	ctx      context.Context // ends when the server is closed, whose lifetime it is
	cancel   context.CancelFunc
	work     sync.WaitGroup
	head     []byte // the answer to HEAD
	full     []byte // the answer to anything else

	mu   sync.Mutex            // protects open
	open map[net.Conn]struct{} // nil when the server is closed
}

// startServer takes connections on ln until close is called, which closes ln.
func startServer(ln *net.TCPListener, t *Target) *targetServer {
	s := &targetServer{target: t, listener: ln, open: make(map[net.Conn]struct{})}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	s.head = fmt.Appendf(nil, "HTTP/1.1 %d %s\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: %d\r\nConnection: close\r\n\r\n",
		t.spec.Status, http.StatusText(t.spec.Status), len(t.spec.Body))
	s.full = append(bytes.Clone(s.head), t.spec.Body...)
	s.work.Go(s.accept)
	return s
}

func (s *targetServer) close() {
	s.cancel()
	_ = s.listener.Close()
	s.mu.Lock()
	for conn := range s.open {
		_ = conn.Close()
	}
	s.open = nil
	s.mu.Unlock()
	s.work.Wait()
}

func (s *targetServer) accept() {
	for {
		conn, err := s.listener.AcceptTCP()
		if s.ctx.Err() != nil {
			if err == nil {
				_ = conn.Close()
			}
			return
		}
		if err != nil { // no file descriptor left, or the client has gone already
			s.wait(10 * time.Millisecond)
			continue
		}
		if s.target.spec.Kind == "tcp" {
			_ = conn.Close()
			continue
		}
		s.work.Go(func() { s.serve(conn) })
	}
}

// wait reports whether d went by before the server was closed.
func (s *targetServer) wait(d time.Duration) bool {
	select {
	case <-s.ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}

func (s *targetServer) serve(conn net.Conn) {
	s.mu.Lock()
	if s.open == nil {
		s.mu.Unlock()
		_ = conn.Close()
		return
	}
	s.open[conn] = struct{}{}
	s.mu.Unlock()
	if err := conn.SetDeadline(time.Now().Add(clientTimeout)); err == nil {
		s.exchange(conn)
	}
	s.mu.Lock()
	delete(s.open, conn)
	s.mu.Unlock()
	_ = conn.Close()
}

// exchange reads one request and answers it. It ignores errors: the client
// notices them.
func (s *targetServer) exchange(conn net.Conn) {
	if s.target.tls != nil {
		secure := tls.Server(conn, s.target.tls)
		defer secure.CloseWrite()
		conn = secure
	}
	var buf [4 << 10]byte // a probe's request is a few hundred bytes
	n := 0
	for !bytes.Contains(buf[:n], []byte("\r\n\r\n")) {
		if n == len(buf) {
			return
		}
		more, err := conn.Read(buf[n:])
		if err != nil {
			return
		}
		n += more
	}
	if delay := time.Duration(s.target.delay.Load()); delay > 0 {
		if !s.wait(delay) {
			return
		}
		if err := conn.SetDeadline(time.Now().Add(clientTimeout)); err != nil {
			return
		}
	}
	reply := s.full
	if bytes.HasPrefix(buf[:], []byte("HEAD ")) {
		reply = s.head
	}
	_, _ = conn.Write(reply)
}
