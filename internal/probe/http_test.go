package probe

import (
	"context"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestHTTPStatusInTheHealthyRange(t *testing.T) {
	for _, tt := range []struct {
		status       int
		above, below int
		reason       string
	}{
		{200, 200, 400, ""},
		{204, 200, 400, ""},
		{304, 200, 400, ""},
		{399, 200, 400, ""},
		{400, 200, 400, "status 400, want 200 to 399"},
		{503, 200, 400, "status 503, want 200 to 399"},
		{503, 500, 600, ""},
		{200, 500, 600, "status 200, want 500 to 599"},
		{199, 200, 400, ""}, // a 1xx, passed over: the 200 behind it counts
		{401, 401, 402, ""},
		{402, 401, 402, "status 402, want 401 to 401"},
	} {
		t.Run(fmt.Sprintf("%d in [%d,%d)", tt.status, tt.above, tt.below), func(t *testing.T) {
			s := serve(t, loopback(t), "http", func(string) string { return status(tt.status) + ok })
			err := judge(t, testProber(), s.url, Rules{HealthyAbove: tt.above, HealthyBelow: tt.below})
			if tt.reason == "" && err != nil {
				t.Errorf("got %v, want up", err)
			} else if tt.reason != "" {
				wantFailure(t, err, KindStatus, tt.reason)
			}
		})
	}
}

func TestHTTPRequest(t *testing.T) {
	for _, tt := range []struct {
		name, path string
		rules      Rules
		want       string // the request line
	}{
		{"HEAD", "", Rules{}, "HEAD / HTTP/1.1"},
		{"GET with healthy_match", "/", Rules{HealthyMatch: "ok"}, "GET / HTTP/1.1"},
		{"GET with dead_match", "/", Rules{DeadMatch: "gone"}, "GET / HTTP/1.1"},
		{"path and query as they are", "/a%2Fb//c;d?x=1&y=%20&z", Rules{}, "HEAD /a%2Fb//c;d?x=1&y=%20&z HTTP/1.1"},
		{"a query without a path", "?x=1", Rules{}, "HEAD /?x=1 HTTP/1.1"},
		{"the fragment is not sent", "/a#top", Rules{}, "HEAD /a HTTP/1.1"},
		{"what a request line cannot hold is escaped", "/ä b?q=ü x", Rules{}, "HEAD /%C3%A4%20b?q=%C3%BC%20x HTTP/1.1"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := serve(t, loopback(t), "http", func(string) string { return "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok" })
			if err := judge(t, testProber(), s.url+tt.path, tt.rules); err != nil {
				t.Errorf("got %v, want up", err)
			}
			_, address, _ := strings.Cut(s.url, "//")
			want := tt.want + "\r\nHost: " + address + "\r\nUser-Agent: crisp-status-local/test\r\nAccept: */*\r\nConnection: close\r\n\r\n"
			if got := strings.Join(s.requests(), ""); got != want {
				t.Errorf("sent %q, want %q", got, want)
			}
		})
	}
}

func TestHTTPAFreshConnectionForEveryAttempt(t *testing.T) {
	hang := make(chan struct{})
	s := serveConn(t, loopback(t), "http", func(c net.Conn, _ string) {
		io.WriteString(c, "HTTP/1.1 200 OK\r\nConnection: keep-alive\r\nContent-Length: 0\r\n\r\n")
		<-hang // a server that keeps the connection open costs nothing
	})
	defer close(hang)
	p := testProber()
	for range 3 {
		if err := judge(t, p, s.url, Rules{}); err != nil {
			t.Errorf("got %v, want up", err)
		}
	}
	s.mu.Lock()
	conns := s.conns
	s.mu.Unlock()
	if conns != 3 || s.methods() != "HEAD HEAD HEAD" {
		t.Errorf("%d connections for %s, want one for each", conns, s.methods())
	}
}

