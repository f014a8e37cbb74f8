package probe

import (
	"context"
	"fmt"
	"strings"
	"time"
)

const (
	// maxControls is how many other names are looked up to decide whether a denial is
	// believed. They share most of the name's domain, since a single private domain
	// may be gone.
	maxControls = 2
	// maxCandidates bounds the names, picked at random, that controls are chosen from.
	maxCandidates = 64
)

// deny returns the result of c, a look-up of n that found no such name. The denial is
// believed at once, unless other names are denied, too, that were resolved before:
// then another nameserver answers than the one that knew them (a VPN is down, a private
// zone is no longer asked), which is this host's trouble. The stale addresses serve
// for maxStale; after that, the name is dead. The error is an *Error, or the cause of
// ctx's end.
func (r *resolver) deny(ctx context.Context, c *lookupCall, n *name, t Target, wait time.Duration) (hostAddrs, error) {
	failed := &Error{Kind: KindDNS, Reason: fmt.Sprintf("looking up %q: no such host", t.host), Err: errNoName}
	calls, others := r.askControls(ctx, n, wait)
	believed := len(calls) == 0
	began := time.Now()
	for _, control := range calls {
		if found, err := r.await(ctx, control, t, max(0, wait-time.Since(began))); err == nil && !found.local {
			believed = true
		}
	}
	if ctx.Err() != nil {
		return hostAddrs{}, context.Cause(ctx)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	now, good := time.Now(), &n.lastGood
	if good.denied.IsZero() {
		good.denied = now
	}
	switch {
	case good.at.After(c.ended): // it resolves by now
		return good.hostAddrs, nil
	case believed, now.Sub(good.denied) >= maxStale:
		*good = goodAddrs{}
		return hostAddrs{}, failed
	}
	r.warnHourlyLocked("any name", fmt.Sprintf("%s, nor of %s: its addresses of %v ago are used, for %v at most: does /etc/resolv.conf name the right nameservers?",
		failed.Reason, strings.Join(others, " and "), rounded(now.Sub(good.at)), maxStale))
	return good.hostAddrs, nil
}

// askControls starts the look-ups of the controls of n; none if n itself never had
// addresses. The caller awaits every look-up. hosts are the quoted names.
func (r *resolver) askControls(ctx context.Context, n *name, wait time.Duration) (calls []*lookupCall, hosts []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(n.lastGood.addrs) == 0 {
		return nil, nil
	}
	now := time.Now()
	for _, other := range r.controlsLocked(n) {
		if other.last == nil || !other.last.serves(now, now) {
			other.last = r.startLookup(ctx, other, wait)
		}
		other.last.waiters++
		calls, hosts = append(calls, other.last), append(hosts, fmt.Sprintf("%q", other.host))
	}
	return calls, hosts
}

// controlsLocked returns the names nearest to n that had addresses of a nameserver, the
// nearest first. The caller holds the lock.
func (r *resolver) controlsLocked(n *name) []*name {
	var nearest []*name
	seen := 0
	for _, other := range r.names {
		if other == n || !other.asksServers() {
			continue
		}
		if seen++; seen > maxCandidates {
			break
		}
		nearest = append(nearest, other)
		for i := len(nearest) - 1; i > 0 && sharedLabels(nearest[i].host, n.host) > sharedLabels(nearest[i-1].host, n.host); i-- {
			nearest[i], nearest[i-1] = nearest[i-1], nearest[i]
		}
		nearest = nearest[:min(len(nearest), maxControls)]
	}
	return nearest
}

// sharedLabels returns how many labels two names share, from the right.
func sharedLabels(a, b string) int {
	a, b = strings.TrimSuffix(a, "."), strings.TrimSuffix(b, ".")
	for n := 0; ; n++ {
		i, j := strings.LastIndexByte(a, '.'), strings.LastIndexByte(b, '.')
		if !strings.EqualFold(a[i+1:], b[j+1:]) {
			return n
		}
		if i < 0 || j < 0 {
			return n + 1
		}
		a, b = a[:i], b[:j]
	}
}
