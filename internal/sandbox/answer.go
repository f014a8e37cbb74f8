package sandbox

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

// patience is how long a target waits for a client that does not go on.
const patience = 10 * time.Second

// answering is one period in which a target takes connections. It is written by
// hand and not with net/http, since with ten thousand replicas the cost of the
// targets would be part of what is measured.
type answering struct {
	target   *Target
	listener *net.TCPListener
	ctx      context.Context // ends with the period; a period is a lifetime, so it may hold its context
	cancel   context.CancelFunc
	work     sync.WaitGroup
	head     []byte // the answer to HEAD
	full     []byte // the answer to anything else

	mu   sync.Mutex            // protects open
	open map[net.Conn]struct{} // nil when the period is over
}

// answer takes connections on ln until close is called, which closes ln.
func answer(ln *net.TCPListener, t *Target) *answering {
	a := &answering{target: t, listener: ln, open: make(map[net.Conn]struct{})}
	a.ctx, a.cancel = context.WithCancel(context.Background())
	a.head = fmt.Appendf(nil, "HTTP/1.1 %d %s\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: %d\r\nConnection: close\r\n\r\n",
		t.spec.Status, http.StatusText(t.spec.Status), len(t.spec.Body))
	a.full = append(bytes.Clone(a.head), t.spec.Body...)
	a.work.Go(a.accept)
	return a
}

func (a *answering) close() {
	a.cancel()
	_ = a.listener.Close()
	a.mu.Lock()
	for conn := range a.open {
		_ = conn.Close()
	}
	a.open = nil
	a.mu.Unlock()
	a.work.Wait()
}

func (a *answering) accept() {
	for {
		conn, err := a.listener.AcceptTCP()
		if a.ctx.Err() != nil {
			if err == nil {
				_ = conn.Close()
			}
			return
		}
		if err != nil { // out of descriptors, or gone before it was taken
			a.wait(10 * time.Millisecond)
			continue
		}
		if a.target.spec.Kind == "tcp" {
			_ = conn.Close()
			continue
		}
		a.work.Go(func() { a.serve(conn) })
	}
}

// wait reports whether d went by before the end of the period.
func (a *answering) wait(d time.Duration) bool {
	select {
	case <-a.ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}

func (a *answering) serve(conn net.Conn) {
	a.mu.Lock()
	if a.open == nil {
		a.mu.Unlock()
		_ = conn.Close()
		return
	}
	a.open[conn] = struct{}{}
	a.mu.Unlock()
	if err := conn.SetDeadline(time.Now().Add(patience)); err == nil {
		a.exchange(conn)
	}
	a.mu.Lock()
	delete(a.open, conn)
	a.mu.Unlock()
	_ = conn.Close()
}

// exchange reads one request and answers it. Whatever goes wrong is the
// client's to notice.
func (a *answering) exchange(conn net.Conn) {
	if a.target.tls != nil {
		secure := tls.Server(conn, a.target.tls)
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
	if delay := time.Duration(a.target.delay.Load()); delay > 0 {
		if !a.wait(delay) {
			return
		}
		if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
			return
		}
	}
	reply := a.full
	if bytes.HasPrefix(buf[:], []byte("HEAD ")) {
		reply = a.head
	}
	_, _ = conn.Write(reply)
}
