package probe

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"time"
)

// resolver looks up the names of replicas. Look-ups of a name are shared, as far
// as freshness allows: a first attempt takes an answer that is at most maxAge
// old, a further one only that of a look-up that began after the attempt before
// it had ended, and a failure is never taken twice. While a name cannot be looked
// up, its last addresses stand in (see serveStale).
type resolver struct {
	lookup func(ctx context.Context, host string, within time.Duration, partly func(hostAddrs)) (hostAddrs, error)
	notify func(name, trouble string)           // takes hints for the operator, and may block; may be nil
	refuse func(name string, port uint16) error // the error of a name that may not lead to addresses; may be nil

	mu         sync.Mutex // protects all following fields
	cycleNo    int
	names      map[string]*name
	resolved   time.Time // when a look-up by the nameservers last had an answer, of any name
	resolvedIn int       // in which cycle that was
	notified   map[string]time.Time
}

// name is the state of one name.
type name struct {
	host     string
	cycle    int         // the last one that asked for it
	asked    time.Time   // when that was
	last     *lookupCall // the youngest look-up
	lastGood goodAddrs
}

// asksServers reports whether n last had its addresses of a nameserver: that it has none,
// or has some again, says something of them. A name of the hosts file and localhost do not.
func (n *name) asksServers() bool { return len(n.lastGood.addrs) > 0 && !n.lastGood.local }

// lookupCall is a look-up that several attempts may wait for.
type lookupCall struct {
	began   time.Time     // may lie ahead: see lookupGap
	usable  chan struct{} // closed when one family has answered with addresses
	done    chan struct{} // closed when the look-up is over
	waiters int
	ctx     context.Context // the look-up's own
	cancel  context.CancelFunc

	answer hostAddrs
	partAt time.Time // when usable was closed; zero: it is not
	ended  time.Time
	err    error
}

func newResolver() *resolver {
	r := &resolver{names: make(map[string]*name), notified: make(map[string]time.Time)}
	r.lookup = newStub(hostsPath, resolvConfPath, dnsPort, r.warnHourly).lookup
	return r
}

const (
	maxAge          = 2 * time.Second        // of an answer that a first attempt takes
	maxJoin         = 10 * time.Second       // of a look-up that goes on: another may have more luck
	lookupGap       = 100 * time.Millisecond // between two look-ups of a name: hundreds of replicas may bear it, each with its retries
	resolutionDelay = 50 * time.Millisecond  // RFC 8305, section 3
)

// staleTimeout is how long a look-up is waited for when earlier addresses of the
// name are known, by a first attempt: the client response timer of RFC 8767,
// section 5. If these addresses do not answer, the next one waits as ever.
const staleTimeout = 1800 * time.Millisecond

// refresh begins a cycle: names that were not asked for in the last two cycles and
// the last minute are forgotten. (Cycles may be shorter than a probe, during which
// a replica asks for nothing.)
func (r *resolver) refresh() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.cycleNo++
	for host, n := range r.names {
		if n.cycle < r.cycleNo-2 && time.Since(n.asked) > time.Minute {
			delete(r.names, host)
		}
	}
	for subject, at := range r.notified {
		if time.Since(at) > time.Hour {
			delete(r.notified, subject)
		}
	}
}

// addrs returns the addresses of t's host, at least one. It waits no longer
// than half of what a has left: the other half is the target's, or a slow
// resolver would make it look dead. The error is an *Error: KindDNS where the
// name does not exist or was out of order for too long, KindLocal where nothing
// could be found out and no earlier address is known; or it is the cause of
// ctx's end.
func (r *resolver) addrs(ctx context.Context, t Target, a attempt) ([]netip.Addr, error) {
	if t.addr.IsValid() {
		addrs := []netip.Addr{t.addr}
		a.looked(addrs, t.port, time.Time{})
		return addrs, nil
	}
	return r.namedAddrs(ctx, t, a)
}

// namedAddrs is addrs for a host that is a name. It is apart because thousands
// of probes of addresses may wait, and its frame would be on all their stacks.
func (r *resolver) namedAddrs(ctx context.Context, t Target, a attempt) ([]netip.Addr, error) {
	start := time.Now()
	c, n, wait := r.join(ctx, t, a)
	found, err := r.await(ctx, c, t, wait)
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	a.lookups.add(t.host, time.Since(start))
	defer func() { a.looked(found.addrs, t.port, start) }()
	if err == errSilent {
		a.lookups.addSilent(c.began)
	}
	switch {
	case err == errNoName:
		denied := time.Now()
		found, err = r.deny(ctx, c, n, t, min(wait, max(0, a.left()/2)))
		a.lookups.add(t.host, time.Since(denied))
		if err != nil {
			return nil, err
		}
		a.lookups.addStale(t.host)
	case err != nil:
		if found, err = r.serveStale(n, t, err, wait); err != nil {
			return nil, err
		}
		a.lookups.addStale(t.host)
	case found.truncated && t.Scheme() == ICMP:
		return nil, failure(KindLocal, "looking up %q: the answer is truncated, and the rest could not be had over TCP: is TCP to the nameservers permitted?", t.host)
	}
	if r.refuse != nil {
		for _, name := range found.names {
			if err := r.refuse(name, t.port); err != nil {
				return nil, err
			}
		}
	}
	return found.addrs, nil
}