func TestHTTPBodyIsOverWhenItsLengthSaysSo(t *testing.T) {
	for _, body := range []string{
		"Content-Length: 5\r\n\r\nhello",
		"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
	} {
		hang := make(chan struct{})
		s := serveConn(t, loopback(t), "http", func(c net.Conn, _ string) {
			io.WriteString(c, "HTTP/1.1 200 OK\r\n"+body)
			<-hang
		})
		if err := judge(t, testProber(), s.url, Rules{HealthyMatch: "hell", DeadMatch: "gone"}); err != nil {
			t.Errorf("%q: got %v, want up", body, err)
		}
		close(hang)
	}
}

func TestHTTPNoProxyFromTheEnvironment(t *testing.T) {
	proxy := serve(t, loopback(t), "http", func(string) string { return status(500) })
	for _, name := range []string{"HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "ALL_PROXY"} {
		t.Setenv(name, proxy.url)
	}
	s := serve(t, listenTCP(t, "tcp4", "127.0.0.2:0"), "http", func(string) string { return ok })
	if err := judge(t, testProber(), s.url, Rules{}); err != nil {
		t.Errorf("got %v, want up", err)
	}
	if n := len(proxy.requests()); n != 0 {
		t.Errorf("%d requests at the proxy, want none", n)
	}
}

func TestHTTPHeadRefusedIsAskedAgainWithGet(t *testing.T) {
	for _, tt := range []struct {
		refuse    int
		above, to int
		methods   string
		up        bool
	}{
		{405, 200, 400, "HEAD GET", true},
		{501, 200, 400, "HEAD GET", true},
		{400, 200, 400, "HEAD GET", true},
		{403, 200, 400, "HEAD GET", true},
		{404, 200, 400, "HEAD GET", true},
		{411, 200, 400, "HEAD GET", true},
		{500, 200, 400, "HEAD GET", true},
		{503, 200, 400, "HEAD GET", true},
		{999, 200, 400, "HEAD GET", true},
		{401, 200, 400, "HEAD", false}, // asking twice does harm
		{407, 200, 400, "HEAD", false},
		{429, 200, 400, "HEAD", false},
		{302, 200, 300, "HEAD", false}, // it has not refused HEAD
		{405, 400, 500, "HEAD", true},  // in the healthy range it is an answer
		{501, 500, 502, "HEAD", true},
		{503, 200, 500, "HEAD GET", true},
	} {
		t.Run(fmt.Sprintf("%d in [%d,%d)", tt.refuse, tt.above, tt.to), func(t *testing.T) {
			s := serve(t, loopback(t), "http", func(head string) string {
				if strings.HasPrefix(head, "HEAD") {
					return status(tt.refuse)
				}
				return ok
			})
			err := judge(t, testProber(), s.url, Rules{HealthyAbove: tt.above, HealthyBelow: tt.to})
			if (err == nil) != tt.up || s.methods() != tt.methods {
				t.Errorf("got %v after %s, want up %v after %s", err, s.methods(), tt.up, tt.methods)
			}
		})
	}
	t.Run("closed instead of an answer", func(t *testing.T) {
		for name, end := range map[string]func(c net.Conn){
			"by FIN": func(net.Conn) {}, "by RST": func(c net.Conn) { c.(*net.TCPConn).SetLinger(0) },
		} {
			s := serveConn(t, loopback(t), "http", func(c net.Conn, head string) {
				if strings.HasPrefix(head, "HEAD") {
					end(c)
					return
				}
				io.WriteString(c, ok)
			})
			if err := judge(t, testProber(), s.url, Rules{}); err != nil || s.methods() != "HEAD GET" {
				t.Errorf("%s: got %v after %s, want up after HEAD GET", name, err, s.methods())
			}
		}
	})
	t.Run("closed within the answer", func(t *testing.T) {
		s := serve(t, loopback(t), "http", always("HTTP/1.1 100 Continue\r\n\r\n"))
		wantFailure(t, judge(t, testProber(), s.url, Rules{}), KindBroken, "connection closed before the answer was complete")
		if s.methods() != "HEAD" {
			t.Errorf("asked with %s, want HEAD: it was answered", s.methods())
		}
	})
	t.Run("GET refused too is down", func(t *testing.T) {
		s := serve(t, loopback(t), "http", func(string) string { return status(405) })
		wantFailure(t, judge(t, testProber(), s.url, Rules{}), KindStatus, "status 405, want 200 to 399")
		if s.methods() != "HEAD GET" {
			t.Errorf("asked with %s, want HEAD GET", s.methods())
		}
	})
	t.Run("behind a redirect", func(t *testing.T) {
		s := serve(t, loopback(t), "http", func(head string) string {
			switch {
			case strings.Contains(head, " / "):
				return status(302, "Location: /there")
			case strings.HasPrefix(head, "HEAD"):
				return status(405)
			}
			return ok
		})
		if err := judge(t, testProber(), s.url, Rules{}); err != nil || s.methods() != "HEAD HEAD GET" {
			t.Errorf("got %v after %s, want up after HEAD HEAD GET", err, s.methods())
		}
	})
}

