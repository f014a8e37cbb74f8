// Package policy says to which addresses a probe may connect. What the map asks
// for comes from outside; what may be reached from inside is the operator's to
// say.
package policy

import (
	"fmt"
	"net/netip"
	"strings"
)

// Policy is what the operator permits. The zero Policy, and a nil one, permit
// every address but those that are denied by default (see [Policy.Check]).
type Policy struct {
	allow, deny []Entry
}

// New returns a Policy that permits what an entry of allow matches (everything,
// if there is none) and no entry of deny.
func New(allow, deny []Entry) *Policy { return &Policy{allow, deny} }

// Denied is the error of what may not be reached. It names the rule.
type Denied struct{ reason string }

func (d *Denied) Error() string { return d.reason }

// CheckName returns a *Denied if no address of that name may be reached, so that
// it need not be looked up; nil where the addresses decide. The port is 0 for
// ICMP.
func (p *Policy) CheckName(name string, port uint16) error {
	if p == nil {
		return nil
	}
	if err := p.CheckAlias(name, port); err != nil {
		return err
	}
	name = strings.TrimSuffix(name, ".")
	for _, e := range p.allow {
		if e.matchesName(name, port) || e.prefix.IsValid() && e.matchesPort(port) {
			return nil
		}
	}
	return p.unlisted(name, port)
}

// CheckAlias returns a *Denied if an entry of deny matches name, an alias that another
// name leads to: a CNAME, or one with a search domain. Entries of allow do not count: a
// permitted alias does not make the first name permitted.
func (p *Policy) CheckAlias(name string, port uint16) error {
	if p == nil {
		return nil
	}
	name = strings.TrimSuffix(name, ".")
	for _, e := range p.deny {
		if e.matchesName(name, port) {
			return denied(name, port, "denied by the entry %q of [probe] deny", e.text)
		}
	}
	return nil
}

// Check returns a *Denied if a connection to addr, an address of name, may not be
// made. The name is empty where the address was given as such, the port 0 for
// ICMP.
//
// An entry of deny is the last word. Addresses of cloud metadata services and
// those that no host has are denied unless allow has that very address. An address
// that stands for an IPv4 one is checked as both.
func (p *Policy) Check(name string, addr netip.Addr, port uint16) error {
	if p == nil {
		p = new(Policy)
	}
	name = strings.TrimSuffix(name, ".")
	all := formsOf(addr)
	for _, e := range p.deny {
		if e.matchesName(name, port) || e.matchesAddr(all, port) {
			return denied(addr.String(), port, "denied by the entry %q of [probe] deny", e.text)
		}
	}
	if what := reservedFor(all); what != "" && !p.lists(all, port) {
		return denied(addr.String(), port, "denied by default: it is %s (to permit it, list this very address in [probe] allow)", what)
	}
	for _, e := range p.allow {
		if e.matchesName(name, port) || e.matchesAddr(all, port) {
			return nil
		}
	}
	if len(p.allow) == 0 {
		return nil
	}
	return p.unlisted(addr.String(), port)
}

// unlisted returns what no entry of allow matches comes to.
func (p *Policy) unlisted(what string, port uint16) error {
	if len(p.allow) == 0 {
		return nil
	}
	return denied(what, port, "denied: no entry of [probe] allow matches it")
}

// lists reports whether an entry of allow is one of those addresses alone.
func (p *Policy) lists(all forms, port uint16) bool {
	for _, e := range p.allow {
		if e.prefix.IsSingleIP() && e.matchesAddr(all, port) {
			return true
		}
	}
	return false
}

// denied returns the error about what, a name or an address.
func denied(what string, port uint16, format string, args ...any) error {
	if port != 0 {
		what = fmt.Sprintf("%s port %d", what, port)
	}
	return &Denied{what + " is " + fmt.Sprintf(format, args...)}
}
