package probe

import (
	"errors"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/net/idna"
)

// browserIDNA is the processing that the URL Standard wants (UTS #46 with
// CheckHyphens, UseSTD3ASCIIRules and VerifyDnsLength false). The profiles of
// idna, and so the library's, refuse an underscore beside other scripts.
var browserIDNA = idna.New(
	idna.MapForLookup(),
	idna.StrictDomainName(false),
	idna.CheckHyphens(false),
	idna.VerifyDNSLength(false),
	idna.CheckJoiners(true),
	idna.BidiRule(),
	idna.Transitional(false),
)

// parseHost returns the host to look up, or the address that it is.
func parseHost(text string) (string, netip.Addr, error) {
	if text == "" {
		return "", netip.Addr{}, errNoHost
	}
	if text[0] == '[' {
		return parseIPv6(text[1 : len(text)-1])
	}
	host, err := toASCII(percentDecode(text))
	if err != nil {
		return "", netip.Addr{}, err
	}
	for i := range len(host) {
		if c := host[i]; c <= ' ' || c == 0x7f || strings.IndexByte(`#/:<>?@[\]^|%`, c) >= 0 {
			return "", netip.Addr{}, errNotURL
		}
	}
	addr, err := parseIPv4(host)
	if err != nil {
		return "", netip.Addr{}, err
	}
	if addr.IsValid() {
		return share(text, addr.String()), addr, nil
	}
	return host, netip.Addr{}, nil
}

// share returns text where it is made, so that made need not be kept.
func share(text, made string) string {
	if text == made {
		return text
	}
	return made
}

// toASCII returns host in lower case and in the form that DNS has. A name that
// is ASCII is taken as it is, even where no punycode follows an xn--: somebody
// may have such a name.
func toASCII(host string) (string, error) {
	for i := range len(host) {
		if host[i] < 0x80 {
			continue
		}
		if !utf8.ValidString(host) {
			return "", errNotURL
		}
		ascii, err := browserIDNA.ToASCII(host)
		if err != nil || ascii == "" { // nothing but what IDNA takes out
			return "", errors.New("has a host that is no internationalized domain name")
		}
		return ascii, nil
	}
	return strings.ToLower(host), nil
}

// parseIPv6 returns the address that stands in brackets. Its zone may be
// written %eth0 or, as RFC 6874 has it, %25eth0; it may be a number.
func parseIPv6(text string) (string, netip.Addr, error) {
	literal, zone, zoned := strings.Cut(text, "%")
	addr, err := netip.ParseAddr(literal)
	if err != nil || !addr.Is6() {
		return "", netip.Addr{}, errNotURL
	}
	if zoned {
		if len(zone) > len("25") {
			zone = strings.TrimPrefix(zone, "25")
		}
		zone = percentDecode(zone)
		if !isZone(zone) {
			return "", netip.Addr{}, errNotURL
		}
		addr = addr.WithZone(zone)
	}
	return share(text, addr.String()), addr, nil
}

// isZone reports whether Linux could have an interface of that name or number.
func isZone(zone string) bool {
	odd := func(r rune) bool { return r <= ' ' || r == '/' || r == utf8.RuneError || !unicode.IsPrint(r) }
	return zone != "" && len(zone) < 16 && strings.IndexFunc(zone, odd) < 0
}

// zoneIndex returns the index of the interface that zone names. A name wins
// over a number, as with if_nametoindex(3) in getaddrinfo.
func zoneIndex(zone string) (uint32, bool) {
	if link, err := net.InterfaceByName(zone); err == nil {
		return uint32(link.Index), true
	}
	n, err := strconv.ParseUint(zone, 10, 32)
	return uint32(n), err == nil && n > 0
}

// parseIPv4 returns the address that host stands for as inet_aton and the
// standard read it: one to four numbers, decimal, octal or hexadecimal, the last
// of which fills the rest. A host with any other label is a name, even where the
// standard refuses it for the number at its end ("db.1"): getaddrinfo looks it
// up.
func parseIPv4(host string) (netip.Addr, error) {
	if host[0] < '0' || host[0] > '9' {
		return netip.Addr{}, nil
	}
	if addr, err := netip.ParseAddr(host); err == nil && addr.Is4() {
		return addr, nil
	}
	var numbers []uint64
	bad := false
	for label := range strings.SplitSeq(strings.TrimSuffix(host, "."), ".") {
		n, isNumber, err := parseIPv4Number(label)
		if !isNumber {
			return netip.Addr{}, nil
		}
		bad = bad || err != nil
		numbers = append(numbers, n)
	}
	last := len(numbers) - 1
	bad = bad || last > 3 || numbers[last] >= 1<<(8*(4-last))
	if bad {
		return netip.Addr{}, errNotIPv4
	}
	sum := numbers[last]
	for i, n := range numbers[:last] {
		if n > 255 {
			return netip.Addr{}, errNotIPv4
		}
		sum |= n << (8 * (3 - i))
	}
	return netip.AddrFrom4([4]byte{byte(sum >> 24), byte(sum >> 16), byte(sum >> 8), byte(sum)}), nil
}

var errNotIPv4 = errors.New("is not a URL: its host is made of numbers and is no IPv4 address")

// parseIPv4Number reads a label of an IPv4 address and reports whether it is one.
// The error says that its digits do not fit its base, or its size a word.
func parseIPv4Number(label string) (uint64, bool, error) {
	digits, base, valid := label, 10, "0123456789"
	switch {
	case strings.HasPrefix(label, "0x"):
		digits, base, valid = label[2:], 16, "0123456789abcdef"
	case len(label) > 1 && label[0] == '0':
		digits, base = label[1:], 8
	}
	if label == "" || strings.Trim(digits, valid) != "" {
		return 0, false, nil
	}
	if digits == "" {
		return 0, true, nil // 0x is zero
	}
	n, err := strconv.ParseUint(digits, base, 32)
	return n, true, err
}
