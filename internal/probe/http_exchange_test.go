package probe

import (
	"fmt"
	"io"
	"net"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestHTTPAnswers(t *testing.T) {
	// The limit is on all bytes from the status line to the blank line.
	header := func(size int) string {
		const start, end = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nX: ", "\r\n\r\n"
		return start + strings.Repeat("x", size-len(start)-len(end)) + end
	}
	short := strings.Repeat("X-Short: line\r\n", 1<<20/15)
	const head200 = "HTTP/1.1 200 OK\r\n"
	for _, tt := range []struct {
		name   string
		answer string
		kind   Kind // "": up
		reason string
	}{
		{"no header line", "HTTP/1.1 200 OK\r\n\r\n", "", ""},
		{"no reason phrase", "HTTP/1.1 200\r\n\r\n", "", ""},
		{"HTTP/1.0", "HTTP/1.0 200 OK\r\n\r\n", "", ""},
		{"HTTP/2 in words", "HTTP/2 200\r\n\r\n", "", ""},
		{"lower case", "http/1.1 200 ok\r\n\r\n", "", ""},
		{"SHOUTcast", "ICY 200 OK\r\n\r\n", "", ""},
		{"no version", "HTTP 200 OK\r\n\r\n", "", ""},
		{"a status padded with a zero", "HTTP/1.1 0200 OK\r\n\r\n", "", ""},
		{"extra blanks", "HTTP/1.1  \t200   OK\r\n\r\n", "", ""},
		{"a reason right behind", "HTTP/1.1 200OK\r\n\r\n", "", ""},
		{"an endless reason", "HTTP/1.1 200 " + strings.Repeat("O", 70<<10) + "\r\n\r\n", "", ""},
		{"empty lines first", "\r\n\nHTTP/1.1 200 OK\r\n\r\n", "", ""},
		{"bare line feeds", "HTTP/1.1 200 OK\nServer: old\nContent-Length: 0\n\n", "", ""},
		{"two carriage returns", "HTTP/1.1 200 OK\r\r\nServer: old\r\r\nContent-Length: 0\r\r\n\r\r\n", "", ""},
		{"bytes outside ASCII in a header value", head200 + "Server: caf\xe9 \xff\xc3\xa9\x00\x07\r\n\r\n", "", ""},
		{"bytes outside ASCII in a name", head200 + "X\u2010Content\u2010Type: nosniff\r\n\xff\x00: y\r\n\r\n", "", ""},
		{"a header line without a name", head200 + ": x\r\n:\r\n\r\n", "", ""},
		{"a header line without a colon", head200 + "nonsense\r\n\r\n", "", ""},
		{"a blank before the colon", head200 + "Server : x\r\nContent-Length : x\r\n\r\n", "", ""},
		{"folded lines", head200 + "Server: a\r\n b\r\n\tc: d\r\n\r\n", "", ""},
		{"a folded line first of all", head200 + " folded\r\nServer: b\r\n\r\n", "", ""},
		{"Content-Length twice", head200 + "Content-Length: 2\r\nContent-Length: 2\r\n\r\n", "", ""},
		{"two lengths", head200 + "Content-Length: 2\r\nContent-Length: 3\r\n\r\n", "", ""},
		{"an empty length", head200 + "Content-Length: \r\n\r\n", "", ""},
		{"a negative length", head200 + "Content-Length: -1\r\n\r\n", "", ""},
		{"a list of lengths", head200 + "Content-Length: 2, 2\r\n\r\n", "", ""},
		{"chunked twice", head200 + "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n", "", ""},
		{"identity", head200 + "Transfer-Encoding: identity\r\n\r\n", "", ""},
		{"gzip, chunked", head200 + "Transfer-Encoding: gzip, chunked\r\n\r\n", "", ""},
		{"any Transfer-Encoding", head200 + "Transfer-Encoding: \xff;q=\"\r\n\r\n", "", ""},
		{"a Connection of nonsense", head200 + "Connection: ,,=\r\n\r\n", "", ""},
		{"1xx answers passed over", "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" + ok, "", ""},
		{"many 1xx answers", strings.Repeat("HTTP/1.1 100 Continue\r\n\r\n", 3000) + ok, "", ""},
		{"a 5xx after a 1xx", "HTTP/1.1 102 Processing\r\n\r\n" + status(503), KindStatus, "status 503"},
		{"101 is an answer", "HTTP/1.1 101 Switching Protocols\r\n\r\n" + ok, KindStatus, "status 101"},
		{"an encoding that was not asked for", head200 + "Content-Encoding: br\r\nContent-Length: 4\r\n\r\n\x01\x02\x03\x04", "", ""},
		{"70 KiB of header", header(70 << 10), "", ""},
		{"70 KiB in many lines", head200 + short[:70<<10] + "\r\n\r\n", "", ""},
		{"a megabyte of header", header(1 << 20), "", ""},
		{"a megabyte and a body right behind", header(1<<20) + strings.Repeat("body", 4096), "", ""},
		{"a megabyte and one byte", header(1<<20 + 1), KindHTTP, "header over 1 MiB"},
		{"many short lines", head200 + short + "\r\n", KindHTTP, "header over 1 MiB"},
		{"a megabyte of 1xx answers", strings.Repeat("HTTP/1.1 100 Continue\r\n\r\n", 42000) + ok, KindHTTP, "header over 1 MiB"},
		{"a megabyte of empty lines", strings.Repeat("\r\n", 1<<19+1) + ok, KindHTTP, "header over 1 MiB"},
		{"a status line without end", "HTTP/1.1 200 " + strings.Repeat("O", 1<<20), KindHTTP, "header over 1 MiB"},
		{"an SSH banner", "SSH-2.0-OpenSSH_9.6\r\n", KindHTTP, `answer is not HTTP: it begins with "SSH-2.0-OpenSSH_9.6"`},
		{"a page alone", "<html></html>\n", KindHTTP, `answer is not HTTP: it begins with "<html></html>"`},
		{"binary", "\x16\x03\x01\x00\x00\x1b[31m\n", KindHTTP, "answer is not HTTP: "},
		{"a status that is no number", "HTTP/1.1 abc OK\r\n\r\n", KindHTTP, "answer is not HTTP: "},
		{"no status", "HTTP/1.1\r\n\r\n", KindHTTP, "answer is not HTTP: "},
		{"a status of two digits", "HTTP/1.1 20\r\n\r\n", KindHTTP, "answer is not HTTP: "},
		{"a status of four digits", "HTTP/1.1 2000\r\n\r\n", KindHTTP, "answer is not HTTP: "},
		{"a status of zeros", "HTTP/1.1 000\r\n\r\n", KindHTTP, "answer is not HTTP: "},
		{"no blank behind the version", "HTTP/1.1200\r\n\r\n", KindHTTP, "answer is not HTTP: "},
		{"nothing", "", KindBroken, "connection closed before the answer was complete"},
		{"the half of a status line", "HTTP/1.1 2", KindBroken, "connection closed before the answer was complete"},
		{"a status line without its end", "HTTP/1.1 200 OK", KindBroken, "connection closed before the answer was complete"},
		{"no blank line", "HTTP/1.1 200 OK\r\n", "", ""},
		{"the half of a header", "HTTP/1.1 200 OK\r\nServer: ol", "", ""},
		{"only a 1xx", "HTTP/1.1 100 Continue\r\n\r\n", KindBroken, "connection closed before the answer was complete"},
		{"the half of a 1xx", "HTTP/1.1 100 Continue\r\n", KindBroken, "connection closed before the answer was complete"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := serveConn(t, loopback(t), "http", func(c net.Conn, _ string) {
				io.WriteString(c, tt.answer)
				c.(*net.TCPConn).CloseWrite()
				io.Copy(io.Discard, c)
			})
			err := judge(t, testProber(), s.url, Rules{})
			if tt.kind == "" && err != nil {
				t.Errorf("got %v, want up", err)
			} else if tt.kind != "" {
				wantFailure(t, err, tt.kind, tt.reason)
			}
			if err != nil && strings.ContainsAny(err.Error(), "\x00\x1b\n\r") {
				t.Errorf("the reason %q is not fit for a log line", err)
			}
		})
	}
}

