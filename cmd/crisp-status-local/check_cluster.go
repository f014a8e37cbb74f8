//go:build linux

package main

import (
	"context"
	"fmt"
	"math"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/crisp-im/crisp-status-local/v2/internal/config"
	"github.com/crisp-im/crisp-status-local/v2/internal/duty"
	"github.com/crisp-im/crisp-status-local/v2/internal/pace"
)

// takeover is the longest time from the end of a lease to the first reports of the
// next daemon on duty.
const takeover = 2 * time.Second

// cluster says whether this daemon could take part in its group; nothing of a
// daemon by itself.
func (l *checklist) cluster(ctx context.Context, c config.Config) {
	switch cluster := c.Cluster; cluster.Engine {
	case config.Alive:
		l.add(right, "duty", "engine alive: what is healthy or sick is reported, and no daemon reports dead; that is left to the page")
	case config.Address:
		l.address(ctx, cluster.Addr)
	case config.Etcd:
		if l.etcd(ctx, c) {
			l.rate()
		}
		l.ttl(cluster.TTL, c.Interval, c.Promise)
	}
}

// ttl prints whether another daemon takes over too late for the page.
func (l *checklist) ttl(ttl, interval, promise time.Duration) {
	if within, absence := ttl+takeover, pace.Absence(interval, promise); within > absence {
		l.notice("ttl", "if the daemon on duty dies, another reports within %v, and the page may show replicas dead after %v: lower ttl in [cluster], or raise promise in [report]", within, absence)
	}
}

// address says whether this host has the address that decides, and whether another one
// has it, too.
func (l *checklist) address(ctx context.Context, addr netip.Addr) {
	const cure = "; let VRRP (IP protocol 112) pass between the hosts if keepalived moves the address, or take it from one of them"
	found, err := duty.CheckAddress(ctx, addr)
	switch {
	case ctx.Err() != nil:
	case err != nil:
		l.fail("duty", "engine address: reading the addresses of this host: %v", err)
	case found.Conflict != "" && found.Here:
		l.fail("duty", "engine address: %s, so both daemons leave dead to the page%s", found.Conflict, cure)
	case found.Conflict != "":
		l.fail("duty", "engine address: %s, so this daemon leaves dead to the page: take the address from one of the hosts", found.Conflict)
	case found.Tentative:
		l.notice("duty", "engine address: this host has %v, and its kernel still tests whether another one has it, too (tentative), so its daemon stands by: ask again in some seconds, and look at the link if it stays so", addr)
	case !found.Here:
		l.add(right, "duty", "engine address: this host does not have %v now, so its daemon stands by", addr)
	case found.Unchecked != nil:
		l.add(right, "duty", "engine address: this host has %v, so its daemon is on duty", addr)
		l.notice("duty", "engine address: it cannot be checked here whether another host has %v, too: %v; status says whether the daemon can", addr, found.Unchecked)
	default:
		l.add(right, "duty", "engine address: this host has %v and no other one answers for it, so its daemon is on duty", addr)
	}
}

// etcd prints whether etcd answers, gives the rights of a member, and has the right
// group. It reports whether etcd answers.
func (l *checklist) etcd(ctx context.Context, c config.Config) bool {
	found, err := duty.CheckEtcd(ctx, etcdSettings(dutyOf(c)))
	if ctx.Err() != nil {
		return false
	}
	for _, why := range found.Misnamed {
		l.fail("engine", "%s", why)
	}
	silence := l.notice
	if found.Answering == 0 {
		silence = l.fail
	}
	for _, why := range found.Silent {
		silence("engine", "%s", why)
	}
	if found.Answering > 0 {
		l.add(right, "engine", "etcd: %d of %s", found.Answering, count(len(c.Cluster.Endpoints), "endpoint answers", "endpoints answer"))
	}
	if err != nil {
		if !slices.Contains(append(found.Misnamed, found.Silent...), err.Error()) { // etcd answers, and refuses
			l.fail("rights", "%v", err)
		}
		return found.Answering > 0
	}
	l.add(right, "rights", "a lease and a key of the group were made, and are gone again")
	if found.Userless {
		l.notice("user", "%s", duty.NoUsers)
	}
	l.group(found, c.Cluster)
	return true
}

// group prints the members of the group.
func (l *checklist) group(found duty.EtcdCheck, c config.Cluster) {
	switch {
	case found.OtherPage != "":
		l.fail("group", "%s of the group %q has another token, so it watches for another page: give the daemons of this page a group of their own in [cluster]", found.OtherPage, c.Group)
		return
	case found.Stray != "":
		l.fail("group", "%s", found.Stray)
		return
	}
	for _, name := range found.Namesakes {
		l.notice("group", "more than one daemon is called %q: give each its own name by member in [cluster] (one that was killed is there for %v)", name, c.TTL)
	}
	if len(found.Members) == 0 {
		l.add(right, "group", "%s: no daemon of it runs now; this one is %s", c.Group, c.Member)
		return
	}
	var members []string
	for _, m := range found.Members {
		members = append(members, strings.TrimSpace(m.Name+" "+m.Version))
	}
	holder := "nobody is on duty"
	if found.Holder != "" {
		holder = found.Holder + " is on duty"
	}
	l.add(right, "group", "%s: %s; this one is %s; %s", c.Group, strings.Join(members, ", "), c.Member, holder)
}

// rate prints whether the rate of this host's clock can be relied on.
func (l *checklist) rate() {
	const within = "the clocks of a group may differ by %g %% in rate"
	tolerance := fmt.Sprintf(within, duty.RateTolerance*100)
	switch rate, err := duty.ReadClockRate(); {
	case err != nil:
		l.notice("rate", "%v; %s", err, tolerance)
	case rate.Suspect():
		l.fail("rate", "the kernel corrects the rate of the clock by %.1f %%, which no clock needs, and %s: look at what keeps it (chronyc tracking, ntpq -p)", rate.Corrected*100, tolerance)
	case !rate.Kept:
		l.notice("rate", "nothing keeps the rate of the clock, as NTP does (timedatectl); %s", tolerance)
	default:
		l.add(right, "rate", "that of the clock is kept, and corrected by %.0f ppm; %s", math.Abs(rate.Corrected)*1e6, tolerance)
	}
}