func TestHTTPUpByGetAloneBeginsWithGetForADay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var methods []string
		refuses, answer := true, ok
		p := piped(t, func(c net.Conn, head string) {
			method, _, _ := strings.Cut(head, " ")
			methods = append(methods, method)
			if method == "HEAD" && refuses {
				io.WriteString(c, status(404))
				return
			}
			io.WriteString(c, answer)
		})
		probe := func(want string) {
			t.Helper()
			methods = nil
			if err := judge(t, p, "http://10.0.0.7/", Rules{}); err != nil && answer == ok {
				t.Errorf("got %v, want up", err)
			}
			synctest.Wait()
			if got := strings.Join(methods, " "); got != want {
				t.Errorf("asked with %q, want %q", got, want)
			}
		}
		answer = status(503)
		probe("HEAD GET") // it was not up, so nothing is known
		answer = ok
		probe("HEAD GET")
		probe("GET")
		time.Sleep(23 * time.Hour)
		probe("GET")
		time.Sleep(time.Hour)
		probe("HEAD GET")
		probe("GET")
		time.Sleep(24 * time.Hour)
		refuses = false
		probe("HEAD") // it has learned it
		probe("HEAD")
	})
}

// However many replicas have no HEAD, what is remembered of them is bounded.
func TestHTTPMemoryOfGetIsBounded(t *testing.T) {
	h := new(getOnly)
	for i := range maxGetOnly + 10 {
		h.add(mustParse(t, fmt.Sprint("http://web.test/", i)))
	}
	if n := len(h.until); n > maxGetOnly {
		t.Errorf("%d replicas are remembered, want at most %d", n, maxGetOnly)
	}
}

func TestHTTPBasicAuthentication(t *testing.T) {
	for user, want := range map[string]string{
		"user:pass%3Aw%C3%B6rd@": "dXNlcjpwYXNzOnfDtnJk", // user:pass:wörd
		"user@":                  "dXNlcjo=",             // user:
		":secret@":               "OnNlY3JldA==",         // :secret
		"user:pa^ss%w@":          "dXNlcjpwYV5zcyV3",     // user:pa^ss%w
		"user:p@ss@":             "dXNlcjpwQHNz",         // user:p@ss
		"us%zer:a:b@":            "dXMlemVyOmE6Yg==",     // us%zer:a:b
		"user:%e9%@":             "dXNlcjrpJQ==",         // user:, a byte that is not UTF-8, %
		`user:a\b@`:              "dXNlcjphXGI=",         // user:a\b
		"@":                      "Og==",                 // :
	} {
		s := serve(t, loopback(t), "http", func(string) string { return ok })
		if err := judge(t, testProber(), strings.Replace(s.url, "//", "//"+user, 1), Rules{}); err != nil {
			t.Errorf("%s: got %v, want up", user, err)
		}
		if head := s.requests()[0]; !strings.Contains(head, "\r\nAuthorization: Basic "+want+"\r\n") {
			t.Errorf("%s: sent %q, want Basic %s", user, head, want)
		}
	}
}