func TestHTTPConnectionReset(t *testing.T) {
	s := serveConn(t, loopback(t), "http", func(c net.Conn, _ string) { c.(*net.TCPConn).SetLinger(0) })
	wantFailure(t, judge(t, testProber(), s.url, Rules{}), KindBroken, "connection reset by the target")
}

// flood writes text to c until it fails or n bytes are written, and returns
// how many were.
func flood(c net.Conn, text string, n int) (written int) {
	piece := []byte(text)
	for written < n {
		m, err := c.Write(piece)
		written += m
		if err != nil {
			break
		}
	}
	return written
}

// allocated returns how many bytes do allocates, in all goroutines.
func allocated(do func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	do()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

func TestHTTPHugeHeaderIsDownAndCostsNothing(t *testing.T) {
	const huge = 64 << 20
	for name, text := range map[string]string{
		"one line":    strings.Repeat("x", 32<<10),
		"many lines":  strings.Repeat("X-Line: "+strings.Repeat("x", 1000)+"\r\n", 32),
		"short lines": strings.Repeat("X: y\r\n", 5000),
		"1xx answers": strings.Repeat("HTTP/1.1 100 Continue\r\n\r\n", 1000),
	} {
		t.Run(name, func(t *testing.T) {
			sent := make(chan int, 1)
			s := serveConn(t, loopback(t), "http", func(c net.Conn, _ string) {
				if !strings.HasPrefix(text, "HTTP/") {
					io.WriteString(c, "HTTP/1.1 200 OK\r\nX: ")
				}
				sent <- flood(c, text, huge)
			})
			cost := allocated(func() {
				wantFailure(t, judge(t, testProber(), s.url, Rules{}), KindHTTP, "header over 1 MiB")
			})
			if n := <-sent; n == huge {
				t.Errorf("all %d bytes were read, want the connection closed", n)
			}
			if cost > 8<<20 {
				t.Errorf("%d KiB allocated, want some hundreds at most", cost>>10)
			}
		})
	}
}

// delay_dead bounds the whole attempt, whatever the answer drips.
func TestHTTPDrippingAnswersAreCutByDelayDead(t *testing.T) {
	drip := func(c net.Conn, text string) {
		for {
			if _, err := io.WriteString(c, text); err != nil {
				return
			}
			time.Sleep(100 * time.Millisecond)
		}
	}
	const chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
	for _, tt := range []struct {
		name   string
		rules  Rules
		answer func(c net.Conn)
		reason string
	}{
		{"nothing", Rules{}, func(c net.Conn) { c.Read(make([]byte, 1)) }, "no answer within 10s"},
		{"a header that breaks off in a name", Rules{}, func(c net.Conn) { io.WriteString(c, "HTTP/1.1 200 OK\r\nX: y\r\nX-Sh"); c.Read(make([]byte, 1)) }, "no answer within 10s"},
		{"a header", Rules{}, func(c net.Conn) { io.WriteString(c, "HTTP/1.1 200 OK\r\nX: "); drip(c, "x") }, "no answer within 10s"},
		{"1xx answers", Rules{}, func(c net.Conn) { drip(c, "HTTP/1.1 100 Continue\r\n\r\n") }, "no answer within 10s"},
		{"a redirect after a wait", Rules{}, func(c net.Conn) {
			time.Sleep(3 * time.Second)
			io.WriteString(c, status(302, "Location: /"))
		}, "no answer within 10s"},
		{"a body", Rules{HealthyMatch: "ok"}, func(c net.Conn) { io.WriteString(c, "HTTP/1.1 200 OK\r\n\r\n"); drip(c, "x") }, "body not complete within 10s"},
		{"a body with healthy_match that dead_match could follow", Rules{HealthyMatch: "ok", DeadMatch: "gone"},
			func(c net.Conn) { io.WriteString(c, "HTTP/1.1 200 OK\r\n\r\nok"); drip(c, "x") }, "body not complete within 10s"},
		{"chunks", Rules{HealthyMatch: "ok"}, func(c net.Conn) { io.WriteString(c, chunked); drip(c, "1\r\nx\r\n") }, "body not complete within 10s"},
		{"the size of a chunk", Rules{HealthyMatch: "ok"}, func(c net.Conn) { io.WriteString(c, chunked); drip(c, "0") }, "body not complete within 10s"},
		{"half a body, then nothing", Rules{HealthyMatch: "ok"}, func(c net.Conn) {
			io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf")
			c.Read(make([]byte, 1))
		}, "body not complete within 10s"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := piped(t, func(c net.Conn, _ string) { tt.answer(c) })
				rules := tt.rules
				rules.DeadAfter, rules.HealthyAbove, rules.HealthyBelow = 10*time.Second, 200, 400
				start := time.Now()
				r := p.probe(t.Context(), Check{Target: mustParse(t, "http://10.0.0.7/"), Rules: &rules}, MaxProbe)
				if took := time.Since(start); took != 10*time.Second {
					t.Errorf("the attempt took %v, want 10s", took)
				}
				if r.Health != Dead {
					t.Errorf("got %q, want dead", r.Health)
				}
				wantFailure(t, r.Err, KindTimeout, tt.reason)
			})
		})
	}
}

