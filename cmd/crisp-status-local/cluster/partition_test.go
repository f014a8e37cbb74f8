//go:build cluster

package cluster

import (
	"testing"
	"time"
)

// cutOff returns a fault's begin: it drops packets that leave the daemon's host and match
// the rules.
func cutOff(rules ...string) func(*lab, *process) func() {
	return func(_ *lab, victim *process) func() { return victim.host.cut(rules...) }
}

// cutOffFrom is cutOff for packets that come to the daemon's host.
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

// back is the time from the loss of the Status API to the takeover: waiting reports are
// tried for so long before the duty is given back.
const back = 15 * time.Second

// election is how long etcd may take to choose another leader, at its settings here.
const election = 4 * time.Second

// TestHostOnDuty cuts the host off whose daemon is on duty.
func TestHostOnDuty(t *testing.T) {
	t.Parallel()
	const long = 20 * time.Second // longer than TTL, and what the daemons wait for beyond
	try(t, []fault{
		{name: "does not reach etcd", lasts: long, begin: cutOff(toEtcd), withoutEngine: true},
		{name: "hears nothing of etcd", lasts: long, begin: cutOffFrom(fromEtcd), withoutEngine: true},
		{name: "is alone with its member of etcd", lasts: long, withoutEngine: true, begin: func(_ *lab, victim *process) func() {
			toOthers := "ip daddr 10.9.0.0/26 oif eth0"
			return all(victim.host.cut(toOthers), victim.host.cutIn("ip saddr 10.9.0.0/26 iif eth0 tcp dport 2380", "ip saddr 10.9.0.0/26 iif eth0 tcp sport 2380"))
		}},
		{name: "reaches neither etcd nor the targets", lasts: long, begin: cutOff(toEtcd, toLAN), withoutEngine: true},
		{name: "does not reach the Status API", lasts: 30 * time.Second, begin: cutOff(toAPI), gap: promised + back, inFlight: mostInFlight},
		{name: "hears nothing of the Status API", lasts: 30 * time.Second, begin: cutOffFrom(fromAPI), gap: promised + back, inFlight: mostInFlight},
		// The host's member of etcd is lost, too. If it was the leader, the others first
		// elect a new one, which extends every lease to its full TTL.
		{name: "is unplugged", lasts: long, begin: unplugged, withoutEngine: true, inFlight: mostInFlight, gap: promised + election},
	})
}
