package probe

import (
	"context"
	"fmt"
	"io"
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// Scheme is the method by which a target is probed.
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

// Target is a parsed replica URL. It is a small handle, made by ParseTarget; the zero
// Target is not usable. Under every verb of fmt it shows no secret.
type Target struct{ *handle }

// handle keeps secrets out of reach of fmt, which looks through one pointer in a
// field that it may not format.
type handle struct{ *target }

// target is the parts of a URL that a probe needs. The strings share the memory of
// raw wherever they are a part of it: there is one target for each replica.
type target struct {
	raw    string     // the URL as the map has it: the replica's id; empty for one that only a redirect led to
	host   string     // lower-case, IDNA, with the dot that it may end in; no brackets
	uri    string     // path and query, as they go into a request
	addr   netip.Addr // the host, if it is an IP literal; else invalid
	number uint32     // among the targets of the node that look alike; 0 if there is no other
	port   uint16     // 0 for ICMP
	scheme schemeID
}

// schemeID is a Scheme in one byte.
type schemeID uint8

const (
	tcpID schemeID = iota
	icmpID
	httpID
	httpsID
)

// method is how the replicas of one scheme are probed.
type method struct {
	scheme Scheme
	port   int // of a URL that gives none: a number, or one of the constants below

	// attempt makes one attempt and returns its latency. The error is an *Error
	// that says why the attempt was down, or the cause of ctx's end.
	attempt func(p *Prober, ctx context.Context, c Check, a attempt) (time.Duration, error)
}

const (
	portless     = 0  // the scheme has no ports; one in a URL is ignored
	portRequired = -1 // the URL must give the port
)

// methods returns the table of all schemes, by schemeID. The dispatch of attempts
// and the error texts that list the schemes are made from it. It is a function
// because attempts parse URLs, and a variable may not refer to itself.
func methods() [4]method {
	return [...]method{
		tcpID:   {TCP, portRequired, (*Prober).attemptTCP},
		icmpID:  {ICMP, portless, (*Prober).attemptICMP},
		httpID:  {HTTP, 80, (*Prober).attemptHTTP},
		httpsID: {HTTPS, 443, (*Prober).attemptHTTP},
	}
}

// method returns the row of the table for id. It is not inlined: thousands of
// probes may wait, and each would have a copy of the table on its stack.
//
//go:noinline
func (id schemeID) method() method { return methods()[id] }

// findScheme returns the scheme of that name, in lower case.
func findScheme(name string) (schemeID, bool) {
	for id, m := range methods() {
		if string(m.scheme) == name {
			return schemeID(id), true
		}
	}
	return 0, false
}

// Schemes returns the schemes that a replica URL can have, in the order of the table.
func Schemes() []Scheme {
	var all []Scheme
	for _, m := range methods() {
		all = append(all, m.scheme)
	}
	return all
}

// knownSchemes lists the schemes for an error text: "tcp, icmp, http or https".
func knownSchemes() string {
	var b strings.Builder
	all := methods()
	for i, m := range all {
		switch i {
		case 0:
		case len(all) - 1:
			b.WriteString(" or ")
		default:
			b.WriteString(", ")
		}
		b.WriteString(string(m.scheme))
	}
	return b.String()
}

// ParseTarget parses a replica URL by the WHATWG URL Standard, as browsers do, and
// its host as getaddrinfo does, under every scheme. The error says what is wrong
// with the URL and contains no secret.
func ParseTarget(raw string) (Target, error) {
	if len(raw) > maxURL {
		return Target{}, fmt.Errorf("URL of %d bytes, want at most %d", len(raw), maxURL)
	}
	t, _, err := parseURL(raw, nil)
	if err != nil {
		return Target{}, fmt.Errorf("%q %w", Redact(raw), err)
	}
	t.raw = raw
	return Target{&handle{t}}, nil
}

// ID returns the URL exactly as it was given to ParseTarget: the replica's id.
// It may hold a password; it is for the Status API alone.
func (t Target) ID() string { return t.raw }

// userinfo returns the credentials of the URL; nil if it has none. They are parsed
// for each attempt, since few URLs have them and a field would cost memory in all.
func (t *target) userinfo() *userinfo {
	if !strings.Contains(t.raw, "@") {
		return nil
	}
	_, rest := cutScheme(cleanURL(t.raw))
	again := target{scheme: t.scheme}
	user, _, _ := again.setAuthority(strings.TrimLeft(rest, slashes))
	return user
}

// Scheme returns the scheme of the URL.
func (t Target) Scheme() Scheme { return t.scheme.method().scheme }

// hostname returns the host as the target is told it: without the dot that makes a
// name absolute for the resolver, and without a zone, which has a meaning on this
// host alone.
func (t *target) hostname() string {
	if t.addr.Is6() {
		name, _, _ := strings.Cut(t.host, "%")
		return name
	}
	return strings.TrimSuffix(t.host, ".")
}

// String returns the URL with its secrets masked, for people to read.
func (t Target) String() string {
	if t.handle == nil {
		return ""
	}
	text := t.show()
	if t.number > 0 {
		text += " #" + strconv.FormatUint(uint64(t.number), 10)
	}
	return text
}

// Format writes String under every verb, so that none shows a password.
func (t Target) Format(f fmt.State, _ rune) { io.WriteString(f, t.String()) }
