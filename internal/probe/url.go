package probe

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	whatwg "github.com/nlnwa/whatwg-url/url"
)

// maxSegments bounds the slashes in a URL: the time that the library takes for
// a path grows with their square.
const maxSegments = 1000

// The mistakes in a URL, as the words that follow the URL in a sentence.
var (
	errNotURL = errors.New("is not a URL")
	errNoHost = errors.New("has no host")

	errSegments = fmt.Errorf("has over %d slashes", maxSegments)
)

// slashes are the characters that count as a slash before and after the authority.
const slashes = `/\`

// userinfo is the credentials of an HTTP request.
type userinfo struct{ name, password string }

// parseURL takes a URL apart by the WHATWG URL Standard; one without a scheme
// or a host is relative to base, which may be nil. The user is nil if the URL
// has none. The authority is read here, since the standard knows no zones and
// does not look into the hosts of tcp and icmp; the library resolves and encodes
// the path and the query.
func parseURL(text string, base *target) (*target, *userinfo, error) {
	text = cleanURL(text)
	name, rest := cutScheme(text)
	after := strings.TrimLeft(rest, slashes)
	if countSlashes(after) > maxSegments {
		return nil, nil, errSegments
	}
	t := new(target)
	switch id, known := findScheme(name); {
	case known:
		t.scheme = id
	case name != "" && base != nil: // of a redirect, which HTTP alone has
		return nil, nil, errors.New("has another scheme, want http or https")
	case name != "":
		return nil, nil, fmt.Errorf("has an unknown scheme, want %s", knownSchemes())
	case base == nil:
		return nil, nil, fmt.Errorf("has no scheme, want %s", knownSchemes())
	default:
		t.scheme = base.scheme
	}
	if base != nil && t.scheme == base.scheme && len(rest)-len(after) < 2 {
		t.host, t.addr, t.port = base.host, base.addr, base.port
		return t, nil, t.resolvePath(text, base)
	}
	user, tail, err := t.setAuthority(after)
	if err != nil {
		return nil, nil, err
	}
	return t, user, t.setPath(tail)
}

// cleanURL returns text as the standard begins with it: without blanks and
// control characters around it and without tabs and line ends inside. Bytes
// outside ASCII are percent-encoded, which they come to anywhere in a URL; so
// those that are not UTF-8 are kept.
func cleanURL(text string) string {
	text = strings.TrimFunc(text, func(r rune) bool { return r <= ' ' })
	odd := func(c byte) bool { return c >= 0x80 || c == '\t' || c == '\n' || c == '\r' }
	i := 0
	for i < len(text) && !odd(text[i]) {
		i++
	}
	if i == len(text) {
		return text
	}
	b := append(make([]byte, 0, len(text)+32), text[:i]...)
	for ; i < len(text); i++ {
		switch c := text[i]; {
		case c >= 0x80:
			b = appendPercent(b, c)
		case !odd(c):
			b = append(b, c)
		}
	}
	return string(b)
}

// appendPercent appends c percent-encoded.
func appendPercent(b []byte, c byte) []byte {
	const digits = "0123456789ABCDEF"
	return append(b, '%', digits[c>>4], digits[c&15])
}

// cutScheme returns the scheme that text begins with, in lower case, and what
// follows its colon; without a scheme, it returns text as it is.
func cutScheme(text string) (string, string) {
	for i := range len(text) {
		switch c := text[i]; {
		case 'a' <= c|0x20 && c|0x20 <= 'z':
		case i > 0 && ('0' <= c && c <= '9' || c == '+' || c == '-' || c == '.'):
		case i > 0 && c == ':':
			return strings.ToLower(text[:i]), text[i+1:]
		default:
			return "", text
		}
	}
	return "", text
}

// setAuthority sets host and port to those that text begins with, and returns
// the user before them, if any, and what follows. A backslash ends the
// authority as a slash does; where that leaves no host that can be, it is one
// character of the password, as with curl.
func (t *target) setAuthority(text string) (*userinfo, string, error) {
	var err error
	for _, ends := range []string{`/\?#`, `/?#`} {
		authority, rest := text, ""
		if end := strings.IndexAny(text, ends); end >= 0 {
			authority, rest = text[:end], text[end:]
		}
		user, hostPort := cutUser(authority)
		wrong := t.setHost(hostPort)
		if wrong == nil {
			return user, rest, nil
		}
		if err == nil {
			err = wrong
		}
		if strings.Contains(rest, "@") {
			err = errNotURL // host and port may be parts of a password
		}
		if !strings.HasPrefix(rest, `\`) {
			break
		}
	}
	return nil, "", err
}

// cutUser returns the user that authority begins with, if any, and host and
// port.
func cutUser(authority string) (*userinfo, string) {
	at := strings.LastIndexByte(authority, '@')
	if at < 0 {
		return nil, authority
	}
	name, password, _ := strings.Cut(authority[:at], ":")
	return &userinfo{percentDecode(name), percentDecode(password)}, authority[at+1:]
}

func (t *target) setHost(hostPort string) error {
	host, port, err := cutPort(hostPort)
	if err != nil {
		return err
	}
	if t.host, t.addr, err = parseHost(host); err != nil {
		return err
	}
	t.port, err = parsePort(t.scheme, port)
	return err
}

// cutPort returns the host, in brackets if it is in brackets, and the port.
func cutPort(authority string) (string, string, error) {
	if strings.HasPrefix(authority, "[") {
		end := strings.IndexByte(authority, ']') + 1
		if end == 0 || end < len(authority) && authority[end] != ':' {
			return "", "", errNotURL
		}
		return authority[:end], strings.TrimPrefix(authority[end:], ":"), nil
	}
	host, port, _ := strings.Cut(authority, ":")
	if strings.Contains(port, ":") {
		return "", "", errors.New("has an IPv6 address that is not one in brackets, want [::1]")
	}
	return host, port, nil
}

func parsePort(scheme schemeID, text string) (uint16, error) {
	if strings.Trim(text, "0123456789") != "" {
		return 0, errNotURL
	}
	m := scheme.method()
	switch {
	case m.port == portless:
		return portless, nil
	case text == "" && m.port == portRequired:
		return 0, fmt.Errorf("has no port, want one: %s://host:port", m.scheme)
	case text == "":
		return uint16(m.port), nil
	}
	port, err := strconv.ParseUint(text, 10, 16)
	if err != nil || port == 0 {
		return 0, fmt.Errorf("has the port %.20s, want 1 to 65535", text)
	}
	return uint16(port), nil
}

// The library never sees an authority but this one, whatever the scheme.
const standIn = "http://h"

// setPath sets the path and query of a URL from tail, the text after its host.
func (t *target) setPath(tail string) error {
	switch {
	case tail == "":
		t.uri = "/"
		return nil
	case isPlain(tail):
		t.uri = tail
		return nil
	}
	u, err := whatwg.Parse(standIn + tail)
	if err != nil {
		return errNotURL
	}
	t.uri = u.Href(true)[len(standIn):]
	if strings.HasPrefix(tail, t.uri) {
		t.uri = tail[:len(t.uri)] // a part of the URL: it costs no memory of its own
	}
	return nil
}

// isPlain reports whether the standard leaves tail as it is for certain: most
// are of few characters and without dot segments, and the library takes 7 µs and
// fifty allocations for each.
func isPlain(tail string) bool {
	for i := range len(tail) {
		switch c := tail[i]; {
		case 'a' <= c|0x20 && c|0x20 <= 'z', '0' <= c && c <= '9', c == '/', c == '-', c == '_':
		case i > 0 && (c == '?' || c == '=' || c == '&' || c == '.' && tail[i-1] != '/'):
		default:
			return false
		}
	}
	return tail[0] == '/'
}

// resolvePath is setPath for ref, which is relative to base.
func (t *target) resolvePath(ref string, base *target) error {
	if _, rest := cutScheme(ref); len(rest) < len(ref) {
		ref = "http:" + rest // that of the stand-in, so that it is relative still
	}
	u, err := whatwg.ParseRef(standIn+base.uri, ref)
	if err != nil {
		return errNotURL
	}
	t.uri = u.Href(true)[len(standIn):]
	if countSlashes(t.uri) > maxSegments { // with those of base
		return errSegments
	}
	return nil
}

func countSlashes(text string) int { return strings.Count(text, "/") + strings.Count(text, `\`) }

// percentDecode decodes the percent-encoded bytes of text; a % that encodes nothing
// stays.
func percentDecode(text string) string {
	if !strings.Contains(text, "%") {
		return text
	}
	b := make([]byte, 0, len(text))
	for i := 0; i < len(text); i++ {
		if text[i] == '%' && i+2 < len(text) {
			if c, err := strconv.ParseUint(text[i+1:i+3], 16, 8); err == nil {
				b = append(b, byte(c))
				i += 2
				continue
			}
		}
		b = append(b, text[i])
	}
	return string(b)
}
