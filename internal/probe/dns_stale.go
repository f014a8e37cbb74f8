package probe

import (
	"errors"
	"fmt"
	"net/netip"
	"time"
)

// goodAddrs is the result of the last look-up of a name that succeeded, which is
// used while the name cannot be looked up.
type goodAddrs struct {
	addrs  []netip.Addr // of the last look-up that succeeded
	at     time.Time    // when that was
	failed time.Time    // when the first look-up after it failed; zero: none did
	cycle  int          // in which cycle that was
	alone  time.Time    // since when it fails although other names resolve; zero: it does not
}

// maxStale is how long a name that alone cannot be looked up is served from
// memory.
const maxStale = time.Hour

// serveStale returns the addresses that n had when it was last looked up with
// success (RFC 8767), or why there are none. While nobody can be looked up they
// serve without end; a name that fails while others resolve is served for
// maxStale, then it is dead. Either is told. wait is what the look-up was given.
func (r *resolver) serveStale(n *name, t Target, err error, wait time.Duration) (hostAddrs, error) {
	failed := fromLookup(t.host, err, wait)
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(n.lastGood.addrs) == 0 {
		return hostAddrs{}, failed
	}
	now := time.Now()
	if n.lastGood.failed.IsZero() {
		n.lastGood.failed, n.lastGood.cycle = now, r.cycleNo
	}
	server, ok := errors.AsType[*serverError](err)
	answered := ok && server.answered
	since := fmt.Sprintf("%s: its addresses of %v ago are used", failed.Reason, rounded(now.Sub(n.lastGood.at)))
	switch {
	case !r.failsAlone(n, answered):
		n.lastGood.alone = time.Time{}
		if !answered || n.lastGood.cycle != r.cycleNo {
			r.tellOnceAnHour("any name", since+", and so are those of other names, as long as they answer")
		}
	case n.lastGood.alone.IsZero():
		n.lastGood.alone = now
		r.tell(t.host, since+fmt.Sprintf(", for %v at most: other names are resolved", maxStale))
	case now.Sub(n.lastGood.alone) >= maxStale:
		return hostAddrs{}, &Error{Kind: KindDNS, Reason: fmt.Sprintf("%s (for over %v, while other names are resolved)", failed.Reason, maxStale), Err: err}
	}
	return hostAddrs{addrs: n.lastGood.addrs}, nil
}

// failsAlone reports whether other names were resolved since n began to fail, in
// this cycle or the one before it, or, where there is no other name to tell by,
// whether a nameserver answered. The caller holds the lock.
func (r *resolver) failsAlone(n *name, answered bool) bool {
	if len(r.names) == 1 {
		return answered
	}
	return r.resolved.After(n.lastGood.failed) && r.resolvedIn >= r.cycleNo-1
}

// tell hands on what an operator should know. It does not wait until that is
// written: a log that is stuck must not stop look-ups.
func (r *resolver) tell(name, trouble string) {
	if r.notify != nil {
		go r.notify(name, trouble)
	}
}

// tellOnceAnHour is tell, but for what was told of that name within the hour.
// The caller holds the lock.
func (r *resolver) tellOnceAnHour(name, trouble string) {
	if at, ok := r.notified[name]; ok && time.Since(at) < time.Hour {
		return
	}
	r.notified[name] = time.Now()
	r.tell(name, trouble)
}

// tellHourly is tellOnceAnHour for a caller without the lock.
func (r *resolver) tellHourly(name, trouble string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.tellOnceAnHour(name, trouble)
}

// fromLookup turns the error of a look-up, which was given so long, into a
// failure of this host.
func fromLookup(host string, err error, wait time.Duration) *Error {
	what := fmt.Sprintf("the resolver gave no answer within %v", rounded(wait))
	if server, ok := errors.AsType[*serverError](err); ok {
		what = server.reason
	}
	return &Error{Kind: KindLocal, Reason: fmt.Sprintf("looking up %q: %s: look at this host's /etc/resolv.conf", host, what), Err: err}
}
