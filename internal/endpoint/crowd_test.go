package endpoint

import (
	"context"
	"io"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"
)

// waits returns a deadline that is reached only if what is waited for does not come.
func waits() time.Time { return time.Now().Add(time.Minute) }

// open returns a connection to that address, which has sent text.
func open(t *testing.T, to net.Addr, text string) net.Conn {
	t.Helper()
	conn, err := net.Dial(to.Network(), to.String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(waits())
	if _, err := io.WriteString(conn, text); err != nil {
		t.Fatal(err)
	}
	return conn
}

// statusLine returns the first line of what the server answers.
func statusLine(t *testing.T, conn net.Conn) string {
	t.Helper()
	line := make([]byte, len("HTTP/1.1 200"))
	if _, err := io.ReadFull(conn, line); err != nil {
		t.Fatalf("got %v, want an answer", err)
	}
	return string(line)
}

const request = "GET /healthz HTTP/1.1\r\nHost: localhost\r\n"

// A flood of connections without a request once kept everybody else out.
func TestWhoAsksForNothingKeepsNobodyOut(t *testing.T) {
	for name, sent := range map[string]string{"nothing": "", "half a request": request + "X: ", "a request, and then nothing": request + "\r\n"} {
		t.Run(name, func(t *testing.T) {
			s, err := Serve("127.0.0.1:0", New(newFake(t), Options{}))
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			var held []net.Conn
			for range 5 * maxConnections {
				held = append(held, open(t, s.Addr(), sent))
			}
			asking := open(t, s.Addr(), request+"\r\n")
			if got := statusLine(t, asking); got != "HTTP/1.1 200" {
				t.Errorf("got %q beside %d who ask for nothing, want 200", got, len(held))
			}
		})
	}
}

// slowSource is a daemon whose replicas take until released, as a reader does who does not
// read.
type slowSource struct {
	*fake
	begun, released chan struct{}
}

func (s slowSource) Replicas(ctx context.Context) (State, error) {
	s.begun <- struct{}{}
	<-s.released
	return s.fake.Replicas(ctx)
}

// Sixteen who read a large answer slowly, and come again and again, once kept the prober of
// /healthz out for minutes.
func TestSlowReadersKeepNoProberOut(t *testing.T) {
	source := slowSource{newFake(t), make(chan struct{}, 5*maxConnections), make(chan struct{})}
	s, err := Serve("127.0.0.1:0", New(source, Options{}))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	const large = "GET /replicas.json HTTP/1.1\r\nHost: localhost\r\n\r\n"
	var readers []net.Conn
	for range maxReaders {
		readers = append(readers, open(t, s.Addr(), large))
		<-source.begun
	}
	for range 3 * maxConnections {
		open(t, s.Addr(), large)
	}
	for _, path := range []string{"/healthz", "/readyz"} {
		if got := statusLine(t, open(t, s.Addr(), "GET "+path+" HTTP/1.1\r\nHost: localhost\r\n\r\n")); got != "HTTP/1.1 200" {
			t.Errorf("%s: got %q beside slow readers, want 200", path, got)
		}
	}
	if got := statusLine(t, open(t, s.Addr(), large)); got != "HTTP/1.1 503" {
		t.Errorf("got %q for a reader more than there are places, want 503", got)
	}
	close(source.released)
	for i, reader := range readers {
		if got := statusLine(t, reader); got != "HTTP/1.1 200" {
			t.Errorf("reader %d: got %q, want 200", i, got)
		}
	}
}

func TestConnectionsThatAreAnsweredAreBounded(t *testing.T) {
	var mu sync.Mutex
	handlers, most := 0, 0
	begun, release := make(chan struct{}, 3*maxConnections), make(chan struct{})
	server := &http.Server{Handler: http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		mu.Lock()
		handlers++
		most = max(most, handlers)
		mu.Unlock()
		begun <- struct{}{}
		<-release
		mu.Lock()
		handlers--
		mu.Unlock()
	})}
	bound(server, maxConnections, time.Hour) // so nobody loses a place in this test
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	go server.Serve(listener)
	var all []net.Conn
	for range 3 * maxConnections {
		all = append(all, open(t, listener.Addr(), request+"Connection: close\r\n\r\n"))
	}
	for range maxConnections {
		<-begun
	}
	close(release)
	for i, conn := range all {
		if got := statusLine(t, conn); got != "HTTP/1.1 200" {
			t.Errorf("connection %d: got %q, want 200", i, got)
		}
	}
	mu.Lock()
	defer mu.Unlock()
	if most > maxConnections {
		t.Errorf("got %d handlers at a time, want at most %d", most, maxConnections)
	}
}