func TestHTTPLatencyIsThatOfTheWholeAttempt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := piped(t, func(c net.Conn, head string) {
			time.Sleep(time.Second)
			if strings.Contains(head, " / ") {
				io.WriteString(c, status(302, "Location: /there"))
				return
			}
			io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nit")
			time.Sleep(time.Second)
			io.WriteString(c, "ok")
		})
		rules := &Rules{DeadAfter: 10 * time.Second, SickAfter: 3 * time.Second, HealthyAbove: 200, HealthyBelow: 400, HealthyMatch: "ok"}
		r := p.probe(t.Context(), Check{Target: mustParse(t, "http://10.0.0.7/"), Rules: rules}, MaxProbe)
		if r.Health != Sick || r.Latency != 3*time.Second {
			t.Errorf("got %q after %v because %q, want sick after 3s", r.Health, r.Latency, r.Reason())
		}
	})
}

func TestWordsOfTheTargetAreQuotedWithoutWhatItWasAsked(t *testing.T) {
	for _, tt := range []struct{ url, text, want string }{
		{"http://a/", "plain", "plain"},
		{"http://a/", "two\r\nlines\x1b[31m", `two\r\nlines\x1b[31m`},
		{"http://a/", "caf\xe9", `caf\xe9`},
		{"http://a/", strings.Repeat("x", 300), strings.Repeat("x", 200) + "…"},
		{"http://a/", "münchen", "münchen"},
		{"http://admin:hunter2@a/", "Basic YWRtaW46aHVudGVyMg==", "Basic ***"},
		{"http://admin:hunter2@a/", `malformed "hunter2"`, `malformed "***"`},
		{"http://admin:cat@a/", "concat Basic YWRtaW46Y2F0", "concat Basic ***"},
		{"http://a/?access_token=S3CRET&b=2", "GET /?access_token=S3CRET&b=2", "GET /?access_token=***&b=2"},
		{"http://a/?k=S3CR%45T%2b", `"S3CRET+" S3CR%45T%2b`, `"***" ***`},
		{"http://a/?S3CRETkey", "GET /?S3CRETkey", "GET /?***"},
	} {
		target := mustParse(t, tt.url)
		if got := printable(tt.text, request{target: target, user: target.userinfo()}); got != tt.want {
			t.Errorf("asked for %s: printable(%q) = %q, want %q", tt.url, tt.text, got, tt.want)
		}
	}
}

func TestReadable(t *testing.T) {
	for d, want := range map[time.Duration]string{
		10 * time.Second:             "10s",
		14812345 * time.Microsecond:  "14.8s",
		1234567 * time.Microsecond:   "1.23s",
		12345678 * time.Nanosecond:   "12.3ms",
		123456 * time.Nanosecond:     "123µs",
		999999999 * time.Nanosecond:  "1s",
		9999999999 * time.Nanosecond: "10s",
	} {
		if got := fmt.Sprint(rounded(d)); got != want {
			t.Errorf("readable(%d ns) = %s, want %s", d, got, want)
		}
	}
}
