package probe

import (
	"hash/maphash"
	"iter"
	"net/netip"
	"slices"
	"strings"
)

// hostsFile is a hosts file, as glibc reads it: every line of a name counts, with its
// aliases, whatever their case; lines that do not begin with an address are passed over.
// It is the text with 8 bytes a name: those that block advertising have hundreds of
// thousands of names, and a map of them takes four times the text. The zero one is empty.
type hostsFile struct {
	text  string
	seed  maphash.Seed
	names []uint64 // in order: the upper bits of a name's hash, then where its line begins
}

const placeBits = 24 // of a name: enough for a place in maxConfigFile

// parseHosts reads a hosts file.
func parseHosts(text string) *hostsFile {
	h := &hostsFile{text: text[:min(len(text), maxConfigFile)], seed: maphash.MakeSeed()}
	count := 0
	for range h.all() {
		count++
	}
	h.names = make([]uint64, 0, count)
	for name, place := range h.all() {
		h.names = append(h.names, h.hash(name)|uint64(place))
	}
	slices.Sort(h.names)
	return h
}

// all yields each name, in lower case, with the place of its line.
func (h *hostsFile) all() iter.Seq2[string, int] {
	return func(yield func(string, int) bool) {
		place := 0
		for line := range strings.Lines(h.text) {
			_, names := hostsLine(line)
			for name := range names {
				if !yield(name, place) {
					return
				}
			}
			place += len(line)
		}
	}
}

// addrs returns the addresses of name, which is in lower case, in the order of the file.
func (h *hostsFile) addrs(name string) []netip.Addr {
	if len(h.names) == 0 {
		return nil
	}
	var found []netip.Addr
	wanted := h.hash(name)
	i, _ := slices.BinarySearch(h.names, wanted)
	for ; i < len(h.names) && h.names[i]>>placeBits<<placeBits == wanted; i++ {
		line, _, _ := strings.Cut(h.text[h.names[i]&(1<<placeBits-1):], "\n")
		addr, names := hostsLine(line)
		for other := range names {
			if other == name && !slices.Contains(found, addr) {
				found = append(found, addr)
			}
		}
	}
	return found
}

func (h *hostsFile) hash(name string) uint64 {
	return maphash.String(h.seed, name) >> placeBits << placeBits
}

// hostsLine returns the address of a line and its names, in lower case; there are none
// where the line does not begin with an address.
func hostsLine(line string) (netip.Addr, iter.Seq[string]) {
	line, _, _ = strings.Cut(line, "#")
	var addr netip.Addr
	var rest []string
	if f := strings.Fields(line); len(f) >= 2 {
		if a, err := netip.ParseAddr(f[0]); err == nil {
			addr, rest = a.Unmap(), f[1:]
		}
	}
	return addr, func(yield func(string) bool) {
		for _, name := range rest {
			if !yield(strings.ToLower(name)) {
				return
			}
		}
	}
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
