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
// token of c. They are no errors: what worked yesterday must still start.
func (d *document) exposures(c Config) []string {
	var warnings []string
	if at := d.tokenIn; at.path != "" {
		// A file that is no regular one is a pipe, which is read once.
		if info, err := os.Stat(at.path); err == nil && info.Mode().IsRegular() && info.Mode().Perm()&0o004 != 0 {
			warnings = append(warnings, oneLine(fmt.Sprintf(
				"%s: %s: everybody on this host can read the token: the mode of its file is %#o, want 0640 or less (chmod o-rwx %s)",
				d.path, at.key, info.Mode().Perm(), at.shown)))
		}
	}
	if isPlain(c.Endpoint) {
		warnings = append(warnings, oneLine(
			d.path+": report.endpoint: http:// is not encrypted, so everybody on the way can read the token, want https:// (or http:// to this host itself)"))
	}
	return warnings
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
