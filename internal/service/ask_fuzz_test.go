package service

import (
	"bytes"
	"net/http"
	"strings"
	"testing"
)

// FuzzReadAnswer holds whatever a process that has the name of the daemon answers to this:
// there is a body of bounded size, or an error.
func FuzzReadAnswer(f *testing.F) {
	for _, seed := range []string{
		"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}", "HTTP/1.1 200 OK\r\nContent-Length: 9223372036854775807\r\n\r\n{}",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n{", "HTTP/1.1 404 \r\n\r\n", "HTTP/1.1 503 \r\n\r\n\x1b[2J", "ok\n", "H", "",
		"HTTP/1.1 100 \r\n\r\nHTTP/1.1 200 \r\n\r\n",
	} {
		f.Add([]byte(seed))
	}
	f.Add([]byte("HTTP/1.1 " + strings.Repeat("\x9a", 8<<10) + "\r\n\r\n"))
	f.Add([]byte("HTTP/1.1 200 OK\r\nA: " + strings.Repeat("a", 1<<20) + "\r\n\r\n{}"))
	req, err := http.NewRequest(http.MethodGet, "http://localhost/replicas.json", nil)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if bytes.Contains(data, []byte("\r\nContent-Length:")) && len(data) > 1<<16 {
			return
		}
		body, err := readAnswer(bytes.NewReader(data), req)
		if err != nil && body != nil || len(body) > len(data) {
			t.Errorf("got %d bytes and the error %v of %d bytes", len(body), err, len(data))
		}
		if err != nil && len(err.Error()) > 4*maxAskError+100 {
			t.Errorf("got an error of %d bytes, want it short", len(err.Error()))
		}
	})
}
