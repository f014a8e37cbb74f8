package statusapi

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/crisp-im/crisp-status-local/v2/internal/probe"
)

// reflectedAnswers are answers with a place for what they reflect.
var reflectedAnswers = map[string]string{
	"status text":         "HTTP/1.1 503 %s\r\nContent-Length: 0\r\n\r\n",
	"status":              "HTTP/1.1 %s\r\n\r\n",
	"no HTTP":             "%s\r\n\r\n",
	"version":             "HTTP/%s 200 OK\r\n\r\n",
	"content type":        "HTTP/1.1 200 OK\r\nContent-Type: %s\r\nContent-Length: 2\r\n\r\n{}",
	"header without name": "HTTP/1.1 200 OK\r\n%s\r\n\r\n",
	"header name":         "HTTP/1.1 200 OK\r\n%s: x\r\n\r\n",
	"header value":        "HTTP/1.1 200 OK\r\nX: \x00%s\r\n\r\n",
	"length":              "HTTP/1.1 200 OK\r\nContent-Length: %s\r\n\r\n",
	"transfer encoding":   "HTTP/1.1 200 OK\r\nTransfer-Encoding: %s\r\n\r\n",
	"location":            "HTTP/1.1 302 Found\r\nLocation: http://%%zz/%s\r\nContent-Length: 0\r\n\r\n",
	"chunk size":          "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n%s\r\n",
	"trailer":             "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n%s\r\n\r\n",
	"body":                "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n%s",
	"wrong type":          `HTTP/1.1 200 OK` + "\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n" + `{"data":{"date":"%s","services":"%s"}}`,
}

// writings are how a server may write what it was sent.
var writings = map[string]func(string) string{
	"raw":     func(s string) string { return s },
	"percent": url.QueryEscape,
	"every byte": func(s string) string {
		return strings.ToUpper(fmt.Sprintf("%%%s", strings.Join(strings.Split(fmt.Sprintf("% x", s), " "), "%")))
	},
	"Basic":          func(s string) string { return "Basic " + base64.StdEncoding.EncodeToString([]byte(":"+s)) },
	"base64":         func(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) },
	"base64, two on": func(s string) string { return base64.RawURLEncoding.EncodeToString([]byte("ab" + s)) },
	"JSON":           func(s string) string { b, _ := json.Marshal(s); return string(b) },
	"quoted":         strconv.QuoteToASCII,
	"hex":            func(s string) string { return hex.EncodeToString([]byte(s)) },
}

func TestNoErrorRepeatsTheToken(t *testing.T) {
	const token = `t0k^en%w"with\odd+char&<s>` + "\u00e4"
	answers := make(chan string, 1)
	endpoint := serve(t, func(_ int, conn net.Conn) {
		if req, err := http.ReadRequest(bufio.NewReader(conn)); err == nil {
			io.Copy(io.Discard, req.Body)
			answer := <-answers
			answers <- answer
			io.WriteString(conn, answer)
		}
	})
	for place, answer := range reflectedAnswers {
		for writing, write := range writings {
			t.Run(place+", "+writing, func(t *testing.T) {
				words := write(token)
				answers <- strings.ReplaceAll(strings.ReplaceAll(answer, "%s", words), "%%", "%")
				defer func() { <-answers }()
				c := New(endpoint, token, testAgent, paced(2*time.Millisecond))
				defer c.Close()
				_, unfetched := c.FetchMap(t.Context(), nil)
				if unfetched == nil {
					t.Error("got a map, want an error")
				}
				err := c.Report(t.Context(), verdict("s", "n", "tcp://a:1", probe.Healthy), time.Second)
				for _, err := range []error{unfetched, err} {
					wantHidden(t, err, words, token)
				}
			})
		}
	}
}

// wantHidden checks that neither err nor what it wraps shows one of words, or
// enough of it to be known.
func wantHidden(t *testing.T, err error, words ...string) {
	t.Helper()
	for _, verb := range []string{"%v", "%+v", "%#v", "%q"} {
		text := fmt.Appendf(nil, verb, err)
		text = bytes.ReplaceAll(text, []byte(`\\`), []byte(`\`))
		for _, word := range words {
			for i := 0; i+8 <= len(word); i++ {
				if bytes.Contains(text, []byte(word[i:i+8])) {
					t.Errorf("%s is %s, want no %q of %q in it", verb, text, word[i:i+8], word)
					return
				}
			}
		}
	}
}

func TestProblemsOfAMapDoNotRepeatTheToken(t *testing.T) {
	const credential = "OnQwazNuLXRvLWhpZGU=" // of testToken
	c := newTestClient(time.Minute, func(req *http.Request) (*http.Response, error) {
		if got := req.Header.Get("Authorization"); got != "Basic "+credential {
			t.Errorf("got Authorization %q, want Basic %q", got, credential)
		}
		return mapAnswer(`{"data":{"services":[{"id":"s","nodes":[{"id":"` + credential + `","replicas":[1,"` + testToken + `","gopher://` + testToken + `/"]}]}]}}`), nil
	})
	m, err := c.FetchMap(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if all := strings.Join(m.Problems, "\n"); len(m.Problems) != 3 || strings.Contains(all, testToken) || strings.Contains(all, credential) {
		t.Errorf("got the problems %q, want three and no token", m.Problems)
	}
}
