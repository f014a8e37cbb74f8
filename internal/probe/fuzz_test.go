package probe

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// spokenConn is a connection whose other side says one thing and is gone.
type spokenConn struct {
	net.Conn // nil: nothing else is used
	answer   *strings.Reader
	closed   bool
}

func (c *spokenConn) Read(b []byte) (int, error)  { return c.answer.Read(b) }
func (c *spokenConn) Write(b []byte) (int, error) { return len(b), nil }
func (c *spokenConn) SetDeadline(time.Time) error { return nil }
func (c *spokenConn) Close() error                { c.closed = true; return nil }

// FuzzAnswer gives bytes as the answer to every request of an HTTP attempt:
// it ends, in time, up or with a reason, and leaves no connection open.
func FuzzAnswer(f *testing.F) {
	for _, answer := range []string{
		ok, status(302, "Location: /there"), status(405), status(503), "SSH-2.0-OpenSSH\r\n", "", "HTTP/1.1 200 OK\r\n",
		"HTTP/1.1 100 Continue\r\n\r\n" + ok, "HTTP/1.1 200 OK\nX: \xff\n\nok", transfers["in chunks of three"]("it is ok"),
		"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n",
		status(301, "Location: http://user:pa55-w0rd@[::1]:1/"), status(301, "Location: //"),
	} {
		f.Add(answer, "", "")
		f.Add(answer, "ok", "gone")
	}
	f.Fuzz(func(t *testing.T, answer, healthy, dead string) {
		var conns []*spokenConn
		p := testProber()
		p.resolver = resolverOf(&nameserver{answer: addresses("10.0.0.8")})
		p.connect = func(context.Context, netip.AddrPort, attempt) (net.Conn, error) {
			c := &spokenConn{answer: strings.NewReader(answer)}
			conns = append(conns, c)
			return c, nil
		}
		rules := DefaultRules()
		rules.HealthyMatch, rules.DeadMatch = healthy, dead
		_, err := p.measure(t.Context(), Check{Target: mustParse(t, "http://user:s3cr3t-w0rd@10.0.0.7/"), Rules: rules}, within(10*time.Second))
		if err != nil {
			e, isError := errors.AsType[*Error](err)
			if !isError || e.Reason == "" || e.Kind == KindTimeout || strings.Contains(e.Reason, "internal error") {
				t.Errorf("%q: got %#v, want a failure of the target in words", answer, err)
			}
			if strings.Contains(err.Error(), "s3cr3t-w0rd") && !strings.Contains(answer, "s3cr3t-w0rd") {
				t.Errorf("%q: the password is in %v", answer, err)
			}
		}
		if end := strings.Index(answer, "\n\r\n"); err == nil && end > maxHead {
			t.Errorf("up with a header of %d bytes", end)
		}
		if len(conns) > maxRedirects+2 {
			t.Errorf("%d requests, want at most %d and one GET after HEAD", len(conns), maxRedirects+1)
		}
		for _, c := range conns {
			if !c.closed {
				t.Errorf("%q: a connection is left open", answer)
			}
		}
	})
}

// FuzzHangingAnswer is FuzzAnswer for servers that then keep the connection
// open and say no more.
func FuzzHangingAnswer(f *testing.F) {
	f.Add("HTTP/1.1 200 OK\r\n", "ok")
	f.Add("HTTP/1.1 200 OK\r\n\r\nhalf", "ok")
	f.Add("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel", "lo")
	f.Add(status(302, "Location: /"), "")
	f.Fuzz(func(t *testing.T, answer, healthy string) {
		synctest.Test(t, func(t *testing.T) {
			p := piped(t, func(c net.Conn, _ string) {
				io.WriteString(c, answer)
				io.Copy(io.Discard, c)
			})
			p.resolver = resolverOf(&nameserver{answer: addresses("10.0.0.8")})
			rules := DefaultRules()
			rules.HealthyMatch = healthy
			start := time.Now()
			p.measure(t.Context(), Check{Target: mustParse(t, "http://10.0.0.7/"), Rules: rules}, within(10*time.Second))
			// A redirect to https ends with the alert that nobody reads,
			// which package tls gives five seconds.
			if took := time.Since(start); took > 15*time.Second {
				t.Errorf("%q: took %v, want 10s at most", answer, took)
			}
		})
	})
}
