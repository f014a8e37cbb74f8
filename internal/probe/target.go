package probe

import (
	"errors"
	"fmt"
	"io"
	"net/netip"
	"net/url"
	"strconv"
	"strings"

	"golang.org/x/net/idna"
)

// Scheme says how a target is probed.
type Scheme string

// The schemes that a replica URL can have.
const (
	TCP   Scheme = "tcp"
	ICMP  Scheme = "icmp"
	HTTP  Scheme = "http"
	HTTPS Scheme = "https"
)

// maxURL bounds a replica URL, in bytes: far above what servers accept, and
// small enough that no map can fill the memory with one.
const maxURL = 8 << 10

// Target is where a replica is found: a replica URL that was understood.
// It is a small handle, made by ParseTarget and never changed; the zero Target
// is not usable. However it is formatted, it shows no user and no password.
type Target struct{ *target }

type target struct {
	raw    *string    // the URL as the map has it: the replica's id; out of reach of fmt, for its password
	scheme Scheme     //
	host   string     // lower-case, IDNA; no brackets
	addr   netip.Addr // the host, if it is an IP literal; else invalid
	port   uint16     // 0 for ICMP
}

// ParseTarget understands a replica URL. Surrounding blanks are passed over,
// host names are made lower-case and IDNA (RFC 5891). The error says what is
// wrong with the URL and holds neither user nor password of it.
func ParseTarget(raw string) (Target, error) {
	if len(raw) > maxURL {
		return Target{}, fmt.Errorf("URL of %d bytes, want at most %d", len(raw), maxURL)
	}
	u, err := url.Parse(strings.TrimSpace(raw))
	if err != nil {
		// The cause quotes pieces of the URL, which may be of its password.
		return Target{}, fmt.Errorf("%q is not a URL", Redact(raw))
	}
	t := &target{raw: &raw, scheme: Scheme(u.Scheme)}
	switch t.scheme {
	case TCP, ICMP, HTTP, HTTPS:
	case "":
		return Target{}, fmt.Errorf("%q has no scheme, want tcp, icmp, http or https", Redact(raw))
	default:
		return Target{}, fmt.Errorf("%q has an unknown scheme, want tcp, icmp, http or https", Redact(raw))
	}
	if t.host, t.addr, err = parseHost(u); err != nil {
		return Target{}, fmt.Errorf("%q %w", Redact(raw), err)
	}
	if t.port, err = parsePort(t.scheme, u.Port()); err != nil {
		return Target{}, fmt.Errorf("%q %w", Redact(raw), err)
	}
	return Target{t}, nil
}

// parseHost returns the host of u to look up, or the address that it is.
func parseHost(u *url.URL) (string, netip.Addr, error) {
	host := u.Hostname()
	if host == "" {
		return "", netip.Addr{}, fmt.Errorf("has no host")
	}
	addr, err := netip.ParseAddr(host)
	switch {
	case err == nil && addr.Is4():
		return host, addr, nil // a part of the URL: it costs no memory of its own
	case err == nil && strings.HasPrefix(u.Host, "["):
		return addr.String(), addr, nil
	case err == nil || strings.Contains(host, ":") || strings.Count(u.Host, ":") > 1 && !strings.HasPrefix(u.Host, "["):
		return "", netip.Addr{}, fmt.Errorf("has an IPv6 address that is not one in brackets, want [::1]")
	}
	host = strings.ToLower(host)
	for i := range len(host) {
		if host[i] < 0x80 {
			continue
		}
		ascii, err := idna.Lookup.ToASCII(host)
		if err == nil && ascii == "" { // nothing but what IDNA takes out
			err = errors.New("it comes to nothing")
		}
		if err != nil {
			return "", netip.Addr{}, fmt.Errorf("has a host that is no internationalized domain name: %w", err)
		}
		addr, _ := netip.ParseAddr(ascii) // digits may be written in other scripts too
		return ascii, addr, nil
	}
	return host, netip.Addr{}, nil
}

func parsePort(scheme Scheme, text string) (uint16, error) {
	switch {
	case scheme == ICMP:
		return 0, nil // there are no ports; one that is given means nothing
	case text == "" && scheme == HTTP:
		return 80, nil
	case text == "" && scheme == HTTPS:
		return 443, nil
	case text == "":
		return 0, fmt.Errorf("has no port, want one: tcp://host:port")
	}
	port, err := strconv.ParseUint(text, 10, 16)
	if err != nil || port == 0 {
		return 0, fmt.Errorf("has the port %s, want 1 to 65535", text)
	}
	return uint16(port), nil
}

// ID returns the URL exactly as it was given to ParseTarget: the replica's id.
// It may hold a password; it is for the Status API alone.
func (t Target) ID() string { return *t.raw }

// Scheme returns how the target is probed.
func (t Target) Scheme() Scheme { return t.scheme }

// String returns the URL without user and password, for people to read.
func (t Target) String() string {
	if t.target == nil {
		return ""
	}
	return Redact(*t.raw)
}

// Format writes String under every verb, so that none shows a password.
func (t Target) Format(f fmt.State, _ rune) { io.WriteString(f, t.String()) }

// url returns the parsed URL of an HTTP or HTTPS target. It is made anew for
// each attempt: kept, it would double the memory that a replica costs.
func (t Target) url() (*url.URL, error) { return url.Parse(strings.TrimSpace(*t.raw)) }

// Redact returns a URL, or what was meant to be one, without the user and the
// password in it.
func Redact(raw string) string {
	const shown = 200 // enough to find it in the map
	text := strings.TrimSpace(raw)
	// The authority ends at the first of / ? # (RFC 3986, 3.2), but in what is
	// not a URL a password may hold them: then the last @ of all counts.
	begin, end := 0, len(text)
	if i := strings.Index(text, "//"); i >= 0 && !strings.ContainsAny(strings.TrimSuffix(text[:i], ":"), ":@/?#") {
		begin = i + len("//")
		u, err := url.Parse(text)
		if n := strings.IndexAny(text[begin:], "/?#"); n >= 0 && err == nil && u.Host != "" {
			end = begin + n
		}
	}
	if at := strings.LastIndexByte(text[begin:end], '@'); at >= 0 {
		text = text[:begin] + "***" + text[begin+at:]
	}
	if len(text) > shown {
		text = text[:shown] + "…"
	}
	return text
}
