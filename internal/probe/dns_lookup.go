package probe

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"sync"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

// hostAddrs is the result of the look-up of a name.
type hostAddrs struct {
	addrs     []netip.Addr // at least one, at most maxAddresses
	total     int          // how many the name has
	names     []string     // that led to them, but for those of the hosts file
	truncated bool         // some of them are not known
	local     bool         // this host knows them by itself: no nameserver was asked
}

// stub is a stub resolver: it looks names up as glibc does, in the hosts file
// and then by the nameservers of resolv.conf. Go's own cannot do it: it sends
// EDNS, asks for AAAA whatever resolv.conf says, gives up what it has when one
// family or TCP fails, and spends an attempt's whole time on a silent nameserver.
type stub struct {
	hosts       watchedFile[*hostsFile]
	resolvConf  watchedFile[*resolvConf]
	nameservers nameservers
	exchanger   exchanger
	preferIPv6  func(netip.Addr) bool
}

// Where the system's configuration is.
const (
	hostsPath      = "/etc/hosts"
	resolvConfPath = "/etc/resolv.conf"
	dnsPort        = 53
)

// newStub returns a stub that reads the files at those paths and asks the
// nameservers at that port.
func newStub(hosts, conf string, port uint16, notify func(subject, text string)) *stub {
	s := &stub{exchanger: newExchanger(), preferIPv6: prefersIPv6}
	s.hosts.path = hosts
	s.hosts.parse = func(text string) *hostsFile {
		if len(text) == maxConfigFile {
			notify(hosts, fmt.Sprintf("it has %d MiB or more: what comes after them is not read", maxConfigFile>>20))
		}
		return parseHosts(text)
	}
	s.resolvConf.path = conf
	s.resolvConf.parse = func(text string) *resolvConf {
		hostname, _ := os.Hostname() // without one there is no domain to search
		return parseResolvConf(text, hostname, port)
	}
	s.nameservers = nameservers{exchange: s.exchange, notify: notify}
	return s
}

func (s *stub) exchange(ctx context.Context, server netip.AddrPort, q dnsQuestion, wait exchangeTiming) (dnsReply, error) {
	if s.resolvConf.get().useTCP {
		return s.exchanger.exchangeTCP(ctx, server, q, wait)
	}
	return s.exchanger.exchange(ctx, server, q, wait)
}

// lookup returns the addresses of host. It goes on until ctx ends, and is paced
// so that within is enough to ask everybody. partly is called with what one
// family has while the other one is still waited for. The error is errNoName, a
// *serverError, or the cause of ctx's end.
func (s *stub) lookup(ctx context.Context, host string, within time.Duration, partly func(hostAddrs)) (hostAddrs, error) {
	if addrs := s.hosts.get().addrs(host); len(addrs) > 0 {
		return s.local(addrs), nil
	}
	if isLocalhost(host) {
		return s.local(loopbackAddrs()), nil
	}
	c := s.resolvConf.get()
	names := c.candidates(host)
	within /= time.Duration(len(names))
	var unknown error // of the first candidate without an answer
	for _, name := range names {
		found, err := s.candidate(ctx, c, name, within, partly)
		failed, answered := errors.AsType[*serverError](err)
		switch {
		case err == nil:
			return found, nil
		case err == errNoName:
		case answered && failed.answered: // as glibc, on to the next domain
			unknown = cmp.Or(unknown, err)
		default:
			return hostAddrs{}, cmp.Or(unknown, err)
		}
	}
	return hostAddrs{}, cmp.Or(unknown, errNoName)
}

// local returns the result of a look-up that addrs answer without a nameserver.
func (s *stub) local(addrs []netip.Addr) hostAddrs {
	found := s.merge(splitFamilies(addrs))
	found.local = true
	return found
}

// lateFamily bounds the wait for the second family once the first has answered with
// addresses: for icmp, which pings every address, and if the first one is IPv6,
// which not every host can use alone.
const lateFamily = 500 * time.Millisecond

// errLateIPv6 is the error of a name that does not exist for IPv4, without an
// answer for IPv6: too little for a dead replica, enough for trying the next
// domain.
var errLateIPv6 = &serverError{reason: "no answer to the question for IPv6 addresses", answered: true}

