package probe

import (
	"fmt"
	"net"
	"strings"
	"testing"
)

func TestHTTPRedirectsAreFollowed(t *testing.T) {
	for _, code := range []int{301, 302, 303, 307, 308} {
		for _, rules := range []Rules{{}, {HealthyMatch: "there"}} {
			s := serve(t, loopback(t), "http", func(head string) string {
				if strings.Contains(head, " /here ") {
					return status(code, "Location: /there?x=1#top")
				}
				if !strings.Contains(head, " /there?x=1 ") {
					return status(404)
				}
				return "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nthere"
			})
			want := "HEAD HEAD"
			if rules.HealthyMatch != "" {
				want = "GET GET" // the method stays the same on the way
			}
			if err := judge(t, testProber(), s.url+"/here", rules); err != nil || s.methods() != want {
				t.Errorf("%d: got %v after %s, want up after %s", code, err, s.methods(), want)
			}
		}
	}
}

func TestHTTPStatusAtTheEndOfRedirectsCounts(t *testing.T) {
	s := serve(t, loopback(t), "http", func(head string) string {
		if strings.Contains(head, " / ") {
			return status(302, "Location: /end")
		}
		return status(500)
	})
	wantFailure(t, judge(t, testProber(), s.url, Rules{}), KindStatus, "status 500 at "+s.url+"/end, want 200 to 399")
	// A redirect is followed even where its own status would be healthy.
	s = serve(t, loopback(t), "http", func(head string) string {
		if strings.Contains(head, " / ") {
			return status(302, "Location: /end")
		}
		return status(200)
	})
	wantFailure(t, judge(t, testProber(), s.url, Rules{HealthyAbove: 300, HealthyBelow: 400}), KindStatus, "status 200 at ")
}

func TestHTTPFiveRedirectsAndNoMore(t *testing.T) {
	for _, tt := range []struct {
		redirects int
		up        bool
	}{{0, true}, {1, true}, {5, true}, {6, false}, {1 << 30, false}} {
		n := 0
		s := serve(t, loopback(t), "http", func(string) string {
			if n++; n <= tt.redirects {
				return status(302, "Location: /")
			}
			return ok
		})
		err := judge(t, testProber(), s.url, Rules{})
		if tt.up && err != nil {
			t.Errorf("%d redirects: got %v, want up", tt.redirects, err)
		} else if !tt.up {
			wantFailure(t, err, KindHTTP, "more than 5 redirects")
		}
		if want := min(tt.redirects, 5) + 1; len(s.requests()) != want {
			t.Errorf("%d redirects: %d requests, want %d", tt.redirects, len(s.requests()), want)
		}
	}
}

func TestHTTPWhatIsNoRedirectIsTheAnswer(t *testing.T) {
	for _, answer := range []string{
		status(301), status(302), status(303), status(307), status(308), status(302, "Location: "),
		status(300, "Location: /there"), status(304, "Location: /there"), status(305, "Location: /there"), status(306, "Location: /there"),
		status(200, "Location: /there"), status(201, "Location: /there"),
	} {
		s := serve(t, loopback(t), "http", func(string) string { return answer })
		if err := judge(t, testProber(), s.url, Rules{}); err != nil || len(s.requests()) != 1 {
			t.Errorf("%q: got %v after %d requests, want up after one", answer, err, len(s.requests()))
		}
		if err := judge(t, testProber(), s.url, Rules{HealthyAbove: 400, HealthyBelow: 500}); err == nil {
			t.Errorf("%q: got up, want its own status to count", answer)
		}
	}
}

