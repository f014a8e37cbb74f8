package config

import (
	"fmt"
	"io/fs"
	"net/netip"
	"net/url"
	"os"
	"strings"
)

// exposures returns a sentence for each way in which others may come by the
// secrets of c. They are no errors: what worked yesterday must still start.
func (d *document) exposures(c Config) []string {
	var warnings []string
	if at := d.tokenIn; at.path != "" {
		warnings = append(warnings, d.readable(at, "the token")...)
	}
	for _, s := range d.secretsIn {
		warnings = append(warnings, d.readable(s.tokenPlace, s.what)...)
	}
	if isPlain(c.Endpoint) {
		warnings = append(warnings, oneLine(
			d.path+": report.endpoint: http:// is not encrypted, so everybody on the way can read the token, want https:// (or http:// to this host itself)"))
	}
	return warnings
}

// readable returns a sentence if everybody on this host can read the file at a place;
// what names its secret, such as "the token".
func (d *document) readable(at tokenPlace, what string) []string {
	// A file that is no regular one is a pipe, which is read once.
	info, err := os.Stat(at.path)
	if err != nil || !info.Mode().IsRegular() || info.Mode().Perm()&0o004 == 0 {
		return nil
	}
	return []string{oneLine(fmt.Sprintf(
		"%s: %s: everybody on this host can read %s: the mode of its file is %#o, want 0640 or less (chmod o-rwx %s)",
		d.path, at.key, what, info.Mode().Perm(), at.shown))}
}

// secretPlace is a file that holds another secret than the token.
type secretPlace struct {
	tokenPlace
	what string
}

// secretIn notes that the file that s, the value of key, names holds a secret; what names
// it, such as "the password".
func (d *document) secretIn(key, what string, s setting) {
	place := tokenPlace{key, d.resolve(s.value), quoteForShell(d.resolve(s.value))}
	if s.written != s.value {
		place.shown = `"` + s.written + `"`
	}
	d.secretsIn = append(d.secretsIn, secretPlace{place, what})
}

// tokenPlace is the file that holds the token.
type tokenPlace struct {
	key   string // that says so
	path  string // empty if the token is in no file
	shown string // path as a shell takes it, or as it was written where a variable is in it
}

// isPlain reports whether what is sent to endpoint can be read on the way.
func isPlain(endpoint string) bool {
	u, err := url.Parse(endpoint)
	if err != nil || u.Scheme != "http" {
		return false
	}
	host := strings.TrimSuffix(strings.ToLower(u.Hostname()), ".")
	if addr, err := netip.ParseAddr(host); err == nil {
		return !addr.Unmap().IsLoopback()
	}
	return host != "localhost" && !strings.HasSuffix(host, ".localhost")
}

// quoteForShell returns path as a shell takes it for one word.
func quoteForShell(path string) string {
	if fs.ValidPath(strings.TrimPrefix(path, "/")) && !strings.ContainsFunc(path, func(r rune) bool {
		return !strings.ContainsRune("/._-+,:@%", r) && (r < '0' || r > '9') && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z')
	}) {
		return path
	}
	return "'" + strings.ReplaceAll(path, "'", `'\''`) + "'"
}
