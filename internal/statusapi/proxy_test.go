package statusapi

import (
	"net/url"
	"strings"
	"testing"
)

func TestProxyAddressIsUnderstoodAsBrowsersDo(t *testing.T) {
	for _, tt := range []struct{ text, host, user, password string }{
		{"http://proxy:3128", "proxy:3128", "", ""},
		{"proxy:3128", "proxy:3128", "", ""},
		{"proxy", "proxy", "", ""},
		{" http://proxy:3128/ ", "proxy:3128", "", ""},
		{"http://user:pa^ss%w@proxy:3128", "proxy:3128", "user", "pa^ss%w"},
		{"user:pa^ss%w@proxy:3128", "proxy:3128", "user", "pa^ss%w"},
		{"http://user:p%40ss%2fword@proxy:3128", "proxy:3128", "user", "p@ss/word"},
		{"http://user:p@ss:w ord@proxy:3128", "proxy:3128", "user", "p@ss:w ord"},
		{"http://user:a%b%zz%@proxy:3128", "proxy:3128", "user", "a%b%zz%"},
		{`http://us<er>:"p|a{s}s[w]` + "`" + `@proxy:3128`, "proxy:3128", "us<er>", `"p|a{s}s[w]` + "`"},
		{"http://user:p\u00e4ss@proxy:3128", "proxy:3128", "user", "p\u00e4ss"},
		{"http://user@proxy:3128", "proxy:3128", "user", ""},
		{"http://:password@proxy:3128", "proxy:3128", "", "password"},
		{`http:\user:pass@proxy:3128`, "proxy:3128", "user", "pass"},
		{"http:/proxy:3128", "proxy:3128", "", ""},
		{"http:3128", "http:3128", "", ""},
		{"https://proxy:8443", "proxy:8443", "", ""},
		{"https://proxy:80", "proxy:80", "", ""},
		{"socks5://user:pa^ss%w@proxy:80", "proxy:80", "user", "pa^ss%w"},
		{"socks5h://proxy", "proxy", "", ""},
		{"HTTP://Proxy.LAN:3128", "proxy.lan:3128", "", ""},
		{"http://127.1:3128", "127.0.0.1:3128", "", ""},
		{"http://[::1]:3128", "[::1]:3128", "", ""},
		{"http://[fe80::1%25eth0]:3128", "[fe80::1%eth0]:3128", "", ""},
		{"http://my_proxy.lan:3128", "my_proxy.lan:3128", "", ""},
		{"http://b\u00fccher.lan:3128", "xn--bcher-kva.lan:3128", "", ""},
	} {
		u, err := parseProxy(tt.text)
		if err != nil {
			t.Errorf("%s: %v", tt.text, err)
			continue
		}
		user, password := "", ""
		if u.User != nil {
			user = u.User.Username()
			password, _ = u.User.Password()
		}
		if u.Host != tt.host || user != tt.user || password != tt.password {
			t.Errorf("%s: got host %q, user %q, password %q; want %q, %q, %q", tt.text, u.Host, user, password, tt.host, tt.user, tt.password)
		}
	}
}

func TestBadProxyAddressIsSaidWithoutItsPassword(t *testing.T) {
	for text, want := range map[string]string{
		"http://user:s3cr3t@proxy:port":      "is not a URL",
		"http://user:s3cr3t@":                "is not a URL",
		"user:s3cr3t":                        "is not a URL",
		"http://user:s3cr3t@proxy:99999":     "is not a URL",
		"http://":                            "is not a URL",
		"://user:s3cr3t@proxy":               "is not a URL",
		"s3 cr3t://proxy":                    "is not a URL",
		"ftp://user:s3cr3t@proxy:3128":       "is one for ftp://, want http, https or socks5",
		"http://user:s3cr3t@pro xy:3128":     "is not a URL",
		"http://user:s3cr3t@[::1:3128":       "is not a URL",
		"http://user:s3cr3t@proxy\u202e:312": "is not a URL",
	} {
		u, err := parseProxy(text)
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "cr3t") {
			t.Errorf("%q: got %v and the error %v, want %q and no password", text, u, err, want)
		}
	}
}

func FuzzParseProxy(f *testing.F) {
	f.Add("http", "user", "pa^ss%w")
	f.Add("socks5", "us:er", "p%41ss@/#?")
	f.Fuzz(func(t *testing.T, scheme, user, password string) {
		if _, known := proxySchemes()[scheme]; !known || user+password == "" {
			t.Skip("no proxy")
		}
		u := &url.URL{Scheme: scheme, Host: "proxy:3128", User: url.UserPassword(user, password)}
		got, err := parseProxy(u.String())
		if err != nil {
			t.Fatalf("%v: %v", u, err)
		}
		if got.User.String() != u.User.String() || got.Host != u.Host {
			t.Errorf("got %q, want %q", got, u)
		}
	})
}