func TestHTTPHostHeader(t *testing.T) {
	for _, tt := range []struct{ url, want string }{
		{"http://Web.Test/", "web.test"},
		{"http://web.test:80/", "web.test"},
		{"https://web.test:443/", "web.test"},
		{"http://web.test:443/", "web.test:443"},
		{"https://web.test:80/", "web.test:80"},
		{"http://web.test:/", "web.test"},
		{"http://web.test./", "web.test"},
		{"http://web.test.:8080/", "web.test:8080"},
		{"http://127.1/", "127.0.0.1"},
		{"http://Bücher.test:8080/", "xn--bcher-kva.test:8080"},
		{"http://[::1]:8080/", "[::1]:8080"},
		{"http://[fe80::1%25lo]/", "[fe80::1]"},
		{"http://[fe80::1%lo]:80/", "[fe80::1]"},
	} {
		p := testProber()
		target := mustParse(t, tt.url)
		if head := string(p.head("HEAD", request{target: target}, "")); !strings.Contains(head, "\r\nHost: "+tt.want+"\r\n") {
			t.Errorf("%s: sent %q, want the host %s", tt.url, head, tt.want)
		}
	}
}

func TestHTTPOverIPv6(t *testing.T) {
	needIPv6(t)
	s := serve(t, listenTCP(t, "tcp6", "[::1]:0"), "http", func(string) string { return ok })
	if err := judge(t, testProber(), s.url, Rules{}); err != nil {
		t.Errorf("got %v, want up", err)
	}
}

// The connection that won is used after the race is over.
func TestHTTPUpWhenOneAddressOfTheNameIs(t *testing.T) {
	s := serve(t, loopback(t), "http", func(string) string { return "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok" })
	p := testProber()
	p.resolver = resolverOf(&nameserver{answer: addresses("127.0.0.3", "127.0.0.1", "127.0.0.2")})
	url := strings.Replace(s.url, "127.0.0.1", "web.test", 1)
	for range 20 {
		if err := judge(t, p, url, Rules{HealthyMatch: "ok"}); err != nil {
			t.Fatalf("got %v, want up at the one address that listens", err)
		}
	}
}

// When the probe is called off, what it waits for on the connection is, too.
func TestHTTPProbeEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	s := serveConn(t, loopback(t), "http", func(c net.Conn, _ string) {
		cancel() // it waits for the answer now
		io.Copy(io.Discard, c)
	})
	c := Check{Target: mustParse(t, s.url), Rules: &Rules{DeadAfter: time.Hour}}
	if r := testProber().probe(ctx, c, time.Hour); r.Health != Unknown || r.Err != context.Canceled {
		t.Errorf("got %q because %v, want no verdict", r.Health, r.Err)
	}
}

func TestHTTPDown(t *testing.T) {
	t.Parallel()
	t.Run("refused", func(t *testing.T) {
		wantFailure(t, judge(t, testProber(), "http://"+closedPort(t).String(), Rules{}), KindRefused, "connection refused")
	})
	t.Run("black hole", func(t *testing.T) {
		wantFailure(t, attemptAt(t, testProber(), "http://"+blackHole(t).String(), time.Second), KindTimeout, "no answer within 1s")
	})
	t.Run("no such host", func(t *testing.T) {
		p := testProber()
		p.resolver = resolverOf(&nameserver{err: notFound})
		wantFailure(t, judge(t, p, "https://web.test/", Rules{}), KindDNS, `looking up "web.test": no such host`)
	})
}
