//go:build faults

package faults

import (
	"testing"
	"time"

	"github.com/crisp-im/crisp-status-local/v2/cmd/crisp-status-local/namespaces"
	"github.com/crisp-im/crisp-status-local/v2/internal/sandbox"
)

// broken returns what gives the wire other conditions.
func broken(c conditions) func(*lab) func() {
	return func(l *lab) func() {
		l.wire.conditions.Store(&c)
		return func() { l.wire.conditions.Store(new(conditions)) }
	}
}

func TestNetwork(t *testing.T) {
	t.Parallel()
	// Whether a replica is dead on a lossy wire is a matter of how often it is tried.
	// Connecting within 5 s sends three packets, the kernel's at 0, 1 and 3 s: at these
	// losses 0.1, 1 and 10 of 100 attempts over HTTPS fail, which takes the most. The
	// attempts that the interval has room for make that less than one probe in a million.
	try(t, []fault{
		{name: "30 of 100 packets each way are lost", lasts: 75 * time.Second, begin: broken(conditions{loss: 0.3}),
			options: options{interval: 70 * time.Second, retry: 6}},
		{name: "30 of 100 round trips are lost", lasts: 45 * time.Second, begin: broken(conditions{loss: 0.163}),
			options: options{interval: 40 * time.Second, retry: 3}},
		{name: "a tenth of the round trips is lost", lasts: 25 * time.Second, begin: broken(conditions{loss: 0.05}),
			options: options{interval: 20 * time.Second}},
		{name: "300 ms of delay with jitter that reorders", lasts: 20 * time.Second,
			begin: broken(conditions{delay: 100 * time.Millisecond, jitter: 100 * time.Millisecond})},
		{name: "long packets vanish", lasts: 20 * time.Second, begin: broken(conditions{largest: 600}), unsure: []string{"https://10.9.1.3/"}},
		// Two attempts at an echo take 2.2 s, the third SYN of a connection leaves after 3 s:
		// what ends a second before them is carried.
		{name: "nothing comes through for a moment", lasts: time.Second, begin: broken(conditions{loss: 1})},
		{name: "nothing comes through for longer than for echoes", lasts: 4 * time.Second, begin: broken(conditions{loss: 1}),
			options: options{interval: 5 * time.Second}},
		{name: "nothing comes through for long", lasts: 30 * time.Second, begin: broken(conditions{loss: 1})},
		{name: "the default route is gone", lasts: 10 * time.Second, begin: withoutRoute},
		{name: "the link is down", lasts: 10 * time.Second, begin: withoutLink},
		{name: "the ephemeral ports are gone", lasts: 10 * time.Second, begin: withoutPorts},
		{name: "a full table of connections drops new ones", lasts: 2 * time.Second, begin: func(l *lab) func() {
			return filterThere(l.t, l.wire, "output", "ct state new drop")
		}},
		{name: "the firewall of this host rejects", lasts: 10 * time.Second, begin: func(l *lab) func() {
			return filterThere(l.t, l.wire, "output", "ip daddr 10.9.1.0/24 reject with icmpx type admin-prohibited")
		}},
	})
}

// half of the LAN, by the address.
const half = "ip daddr { 10.9.1.1, 10.9.1.2, 10.9.1.3 }"

func TestHalfOfTheLANIsUnreachable(t *testing.T) {
	t.Parallel()
	gone := []string{"tcp://10.9.1.1:80", "http://10.9.1.2/", "https://10.9.1.3/"}
	gone6 := []string{"tcp://[fd09:1::1]:80", "http://[fd09:1::2]/"}
	var faults []fault
	for _, code := range []string{"net-unreachable", "host-unreachable", "prot-unreachable", "port-unreachable", "net-prohibited", "host-prohibited", "admin-prohibited"} {
		faults = append(faults, fault{name: "ICMP " + code, lasts: 10 * time.Second, unsure: gone, begin: rejected(gone, half+" reject with icmp type "+code)})
	}
	for _, code := range []string{"no-route", "admin-prohibited", "addr-unreachable", "port-unreachable", "policy-fail", "reject-route"} {
		faults = append(faults, fault{name: "ICMPv6 " + code, lasts: 10 * time.Second, unsure: gone6, begin: rejected(gone6, "ip6 daddr { fd09:1::1, fd09:1::2 } reject with icmpv6 type "+code)})
	}
	faults = append(faults, fault{name: "TCP resets", lasts: 10 * time.Second, unsure: gone, begin: rejected(gone, half+" meta l4proto tcp reject with tcp reset")})
	try(t, faults)
}

// rejected returns what makes the far side reject replicas by a rule. That they are reported
// dead shows that it does.
func rejected(replicas []string, rule string) func(*lab) func() {
	return func(l *lab) func() {
		began, heal := time.Now(), filter(l.t, "input", rule)
		return func() {
			for _, replica := range replicas {
				l.reported(replica, sandbox.Dead, began)
			}
			heal()
		}
	}
}

func withoutRoute(l *lab) func() {
	there(l.t, l.wire, "ip route del default")
	there(l.t, l.wire, "ip -6 route del default")
	return func() { l.wire.route(l.t) }
}

func withoutLink(l *lab) func() {
	there(l.t, l.wire, "ip link set wire down")
	return func() {
		there(l.t, l.wire, "ip link set wire up")
		there(l.t, l.wire, "ip addr replace "+nearAddress+"/32 dev wire")
		there(l.t, l.wire, "ip addr replace "+nearAddress6+"/128 dev wire nodad")
		there(l.t, l.wire, "ip route replace default dev wire")
		there(l.t, l.wire, "ip -6 route replace default dev wire")
	}
}

// withoutPorts leaves two ports to connect from, and takes them: those that no
// connection had before.
func withoutPorts(l *lab) func() {
	end := l.helper("listen", "20000", "20001")
	l.portsFrom("20000 20001")
	return func() {
		l.says("this host cannot probe")
		l.portsFrom("32768 60999")
		end()
	}
}

func (l *lab) portsFrom(ports string) {
	l.t.Helper()
	namespaces.Execute(l.t, "", namespaces.In(l.wire.near, "sysctl", "-q", "-w", "net.ipv4.ip_local_port_range="+ports)...)
}
