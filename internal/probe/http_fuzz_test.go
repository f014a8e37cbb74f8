package probe

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
)

// FuzzAnswerHead reads an answer in one piece and byte for byte: that makes no
// difference, what is kept is bounded, and whatever the standard library
// understands is understood as it does.
func FuzzAnswerHead(f *testing.F) {
	for _, answer := range []string{
		usualAnswer, ok, status(302, "Location: /a", "Set-Cookie: a=b", "Location:\r\n /b"), "ICY 0200\n\n", "HTTP/1.1 200 OK\r\r\n: x\r\nnonsense\r\n\r\r\n",
		"HTTP/1.1 100 Continue\r\n\r\nhttp/1.1 404\n folded\nContent-Length: 2, 2\nContent-Length:\n\n", "\r\nHTTP/1.1 200\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
		"HTTP/1.1 301 Moved\r\nLocation : /a\r\nLocation: " + strings.Repeat("/x", 600) + "\r\n\r\n", "SSH-2.0-OpenSSH_9.2\r\n",
	} {
		f.Add([]byte(answer))
	}
	f.Fuzz(func(t *testing.T, answer []byte) {
		a, err := (&headReader{from: bufio.NewReaderSize(bytes.NewReader(answer), 1<<10)}).read()
		dripped, drippedErr := (&headReader{from: bufio.NewReaderSize(reads(answer, 1), 1<<10)}).read()
		if a.status != dripped.status || a.location != dripped.location || a.lengthOf != dripped.lengthOf || a.chunked != dripped.chunked || (err == nil) != (drippedErr == nil) {
			t.Fatalf("%q: got %+v and %v, byte for byte %+v and %v", answer, a, err, dripped, drippedErr)
		}
		if err == nil && (a.status < 100 || a.status > 999 || a.status < 200 && a.status != 101) {
			t.Errorf("%q: got the status %d", answer, a.status)
		}
		if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, errNoStatusLine) && !errors.Is(err, errHeadTooLong) {
			t.Errorf("%q: got %v", answer, err)
		}
		if !isRedirect(a.status) && (a.location != "" || a.cookies != nil) || len(a.cookies) > maxCookies || len(a.location) > maxField+2<<10 {
			t.Errorf("%q: kept %.100q and %d cookies", answer, a.location, len(a.cookies))
		}
		standard, standardErr := http.ReadResponse(bufio.NewReader(bytes.NewReader(answer)), &http.Request{Method: http.MethodHead})
		if standardErr != nil || standard.StatusCode < 200 || standard.StatusCode > 999 {
			return
		}
		if err != nil || a.status != standard.StatusCode {
			t.Errorf("%q: got %d and %v, the standard library %d", answer, a.status, err, standard.StatusCode)
		}
	})
}

// FuzzBody reads a body by every way in which it can come: it ends, in pieces as
// in one, and unpacks to no more than a bomb may.
func FuzzBody(f *testing.F) {
	for header, body := range map[string]string{
		"Transfer-Encoding: chunked":                          "2;x\r\nok\n 0a \r\n0123456789\r\n000\r\nA: b\r\n\r\n",
		"Content-Encoding: gzip":                              gzipped("ok") + gzipped("more") + "junk",
		"Content-Encoding: deflate":                           deflated("ok, and more of it, and more of it"),
		"Content-Encoding: deflate\r\nContent-Length: 9":      zlibbed("ok"),
		"Content-Encoding: deflate, gzip\r\nContent-Length:":  gzipped(zlibbed("ok")),
		"Transfer-Encoding: gzip, chunked\r\nServer: x":       "17\r\n" + gzipped("ok")[:23] + "\r\n3\r\n" + "abc" + "\r\n0\r\n",
		"Transfer-Encoding: chunked\r\nContent-Encoding: br":  "ffffffffffffffff\r\n",
		"Content-Encoding: deflate\r\nConnection: keep-alive": "<html>not deflate</html>",
	} {
		f.Add(header, []byte(body))
	}
	f.Fuzz(func(t *testing.T, header string, body []byte) {
		answer := append([]byte("HTTP/1.1 200 OK\r\n"+header+"\r\n\r\n"), body...)
		read := func(size int) (transferred []byte, n int64, transferErr, err error) {
			from := bufio.NewReaderSize(reads(answer, size), 1<<10)
			a, err := (&headReader{from: from}).read()
			if err != nil {
				return nil, 0, err, err
			}
			transferred, transferErr = io.ReadAll(a.body(http.MethodGet, from))
			decoded, release := a.codings.decoded(bytes.NewReader(transferred))
			defer release()
			n, err = io.Copy(io.Discard, decoded)
			return transferred, n, transferErr, err
		}
		whole, n, wholeErr, err := read(len(answer))
		dripped, _, drippedErr, _ := read(1)
		if !bytes.Equal(whole, dripped) || !errors.Is(drippedErr, wholeErr) {
			t.Fatalf("%q: got %.100q and %v, byte for byte %.100q and %v", answer, whole, wholeErr, dripped, drippedErr)
		}
		if most := int64(maxUnpacked + maxUnpackedRatio*len(whole) + 64<<10); n > most {
			t.Errorf("%.100q: unpacks to %d bytes, want at most %d (%v)", answer, n, most, err)
		}
	})
}
