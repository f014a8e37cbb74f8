package probe

import (
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

// getent is the referee of names: wherever glibc has addresses, the resolver must
// have the same.
func TestNamesAreWhatGetentSays(t *testing.T) {
	getent := needTool(t, "getent")
	dir, inside := inDNSNamespace(t, map[string]string{"resolv.conf": "", "hosts": "", "nsswitch.conf": "hosts: files dns\n"})
	if !inside {
		return
	}
	const most, perWorld = 2000, 20
	cases := min(differentialCases(t, 100), most)
	var current atomic.Pointer[nameWorld] // the nameserver's
	answer := func(q asked) []byte { return current.Load().answer(q) }
	listenDNS(t, "127.0.0.1:53", answer, conversing(answer))
	refused := refuses(dnsmessage.RCodeServerFailure)
	listenDNS(t, "127.0.0.2:53", refused, conversing(refused)) // and at 127.0.0.3 there is none
	count := newTally()
	for first := 0; first < cases; first += perWorld {
		world := generateWorld(first, min(perWorld, cases-first))
		current.Store(world)
		for name, text := range map[string]string{"resolv.conf": world.resolvConf, "hosts": "127.0.0.1 localhost\n::1 localhost ip6-localhost\n" + world.hosts} {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		world.compare(t, getent, count)
	}
	var all []string
	for _, m := range nameMutations {
		all = append(all, m.class)
	}
	count.report(t, cases, all)
}

// compare looks up the names of w by both, and counts by which rules they differ.
func (w *nameWorld) compare(t *testing.T, getent string, count *tally) {
	r := newResolver()
	theirs, ours, errs := make([][]netip.Addr, len(w.cases)), make([][]netip.Addr, len(w.cases)), make([]error, len(w.cases))
	var wg sync.WaitGroup
	places := make(chan bool, 8)
	for i, c := range w.cases {
		places <- true
		wg.Go(func() {
			defer func() { <-places }()
			theirs[i] = getentAddrs(t, getent, c.host)
			ours[i], errs[i] = c.addrs(t, r)
		})
	}
	wg.Wait()
	for i, c := range w.cases {
		count.classes(c.classes...)
		rule, err := w.rule(c, theirs[i], ours[i])
		// Both give up the slower family after a while, which is short where the machine
		// is busy: a difference counts if it is there whenever they are asked.
		for again := 0; err != nil && again < 3; again++ {
			theirs[i] = getentAddrs(t, getent, c.host)
			ours[i], errs[i] = c.addrs(t, newResolver())
			rule, err = w.rule(c, theirs[i], ours[i])
		}
		if err != nil {
			err = fmt.Errorf("%w (%v) in\n%s%s", err, errs[i], w.resolvConf, w.hosts)
		}
		count.rule(t, c, rule, err)
	}
}

// getentAddrs returns the addresses that glibc has of host; none where it has not.
func getentAddrs(t *testing.T, getent, host string) []netip.Addr {
	cmd := exec.CommandContext(t.Context(), getent, "ahosts", strings.Trim(host, "[]"))
	cmd.Env = []string{"LC_ALL=C.UTF-8"}
	out, err := cmd.Output()
	if err != nil {
		return nil
	}
	var addrs []netip.Addr
	for line := range strings.Lines(string(out)) {
		text, _, _ := strings.Cut(line, " ")
		addr, err := netip.ParseAddr(text)
		if err != nil {
			t.Errorf("getent says %q of %q, want an address first", line, host)
			continue
		}
		addrs = append(addrs, addr.Unmap())
	}
	return sorted(addrs)
}

// addrs returns the addresses that r has of the case's host.
func (c *nameCase) addrs(t *testing.T, r *resolver) ([]netip.Addr, error) {
	target, err := ParseTarget("tcp://" + c.host + ":1")
	if err != nil {
		return nil, err
	}
	addrs, err := r.addrs(t.Context(), target, within(6*time.Second))
	return sorted(addrs), err
}

func sorted(addrs []netip.Addr) []netip.Addr {
	addrs = slices.Clone(addrs)
	slices.SortFunc(addrs, netip.Addr.Compare)
	return slices.Compact(addrs)
}

// rule names the rule of the protocol by which getent and the resolver differ: ""
// if they do not. The error is that they differ though no rule says so.
func (w *nameWorld) rule(c *nameCase, theirs, ours []netip.Addr) (rule string, err error) {
	switch {
	case slices.Equal(theirs, ours):
		return "", nil
	case c.has("localhost"):
		return "localhost and what ends in it is the host itself (RFC 6761)", nil
	case c.has("number") && endsInNumber.MatchString(c.host):
		return "a host that ends in a number is an address, or no URL", nil
	case len(theirs) > maxAddresses && len(ours) == maxAddresses && !slices.ContainsFunc(ours, func(a netip.Addr) bool { return !slices.Contains(theirs, a) }):
		return "at most 64 addresses are used", nil
	case len(theirs) == 0:
		rule = w.upRule(c)
	}
	if rule == "" {
		err = fmt.Errorf("getent has %v, the resolver %v", theirs, ours)
	}
	return rule, err
}

// endsInNumber is a host that the URL Standard takes for an IPv4 address.
var endsInNumber = regexp.MustCompile(`(^|\.)([0-9]+|0[xX][0-9a-fA-F]*)\.?$`)

// notHostname is a name that glibc takes for none though DNS has it.
var notHostname = regexp.MustCompile(`^[-*]|_$`)

// upRule names the rule by which the resolver has addresses and getent has not.
func (w *nameWorld) upRule(c *nameCase) string {
	switch {
	case c.has("cut, no TCP"):
		return "where TCP fails the addresses in hand are used"
	case c.has("A fails"), c.has("AAAA fails"), c.has("AAAA silent"):
		return "what one family has counts, whatever becomes of the other"
	case c.has("odd name") && notHostname.MatchString(c.host):
		return "a name is looked up whatever characters it has"
	case strings.Contains(w.resolvConf, "use-vc") && strings.Contains(w.resolvConf, "nameserver 127.0.0.2"):
		return "all nameservers are tried, over TCP too"
	case c.has("search") && w.failsOnTheWay(c.host):
		return "a domain of the search list that fails is passed over"
	}
	return ""
}

// failsOnTheWay reports whether a name fails that host may stand for.
func (w *nameWorld) failsOnTheWay(host string) bool {
	for _, domain := range w.search {
		o := w.owners[strings.ToLower(host)+"."+strings.TrimPrefix(domain+".", "..")]
		if o != nil && o.code[0] != dnsmessage.RCodeSuccess {
			return true
		}
	}
	return false
}
