package probe

import (
	"fmt"
	"net"
	"strings"
	"testing"
)

// Whatever a server does to fill the memory, there is a clear reason, and it
// stays empty.
func TestHostileAnswers(t *testing.T) {
	megabyte := strings.Repeat("x", 1<<20-1000)
	for name, tt := range map[string]struct {
		answer string
		kind   Kind // "": up
		reason string
	}{
		"a cookie of a megabyte":          {"HTTP/1.1 200 OK\r\nSet-Cookie: a=" + megabyte + "\r\n\r\n", "", ""},
		"a redirect with such a cookie":   {status(302, "Location: /there", "Set-Cookie: a="+megabyte), KindHTTP, "more than 5 redirects"},
		"a redirect with many cookies":    {status(302, "Location: /there", strings.Repeat("Set-Cookie: a=b\r\n", 50_000)+"X: y"), KindHTTP, "more than 5 redirects"},
		"a redirect to a megabyte":        {status(302, "Location: /"+megabyte), KindHTTP, "redirect: URL of more than"},
		"a redirect into a file":          {status(302, "Location: file:///etc/passwd"), KindHTTP, "redirect"},
		"a head that never ends":          {"HTTP/1.1 200 OK\r\n" + strings.Repeat("X: y\r\n", 1<<18), KindHTTP, "header over 1 MiB"},
		"a status line that never ends":   {"HTTP/1.1 200 " + megabyte + megabyte, KindHTTP, "header over 1 MiB"},
		"a folded line that never ends":   {"HTTP/1.1 200 OK\r\nContent-Length:\r\n" + strings.Repeat(" \r\n", 1<<19), KindHTTP, "header over 1 MiB"},
		"1xx answers that never end":      {strings.Repeat("HTTP/1.1 103 Hints\r\nLink: <a>\r\n\r\n", 1<<15), KindHTTP, "header over 1 MiB"},
		"lengths that never end":          {"HTTP/1.1 200 OK\r\nContent-Length: " + strings.Repeat("1,", 1<<20), KindHTTP, "header over 1 MiB"},
		"encodings that never end":        {"HTTP/1.1 200 OK\r\n" + strings.Repeat("Content-Encoding: gzip, br\r\n", 1<<16), KindHTTP, "header over 1 MiB"},
		"a megabyte that is not HTTP":     {megabyte, KindHTTP, "answer is not HTTP"},
		"a line of such, with its end":    {"<html>" + megabyte + "\n", KindHTTP, "answer is not HTTP"},
		"empty lines instead of a status": {strings.Repeat("\n", 1<<21), KindHTTP, "header over 1 MiB"},
	} {
		t.Run(name, func(t *testing.T) {
			answer := []byte(tt.answer)
			s := serveConn(t, loopback(t), "http", func(c net.Conn, _ string) { c.Write(answer) })
			p := testProber()
			if err := judge(t, p, s.url, Rules{}); tt.kind == "" && err != nil {
				t.Errorf("got %v, want up", err)
			} else if tt.kind != "" {
				wantFailure(t, err, tt.kind, tt.reason)
				if len(err.Error()) > 1000 {
					t.Errorf("the reason has %d bytes, want one for a log line", len(err.Error()))
				}
			}
			if cost := allocated(func() { judge(t, p, s.url, Rules{}) }); cost > 512<<10 {
				t.Errorf("%d KiB allocated, want some dozens", cost>>10)
			}
		})
	}
}

// Cookies that are Secure and those that are not, on a way between http and
// https, up to its end.
func TestRedirectsBetweenHTTPAndHTTPS(t *testing.T) {
	authority := newAuthority(t)
	var plain, secure *site
	sent := func(head string) string {
		_, cookie, _ := strings.Cut(head, "\r\nCookie: ")
		cookie, _, _ = strings.Cut(cookie, "\r\n")
		return cookie
	}
	hop := func(to **site) func(string) string {
		return func(head string) string {
			var n int
			fmt.Sscanf(head, "HEAD /%d ", &n)
			if n == 5 {
				return ok
			}
			return status(302, fmt.Sprintf("Location: %s/%d", (*to).url, n+1), fmt.Sprintf("Set-Cookie: a%d=b; Secure; Path=/", n), fmt.Sprintf("Set-Cookie: b%d=b; Path=/", n))
		}
	}
	plain = serve(t, loopback(t), "http", hop(&secure))
	secure = serve(t, authority.listen(t, "127.0.0.1"), "https", hop(&plain))
	p := testProber()
	p.TrustRoots(authority.pool)
	if err := judge(t, p, plain.url+"/0", Rules{}); err != nil {
		t.Fatalf("got %v, want up", err)
	}
	for i, want := range []string{"", "b0=b; b1=b", "b0=b; b1=b; b2=b; b3=b"} {
		if got := sent(plain.requests()[i]); got != want {
			t.Errorf("http: sent %q, want %q", got, want)
		}
	}
	for i, want := range []string{"a0=b; b0=b", "a0=b; b0=b; a1=b; b1=b; a2=b; b2=b"} {
		if got := sent(secure.requests()[i]); got != want {
			t.Errorf("https: sent %q, want %q", got, want)
		}
	}
}
