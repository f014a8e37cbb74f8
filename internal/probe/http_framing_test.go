package probe

import (
	"bufio"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
)

// answerTo reads an answer to method that the server ends by closing the connection.
func answerTo(method, text string) (a answerHead, body string, err error) {
	from := bufio.NewReaderSize(strings.NewReader(text), 1<<10)
	if a, err = (&headReader{from: from}).read(); err != nil {
		return a, "", err
	}
	b, err := io.ReadAll(a.body(method, from))
	return a, string(b), err
}

func TestBodyLength(t *testing.T) {
	const hello, chunks = "hello", "5\r\nhello\r\n0\r\n\r\n"
	breaks := io.ErrUnexpectedEOF
	for _, tt := range []struct {
		header, body, want string
		breaks             error
	}{
		{"Content-Length: 4", hello, "hell", nil},
		{"content-LENGTH:4", hello, "hell", nil},
		{"Content-Length:\t 4 \t", hello, "hell", nil},
		{"Content-Length: 0004", hello, "hell", nil},
		{"Content-Length: 6", hello, hello, breaks},
		{"Content-Length: 4\r\nContent-Length: 4", hello, "hell", nil},
		{"Content-Length: 4, 4", hello, "hell", nil},
		{"Content-Length:\r\n 4", hello, "hell", nil},
		{"", hello, hello, nil},
		// What leaves the length open ends with the connection.
		{"Content-Length: 4\r\nContent-Length: 3", hello, hello, nil},
		{"Content-Length: 4, 3", hello, hello, nil},
		{"Content-Length: 4,", hello, hello, nil},
		{"Content-Length:", hello, hello, nil},
		{"Content-Length:\r\nContent-Length: 4", hello, "hell", nil},
		{"Content-Length: -1", hello, hello, nil},
		{"Content-Length: +4", hello, hello, nil},
		{"Content-Length: 4x", hello, hello, nil},
		{"Content-Length: 99999999999999999999", hello, hello, nil},
		{"Content-Length : 4", hello, hello, nil},
		{" Content-Length: 4", hello, hello, nil},
		{"Content-Length: " + strings.Repeat("4, ", 1000) + "4", hello, "hell", nil},
		{"Transfer-Encoding: chunked", chunks, hello, nil},
		{"Transfer-Encoding: Chunked;q=1", chunks, hello, nil},
		{"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", chunks, hello, nil},
		{"Transfer-Encoding: chunked, chunked", chunks, hello, nil},
		{"Transfer-Encoding: identity, chunked", chunks, hello, nil},
		{"Transfer-Encoding: chunked, identity", chunks, hello, nil},
		{"Transfer-Encoding: bogus, chunked", chunks, hello, nil},
		{"Content-Length: 3\r\nTransfer-Encoding: chunked", chunks, hello, nil},
		{"Transfer-Encoding: chunked\r\nContent-Length: x", chunks, hello, nil},
		{"Transfer-Encoding: identity", hello, hello, nil},
		{"Transfer-Encoding: identity\r\nContent-Length: 4", hello, "hell", nil},
		{"Transfer-Encoding: identity\r\nContent-Length: 6", hello, hello, nil},
		{"Transfer-Encoding: bogus", hello, hello, nil},
		{"Transfer-Encoding: xchunked", chunks, chunks, nil},
		{"Transfer-Encoding:", hello, hello, nil},
	} {
		header := tt.header
		if header != "" {
			header += "\r\n"
		}
		_, body, err := answerTo(http.MethodGet, "HTTP/1.1 200 OK\r\n"+header+"\r\n"+tt.body)
		if body != tt.want || !errors.Is(err, tt.breaks) {
			t.Errorf("%.60q: got the body %q and %v, want %q and %v", tt.header, body, err, tt.want, tt.breaks)
		}
	}
}

func TestAnswersWithoutBody(t *testing.T) {
	for _, text := range []string{
		"HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\nhello",
		"HTTP/1.1 304 Not Modified\r\nTransfer-Encoding: chunked\r\n\r\n",
	} {
		if _, body, err := answerTo(http.MethodGet, text); body != "" || err != nil {
			t.Errorf("%q: got the body %q and %v, want none", text, body, err)
		}
	}
	if _, body, err := answerTo(http.MethodHead, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"); body != "" || err != nil {
		t.Errorf("HEAD: got the body %q and %v, want none", body, err)
	}
	// Nobody knows what the body of a head that breaks off would have been.
	if _, _, err := answerTo(http.MethodGet, "HTTP/1.1 200 OK\r\nServer: ol"); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("a head that breaks off: got a body that ends with %v, want one that breaks off", err)
	}
}

func TestNothingOfABodyAndDeadMatchAlone(t *testing.T) {
	for _, tt := range []struct{ answer, healthy, reason string }{
		{"HTTP/1.1 204 No Content\r\n\r\n", "", ""},
		{ok, "", ""},
		{"HTTP/1.1 204 No Content\r\n\r\n", "ok", "body is empty"},
		{ok, "ok", "body is empty"},
		{"HTTP/1.1 200 OK\r\nServer: ol", "", "body breaks off before dead_match could be ruled out"},
	} {
		s := serve(t, loopback(t), "http", always(tt.answer))
		err := judge(t, testProber(), s.url, Rules{HealthyMatch: tt.healthy, DeadMatch: "gone"})
		if tt.reason == "" && err != nil {
			t.Errorf("%q: got %v, want up", tt.answer, err)
		} else if tt.reason != "" {
			wantFailure(t, err, KindBody, tt.reason)
		}
	}
}

