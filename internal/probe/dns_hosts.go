package probe

import (
	"net/netip"
	"slices"
	"strings"
)

// parseHosts reads a hosts file as glibc does: every line of a name counts, with
// its aliases, whatever their case; lines that do not begin with an address are
// passed over.
func parseHosts(text string) map[string][]netip.Addr {
	hosts := make(map[string][]netip.Addr)
	for line := range strings.Lines(text) {
		line, _, _ = strings.Cut(line, "#")
		f := strings.Fields(line)
		if len(f) < 2 {
			continue
		}
		addr, err := netip.ParseAddr(f[0])
		if err != nil {
			continue
		}
		addr = addr.Unmap()
		for _, name := range f[1:] {
			name = strings.ToLower(name)
			if !slices.Contains(hosts[name], addr) {
				hosts[name] = append(hosts[name], addr)
			}
		}
	}
	return hosts
}

// isLocalhost reports whether host is a name that always stands for the host
// itself (RFC 6761, 6.3), whatever DNS says of it.
func isLocalhost(host string) bool {
	host = strings.TrimSuffix(host, ".")
	return host == "localhost" || strings.HasSuffix(host, ".localhost")
}

// loopback are the addresses of the host itself, in glibc's order.
func loopbackAddrs() []netip.Addr {
	return []netip.Addr{netip.IPv6Loopback(), netip.AddrFrom4([4]byte{127, 0, 0, 1})}
}
