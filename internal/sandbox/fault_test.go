package sandbox

import (
	"bufio"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// rawReport sends a report over a connection of its own, and returns the
// connection for the answer.
func (c *client) rawReport(t *testing.T) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", c.server.plain.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	body := reportOf("tcp://h:1", Healthy, 120)
	fmt.Fprintf(conn, "POST /v1/report/S/N HTTP/1.1\r\nHost: x\r\nUser-Agent: %s\r\nAuthorization: Basic %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s",
		c.agent, base64.StdEncoding.EncodeToString([]byte(":"+c.server.Token())), len(body), body)
	return conn
}

// waits checks that nothing comes over the connection, and that it stays open.
func waits(t *testing.T, conn net.Conn, r io.Reader) {
	t.Helper()
	if err := conn.SetReadDeadline(time.Now().Add(50 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, 1)
	if n, err := r.Read(got); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("got %q, %v from an answer that hangs, want nothing", got[:n], err)
	}
}

func TestHangs(t *testing.T) {
	for _, tt := range []struct {
		name  string
		fault Fault
		sends string // before it hangs
		taken int    // reports
	}{
		{"before the status line", Hang(), "", 0},
		{"in the head", HangInHead(), "HTTP/1.1 200 OK\r\nContent-Ty", 0},
		{"in the body", HangInBody(), "HTTP/1.1 200 OK\r\n", 1},
		{"after the answer", HangAfter(), "HTTP/1.1 200 OK\r\n", 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := serve(t, Options{Map: small()})
			heal := c.server.Break(Reports, tt.fault)
			conn := c.rawReport(t)
			r := bufio.NewReader(conn)
			got := make([]byte, len(tt.sends))
			if _, err := io.ReadFull(r, got); err != nil || string(got) != tt.sends {
				t.Fatalf("got %q, %v, want %q", got, err, tt.sends)
			}
			if strings.HasSuffix(tt.sends, "OK\r\n") {
				for line := ""; line != "\r\n"; {
					var err error
					if line, err = r.ReadString('\n'); err != nil {
						t.Fatalf("got a head that ends with %v, want a blank line", err)
					}
				}
			}
			waits(t, conn, r)
			if got := c.server.Summary().Reports; got != tt.taken {
				t.Errorf("%d reports are taken, want %d", got, tt.taken)
			}
			conn.Close()
			heal()
			c.report(t, "S", "N", "tcp://h:1", Healthy, 200)
			if got := c.server.Summary().Violations; len(got) != 0 {
				t.Errorf("violations are %v, want none after a client has given up", got)
			}
		})
	}
}

func TestBodyOfAMapHangs(t *testing.T) {
	c := serve(t, Options{Map: small()})
	defer c.server.Break(Maps, HangInBody())()
	ctx, cancel := context.WithCancel(t.Context())
	res, err := c.http.Do(c.request(ctx, t, http.MethodGet, "/probes/local", ""))
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if res.StatusCode != 200 || res.ContentLength != -1 {
		t.Errorf("got status %d and %d bytes announced, want 200 and an unknown length", res.StatusCode, res.ContentLength)
	}
	if got, err := io.ReadAll(io.LimitReader(res.Body, int64(len(c.server.active.body)))); err != nil || !strings.HasPrefix(string(got), `{"data":`) {
		t.Errorf("got %q, %v, want the whole map", got, err)
	}
	cancel()
	if _, err := res.Body.Read(make([]byte, 1)); !errors.Is(err, context.Canceled) {
		t.Errorf("the body ended with %v, want it to hang until the client leaves", err)
	}
}

// TestHangsAfterAnAnswerThatIsWhole: a client may send another request, which nobody reads.
func TestHangsAfterAnAnswerThatIsWhole(t *testing.T) {
	c := serve(t, Options{Map: small()})
	defer c.server.Break(All, HangAfter())()
	conn := c.rawReport(t)
	r := bufio.NewReader(conn)
	res, err := http.ReadResponse(r, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadAll(res.Body); err != nil || res.ContentLength != 0 {
		t.Errorf("got %d bytes announced, %v, want an answer that ends", res.ContentLength, err)
	}
	if _, err := conn.Write([]byte("GET /v1/probes/local HTTP/1.1\r\nHost: x\r\n\r\n")); err != nil {
		t.Fatal(err)
	}
	waits(t, conn, r)
	c.fetch(t, 0, 200) // over another connection
}

// TestAnAnswerWithoutABodyDoesNotHangInIt: its connection is used again.
func TestAnAnswerWithoutABodyDoesNotHangInIt(t *testing.T) {
	c := serve(t, Options{Map: small()})
	date := c.fetch(t, 0, 200).Data.Date
	defer c.server.Break(Maps, HangInBody())()
	for range 3 {
		c.fetch(t, date, 304)
	}
}

func TestStatusesWithRetryAfter(t *testing.T) {
	c := serve(t, Options{Map: small()})
	for _, code := range []int{401, 403, 404, 422, 429, 500, 502, 503} {
		for _, wait := range []string{"", "3600"} {
			heal := c.server.Break(Reports, Refuse(code, wait))
			res, _ := c.do(t, c.request(t.Context(), t, http.MethodPost, "/report/S/N", reportOf("tcp://h:1", Healthy, 120)))
			heal()
			if got := res.Header.Get("Retry-After"); res.StatusCode != code || got != wait {
				t.Errorf("got %d with Retry-After %q, want %d with %q", res.StatusCode, got, code, wait)
			}
		}
	}
	if got := c.server.Summary(); got.Reports != 0 || got.Refused != 16 {
		t.Errorf("%d reports are taken and %d refused, want 0 and 16", got.Reports, got.Refused)
	}
}

func TestFaultForADuration(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBubble(t, Options{Map: mapOf("tcp://h:1")})
		b.s.BreakFor(6*time.Second, All, Refuse(503, ""))
		heal := b.s.BreakFor(time.Second, Maps, Refuse(404, ""))
		want := func(code int) {
			t.Helper()
			if got := b.request("GET", "/probes/local", ""); got != code {
				t.Errorf("a map request is answered %d, want %d", got, code)
			}
		}
		want(404)
		time.Sleep(time.Second)
		want(503)
		heal() // it is over already
		time.Sleep(5*time.Second - 1)
		want(503)
		time.Sleep(time.Nanosecond)
		want(200)
		heal = b.s.BreakFor(time.Hour, All, Refuse(500, ""))
		want(500)
		heal()
		want(200)
	})
}