func TestHTTPRedirectsThatLeadNowhere(t *testing.T) {
	for location, reason := range map[string]string{
		"ftp://web/":                         `redirect: "ftp://web/" has another scheme, want http or https`,
		"tcp://web:80":                       "redirect to tcp://web:80, want http or https",
		"http://":                            "has no host",
		"http://user:s3cret@we b/":           "redirect to \"http://***@we b/\", which is not a URL",
		"http://web:0/":                      "has the port 0",
		"/" + strings.Repeat("x", 60<<10):    "redirect: URL of more than 16384 bytes",
		"file:///etc/passwd":                 `redirect: "file:///etc/passwd" has another scheme, want http or https`,
		"javascript:f('s3cret')":             `redirect: "javascript:…" has another scheme, want http or https`,
		"///":                                "has no host",
		"http://admin:12345678#s3cret@web/":  `redirect to "http://***@web/", which is not a URL`,
		"//256.1.1.1/?token=s3cret":          `redirect: "//256.1.1.1/?token=…" is not a URL: its host is made of numbers`,
		strings.Repeat("/x", 2000):           "has over 1000 slashes",
		"http://" + closedPort(t).String():   "connection refused",
		"http://user:s3cret@web/x:y@z:99999": "no such host",
	} {
		s := serve(t, loopback(t), "http", func(string) string { return status(302, "Location: "+location) })
		p := testProber()
		p.resolver = resolverOf(&nameserver{err: notFound})
		err := judge(t, p, s.url, Rules{})
		if err == nil || !strings.Contains(err.Error(), reason) || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("redirect to %.40q: got %v, want down because %q", location, err, reason)
		}
	}
}

// Two names of two servers; credentials are in the URL of the first.
func TestHTTPCredentialsStayWithTheirHost(t *testing.T) {
	const basic = "\r\nAuthorization: Basic dXNlcjpwYXNzd29yZA==\r\n" // user:password
	authority := newAuthority(t)
	end := func(string) string { return ok }
	other := serve(t, loopback(t), "http", end)
	secure := serve(t, authority.listen(t, "a.test"), "https", end)
	// named returns the URL of a site, under another name for its host.
	named := func(s *site, host, user string) string {
		scheme, address, _ := strings.Cut(s.url, "://")
		_, port, _ := net.SplitHostPort(address)
		return scheme + "://" + user + host + ":" + port
	}
	for _, tt := range []struct {
		name     string
		tls      bool // of the first
		location string
		end      *site
		sent     string // with the second request
	}{
		{"another port of the host", false, named(other, "a.test", ""), other, ""},
		{"another host", false, named(other, "b.test", ""), other, ""},
		{"a subdomain", false, named(other, "x.a.test", ""), other, ""},
		{"up to https on another port", false, named(secure, "a.test", ""), secure, ""},
		{"same host from https down to http", true, named(other, "a.test", ""), other, ""},
		{"another host with its own", false, named(other, "b.test", "me:mine@"), other, "\r\nAuthorization: Basic bWU6bWluZQ==\r\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			redirect := func(string) string { return status(302, "Location: "+tt.location) }
			first := serve(t, loopback(t), "http", redirect)
			if tt.tls {
				first = serve(t, authority.listen(t, "a.test"), "https", redirect)
			}
			p := testProber()
			p.resolver = resolverOf(&nameserver{answer: addresses("127.0.0.1")})
			p.TrustRoots(authority.pool)
			if err := judge(t, p, named(first, "a.test", "user:password@"), Rules{}); err != nil {
				t.Fatalf("got %v, want up", err)
			}
			if head := first.requests()[0]; !strings.Contains(head, basic) {
				t.Errorf("the first request is %q, want Basic authentication", head)
			}
			all := tt.end.requests()
			head := all[len(all)-1]
			if tt.sent == "" && strings.Contains(head, "Authorization") || !strings.Contains(head, tt.sent) {
				t.Errorf("the request after the redirect is %q, want %q in it", head, tt.sent)
			}
			if strings.Contains(strings.Join(all, ""), "password") {
				t.Errorf("the password is in %q", all)
			}
		})
	}
}

