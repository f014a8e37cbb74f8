package target

import (
	"net/netip"
	"strings"
)

// Listeners serve a generated map from as few sockets as possible: each kind of
// target has one, on all addresses of loopback. It is not safe for concurrent use.
type Listeners struct {
	ca           *Authority
	byName       map[string]*Target
	bySchemePort map[string]*Target
}

// NewListeners returns listeners that serve nothing yet. The caller closes them.
func NewListeners(ca *Authority) *Listeners {
	return &Listeners{ca: ca, byName: make(map[string]*Target), bySchemePort: make(map[string]*Target)}
}

// URL returns the address of replica i, a target of that name. It opens the
// target if that is not open yet.
func (l *Listeners) URL(name string, i int) (string, error) {
	t := l.byName[name]
	if t == nil {
		spec, err := ParseSpec(name)
		if err != nil {
			return "", err
		}
		if t, err = openOn(spec, everyAddress, l.ca); err != nil {
			return "", err
		}
		l.byName[name], l.bySchemePort[schemePort(t.URL())] = t, t
	}
	// 127.64.0.1 and up: 250 hosts in each of 250 networks, and so on.
	address := netip.AddrFrom4([4]byte{127, byte(64 + i/62500), byte(i / 250 % 250), byte(1 + i%250)})
	return t.urlAt(address.String()), nil
}

// Target returns the target that serves a URL, nil if there is none.
func (l *Listeners) Target(url string) *Target {
	if len(l.bySchemePort) == 0 {
		return nil
	}
	return l.bySchemePort[schemePort(url)]
}

// SetLimits sets the delay of slow targets by the limits of the map in force.
func (l *Listeners) SetLimits(limits Limits) {
	for _, t := range l.byName {
		t.SetLimits(limits)
	}
}

// Close closes all targets. It may be called more than once.
func (l *Listeners) Close() {
	for _, t := range l.byName {
		t.Close()
	}
}

// schemePort returns the common part of all URLs of one target.
func schemePort(url string) string {
	scheme, rest, _ := strings.Cut(strings.TrimSuffix(url, "/"), "://")
	_, port, _ := strings.Cut(rest, ":")
	return scheme + ":" + port
}
