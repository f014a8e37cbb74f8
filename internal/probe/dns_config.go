package probe

import (
	"errors"
	"io"
	"io/fs"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// watchedFile is a configuration file that is read again when it changes.
type watchedFile[T any] struct {
	path  string
	parse func(text string) T

	mu      sync.Mutex // protects all following fields
	checked time.Time
	stamp   fileStamp
	loaded  bool
	settled bool // it was there when it was looked at, and had not just been written
	value   T
}

// fileStamp changes when a file is written or replaced.
type fileStamp struct {
	modified time.Time
	size     int64
	inode    uint64
}

const (
	watchInterval = 2 * time.Second // how often it is looked whether a settled file changed
	maxConfigFile = 16 << 20        // of hosts files that block advertising, a few MiB
)

// get returns the parsed content of the file. A file that does not exist is empty;
// while one cannot be read for another reason, its last content is used. A file that is
// being written may be half there, so it is looked at again each time until it has settled:
// the further attempts of a replica see the rest.
func (w *watchedFile[T]) get() T {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.loaded && w.settled && time.Since(w.checked) < watchInterval {
		return w.value
	}
	w.checked = time.Now()
	info, err := os.Stat(w.path)
	stamp := fileStamp{}
	w.settled = err == nil && w.checked.Sub(info.ModTime()) >= watchInterval
	if err == nil {
		stamp = fileStamp{info.ModTime(), info.Size(), inode(info)}
	}
	if w.loaded && stamp == w.stamp {
		return w.value
	}
	text, err := readConfigFile(w.path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		if !w.loaded {
			return w.parse("") // and it is tried again
		}
		return w.value
	}
	w.value, w.stamp, w.loaded = w.parse(text), stamp, true
	return w.value
}

func readConfigFile(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	var text strings.Builder
	if info, err := f.Stat(); err == nil { // or it is in memory twice, and more
		text.Grow(int(min(info.Size(), maxConfigFile)))
	}
	_, err = io.CopyN(&text, f, maxConfigFile)
	if err == io.EOF {
		err = nil
	}
	return text.String(), err
}

func inode(info fs.FileInfo) uint64 {
	if stat, ok := info.Sys().(*syscall.Stat_t); ok {
		return stat.Ino
	}
	return 0
}

// resolvConf is the content of resolv.conf(5), without the options that have no
// effect here.
type resolvConf struct {
	servers  []netip.AddrPort // in the order to ask them; at least one
	search   []string         // domains, without dots around them; "" is the root
	ndots    int              // a name with so many dots is tried as it is first
	timeout  time.Duration    // the most that one nameserver is waited for before the next
	attempts int              // rounds over all of them
	noAAAA   bool
	useTCP   bool
}

// glibc's limits (resolv.h).
const (
	maxNameservers = 3
	maxNdots       = 15
	maxTimeout     = 30
	maxAttempts    = 5
)

// parseResolvConf parses resolv.conf as glibc does: odd lines are ignored, the last
// one of search and domain counts, and without a nameserver this host is asked.
// Without a search list, the domain of hostname is searched.
func parseResolvConf(text, hostname string, port uint16) *resolvConf {
	c := &resolvConf{ndots: 1, timeout: 5 * time.Second, attempts: 2}
	if _, domain, ok := strings.Cut(hostname, "."); ok {
		c.search = domains([]string{domain})
	}
	for line := range strings.Lines(text) {
		if line[0] == ';' || line[0] == '#' {
			continue
		}
		f := strings.Fields(line)
		if len(f) < 2 || line[0] == ' ' || line[0] == '\t' { // a keyword begins its line
			continue
		}
		switch f[0] {
		case "nameserver":
			if addr, err := netip.ParseAddr(f[1]); err == nil && len(c.servers) < maxNameservers {
				c.servers = append(c.servers, netip.AddrPortFrom(addr, port))
			}
		case "domain":
			c.search = domains(f[1:2])
		case "search":
			c.search = domains(f[1:])
		case "options":
			for _, option := range f[1:] {
				c.setOption(option)
			}
		}
	}
	if len(c.servers) == 0 {
		c.servers = []netip.AddrPort{netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), port)}
	}
	return c
}

// setOption applies one option; unknown ones are ignored.
func (c *resolvConf) setOption(option string) {
	key, value, _ := strings.Cut(option, ":")
	n, err := strconv.Atoi(value)
	switch {
	case key == "no-aaaa":
		c.noAAAA = true
	case key == "use-vc":
		c.useTCP = true
	case err != nil || n < 0:
	case key == "ndots":
		c.ndots = min(n, maxNdots)
	case key == "timeout":
		c.timeout = time.Duration(min(max(n, 1), maxTimeout)) * time.Second
	case key == "attempts":
		c.attempts = min(max(n, 1), maxAttempts)
	}
}

func domains(names []string) []string {
	var all []string
	for _, name := range names {
		all = append(all, strings.Trim(name, "."))
	}
	return all
}

// candidates returns the fully qualified names to try for host, in the order in
// which glibc tries them.
func (c *resolvConf) candidates(host string) []string {
	if strings.HasSuffix(host, ".") {
		return []string{host}
	}
	asItIs := host + "."
	var all []string
	for _, domain := range c.search {
		name := asItIs
		if domain != "" {
			name += domain + "."
		}
		all = append(all, name)
	}
	if strings.Count(host, ".") >= c.ndots {
		return append([]string{asItIs}, all...)
	}
	if slices.Contains(all, asItIs) { // the root is on the list
		return all
	}
	return append(all, asItIs)
}
