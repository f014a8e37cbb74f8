package endpoint

import (
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
