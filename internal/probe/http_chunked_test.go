package probe

import (
	"bufio"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
	"time"
)

// unchunked reads a chunked body that comes in pieces of size bytes.
func unchunked(body string, size int) (string, error) {
	from := bufio.NewReaderSize(reads([]byte(body), size), 1<<10)
	b, err := io.ReadAll(&chunkedBody{from: from})
	return string(b), err
}

func TestChunkedBodies(t *testing.T) {
	long := strings.Repeat("x", 3000)
	for _, tt := range []struct {
		name, body, want string
		breaks           error // nil: it is whole
	}{
		{"plain", "2\r\nit\r\n3\r\n is\r\n0\r\n\r\n", "it is", nil},
		{"nothing", "0\r\n\r\n", "", nil},
		{"LF alone", "2\nit\n3\n is\n0\n\n", "it is", nil},
		{"CR CR LF", "2\r\r\nit\r\r\n0\r\r\n\r\r\n", "it", nil},
		{"extensions", "2;a=b;c=\"d\"\r\nit\r\n0;x\r\n\r\n", "it", nil},
		{"a long extension", "2;" + long + "\r\nit\r\n0;" + long + "\r\n\r\n", "it", nil},
		{"anything behind the size", "2x!\r\nit\r\n0\r\n\r\n", "it", nil},
		{"blanks around the size", " \t2 \t\r\nit\r\n 0 \r\n\r\n", "it", nil},
		{"blanks behind the data", "2\r\nit \t\r\n0\r\n\r\n", "it", nil},
		{"digits in both cases", "a\r\n0123456789\r\nA\r\n0123456789\r\n0\r\n\r\n", "01234567890123456789", nil},
		{"leading zeros", "0002\r\nit\r\n" + strings.Repeat("0", 100) + "3\r\n is\r\n0000\r\n\r\n", "it is", nil},
		{"trailers", "2\r\nit\r\n0\r\nA: b\r\nC: " + long + "\r\n\r\n", "it", nil},
		{"trailers without end", "2\r\nit\r\n0\r\nA: b\r\n" + long, "it", nil},
		{"no line behind the last chunk", "2\r\nit\r\n0\r\n", "it", nil},
		{"something behind the body", "2\r\nit\r\n0\r\n\r\nHTTP/1.1 200 OK\r\n\r\n", "it", nil},
		{"no last chunk", "2\r\nit\r\n", "it", io.ErrUnexpectedEOF},
		{"the half of a last chunk", "2\r\nit\r\n0", "it", io.ErrUnexpectedEOF},
		{"the half of a chunk", "5\r\nit", "it", io.ErrUnexpectedEOF},
		{"the half of a size", "2\r\nit\r\n1", "it", io.ErrUnexpectedEOF},
		{"no chunk", "", "", io.ErrUnexpectedEOF},
		{"no size", "\r\n2\r\nit\r\n0\r\n\r\n", "", errChunk},
		{"a size that is no number", "xyz\r\n", "", errChunk},
		{"a negative size", "-2\r\nit\r\n0\r\n\r\n", "", errChunk},
		{"no line end behind the data", "2\r\nit0\r\n\r\n", "it", errChunk},
		{"zeros without end", strings.Repeat("0", 1<<20), "", errChunk},
		{"a size of 2^62 bytes", "4000000000000000\r\nit", "it", io.ErrUnexpectedEOF},
		{"a size above", "40000000000000000\r\nit", "", errChunk},
		{"a size of 2^64 and two bytes", "10000000000000002\r\nit\r\n0\r\n\r\n", "", errChunk},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for _, size := range []int{1, 2, 3, 7, 1 << 20} {
				got, err := unchunked(tt.body, size)
				if got != tt.want || !errors.Is(err, tt.breaks) {
					t.Errorf("in pieces of %d: got %q and %v, want %q and %v", size, got, err, tt.want, tt.breaks)
				}
			}
		})
	}
}

// What has come of a body is searched at once, whatever is to come.
func TestChunkedBodyDoesNotWaitForTheNextChunk(t *testing.T) {
	for _, body := range []string{"2\r\nok\r\n", "2\r\nok\r\n1", "2\r\nok", "1\r\no\r\n1\r\nk\r\n0"} {
		late := io.MultiReader(strings.NewReader(body), iotest.ErrReader(errors.New("waited")))
		b := make([]byte, 10)
		n, err := (&chunkedBody{from: bufio.NewReader(late)}).Read(b)
		if string(b[:n]) != "ok" || err != nil {
			t.Errorf("%q: got %q and %v, want ok before all else", body, b[:n], err)
		}
	}
}

// A body in many small chunks costs hardly more reads than one in few.
func TestSmallChunksAreGivenOutTogether(t *testing.T) {
	body := strings.Repeat("1\r\nx\r\n", 10_000) + "0\r\n\r\n"
	c := &chunkedBody{from: bufio.NewReaderSize(strings.NewReader(body), 1<<10)}
	reads, b := 0, make([]byte, pieceSize)
	for {
		reads++
		if _, err := c.Read(b); err != nil {
			break
		}
	}
	if reads > 150 {
		t.Errorf("%d reads for 10,000 chunks of a byte, want about one for each buffer of them", reads)
	}
}

// The last chunk ends the body: trailers may be any length, or never end.
func TestChunkedBodyWithTrailersIsWhole(t *testing.T) {
	for name, trailers := range map[string]string{
		"2 KiB":   "X-Trailer: " + strings.Repeat("x", 2048) + "\r\n\r\n",
		"200 KiB": strings.Repeat("X-Trailer: "+strings.Repeat("x", 1000)+"\r\n", 200) + "\r\n",
		"cut off": "X-Trai",
	} {
		s := serve(t, loopback(t), "http", always("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nit is\r\n3\r\n ok\r\n0\r\n"+trailers))
		if err := judge(t, testProber(), s.url, Rules{DeadMatch: "gone", HealthyMatch: "is ok"}); err != nil {
			t.Errorf("trailers of %s: got %v, want up", name, err)
		}
	}
}

func BenchmarkChunkedBody(b *testing.B) {
	body := "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + strings.Repeat("40\r\n"+strings.Repeat("x", 64)+"\r\n", 1000) + "0\r\n\r\n"
	rules := &Rules{DeadMatch: "gone"}
	from := bufio.NewReaderSize(nil, 1<<10)
	b.SetBytes(int64(len(body)))
	for b.Loop() {
		from.Reset(strings.NewReader(body))
		a, err := (&headReader{from: from}).read()
		if err == nil {
			err = rules.search(a.body("GET", from), within(time.Second))
		}
		if err != nil {
			b.Fatal(err)
		}
	}
}