// join returns the look-up of t's host that a may share, which it starts if there
// is none, and the longest time to wait for it.
func (r *resolver) join(ctx context.Context, t Target, a attempt) (*lookupCall, *name, time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := r.names[t.host]
	if n == nil {
		n = &name{host: t.host}
		r.names[t.host] = n
	}
	now := time.Now()
	n.cycle, n.asked = r.cycleNo, now
	wait := max(0, a.left()/2)
	notBefore := a.lookups.after()
	if len(n.lastGood.addrs) > 0 && notBefore.IsZero() {
		wait = min(wait, staleTimeout)
	}
	if n.last == nil || !n.last.serves(notBefore, now) {
		n.last = r.startLookup(ctx, n, wait)
	}
	n.last.waiters++
	return n.last, n, wait
}

// serves reports whether an attempt may share c: whether c began after notBefore,
// and is not too old. The caller holds the lock.
func (c *lookupCall) serves(notBefore, now time.Time) bool {
	switch {
	case !notBefore.IsZero() && !c.began.After(notBefore):
		return false
	case !c.ended.IsZero():
		return c.err == nil && now.Sub(c.ended) <= maxAge
	case !c.partAt.IsZero():
		return now.Sub(c.partAt) <= maxAge
	}
	return now.Sub(c.began) <= maxJoin && c.ctx.Err() == nil
}

// startLookup starts a look-up of n that is paced for an attempt that waits so long.
// It outlives that attempt, since others wait for it too, and ends with the last
// of them. The caller holds the lock.
func (r *resolver) startLookup(ctx context.Context, n *name, wait time.Duration) *lookupCall {
	pause := time.Duration(0)
	if n.last != nil {
		pause = max(0, time.Until(n.last.began.Add(lookupGap)))
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	c := &lookupCall{began: time.Now().Add(pause), usable: make(chan struct{}), done: make(chan struct{}), ctx: ctx, cancel: cancel}
	partly := func(a hostAddrs) {
		r.mu.Lock()
		defer r.mu.Unlock()
		c.answer, c.partAt = a, time.Now()
		close(c.usable)
	}
	go func() {
		defer cancel()
		var found hostAddrs
		err := context.Canceled
		defer func() { r.finish(n, c, found, err) }()
		defer recoverPanic(&err)
		if pause == 0 || sleep(ctx, pause) {
			found, err = r.lookup(ctx, n.host, wait-min(pause, wait/2), partly)
		}
	}()
	return c
}

// finish notes the result of the look-up c of n.
func (r *resolver) finish(n *name, c *lookupCall, found hostAddrs, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	defer close(c.done)
	c.answer, c.err, c.ended = found, err, time.Now()
	switch {
	case err == nil:
		n.lastGood = goodAddrs{hostAddrs: found, at: c.ended}
	case err == errNoName: // see deny
	default:
		return
	}
	if !found.local {
		r.resolved, r.resolvedIn = c.ended, r.cycleNo
	}
	if left := found.total - len(found.addrs); found.total > maxAddresses && left > 0 {
		r.warnHourlyLocked(n.host, fmt.Sprintf("%d addresses: %d of them are used", found.total, len(found.addrs)))
	}
}

// await waits for c: until it is over, or for a short while once one family has
// answered with addresses, or as long as wait.
func (r *resolver) await(ctx context.Context, c *lookupCall, t Target, wait time.Duration) (hostAddrs, error) {
	defer r.leave(c)
	timeout := time.NewTimer(wait)
	defer timeout.Stop()
	select {
	case <-c.done:
	case <-c.usable:
		r.mu.Lock()
		enough := c.partAt.Add(resolutionDelay)
		if t.Scheme() == ICMP || !c.answer.addrs[0].Is4() {
			enough = c.partAt.Add(lateFamily)
		}
		r.mu.Unlock()
		timeout.Reset(min(wait, time.Until(enough)))
		select {
		case <-c.done:
		case <-timeout.C:
		case <-ctx.Done():
		}
	case <-timeout.C: // an answer that came at the same time counts
	case <-ctx.Done():
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if c.ended.IsZero() && c.partAt.IsZero() {
		return hostAddrs{}, errSilent
	}
	return c.answer, c.err
}

// linger is the time for which a look-up without waiters continues: longer than the
// pause before the next attempt, which may join it.
const linger = time.Second

// leave removes a waiter from c. A look-up without waiters and without a result
// ends after linger.
func (r *resolver) leave(c *lookupCall) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if c.waiters--; c.waiters > 0 || !c.partAt.IsZero() || !c.ended.IsZero() {
		return
	}
	time.AfterFunc(linger, func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		if c.waiters == 0 && c.partAt.IsZero() {
			c.cancel()
		}
	})
}

// errSilent is the error of a look-up without any answer in time.
var errSilent = errors.New("no answer")
