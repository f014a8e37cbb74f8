package probe

import (
	"strconv"
	"strings"
	"time"
)

const (
	maxCookies      = 50      // of one attempt
	maxCookie       = 4 << 10 // bytes of one, name and value
	maxCookieLine   = 8 << 10 // bytes of a Set-Cookie line, with its attributes
	maxCookieHeader = 8190    // bytes of all that one request sends: servers take no more, and curl sends no more
)

// cookie is a cookie that a redirect set.
type cookie struct {
	pair   string // name=value, as it is sent
	name   string
	host   string // that set it, the only one it is sent to
	path   string
	secure bool
}

// cookies are those of one attempt: many a site answers a first visit with a
// redirect to itself, and wants to see its cookie again.
type cookies []cookie

// visit is a request as far as cookies are concerned.
type visit struct {
	host, path string
	secure     bool
}

// visitOf returns the parts of q that cookies depend on.
func visitOf(q request) visit {
	path, _, _ := strings.Cut(q.target.uri, "?")
	return visit{q.target.hostname(), path, q.target.Scheme() == HTTPS}
}

// set returns the cookies after the Set-Cookie lines of the answer to v.
func (all cookies) set(lines []string, v visit) cookies {
	for _, line := range lines {
		c, gone, ok := parseCookie(line, v)
		if !ok {
			continue
		}
		all = all.without(c)
		if !gone && len(all) < maxCookies {
			all = append(all, c)
		}
	}
	return all
}

// without returns all but the cookie that c replaces.
func (all cookies) without(c cookie) cookies {
	for i, old := range all {
		if old.name == c.name && old.host == c.host && old.path == c.path {
			return append(all[:i], all[i+1:]...)
		}
	}
	return all
}

// header returns the value of the Cookie header for v; "" if there is none.
func (all cookies) header(v visit) string {
	var b strings.Builder
	for _, c := range all {
		if c.host != v.host || c.secure && !v.secure || !coversPath(c.path, v.path) {
			continue
		}
		if b.Len()+len(c.pair)+len("; ") > maxCookieHeader {
			break
		}
		if b.Len() > 0 {
			b.WriteString("; ")
		}
		b.WriteString(c.pair)
	}
	return b.String()
}

// coversPath reports whether a cookie of path is sent to one of at (RFC 6265,
// 5.1.4).
func coversPath(path, at string) bool {
	rest, ok := strings.CutPrefix(at, path)
	return ok && (rest == "" || rest[0] == '/' || strings.HasSuffix(path, "/"))
}

// parseCookie returns the cookie of a Set-Cookie line in the answer to v, and
// whether the line takes it away. A Domain is ignored.
func parseCookie(line string, v visit) (c cookie, gone, ok bool) {
	pair, attributes, _ := strings.Cut(line, ";")
	name, value, ok := strings.Cut(pair, "=")
	name, value = strings.Trim(name, " \t"), strings.Trim(value, " \t")
	if !ok || name == "" || len(name)+len(value) > maxCookie || hasControl(name) || hasControl(value) {
		return cookie{}, false, false
	}
	c = cookie{pair: name + "=" + value, name: name, host: v.host, path: defaultPath(v.path)}
	aged := false // Max-Age is there: it wins over Expires
	for attribute := range strings.SplitSeq(attributes, ";") {
		key, value, _ := strings.Cut(attribute, "=")
		value = strings.Trim(value, " \t\"")
		switch strings.ToLower(strings.Trim(key, " \t")) {
		case "secure":
			c.secure = true
		case "path":
			if strings.HasPrefix(value, "/") {
				c.path = value
			}
		case "max-age":
			if seconds, err := strconv.ParseFloat(value, 64); err == nil {
				gone, aged = seconds <= 0, true
			}
		case "expires":
			if !aged {
				gone = isPast(value)
			}
		}
	}
	return c, gone, true
}

// defaultPath returns the path of a cookie that names none (RFC 6265, 5.1.4).
func defaultPath(path string) string {
	if i := strings.LastIndexByte(path, '/'); i > 0 {
		return path[:i]
	}
	return "/"
}

// hasControl reports whether text contains a control character, which could forge a
// line of the request.
func hasControl(text string) bool {
	return strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r == 0x7f })
}

// isPast reports whether date, in one of the forms that servers use, is past.
func isPast(date string) bool {
	for _, layout := range []string{
		time.RFC1123, "Mon, 02-Jan-2006 15:04:05 MST", "Mon, 02-Jan-06 15:04:05 MST",
		time.RFC850, time.ANSIC, time.RFC1123Z, "Mon, 2 Jan 2006 15:04:05 MST",
	} {
		if t, err := time.Parse(layout, date); err == nil {
			return t.Before(time.Now())
		}
	}
	return false
}
