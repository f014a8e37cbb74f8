package probe

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"
)

// site is an HTTP server that answers what the test wants, byte for byte.
type site struct {
	url   string
	mu    sync.Mutex
	heads []string // the requests, each with its header
	conns int
}

// serve answers every request on l with what answer returns for its header,
// and closes the connection.
func serve(t testing.TB, l net.Listener, scheme string, answer func(head string) string) *site {
	return serveConn(t, l, scheme, func(c net.Conn, head string) { io.WriteString(c, answer(head)) })
}

// serveConn is serve for answers that take more than one write. The connection
// is closed when answer returns.
func serveConn(t testing.TB, l net.Listener, scheme string, answer func(c net.Conn, head string)) *site {
	s := &site{url: scheme + "://" + l.Addr().String()}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			s.mu.Lock()
			s.conns++
			s.mu.Unlock()
			wg.Go(func() {
				defer c.Close()
				head := readHead(c)
				s.mu.Lock()
				s.heads = append(s.heads, head)
				s.mu.Unlock()
				answer(c, head)
			})
		}
	})
	t.Cleanup(func() {
		l.Close()
		wg.Wait()
	})
	return s
}

// readHead reads a request up to the blank line that ends it.
func readHead(c net.Conn) string {
	var head strings.Builder
	r := bufio.NewReader(c)
	for {
		line, err := r.ReadString('\n')
		head.WriteString(line)
		if err != nil || line == "\r\n" {
			return head.String()
		}
	}
}

// requests returns the requests that came, with their headers.
func (s *site) requests() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string(nil), s.heads...)
}

// methods returns the methods of the requests that came.
func (s *site) methods() string {
	var methods []string
	for _, head := range s.requests() {
		method, _, _ := strings.Cut(head, " ")
		methods = append(methods, method)
	}
	return strings.Join(methods, " ")
}

func loopback(t testing.TB) net.Listener { return listenTCP(t, "tcp4", "127.0.0.1:0") }

// judge makes one attempt at a URL under rules.
func judge(t testing.TB, p *Prober, url string, rules Rules) error {
	t.Helper()
	if rules.HealthyBelow == 0 {
		rules.HealthyAbove, rules.HealthyBelow = 200, 400
	}
	c := Check{Target: mustParse(t, url), Rules: &rules}
	_, err := p.measure(t.Context(), c, within(20*time.Second))
	return err
}

const ok = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"

func status(code int, header ...string) string {
	return fmt.Sprintf("HTTP/1.1 %d %s\r\n%s\r\n", code, http.StatusText(code), strings.Join(append(header, "Content-Length: 0", ""), "\r\n"))
}

// piped returns a prober whose connections are answered in memory: for tests
// in a bubble.
func piped(t testing.TB, answer func(c net.Conn, head string)) *Prober {
	p := testProber()
	var wg sync.WaitGroup
	t.Cleanup(wg.Wait)
	p.connect = func(context.Context, netip.AddrPort, attempt) (net.Conn, error) {
		ours, theirs := net.Pipe()
		wg.Go(func() {
			defer theirs.Close()
			answer(theirs, readHead(theirs))
		})
		return ours, nil
	}
	return p
}