func TestCredentialsGoWhereTheyMay(t *testing.T) {
	for _, tt := range []struct {
		first string
		hops  []string
		want  string // what the last request authenticates with
	}{
		{"http://me:pw@a.test/", []string{"/x"}, "me:pw"},
		{"http://me:pw@a.test/", []string{"http://A.test:80/x"}, "me:pw"},
		{"http://me:pw@a.test/", []string{"//a.test./x"}, "me:pw"},
		{"http://me:pw@a.test:8080/", []string{"http://a.test:8080/"}, "me:pw"},
		{"http://me:pw@a.test/", []string{"https://a.test/"}, "me:pw"},
		{"http://me:pw@a.test/", []string{"https://a.test/", "/x"}, "me:pw"},
		{"http://me:pw@a.test/", []string{"https://b.test/", "http://a.test/"}, "me:pw"},
		{"https://me:pw@a.test/", []string{"https://a.test:443"}, "me:pw"},
		{"http://me:pw@a.test/", []string{"http://a.test:8080/"}, ""},
		{"http://me:pw@a.test/", []string{"https://a.test:8443/"}, ""},
		{"http://me:pw@a.test:8080/", []string{"https://a.test/"}, ""},
		{"http://me:pw@a.test:8080/", []string{"https://a.test:8080/"}, ""},
		{"https://me:pw@a.test/", []string{"http://a.test/"}, ""},
		{"http://me:pw@a.test/", []string{"http://x.a.test/"}, ""},
		{"http://me:pw@a.test/", []string{"http://you@b.test/"}, "you:"},
		{"http://me:pw@a.test/", []string{"http://you:yours@b.test/", "/x"}, "you:yours"},
		{"http://me:pw@a.test/", []string{"http://you:yours@b.test/", "http://c.test"}, ""},
		{"http://me:pw@a.test/", []string{"http://you:yours@b.test/", "http://a.test"}, "me:pw"},
		{"http://a.test/", []string{"http://a.test"}, ""},
	} {
		target := mustParse(t, tt.first)
		first := request{target: target, user: target.userinfo()}
		q := first
		for _, where := range tt.hops {
			var err error
			if q, err = q.redirect(where, first); err != nil {
				t.Fatal(err)
			}
		}
		got := ""
		if q.user != nil {
			got = q.user.name + ":" + q.user.password
		}
		if got != tt.want {
			t.Errorf("%s and then %q: authenticates with %q, want %q", tt.first, tt.hops, got, tt.want)
		}
	}
}

func TestRedirectsAreResolved(t *testing.T) {
	for _, tt := range []struct{ first, where, want string }{
		{"http://web/a/b?q=1", "c", "http://web:80/a/c"},
		{"http://web/a/b?q=1", "?x", "http://web:80/a/b?x"},
		{"http://web/a/b?q=1", "#top", "http://web:80/a/b?q=1"},
		{"http://web/a/b", "../../c", "http://web:80/c"},
		{"http://web:8080/a/b", "/", "http://web:8080/"},
		{"https://web/a/b", "//other/x", "https://other:443/x"},
		{"https://web/a/b", `\\other\x`, "https://other:443/x"},
		{"https://web/a/b", `\x`, "https://web:443/x"},
		{"https://web/a/b", "https:x:y", "https://web:443/a/x:y"},
		{"https://web/a/b", "https:/x", "https://web:443/x"},
		{"https://web/a/b", "https:///other/x", "https://other:443/x"},
		{"https://web/a/b", "http:other/x", "http://other:80/x"},
		{"http://web/", "/sale-100%/", "http://web:80/sale-100%/"},
		{"http://web/", " /a\tb c ", "http://web:80/ab%20c"},
		{"http://web/", "/caf\xe9?\xe9", "http://web:80/caf%E9?%E9"},
		{"http://web/", "/café", "http://web:80/caf%C3%A9"},
		{"http://[fe80::1%25lo]:8080/", "/x", "http://fe80::1%lo:8080/x"},
	} {
		target := mustParse(t, tt.first)
		first := request{target: target}
		q, err := first.redirect(tt.where, first)
		if err != nil {
			t.Errorf("%s, then %q: got %v, want %s", tt.first, tt.where, err, tt.want)
			continue
		}
		if got := fmt.Sprintf("%s://%s:%d%s", q.target.Scheme(), q.target.host, q.target.port, q.target.uri); got != tt.want {
			t.Errorf("%s, then %q: got %s, want %s", tt.first, tt.where, got, tt.want)
		}
	}
}
