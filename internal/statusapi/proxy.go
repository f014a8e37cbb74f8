package statusapi

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	whatwg "github.com/nlnwa/whatwg-url/url"
	"golang.org/x/net/http/httpproxy"
)

// proxySchemes are the schemes of proxies, and the port of each.
func proxySchemes() map[string]string {
	return map[string]string{"http": "80", "https": "443", "socks5": "1080", "socks5h": "1080"}
}

// proxies are the proxies of the environment. Package httpproxy decides whether a
// request goes through one, by the names of the variables and by NO_PROXY; the
// addresses are parsed here.
type proxies struct {
	leads     func(*url.URL) (*url.URL, error)
	addresses map[string]proxyAddress // by the scheme of the request
}

// proxyAddress is the parsed value of a variable.
type proxyAddress struct {
	url *url.URL
	err error
}

// proxiesOfEnvironment returns the proxies that HTTP_PROXY, HTTPS_PROXY and
// NO_PROXY name, or their lower-case forms.
func proxiesOfEnvironment() *proxies {
	config := httpproxy.FromEnvironment()
	p := &proxies{addresses: make(map[string]proxyAddress)}
	for scheme, variable := range map[string]*string{"http": &config.HTTPProxy, "https": &config.HTTPSProxy} {
		if *variable == "" {
			continue
		}
		u, err := parseProxy(*variable)
		p.addresses[scheme] = proxyAddress{u, err}
		// httpproxy ignores an address that it cannot parse, and the request would
		// go out directly.
		*variable = "http://proxy.invalid"
	}
	p.leads = config.ProxyFunc()
	return p
}

// of returns the proxy for req; nil is none.
func (p *proxies) of(req *http.Request) (*url.URL, error) {
	if u, err := p.leads(req.URL); u == nil || err != nil {
		return nil, err
	}
	address := p.addresses[req.URL.Scheme]
	return address.url, address.err
}

// users returns the credentials for the proxies.
func (p *proxies) users() []*url.Userinfo {
	var users []*url.Userinfo
	for _, address := range p.addresses {
		if address.url != nil && address.url.User != nil {
			users = append(users, address.url.User)
		}
	}
	return users
}

// parseProxy parses the address of a proxy by the WHATWG URL Standard: a password may
// contain any character. The error repeats no part of the address, which may be one of
// the password.
func parseProxy(text string) (*url.URL, error) {
	if !strings.Contains(text, "://") && !hasProxyScheme(text) {
		text = "http://" + text
	}
	u, err := parseWHATWG(text)
	if err != nil {
		// The standard has no zones.
		if u, err = url.Parse(text); err != nil || !strings.Contains(u.Hostname(), "%") {
			return nil, errNoProxyURL
		}
	}
	switch _, known := proxySchemes()[u.Scheme]; {
	case u.Hostname() == "":
		return nil, errNoProxyURL
	case !known:
		return nil, fmt.Errorf("the proxy of the environment is one for %s://, want http, https or socks5", u.Scheme)
	}
	return u, nil
}

// hasProxyScheme reports whether text begins with a scheme and a slash or two,
// of whichever kind.
func hasProxyScheme(text string) bool {
	scheme, rest, _ := strings.Cut(strings.TrimSpace(text), ":")
	_, known := proxySchemes()[strings.ToLower(scheme)]
	return known && rest != "" && strings.IndexByte(`/\`, rest[0]) >= 0
}

// parseWHATWG parses a URL by the WHATWG URL Standard and returns its scheme, user and
// host.
func parseWHATWG(text string) (*url.URL, error) {
	parser := whatwg.NewParser(whatwg.WithSpecialSchemes(proxySchemes()), whatwg.WithAcceptInvalidCodepoints())
	parsed, err := parser.Parse(text)
	if err != nil {
		return nil, err
	}
	u := &url.URL{Scheme: parsed.Scheme(), Host: parsed.Host()}
	user, password := percentDecoded(parsed.Username()), percentDecoded(parsed.Password())
	if user != "" || password != "" {
		u.User = url.UserPassword(user, password)
	}
	return u, nil
}

// percentDecoded undoes the percent-encoding of text. A percent sign that
// encodes nothing stands for itself.
func percentDecoded(text string) string {
	var b strings.Builder
	for text != "" {
		if text[0] == '%' && len(text) >= 3 {
			if c, err := url.PathUnescape(text[:3]); err == nil {
				b.WriteString(c)
				text = text[3:]
				continue
			}
		}
		b.WriteString(text[:1])
		text = text[1:]
	}
	return b.String()
}

var errNoProxyURL = errors.New("HTTP_PROXY or HTTPS_PROXY in the environment is not a URL")

// refusedByProxy returns an error for a proxy's refusal, so that it is not taken for
// an answer of the API.
func refusedByProxy(_ context.Context, proxy *url.URL, _ *http.Request, resp *http.Response) error {
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("the proxy %s answers status %d", proxy.Host, resp.StatusCode)
	}
	return nil
}
