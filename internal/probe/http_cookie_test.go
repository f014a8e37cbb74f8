package probe

import (
	"fmt"
	"strings"
	"testing"
)

func TestFirstVisitThatRedirectsToItselfWithACookie(t *testing.T) {
	for _, rules := range []Rules{{}, {HealthyMatch: "welcome"}} {
		s := serve(t, loopback(t), "http", func(head string) string {
			if !strings.Contains(head, "\r\nCookie: seen=1; id=ab=\"c d\"\r\n") {
				return status(302, "Location: /", "Set-Cookie: seen=1; Path=/; HttpOnly", "set-cookie: id=ab=\"c d\"; SameSite=Lax")
			}
			return "HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\nwelcome"
		})
		p := testProber()
		for range 2 { // it is forgotten with the attempt
			before := len(s.requests())
			if err := judge(t, p, s.url, rules); err != nil {
				t.Fatalf("got %v, want up", err)
			}
			all := s.requests()[before:]
			if len(all) != 2 || strings.Contains(all[0], "Cookie") {
				t.Errorf("sent %q, want a first visit without a cookie and one with it", all)
			}
		}
	}
}

func TestCookies(t *testing.T) {
	const past, future = "Thu, 01 Jan 1970 00:00:01 GMT", "Fri, 01 Jan 2100 00:00:00 GMT"
	from := visit{"a.test", "/shop/cart/", false}
	for _, tt := range []struct {
		lines []string
		at    visit
		want  string
	}{
		{[]string{"a=b"}, from, "a=b"},
		{[]string{" a = b ; Path=/"}, from, "a=b"},
		{[]string{"a=b", "c=d"}, from, "a=b; c=d"},
		{[]string{"a=b", "a=c"}, from, "a=c"},
		{[]string{"a="}, from, "a="},
		{[]string{"a=\xff{[\"ü, b"}, from, "a=\xff{[\"ü, b"},
		{[]string{"no pair", "=b", "", ";", "a=x\x01y", "a\tb=c", "a=\x7f"}, from, ""},
		// Host: Domain does not matter.
		{[]string{"a=b"}, visit{"b.test", "/shop/cart/", false}, ""},
		{[]string{"a=b; Domain=test"}, visit{"b.test", "/shop/cart/", false}, ""},
		{[]string{"a=b; Domain=a.test"}, visit{"x.a.test", "/shop/cart/", false}, ""},
		{[]string{"a=b; Domain=other.test"}, from, "a=b"},
		// Path.
		{[]string{"a=b"}, visit{"a.test", "/shop/cart/1", false}, "a=b"},
		{[]string{"a=b"}, visit{"a.test", "/shop/cart", false}, "a=b"},
		{[]string{"a=b"}, visit{"a.test", "/shop/", false}, ""},
		{[]string{"a=b; path=/shop"}, visit{"a.test", "/shop", false}, "a=b"},
		{[]string{"a=b; path=/shop"}, visit{"a.test", "/shop/x", false}, "a=b"},
		{[]string{"a=b; path=/shop"}, visit{"a.test", "/shopping", false}, ""},
		{[]string{"a=b; path=/shop/"}, visit{"a.test", "/shop/x", false}, "a=b"},
		{[]string{"a=b; path=shop"}, visit{"a.test", "/shop/cart/x", false}, "a=b"},
		{[]string{"a=b; Path=/", "a=c; Path=/shop"}, from, "a=b; a=c"},
		// Secure.
		{[]string{"a=b; Secure"}, from, ""},
		{[]string{"a=b; secure; HttpOnly"}, visit{"a.test", "/shop/cart/", true}, "a=b"},
		// What takes them away.
		{[]string{"a=b", "a=; Max-Age=0"}, from, ""},
		{[]string{"a=b", "a=c; max-age=-1"}, from, ""},
		{[]string{"a=b; Max-Age=60; Expires=" + past}, from, "a=b"},
		{[]string{"a=b; Expires=" + past + "; Max-Age=60"}, from, "a=b"},
		{[]string{"a=b; Max-Age=x"}, from, "a=b"},
		{[]string{"a=b", "a=c; Expires=" + past}, from, ""},
		{[]string{"a=b", "a=c; expires=Thu, 01-Jan-1970 00:00:01 GMT"}, from, ""},
		{[]string{"a=b", "a=c; expires=Thu, 01-Jan-70 00:00:01 GMT"}, from, ""},
		{[]string{"a=b; Expires=" + future}, from, "a=b"},
		{[]string{"a=b; Expires=someday"}, from, "a=b"},
		{[]string{"a=b; Path=/", "a=c; Max-Age=0; Path=/shop"}, from, "a=b"},
		// Sizes.
		{[]string{"a=" + strings.Repeat("x", 4095)}, from, "a=" + strings.Repeat("x", 4095)},
		{[]string{"a=" + strings.Repeat("x", 4096)}, from, ""},
	} {
		if got := cookies(nil).set(tt.lines, from).header(tt.at); got != tt.want {
			t.Errorf("%.80q at %v: sent %.80q, want %.80q", tt.lines, tt.at, got, tt.want)
		}
	}
}

func TestCookiesAreBounded(t *testing.T) {
	var jar cookies
	v := visit{"a.test", "/", false}
	for i := range 100 {
		jar = jar.set([]string{fmt.Sprintf("c%d=%s", i, strings.Repeat("x", 1000))}, v)
	}
	if len(jar) != maxCookies {
		t.Errorf("%d cookies are kept, want %d", len(jar), maxCookies)
	}
	if n := len(jar.header(v)); n > maxCookieHeader || n < maxCookieHeader/2 {
		t.Errorf("%d bytes of cookies are sent, want up to %d", n, maxCookieHeader)
	}
}

// Two names of one server: what the first sets, the second does not get, and
// the first gets it again.
func TestCookiesAlongRedirects(t *testing.T) {
	var s *site
	named := func(host string) string { return strings.Replace(s.url, "127.0.0.1", host, 1) }
	s = serve(t, loopback(t), "http", func(head string) string {
		switch {
		case strings.HasPrefix(head, "HEAD /1 "):
			return status(302, "Location: "+named("b.test")+"/2", "Set-Cookie: a=1; Path=/; Domain=test")
		case strings.HasPrefix(head, "HEAD /2 "):
			return status(302, "Location: "+named("a.test")+"/3", "Set-Cookie: b=2")
		}
		return ok
	})
	p := testProber()
	p.resolver = resolverOf(&nameserver{answer: addresses("127.0.0.1")})
	if err := judge(t, p, named("a.test")+"/1", Rules{}); err != nil {
		t.Fatalf("got %v, want up", err)
	}
	var sent []string
	for _, head := range s.requests() {
		_, cookie, _ := strings.Cut(head, "\r\nCookie: ")
		cookie, _, _ = strings.Cut(cookie, "\r\n")
		sent = append(sent, cookie)
	}
	if got := strings.Join(sent, "|"); got != "||a=1" {
		t.Errorf("sent the cookies %q, want a=1 at the end alone", got)
	}
}
