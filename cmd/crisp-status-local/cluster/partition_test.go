//go:build cluster

package cluster

import (
	"testing"
	"time"
)

// cutOff returns what keeps a daemon's host from sending what the rules say.
func cutOff(rules ...string) func(*lab, *process) func() {
	return func(_ *lab, victim *process) func() { return victim.host.cut(rules...) }
}

// cutOffFrom returns what keeps a daemon's host from hearing what the rules say.
func cutOffFrom(rules ...string) func(*lab, *process) func() {
	return func(_ *lab, victim *process) func() { return victim.host.cutIn(rules...) }
}

// unplugged takes the cable out of a host.
func unplugged(_ *lab, victim *process) func() {
	victim.host.run("ip link set eth0 down")
	return func() {
		victim.host.run("ip link set eth0 up")
		victim.host.run("ip route replace default via " + pageAddress)
	}
}

// back is how long after the loss of the Status API another takes over: what waits
// is tried for so long before the duty is given back.
const back = 15 * time.Second

// election is how long etcd may take to choose another leader, at its settings here.
const election = 4 * time.Second

// TestHostOnDuty cuts the host off whose daemon is on duty.
func TestHostOnDuty(t *testing.T) {
	t.Parallel()
	const long = 20 * time.Second // longer than TTL, and what the daemons wait for beyond
	try(t, []fault{
		{name: "does not reach etcd", lasts: long, begin: cutOff(toEtcd), alone: true},
		{name: "hears nothing of etcd", lasts: long, begin: cutOffFrom(fromEtcd), alone: true},
		{name: "is alone with its member of etcd", lasts: long, alone: true, begin: func(_ *lab, victim *process) func() {
			toOthers := "ip daddr 10.9.0.0/26 oif eth0"
			return all(victim.host.cut(toOthers), victim.host.cutIn("ip saddr 10.9.0.0/26 iif eth0 tcp dport 2380", "ip saddr 10.9.0.0/26 iif eth0 tcp sport 2380"))
		}},
		{name: "reaches neither etcd nor the targets", lasts: long, begin: cutOff(toEtcd, toLAN), alone: true},
		{name: "does not reach the Status API", lasts: 30 * time.Second, begin: cutOff(toAPI), gap: promised + back, inFlight: mostInFlight},
		{name: "hears nothing of the Status API", lasts: 30 * time.Second, begin: cutOffFrom(fromAPI), gap: promised + back, inFlight: mostInFlight},
		// With the host goes its member of etcd. If that led the others, they first choose
		// another, which gives every lease its whole time anew.
		{name: "is unplugged", lasts: long, begin: unplugged, alone: true, inFlight: mostInFlight, gap: promised + election},
	})
}
