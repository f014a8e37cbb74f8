package statusapi

import (
	"bufio"
	"bytes"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"
)

// FuzzAPIAnswer holds whatever the API, or what stands in its place, answers to this: an answer
// that is no success has a meaning in a short line without the token, a wait is asked for by
// 429 and 503 alone and is never negative, and a map request has a map or an error.
func FuzzAPIAnswer(f *testing.F) {
	for _, seed := range []string{
		"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 50\r\n\r\n" + emptyMap,
		"HTTP/1.1 429 \r\nRetry-After: 99999999999999999999\r\n\r\n",
		"HTTP/1.1 503 No\r\nRetry-After: Fri, 31 Dec 1999 23:59:59 GMT\r\nDate: x\r\n\r\n",
		"HTTP/1.1 503 No\r\nRetry-After: Fri, 31 Dec 9999 23:59:59 GMT\r\n\r\n",
		"HTTP/1.1 429 No\r\nRetry-After: -1\r\nRetry-After: 5\r\n\r\n",
		"HTTP/1.0 302 t0k3n\r\nLocation: http://t0k3n/\r\n\r\n", "HTTP/1.1 304 \r\n\r\n", "HTTP/1.1 401 \r\n\r\n", "HTTP/1.1 404 \r\n\r\n",
		"HTTP/1.1 200 \r\nContent-Type: Text/HTML\x1b[2J\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{\"dat\r\n0\r\n\r\n", "ICY 200",
	} {
		f.Add([]byte(seed))
	}
	c := New("http://api.lan/v1", "t0k3n", "test", func(time.Duration) time.Duration { return 0 })
	prev := &Map{date: "7"}
	f.Fuzz(func(t *testing.T, data []byte) {
		resp, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(data)), nil)
		if err != nil {
			return
		}
		defer resp.Body.Close()
		wait := retryAfter(resp)
		if wait < 0 || wait > 0 && resp.StatusCode != http.StatusTooManyRequests && resp.StatusCode != http.StatusServiceUnavailable {
			t.Errorf("got the wait %v of status %d", wait, resp.StatusCode)
		}
		failed := answerError(resp)
		if away, ok := errors.AsType[*UnavailableError](failed); ok && away.Throttled != (resp.StatusCode == http.StatusTooManyRequests) {
			t.Errorf("got %+v of status %d", away, resp.StatusCode)
		}
		m, failed2 := c.parseMapResponse(resp, prev)
		if (m == nil) == (failed2 == nil) || m == prev && resp.StatusCode != http.StatusNotModified {
			t.Errorf("got the map %v and the error %v of status %d", m, failed2, resp.StatusCode)
		}
		for _, err := range []error{failed, failed2} {
			if err == nil {
				continue
			}
			if said := err.Error(); len(said) > 1000 || strings.ContainsAny(said, "\n\r\x1b\x00") || strings.Contains(said, "t0k3n") {
				t.Errorf("got %q, want one short line without the token", said)
			}
		}
	})
}