func TestWhatIsKeptOfARedirect(t *testing.T) {
	long := "/" + strings.Repeat("x", 9000)
	for _, tt := range []struct {
		answer, location string
		cookies          int
	}{
		{"HTTP/1.1 302 Found\r\nlocation:/a\r\nLocation: /b\r\n\r\n", "/a", 0},
		{"HTTP/1.1 302 Found\r\nLocation:\r\n  /a \r\n\r\n", "/a", 0},
		{"HTTP/1.1 302 Found\r\nLocation: /a\r\n b\r\n\r\n", "/a", 0},
		{"HTTP/1.1 302 Found\r\nLocation : /a\r\n\r\n", "", 0},
		{"HTTP/1.1 302 Found\r\nLocation: " + long + "\r\nSet-Cookie: a=b\r\n\r\n", long, 1},
		{"HTTP/1.1 302 Found\r\nLocation: /a\r\n" + strings.Repeat("Set-Cookie: a=b\r\n", 60) + "\r\n", "/a", 50},
		{"HTTP/1.1 302 Found\r\nLocation: /a\r\nSet-Cookie: a=" + strings.Repeat("x", 1<<19) + "\r\nSet-Cookie: c=d\r\n\r\n", "/a", 1},
		{"HTTP/1.1 200 OK\r\nLocation: /a\r\nSet-Cookie: a=b\r\n\r\n", "", 0},
	} {
		a, _, err := answerTo(http.MethodHead, tt.answer)
		if err != nil || a.location != tt.location || len(a.cookies) != tt.cookies {
			t.Errorf("%.80q: got %.40q, %d cookies and %v, want %.40q and %d", tt.answer, a.location, len(a.cookies), err, tt.location, tt.cookies)
		}
	}
}

// hugeHead gives out a head that never ends.
type hugeHead struct{ piece string }

func (h *hugeHead) Read(b []byte) (int, error) { return copy(b, h.piece), nil }

func TestHeadsAreReadInConstantMemory(t *testing.T) {
	for name, lines := range map[string]string{
		"tiny lines":         strings.Repeat("X: y\r\n", 12_600),
		"a line of 1 MB":     "X: " + strings.Repeat("x", 1_000_000) + "\r\n",
		"a cookie of 1 MB":   "Set-Cookie: a=" + strings.Repeat("x", 1_000_000) + "\r\n",
		"a Location of 1 MB": "Location: /" + strings.Repeat("x", 1_000_000) + "\r\n",
		"many cookies":       strings.Repeat("Set-Cookie: a="+strings.Repeat("x", 4000)+"\r\n", 250),
		"many Locations":     strings.Repeat("Location: /"+strings.Repeat("x", 4000)+"\r\n", 250),
		"many lengths":       strings.Repeat("Content-Length: 2\r\n", 40_000),
		"many encodings":     strings.Repeat("Content-Encoding: x"+strings.Repeat("x", 900)+"\r\n", 1000),
	} {
		text := "HTTP/1.1 302 Found\r\n" + lines + "\r\n"
		from := bufio.NewReaderSize(strings.NewReader(text), 1<<10)
		cost := allocated(func() {
			if _, err := (&headReader{from: from}).read(); err != nil {
				t.Errorf("%s: got %v, want it read", name, err)
			}
		})
		if cost > 512<<10 {
			t.Errorf("%s: %d KiB allocated, want what is kept", name, cost>>10)
		}
	}
	for name, piece := range map[string]string{"HTTP/1.1 200 OK\r\n": "a\n", "HTTP/1.1 302 Found\r\nLocation:": "x", "": "HTTP/1.1 100 Continue\r\n\r\n"} {
		from := bufio.NewReaderSize(io.MultiReader(strings.NewReader(name), &hugeHead{piece}), 1<<10)
		if _, err := (&headReader{from: from}).read(); !errors.Is(err, errHeadTooLong) {
			t.Errorf("%q without end: got %v, want it given up", piece, err)
		}
	}
}

// The usual answer costs no memory but its buffer.
func TestHeadOfAnAnswerIsNotAllocated(t *testing.T) {
	from := bufio.NewReaderSize(nil, 1<<10)
	text := strings.NewReader("")
	n := testing.AllocsPerRun(100, func() {
		text.Reset(usualAnswer)
		from.Reset(text)
		if a, err := (&headReader{from: from}).read(); err != nil || a.status != 200 {
			t.Fatal(a, err)
		}
	})
	if n != 0 {
		t.Errorf("%v allocations for a head, want none", n)
	}
}

const usualAnswer = "HTTP/1.1 200 OK\r\nServer: nginx/1.22.1\r\nDate: Thu, 26 Nov 2026 00:00:00 GMT\r\nContent-Type: text/html; charset=utf-8\r\n" +
	"Content-Length: 612\r\nLast-Modified: Tue, 04 Nov 2025 10:11:12 GMT\r\nConnection: close\r\nETag: \"6549-264\"\r\nAccept-Ranges: bytes\r\n\r\n"

func BenchmarkHead(b *testing.B) {
	from, text := bufio.NewReaderSize(nil, 1<<10), strings.NewReader("")
	b.Run("ours", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			text.Reset(usualAnswer)
			from.Reset(text)
			if _, err := (&headReader{from: from}).read(); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("net/http", func(b *testing.B) {
		b.ReportAllocs()
		q := &http.Request{Method: http.MethodHead}
		for b.Loop() {
			text.Reset(usualAnswer)
			from.Reset(text)
			if _, err := http.ReadResponse(from, q); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("tiny lines", func(b *testing.B) {
		b.ReportAllocs()
		head := "HTTP/1.1 200 OK\r\n" + strings.Repeat("X: y\r\n", 12_600) + "\r\n"
		for b.Loop() {
			text.Reset(head)
			from.Reset(text)
			if _, err := (&headReader{from: from}).read(); err != nil {
				b.Fatal(err)
			}
		}
	})
}