// candidate asks for both families of a name, in parallel and independently. The
// addresses of one count, whatever the result of the other; the name has no address
// only if both say so.
func (s *stub) candidate(ctx context.Context, c *resolvConf, name string, within time.Duration, partly func(hostAddrs)) (hostAddrs, error) {
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	families := []dnsmessage.Type{dnsmessage.TypeA, dnsmessage.TypeAAAA}
	if c.noAAAA {
		families = families[:1]
	}
	type outcome struct {
		family int
		reply  dnsReply
		err    error
	}
	outcomes := make(chan outcome, len(families))
	for i, family := range families {
		q, err := newQuestion(name, family)
		if err != nil {
			return hostAddrs{}, errNoName
		}
		wg.Go(func() {
			r, err := s.nameservers.ask(ctx, c, q, within)
			outcomes <- outcome{i, r, err}
		})
	}
	var got [2]dnsReply
	var errs [2]error
	if !c.noAAAA {
		errs[1] = errLateIPv6
	}
	var late <-chan time.Time
	for n := range families {
		var o outcome
		select {
		case o = <-outcomes:
		case <-late:
			select { // an answer that is there counts, however late this goroutine runs
			case o = <-outcomes:
			default:
				continue
			}
		}
		got[o.family], errs[o.family] = o.reply, o.err
		switch {
		case n+1 == len(families):
		case len(o.reply.addrs) > 0:
			late = time.After(lateFamily)
			partly(s.merge(got))
		case o.family == 0 && o.reply.noName:
			late = time.After(within)
		}
	}
	if all := s.merge(got); len(all.addrs) > 0 {
		return all, nil
	}
	return hostAddrs{}, noAddress(got, errs)
}

// noAddress returns the error of a name for which neither family brought an
// address. An IPv4 answer that the name does not exist holds for IPv6 too (RFC
// 8020), if somebody answered there; the other way round resolvers err (RFC
// 4074, 4.2).
func noAddress(got [2]dnsReply, errs [2]error) error {
	switch failed, ok := errors.AsType[*serverError](errs[1]); {
	case errs[0] != nil:
		return errs[0]
	case errs[1] == nil, got[0].noName && ok && failed.answered && failed != errLateIPv6:
		return errNoName
	}
	return errs[1]
}

// merge makes one answer of those of both families, the preferred one first. Of
// more than maxAddresses, each family has its share.
func (s *stub) merge(got [2]dnsReply) hostAddrs {
	v4, v6 := got[0].addrs, got[1].addrs
	all := hostAddrs{
		total: got[0].total + got[1].total, truncated: got[0].truncated || got[1].truncated,
		names: slices.Concat(got[0].names, got[1].names),
	}
	if most := max(maxAddresses/2, maxAddresses-len(v6)); len(v4) > most {
		v4 = v4[:most]
	}
	v6 = v6[:min(len(v6), maxAddresses-len(v4))]
	if len(v4) > 0 && len(v6) > 0 && s.preferIPv6(v6[0]) {
		v4, v6 = v6, v4
	}
	all.addrs = append(append(all.addrs, v4...), v6...)
	return all
}

// splitFamilies parts addresses by family.
func splitFamilies(addrs []netip.Addr) [2]dnsReply {
	var got [2]dnsReply
	for _, addr := range addrs {
		r := &got[0]
		if addr.Is6() {
			r = &got[1]
		}
		if r.total++; len(r.addrs) < maxAddresses {
			r.addrs = append(r.addrs, addr)
		}
	}
	return got
}

// prefersIPv6 reports whether this host would rather go to addr than to an IPv4
// address (RFC 6724, 6: whether there is a way, the label, the precedence). It
// sends nothing.
func prefersIPv6(addr netip.Addr) bool {
	if native(addr) == 0 {
		return false
	}
	conn, err := net.DialUDP("udp6", nil, net.UDPAddrFromAddrPort(netip.AddrPortFrom(addr, 9)))
	if err != nil {
		return false
	}
	defer conn.Close()
	source, ok := conn.LocalAddr().(*net.UDPAddr)
	return ok && native(source.AddrPort().Addr().Unmap()) == native(addr)
}

// native returns a number for each kind of address that goes before IPv4 (RFC
// 6724, 2.1), and 0 for those that come after it: tunnels and local ones.
func native(addr netip.Addr) int {
	b := addr.As16()
	switch {
	case addr.IsLoopback():
		return 1
	case addr.IsPrivate(), b[0] == 0x20 && b[1] == 0x02, b[0] == 0x20 && b[1] == 0x01 && b[2] == 0 && b[3] == 0:
		return 0
	case addr.IsLinkLocalUnicast():
		return 2
	}
	return 3
}
