//go:build cluster

package cluster

import (
	"fmt"
	"strings"
	"testing"

	"github.com/crisp-im/crisp-status-local/v2/cmd/crisp-status-local/namespaces"
)

// pageAddress is where the Status API is, and the proxy of etcd. The targets are
// behind it.
const (
	pageAddress = "10.9.0.100"
	lanNetwork  = "10.9.1.0/24"
)

// host is a network namespace on a bridge with the others: a machine of its own as far
// as the network goes.
type host struct {
	t       *testing.T
	name    string
	address string
	holder  int // the process that holds its namespace
}

// newHosts makes the bridge, and hosts on it.
func newHosts(t *testing.T, n int) []*host {
	t.Helper()
	here(t, "ip link set lo up")
	here(t, "ip link add lan type bridge")
	here(t, "ip addr add "+pageAddress+"/24 dev lan")
	here(t, "ip link set lan up")
	here(t, "ip route add local "+lanNetwork+" dev lo")
	here(t, "sysctl -q -e -w net.ipv4.icmp_ratelimit=0 net.ipv4.icmp_msgs_per_sec=100000")
	var hosts []*host
	for i := range n {
		h := &host{t: t, name: fmt.Sprintf("host-%d", i+1), address: fmt.Sprintf("10.9.0.%d", 11+i), holder: namespaces.Hold(t)}
		here(t, fmt.Sprintf("ip link add port%d type veth peer name eth0 netns %d", i, h.holder))
		here(t, fmt.Sprintf("ip link set port%d master lan up", i))
		h.run("ip link set lo up")
		h.run("ip link set eth0 up")
		h.run("ip addr add " + h.address + "/24 dev eth0")
		h.run("ip route add default via " + pageAddress)
		hosts = append(hosts, h)
	}
	return hosts
}

// here runs a command beside the page.
func here(t *testing.T, command string) {
	t.Helper()
	namespaces.Execute(t, "", strings.Fields(command)...)
}

// run runs a command on the host.
func (h *host) run(command string) {
	h.t.Helper()
	namespaces.Execute(h.t, "", namespaces.In(h.holder, strings.Fields(command)...)...)
}

// cut drops packets that leave the host and match the rules; it returns a function that
// ends that.
func (h *host) cut(rules ...string) func() { h.t.Helper(); return h.drop("output", rules) }

// cutIn is cut for packets that come to the host.
func (h *host) cutIn(rules ...string) func() { h.t.Helper(); return h.drop("input", rules) }

func (h *host) drop(hook string, rules []string) func() {
	h.t.Helper()
	var dropping []string
	for _, rule := range rules {
		dropping = append(dropping, rule+" drop")
	}
	return namespaces.Filter(h.t, h.holder, hook, dropping...)
}

// Rules, by the traffic that they match.
const (
	toEtcd    = "tcp dport 2379"
	fromEtcd  = "tcp sport 2379"
	toPeers   = "tcp dport 2380"
	fromPeers = "tcp sport 2380"
	toLAN     = "ip daddr " + lanNetwork
	toAPI     = "ip daddr " + pageAddress + " tcp dport 8080"
	vrrp      = "ip protocol 112"
	fromAPI   = "ip saddr " + pageAddress + " tcp sport 8080"
)

// all returns a function that calls all of them.
func all(functions ...func()) func() {
	return func() {
		for _, f := range functions {
			f()
		}
	}
}
