package probe

import (
	"encoding/base64"
	"net/netip"
	"path"
	"regexp"
	"slices"
	"strings"
)

// standardRule is the rule that most differences between URLs come under.
const standardRule = "the URL is understood by the WHATWG URL Standard, as the original and browsers do: "

// What requestRule may find wrong.
const (
	hostDiffers   = "the host differs"
	pathDiffers   = "the path differs"
	userDiffers   = "the user differs"
	cookiesDiffer = "the cookies differ"
)

// requestRule names the rule of the protocol by which the probe asks for
// something else than curl; "" if they ask for the same. The error says what
// differs though no rule says so.
func requestRule(curl, probe webRequest) (rule, wrong string) {
	switch theirs, ours := strings.ToLower(curl.host), probe.host; {
	case theirs == ours:
	case trailingDot.ReplaceAllString(theirs, "$1") == ours:
		rule = "Host leaves out a trailing dot of the name"
	case trailingDot.ReplaceAllString(theirs, "$1") != theirs && isIPv4(ours):
		rule = standardRule + "a number with a trailing dot is an address"
	default:
		return "", hostDiffers
	}
	switch theirs, ours := percentDecode(curl.path), percentDecode(probe.path); {
	case theirs == ours:
	case escapedDot.MatchString(curl.path) && len(ours) < len(theirs):
		rule = standardRule + "%2e is a dot"
	case path.Clean(strings.ReplaceAll(theirs, `\`, "/")) == path.Clean(ours):
		rule = standardRule + "a backslash is a slash"
	case strings.Contains(curl.path, "?") && strings.ReplaceAll(theirs, "+", " ") == ours:
		rule = standardRule + "a blank in a query is %20" // of a Location's, curl makes a +
	default:
		return "", pathDiffers
	}
	switch {
	case plainUser(curl.authorization) != plainUser(probe.authorization):
		return "", userDiffers
	case !sameCookies(curl.cookie, probe.cookie):
		return "", cookiesDiffer
	}
	return rule, ""
}

// trailingDot is the dot that a host may end in, before the port.
var trailingDot = regexp.MustCompile(`\.(:[0-9]+)?$`)

// escapedDot is a dot segment in disguise.
var escapedDot = regexp.MustCompile(`(?i)/\.?%2e`)

func isIPv4(host string) bool {
	host, _, _ = strings.Cut(host, ":")
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.Is4()
}

// plainUser returns the user and password of a Basic authorization. Without a
// password there may be a colon or not.
func plainUser(authorization string) string {
	if encoded, ok := strings.CutPrefix(authorization, "Basic "); ok {
		if plain, err := base64.StdEncoding.DecodeString(encoded); err == nil {
			return strings.TrimSuffix(string(plain), ":")
		}
	}
	return authorization
}

// sameCookies compares cookies whatever their order.
func sameCookies(a, b string) bool {
	x, y := strings.Split(a, "; "), strings.Split(b, "; ")
	slices.Sort(x)
	slices.Sort(y)
	return slices.Equal(x, y)
}

// hops leaves of requests one for each hop: HEAD and GET of the same are one.
func hops(requests []webRequest) []webRequest {
	same := func(a, b webRequest) bool {
		a.method, b.method = "", ""
		return a == b
	}
	return slices.CompactFunc(slices.Clone(requests), same)
}
