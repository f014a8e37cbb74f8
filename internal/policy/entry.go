package policy

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"golang.org/x/net/idna"
)

// Entry is a set of addresses or host names, perhaps at some ports only.
type Entry struct {
	text        string
	prefix      netip.Prefix // invalid if it is a name
	name        string       // lower-case, IDNA, without the dot that may end it; below a wildcard, with the dot before it
	first, last uint16       // ports; 0 to 0 if it is about all, and about ICMP
}

// Form says what an entry may be.
const Form = `an address, a CIDR or a host name, perhaps with a port or a range of ports, such as "10.0.0.0/8", "[fd00::/8]:443", "*.db.lan:5432" or "10.0.0.7:8000-8999"`

var errForm = errors.New("want " + Form)

// ParseEntry understands one entry of a list. The error says what is wrong with
// it and what is wanted, but not which one it is.
func ParseEntry(text string) (Entry, error) {
	e := Entry{text: text}
	switch {
	case text == "":
		return e, fmt.Errorf("is empty, %w", errForm)
	case strings.Contains(text, "://"):
		return e, fmt.Errorf("is a URL, %w", errForm)
	case strings.ContainsAny(text, " \t\r\n"):
		return e, fmt.Errorf("has a blank in it, %w", errForm)
	}
	host, ports, hasPorts, err := splitPorts(text)
	if err != nil {
		return e, err
	}
	if hasPorts {
		if e.first, e.last, err = parsePorts(ports); err != nil {
			return e, err
		}
	}
	switch addr, err := netip.ParseAddr(host); {
	case strings.Contains(host, "/"):
		e.prefix, err = parsePrefix(host)
		return e, err
	case err == nil && addr.Zone() != "":
		return e, errors.New("has a zone, want the address without it: an entry is about all interfaces")
	case err == nil:
		addr = addr.Unmap()
		e.prefix = netip.PrefixFrom(addr, addr.BitLen())
		return e, nil
	case strings.HasPrefix(text, "["):
		return e, fmt.Errorf("has no IPv6 address in its brackets, %w", errForm)
	}
	e.name, err = parseName(host)
	return e, err
}

// splitPorts returns the host of an entry and what stands for its ports. The
// colons of an IPv6 address are none before a port unless it is in brackets.
func splitPorts(text string) (host, ports string, hasPorts bool, err error) {
	if inside, ok := strings.CutPrefix(text, "["); ok {
		host, rest, closed := strings.Cut(inside, "]")
		ports, hasPorts = strings.CutPrefix(rest, ":")
		if !closed || rest != "" && !hasPorts {
			return "", "", false, fmt.Errorf("has brackets that are not around all but the port, %w", errForm)
		}
		return host, ports, hasPorts, nil
	}
	if strings.Count(text, ":") > 1 {
		return text, "", false, nil
	}
	host, ports, hasPorts = strings.Cut(text, ":")
	return host, ports, hasPorts, nil
}

// parsePorts understands "443" and "8000-8999".
func parsePorts(text string) (first, last uint16, err error) {
	low, high, isRange := strings.Cut(text, "-")
	if !isRange {
		high = low
	}
	from, err1 := strconv.ParseUint(low, 10, 16)
	to, err2 := strconv.ParseUint(high, 10, 16)
	if err1 != nil || err2 != nil || from == 0 || from > to {
		return 0, 0, fmt.Errorf("has the port %q, want one from 1 to 65535, or a range such as 8000-8999", text)
	}
	return uint16(from), uint16(to), nil
}

// parsePrefix understands a CIDR.
func parsePrefix(text string) (netip.Prefix, error) {
	prefix, err := netip.ParsePrefix(text)
	if err != nil {
		return netip.Prefix{}, fmt.Errorf("is no CIDR, %w", errForm)
	}
	if masked := prefix.Masked(); masked != prefix {
		return netip.Prefix{}, fmt.Errorf("has an address within the network, want the network itself, %v, or the address without /%d", masked, prefix.Bits())
	}
	if addr := prefix.Addr(); addr.Is4In6() && prefix.Bits() >= 96 {
		return netip.PrefixFrom(addr.Unmap(), prefix.Bits()-96), nil
	}
	return prefix, nil
}

// parseName understands a host name, or "*." and one. A wildcard is about all
// names below, and not about that name itself.
func parseName(text string) (string, error) {
	below, wild := strings.CutPrefix(text, "*.")
	if strings.Contains(below, "*") {
		return "", errors.New(`has a "*" that is not before the first dot, want "*.db.lan" for all names below db.lan, or "0.0.0.0/0" and "::/0" for every address`)
	}
	ascii, err := idna.New(idna.MapForLookup(), idna.StrictDomainName(false), idna.Transitional(false)).ToASCII(below)
	name := strings.TrimSuffix(strings.ToLower(ascii), ".")
	if err != nil || name == "" || strings.HasPrefix(name, ".") || strings.HasSuffix(name, ".") || strings.Contains(name, "..") || strings.ContainsAny(name, `:/\?#@[]%,;"'`) {
		return "", fmt.Errorf("is no host name, %w", errForm)
	}
	if label := name[strings.LastIndexByte(name, '.')+1:]; label[0] >= '0' && label[0] <= '9' {
		if _, err := strconv.ParseUint(label, 0, 64); err == nil {
			return "", fmt.Errorf("is no address, and no host name ends in a number, %w", errForm)
		}
	}
	if wild {
		return "." + name, nil
	}
	return name, nil
}

// String returns the entry as it was written.
func (e Entry) String() string { return e.text }

// matchesPort reports whether the entry is about a port; 0 is ICMP.
func (e Entry) matchesPort(port uint16) bool {
	return e.last == 0 || e.first <= port && port <= e.last
}

// matchesName reports whether it is about that port of that host.
func (e Entry) matchesName(name string, port uint16) bool {
	if e.name == "" || name == "" || !e.matchesPort(port) {
		return false
	}
	if e.name[0] == '.' {
		return len(name) > len(e.name) && strings.HasSuffix(name, e.name)
	}
	return name == e.name
}

// matchesAddr reports whether it is about that port of one of those addresses.
func (e Entry) matchesAddr(all forms, port uint16) bool {
	if !e.prefix.IsValid() || !e.matchesPort(port) {
		return false
	}
	for _, addr := range all {
		if e.prefix.Contains(addr) {
			return true
		}
	}
	return false
}
