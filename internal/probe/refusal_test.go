package probe

import (
	"fmt"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// refusal is one way in which the network says that a packet does not arrive.
type refusal struct {
	family int
	how    string // as nft names it; else type and code of the ICMP message
	kind   Kind
	reason string
}

const (
	netUnreachable  = "network unreachable"
	hostUnreachable = "host unreachable"
	noProtocol      = "protocol unreachable"
	expired         = "packet expired on the way"
	parameter       = "parameter problem"
)

// refusals are all that the two families have, those that nft can send by its
// name.
var refusals = []refusal{
	{4, "net-unreachable", KindUnreachable, netUnreachable},
	{4, "host-unreachable", KindUnreachable, hostUnreachable},
	{4, "prot-unreachable", KindRefused, noProtocol},
	{4, "port-unreachable", KindRefused, "refused"},
	{4, "net-prohibited", KindUnreachable, prohibited},
	{4, "host-prohibited", KindUnreachable, prohibited},
	{4, "admin-prohibited", KindUnreachable, prohibited},
	{4, "3 5", KindUnreachable, "source route failed"},
	{4, "3 6", KindUnreachable, netUnreachable},
	{4, "3 7", KindUnreachable, hostUnreachable},
	{4, "3 8", KindUnreachable, hostUnreachable},
	{4, "3 11", KindUnreachable, netUnreachable},
	{4, "3 12", KindUnreachable, hostUnreachable},
	{4, "3 14", KindUnreachable, prohibited},
	{4, "3 15", KindUnreachable, prohibited},
	{4, "11 0", KindUnreachable, expired},
	{4, "12 0", KindUnreachable, parameter},
	{6, "no-route", KindUnreachable, netUnreachable},
	{6, "admin-prohibited", KindUnreachable, prohibited},
	{6, "addr-unreachable", KindUnreachable, hostUnreachable},
	{6, "port-unreachable", KindRefused, "refused"},
	{6, "policy-fail", KindUnreachable, prohibited},
	{6, "reject-route", KindUnreachable, prohibited},
	{6, "1 2", KindUnreachable, hostUnreachable},
	{6, "3 0", KindUnreachable, expired},
	{6, "4 0", KindUnreachable, parameter},
	{6, "4 1", KindRefused, noProtocol},
	{6, "4 2", KindUnreachable, parameter},
}

// address returns the i-th address of the family in the network net.
func address(family, net, i int) string {
	if family == 6 {
		return fmt.Sprintf("fd09:0:0:%x::%x", net, i)
	}
	return fmt.Sprintf("10.9.%d.%d", net, i)
}

// urls returns the URLs of an address in all schemes.
func urls(addr string) []string {
	host := addr
	if netip.MustParseAddr(addr).Is6() {
		host = "[" + addr + "]"
	}
	return []string{"tcp://" + host + ":9", "http://" + host + ":9/", "https://" + host + ":9/", "icmp://" + host}
}

// reject returns nft's rule for what goes to addr.
func (r refusal) reject(addr string) string {
	if r.family == 6 {
		return fmt.Sprintf("ip6 daddr %s reject with icmpv6 type %s", addr, r.how)
	}
	return fmt.Sprintf("ip daddr %s reject with icmp type %s", addr, r.how)
}

// crafted returns type and code of a message that nft has no name for.
func (r refusal) crafted() (kind, code byte, ok bool) {
	n, _ := fmt.Sscanf(r.how, "%d %d", &kind, &code)
	return kind, code, n == 2
}

// attemptEach makes an attempt by each scheme at addr, which must come to what like
// is true of. The kernel sends so many ICMP messages a second, and no more for all
// namespaces together: where one is lost, it is tried again.
func attemptEach(t *testing.T, addr string, limit time.Duration, like func(error) bool) {
	for _, url := range urls(addr) {
		t.Run(url, func(t *testing.T) {
			t.Parallel()
			p := New("test")
			defer p.Close()
			err := attemptAt(t, p, url, limit)
			for tries := 1; tries < 5 && !like(err); tries++ {
				err = attemptAt(t, p, url, limit)
			}
			if !like(err) {
				t.Errorf("got %s %v each time, want another failure", kindOf(err), err)
			}
		})
	}
}

// failing returns whether an error is a failure of kind whose reason contains reason.
func failing(kind Kind, reason string) func(error) bool {
	return func(err error) bool { return kindOf(err) == kind && strings.Contains(err.Error(), reason) }
}

func TestWhatTheNetworkRefusesIsTheTargets(t *testing.T) {
	if !inNamespace(t) {
		return
	}
	n := newNetwork(t)
	n.here("ip route add 10.9.0.0/16 via 10.9.0.2")
	n.here("ip route add fd09::/32 via fd09::2")
	var rules, drops []string
	byAddr := map[netip.Addr]refusal{}
	for i, r := range refusals {
		addr := address(r.family, 1, i+1)
		byAddr[netip.MustParseAddr(addr)] = r
		if _, _, ok := r.crafted(); !ok {
			rules = append(rules, r.reject(addr))
		} else if r.family == 6 {
			drops = append(drops, fmt.Sprintf("ip6 daddr %s drop", addr))
		} else {
			drops = append(drops, fmt.Sprintf("ip daddr %s drop", addr))
		}
	}
	// In a hook before routing, which reject is not for, so that nobody else answers.
	n.filterThere("prerouting", drops)
	n.there("ip link add w0 type veth peer name w1")
	n.there("ip link set w0 up")
	n.there("ip link set w1 up")
	n.there("ip route add 10.9.1.0/24 dev w0")
	n.there("ip route add fd09:0:0:1::/64 dev w0")
	n.filterThere("forward", rules)
	n.answer(func(packet []byte) [][]byte {
		from, to, _, _ := ends(packet)
		kind, code, ok := byAddr[to].crafted()
		if !ok {
			return nil
		}
		router := netip.MustParseAddr(address(byAddr[to].family, 0, 2))
		message := append([]byte{kind, code, 0, 0, 0, 0, 0, 0}, packet...)
		return [][]byte{datagram(router, from, message)}
	})
	for i, r := range refusals {
		t.Run(fmt.Sprintf("IPv%d %s", r.family, r.how), func(t *testing.T) {
			t.Parallel()
			attemptEach(t, address(r.family, 1, i+1), 5*time.Second, failing(r.kind, r.reason))
		})
	}
}

// The other end's own kernel answers before the call that asks it has returned.
func TestWhatTheTargetsOwnFirewallRefusesIsTheTargets(t *testing.T) {
	if !inNamespace(t) {
		return
	}
	n := newNetwork(t)
	n.filterThere("input", []string{"ip protocol icmp reject with icmp type admin-prohibited", "tcp dport 9 meta nfproto ipv4 reject with icmp type admin-prohibited",
		"icmpv6 type echo-request reject with icmpv6 type admin-prohibited", "tcp dport 9 meta nfproto ipv6 reject with icmpv6 type admin-prohibited"})
	for _, addr := range []string{"10.9.0.2", "fd09::2"} {
		attemptEach(t, addr, time.Second, failing(KindUnreachable, prohibited))
	}
}

func TestWhatThisHostsOwnFirewallRefusesIsLocal(t *testing.T) {
	if !inNamespace(t) {
		return
	}
	n := newNetwork(t)
	var rules []string
	for i, r := range refusals {
		if _, _, ok := r.crafted(); !ok {
			rules = append(rules, r.reject(address(r.family, 0, i+10)))
		}
	}
	n.filterHere("output", rules)
	for i, r := range refusals {
		if _, _, ok := r.crafted(); ok {
			continue
		}
		// Neighbours that are there, or theirs would be the failure.
		n.addAddress(address(r.family, 0, i+10))
	}
	for i, r := range refusals {
		if _, _, ok := r.crafted(); ok {
			continue
		}
		t.Run(fmt.Sprintf("IPv%d %s", r.family, r.how), func(t *testing.T) {
			t.Parallel()
			for _, limit := range []time.Duration{time.Second, 5 * time.Second} {
				attemptEach(t, address(r.family, 0, i+10), limit, failing(KindLocal, "firewall"))
			}
		})
	}
}

func TestWhatThisHostsRoutesForbidIsLocal(t *testing.T) {
	if !inNamespace(t) {
		return
	}
	n := newNetwork(t)
	for i, route := range []string{"prohibit", "unreachable", "blackhole", "throw"} {
		for _, family := range []int{4, 6} {
			addr := address(family, 2, i+1)
			n.here(fmt.Sprintf("ip -%d route add %s %s", family, route, addr))
			attemptEach(t, addr, 5*time.Second, failing(KindLocal, "route"))
		}
	}
}

// This host's own stack says so, in the form of an ICMP message to itself.
func TestANeighbourThatIsNotThereIsDown(t *testing.T) {
	if !inNamespace(t) {
		return
	}
	newNetwork(t)
	for _, addr := range []string{"10.9.0.77", "fd09::77"} {
		attemptEach(t, addr, 10*time.Second, func(err error) bool { return kindOf(err) == KindUnreachable || kindOf(err) == KindTimeout })
	}
}

func TestABroadcastAddressIsNoTarget(t *testing.T) {
	if !inNamespace(t) {
		return
	}
	n := newNetwork(t)
	for _, route := range []string{"", "ip route add default via 10.9.0.2"} {
		if route != "" {
			n.here(route)
		}
		for _, addr := range []string{"10.9.0.255", "255.255.255.255", "127.255.255.255"} {
			for _, url := range urls(addr) {
				p := New("test")
				p.Restrict(policyOf(t, addr, "")) // one of them is denied by default
				wantFailure(t, attemptAt(t, p, url, 5*time.Second), KindLocal, addr+" is a broadcast address")
				p.Close()
			}
		}
	}
	if isBroadcast(netip.MustParseAddr("10.9.0.2")) {
		t.Error("10.9.0.2 is taken for a broadcast address")
	}
}

// One echo each, answered as devices do, over either kind of socket.
func TestAnswersOfOddDevices(t *testing.T) {
	if !inNamespace(t) {
		return
	}
	n := newNetwork(t)
	for _, family := range []int{4, 6} {
		for i := range len(oddities) {
			n.addAddress(address(family, 0, i+10))
		}
	}
	n.there("sysctl -q -w net.ipv4.icmp_echo_ignore_all=1")
	n.there("sysctl -q -w net.ipv6.icmp.echo_ignore_all=1")
	n.answer(func(packet []byte) [][]byte {
		from, to, proto, echo := ends(packet)
		reply := map[byte]byte{icmpv4Echo: icmpv4Reply, icmpv6Echo: icmpv6Reply}
		if _, ok := reply[echo[0]]; !ok || proto != unix.IPPROTO_ICMP && proto != unix.IPPROTO_ICMPV6 {
			return nil
		}
		family, i := 4, int(to.AsSlice()[len(to.AsSlice())-1])-10
		if to.Is6() {
			family = 6
		}
		if i < 0 || i >= len(oddities) {
			return nil
		}
		answer := append([]byte{reply[echo[0]]}, echo[1:]...)
		return [][]byte{oddities[i].answer(to, from, netip.MustParseAddr(address(family, 0, 9)), answer)}
	})
	for _, kind := range []string{"raw", "datagram"} {
		if kind == "datagram" { // a new namespace has none
			n.run("", "sysctl", "-q", "-w", fmt.Sprintf("net.ipv4.ping_group_range=%d %d", os.Getegid(), os.Getegid()))
		}
		p := openPinger()
		t.Cleanup(func() { p.close() })
		if p.v4 == nil || p.v6 == nil || p.v4.raw != (kind == "raw") || p.v6.raw != (kind == "raw") {
			t.Errorf("no %s sockets", kind)
			continue
		}
		for i, o := range oddities {
			for _, family := range []int{4, 6} {
				t.Run(fmt.Sprintf("%s/%s/IPv%d", kind, o.name, family), func(t *testing.T) {
					t.Parallel()
					answer, err := p.ping(t.Context(), netip.MustParseAddr(address(family, 0, i+10)), 2*time.Second)
					if !o.counts {
						wantPingError(t, err, KindTimeout, "no answer")
						return
					}
					want := ""
					if o.elsewhere {
						want = "answered from another address, " + netip.MustParseAddr(address(family, 0, 9)).String()
					}
					if err != nil || answer.anomaly != want {
						t.Errorf("got %q, %v, want it up with the note %q", answer.anomaly, err, want)
					}
				})
			}
		}
	}
}

// oddities are ways to answer an echo. The answer is one as it should be.
var oddities = []struct {
	name      string
	counts    bool
	elsewhere bool
	answer    func(from, to, other netip.Addr, answer []byte) []byte
}{
	{"as it should be", true, false, func(from, to, _ netip.Addr, answer []byte) []byte { return datagram(from, to, answer) }},
	{"no data", true, false, func(from, to, _ netip.Addr, answer []byte) []byte { return datagram(from, to, answer[:8]) }},
	{"its own data", true, false, func(from, to, _ netip.Addr, answer []byte) []byte {
		return datagram(from, to, append(answer[:8:8], "a device's own words"...))
	}},
	{"from another address", true, true, func(_, to, other netip.Addr, answer []byte) []byte { return datagram(other, to, answer) }},
	{"from another address without data", false, false, func(_, to, other netip.Addr, answer []byte) []byte { return datagram(other, to, answer[:8]) }},
	{"a wrong checksum", false, false, func(from, to, _ netip.Addr, answer []byte) []byte {
		packet := datagram(from, to, answer)
		packet[len(packet)-1] ^= 1
		return packet
	}},
	{"another sequence number", false, false, func(from, to, _ netip.Addr, answer []byte) []byte {
		answer[6] ^= 1 << 7 // of none of the echoes that follow, either
		return datagram(from, to, answer[:8])
	}},
}
