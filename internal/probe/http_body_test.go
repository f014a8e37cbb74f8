package probe

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"testing/iotest"
	"time"
)

// transfers are the ways in which a body can come.
var transfers = map[string]func(body string) string{
	"by length": func(body string) string {
		return fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
	},
	"until the end": func(body string) string { return "HTTP/1.1 200 OK\r\n\r\n" + body },
	"in chunks of three": func(body string) string {
		var b strings.Builder
		b.WriteString("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
		for len(body) > 0 {
			n := min(3, len(body))
			fmt.Fprintf(&b, "%x\r\n%s\r\n", n, body[:n])
			body = body[n:]
		}
		return b.String() + "0\r\n\r\n"
	},
}

func TestBodyMatches(t *testing.T) {
	const lacks, holds, empty = "body lacks healthy_match", "body contains dead_match", "body is empty"
	for _, tt := range []struct {
		name, healthy, dead, body, reason string
	}{
		{"healthy_match found", "all fine", "", "we are all fine here", ""},
		{"healthy_match is the body", "ok", "", "ok", ""},
		{"healthy_match not found", "all fine", "", "we are not", lacks},
		{"case counts", "OK", "", "ok", lacks},
		{"plain bytes", "a.c", "", "abc", lacks},
		{"bytes outside ASCII", "\xe9\x00", "", "caf\xe9\x00", ""},
		{"dead_match found", "", "maintenance", "down for maintenance", holds},
		{"dead_match not found", "", "maintenance", "at work", ""},
		{"both found", "ok", "maintenance", "ok, but maintenance", holds},
		{"both found the other way round", "ok", "maintenance", "maintenance ok", holds},
		{"both the same", "ok", "ok", "ok", holds},
		{"healthy_match found, dead_match not", "ok", "maintenance", "it is ok", ""},
		{"neither found", "ok", "maintenance", "hello", lacks},
		{"empty body with healthy_match", "ok", "", "", empty},
		{"empty body with dead_match", "", "maintenance", "", ""},
		{"empty body with both", "ok", "maintenance", "", empty},
	} {
		for way, answer := range transfers {
			t.Run(tt.name+", "+way, func(t *testing.T) {
				s := serve(t, loopback(t), "http", always(answer(tt.body)))
				err := judge(t, testProber(), s.url, Rules{HealthyMatch: tt.healthy, DeadMatch: tt.dead})
				if tt.reason == "" && err != nil {
					t.Errorf("got %v, want up", err)
				} else if tt.reason != "" {
					wantFailure(t, err, KindBody, tt.reason)
				}
			})
		}
	}
}

func TestEmptyMatchIsNoMatch(t *testing.T) {
	s := serve(t, loopback(t), "http", always(ok))
	if err := judge(t, testProber(), s.url, Rules{HealthyMatch: "", DeadMatch: ""}); err != nil || s.methods() != "HEAD" {
		t.Errorf("got %v after %s, want up after HEAD", err, s.methods())
	}
}

func TestStatusComesBeforeTheBody(t *testing.T) {
	s := serve(t, loopback(t), "http", always("HTTP/1.1 500 Oops\r\nContent-Length: 2\r\n\r\nok"))
	wantFailure(t, judge(t, testProber(), s.url, Rules{HealthyMatch: "ok"}), KindStatus, "status 500, want 200 to 399")
}

// A body that breaks off counts as far as it came for healthy_match; nobody
// knows what the rest would have said of dead_match.
func TestBodyThatBreaksOff(t *testing.T) {
	for way, answer := range map[string]string{
		"before its length":  "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n",
		"in a chunk":         "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n64\r\n",
		"without last chunk": "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nis ok\r\n",
	} {
		body := "is ok"
		if strings.HasSuffix(answer, "is ok\r\n") {
			body = ""
		}
		for _, tt := range []struct {
			name, healthy, dead string
			reason              string
		}{
			{"healthy_match came", "ok", "", ""},
			{"healthy_match did not come", "fine", "", "body breaks off and lacks healthy_match so far"},
			{"dead_match could follow", "ok", "gone", "body breaks off before dead_match could be ruled out"},
			{"dead_match alone could follow", "", "gone", "body breaks off before dead_match could be ruled out"},
			{"dead_match came", "ok", "is", "body contains dead_match"},
		} {
			t.Run(way+", "+tt.name, func(t *testing.T) {
				s := serve(t, loopback(t), "http", always(answer+body))
				err := judge(t, testProber(), s.url, Rules{HealthyMatch: tt.healthy, DeadMatch: tt.dead})
				if tt.reason == "" && err != nil {
					t.Errorf("got %v, want up", err)
				} else if tt.reason != "" {
					wantFailure(t, err, KindBody, tt.reason)
				}
			})
		}
	}
	t.Run("reset", func(t *testing.T) {
		s := serveConn(t, loopback(t), "http", func(c net.Conn, _ string) {
			io.WriteString(c, "HTTP/1.1 200 OK\r\n\r\nis ok")
			c.(*net.TCPConn).SetLinger(0)
		})
		err := judge(t, testProber(), s.url, Rules{DeadMatch: "gone"})
		if e, ok := errors.AsType[*Error](err); !ok || e.Kind != KindBody && e.Kind != KindBroken {
			t.Errorf("got %v, want down", err)
		}
	})
	t.Run("before its first byte", func(t *testing.T) {
		s := serve(t, loopback(t), "http", always("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n"))
		wantFailure(t, judge(t, testProber(), s.url, Rules{HealthyMatch: "ok"}), KindBody, "body is empty")
	})
}

// reads returns a reader that gives out body in pieces of n bytes.
func reads(body []byte, n int) io.Reader { return &pieces{body, n} }

type pieces struct {
	body []byte
	n    int
}

func (p *pieces) Read(b []byte) (int, error) {
	if len(p.body) == 0 {
		return 0, io.EOF
	}
	n := copy(b, p.body[:min(p.n, len(p.body))])
	p.body = p.body[n:]
	return n, nil
}

// A match may lie anywhere: at every offset around the ends of pieces and of
// buffers it is found, and what was never there in one piece is not.
func TestMatchAtEveryOffset(t *testing.T) {
	const match = "nEEdle"
	for _, size := range []int{1, 2, 5, 6, 7, 1000, pieceSize - 1, pieceSize, pieceSize + 1, 3 * pieceSize} {
		for _, around := range []int{10, size, pieceSize, 2 * pieceSize} {
			for offset := max(0, around-8); offset <= around+2; offset++ {
				body := bytes.Repeat([]byte("."), offset+len(match)+10)
				copy(body[offset:], match)
				if err := (&Rules{HealthyMatch: match}).search(reads(body, size), within(time.Second)); err != nil {
					t.Fatalf("healthy_match at %d in pieces of %d: %v", offset, size, err)
				}
				err := (&Rules{DeadMatch: match, HealthyMatch: "."}).search(reads(body, size), within(time.Second))
				wantFailure(t, err, KindBody, "body contains dead_match")
				// With another byte in its middle it is no match.
				broken := bytes.Replace(body, []byte(match), []byte("nEE-dle"), 1)
				if err := (&Rules{DeadMatch: match}).search(reads(broken, size), within(time.Second)); err != nil {
					t.Fatalf("no dead_match, pieces of %d: %v", size, err)
				}
			}
		}
	}
}

func TestLongAndUnequalMatches(t *testing.T) {
	long := strings.Repeat("long ", 13000) // longer than any piece
	body := []byte(strings.Repeat("-", 12345) + long + "x" + strings.Repeat("-", 54321))
	for _, size := range []int{1000, 1 << 20} {
		if err := (&Rules{HealthyMatch: long, DeadMatch: "y"}).search(reads(body, size), within(time.Second)); err != nil {
			t.Errorf("pieces of %d: got %v, want up", size, err)
		}
		wantFailure(t, (&Rules{HealthyMatch: "x", DeadMatch: long}).search(reads(body, size), within(time.Second)), KindBody, "body contains dead_match")
		wantFailure(t, (&Rules{HealthyMatch: long + "y"}).search(reads(body, size), within(time.Second)), KindBody, "body lacks healthy_match")
	}
}

func TestBodyWhoseLastPieceComesWithItsEnd(t *testing.T) {
	for body, reason := range map[string]string{"it is ok": "", "it is gone": "body contains dead_match"} {
		err := (&Rules{HealthyMatch: "ok", DeadMatch: "gone"}).search(iotest.DataErrReader(strings.NewReader(body)), within(time.Second))
		if reason == "" && err != nil {
			t.Errorf("%q: got %v, want up", body, err)
		} else if reason != "" {
			wantFailure(t, err, KindBody, reason)
		}
	}
}

// A healthy_match alone needs no more of the body than it lies in.
func TestHealthyMatchEndsTheSearch(t *testing.T) {
	body := io.MultiReader(strings.NewReader("it is ok"), iotest.ErrReader(os.ErrDeadlineExceeded))
	if err := (&Rules{HealthyMatch: "ok"}).search(body, within(time.Second)); err != nil {
		t.Errorf("got %v, want up", err)
	}
}

func TestHugeBodyIsSearchedInConstantMemory(t *testing.T) {
	const huge = 64 << 20
	piece := strings.Repeat("x", 64<<10)
	for name, tt := range map[string]struct {
		rules  Rules
		reason string
	}{
		"match at its very end": {Rules{HealthyMatch: "the end", DeadMatch: "gone"}, ""},
		"no match":              {Rules{HealthyMatch: "nowhere"}, "body lacks healthy_match"},
		"dead_match at its end": {Rules{DeadMatch: "end"}, "body contains dead_match"},
	} {
		t.Run(name, func(t *testing.T) {
			s := serveConn(t, loopback(t), "http", func(c net.Conn, _ string) {
				io.WriteString(c, "HTTP/1.1 200 OK\r\n\r\n")
				flood(c, piece, huge)
				io.WriteString(c, "the end")
			})
			cost := allocated(func() {
				err := judge(t, testProber(), s.url, tt.rules)
				if tt.reason == "" && err != nil {
					t.Errorf("got %v, want up", err)
				} else if tt.reason != "" {
					wantFailure(t, err, KindBody, tt.reason)
				}
			})
			if cost > 4<<20 {
				t.Errorf("%d KiB allocated for a body of 64 MiB, want some dozens", cost>>10)
			}
		})
	}
}
