package probe

import (
	"hash/maphash"
	"strconv"
	"strings"
	"unicode/utf8"
)

// maxShown bounds the bytes of a URL that are shown: enough to find it in the map.
const maxShown = 200

// show returns scheme, host, port unless it is the default, path and the names
// of the query's parameters: what is no secret.
func (t *target) show() string {
	b := make([]byte, 0, 64)
	b = append(b, t.scheme.method().scheme...)
	b = append(b, "://"...)
	b = t.appendAuthority(b, t.host)
	path, query, hasQuery := strings.Cut(t.uri, "?")
	if at := strings.LastIndexByte(path, '@'); at >= 0 {
		path = "/…" + path[at:] // a password may have contained a slash
	}
	if path != "/" || hasQuery || t.scheme == httpID || t.scheme == httpsID {
		b = append(b, path...)
	}
	if hasQuery {
		b = append(b, '?')
		b = appendNames(b, query)
	}
	return shorten(string(b))
}

// appendAuthority appends host, in brackets where it is an IPv6 address, and
// the port unless it is the scheme's default.
func (t *target) appendAuthority(b []byte, host string) []byte {
	if t.addr.Is6() {
		b = append(b, '[')
		b = append(b, host...)
		b = append(b, ']')
	} else {
		b = append(b, host...)
	}
	if int(t.port) != t.scheme.method().port {
		b = append(b, ':')
		b = strconv.AppendUint(b, uint64(t.port), 10)
	}
	return b
}

// appendNames appends a query with all its values taken out. What has no value
// may be one itself, and be it a name's last characters that pad base64.
func appendNames(b []byte, query string) []byte {
	for more := true; more && len(b) <= maxShown; {
		var parameter string
		parameter, query, more = strings.Cut(query, "&")
		name, value, _ := strings.Cut(parameter, "=")
		if strings.Trim(value, "=") != "" && !strings.Contains(name, "@") {
			b = appendVisible(b, name)
			b = append(b, '=')
		}
		if parameter != "" {
			b = append(b, "…"...)
		}
		if more {
			b = append(b, '&')
		}
	}
	return b
}

// shorten cuts text to maxShown bytes, between two characters.
func shorten(text string) string {
	if len(text) <= maxShown {
		return text
	}
	end := maxShown
	for end > 0 && !utf8.RuneStart(text[end]) {
		end--
	}
	return text[:end] + "…"
}

// Redact returns the public parts of a text that was meant as a URL: without user,
// values of the query and fragment, with characters that are not printable ASCII
// percent-encoded.
func Redact(raw string) string {
	text := cleanURL(raw)
	scheme, rest := cutScheme(text)
	authority := strings.TrimLeft(rest, slashes)
	_, known := findScheme(scheme)
	begin := 0 // of a text that may contain a password
	if known || scheme != "" && len(rest)-len(authority) > 1 {
		begin = len(text) - len(authority)
	}
	switch at := lastAt(text[begin:]); {
	case at >= 0:
		text = text[:begin] + "***@" + text[begin+at:]
	case scheme != "" && begin == 0 && !isPort(rest):
		return shorten(scheme + ":…") // javascript: and the like have no parts
	}
	text, _, _ = strings.Cut(text, "#")
	text, query, hasQuery := strings.Cut(text, "?")
	b := appendVisible(make([]byte, 0, 64), text)
	if hasQuery {
		b = append(b, '?')
		b = appendNames(b, query)
	}
	return shorten(string(b))
}

// appendVisible appends text with control characters percent-encoded, no more
// than is shown of it.
func appendVisible(b []byte, text string) []byte {
	for i := 0; i < len(text) && len(b) <= maxShown; i++ {
		if c := text[i]; c < ' ' || c == 0x7f {
			b = appendPercent(b, c)
		} else {
			b = append(b, c)
		}
	}
	return b
}

// lastAt returns the index after the last @ of text, or -1. A percent-encoded or
// full-width @ counts too, since it may have been meant as one.
func lastAt(text string) int {
	last := -1
	for _, at := range []string{"@", "%40", "%EF%BC%A0", "%EF%B9%AB"} {
		if i := strings.LastIndex(text, at); i >= 0 {
			last = max(last, i+len(at))
		}
	}
	return last
}

// isPort reports whether rest begins with a port: then the supposed scheme is a
// host.
func isPort(rest string) bool {
	digits := strings.TrimLeft(rest, "0123456789")
	return len(digits) < len(rest) && len(rest)-len(digits) <= 5 && (digits == "" || digits[0] == '/')
}

// visible returns an id from outside for a log line: cut, with unprintable
// characters escaped.
func visible(id string) string {
	quoted := strconv.Quote(shorten(id))
	return quoted[1 : len(quoted)-1]
}

// NumberLookAlikes numbers, in their order, the different targets of each node
// whose String would be the same. It modifies targets, so the checks must be those
// of a map that is not in use yet. There may be a million: what is compared are
// hashes, and a collision only gives a number to one that would need none.
func NumberLookAlikes(checks []Check) {
	type group struct{ size, numbered uint32 }
	groups := make(map[uint64]group)
	hashes, seed := make([]uint64, len(checks)), maphash.MakeSeed()
	for i, c := range checks {
		shown := c.Target.show()
		hashes[i] = maphash.Comparable(seed, ID{c.ServiceID, c.NodeID, shown})
		// A target that is shown unchanged can only look like one that is not.
		if shown != c.Target.raw {
			groups[hashes[i]] = group{}
		}
	}
	if len(groups) == 0 {
		return
	}
	for _, hash := range hashes {
		if g, ok := groups[hash]; ok {
			g.size++
			groups[hash] = g
		}
	}
	for i, hash := range hashes {
		if g := groups[hash]; g.size > 1 {
			g.numbered++
			groups[hash] = g
			checks[i].Target.number = g.numbered
		}
	}
}
