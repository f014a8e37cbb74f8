package probe

import (
	"errors"
	"fmt"
	"time"
)

// goodAddrs is the result of the last look-up of a name that succeeded, which is
// used while the name cannot be looked up.
type goodAddrs struct {
	hostAddrs           // of the last look-up that succeeded
	at        time.Time // when that was
	failed    time.Time // when the first look-up after it failed; zero: none did
	cycle     int       // in which cycle that was
	alone     time.Time // since when it fails although other names resolve; zero: it does not
	denied    time.Time // since when it is said not to exist, as others are; zero: it is not
}

// maxStale bounds the use of the stale addresses of a name that fails alone.
const maxStale = time.Hour

// serveStale returns the addresses of the last good look-up of n (RFC 8767), or an
// error if there are none. While no name can be looked up they are used without
// end; those of a name that fails while others resolve for maxStale, then it is
// dead. Both are logged. wait is the limit of the failed look-up.
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
			r.warnHourlyLocked("any name", since+", and so are those of other names, as long as they answer")
		}
	case n.lastGood.alone.IsZero():
		n.lastGood.alone = now
		r.warn(t.host, since+fmt.Sprintf(", for %v at most: other names are resolved", maxStale))
	case now.Sub(n.lastGood.alone) >= maxStale:
		return hostAddrs{}, &Error{Kind: KindDNS, Reason: fmt.Sprintf("%s (for over %v, while other names are resolved)", failed.Reason, maxStale), Err: err}
	}
	return hostAddrs{addrs: n.lastGood.addrs, names: n.lastGood.names}, nil
}

// failsAlone reports whether nameservers resolved other names since n began to fail, in
// this cycle or the one before it, or, where there is no other name to tell by,
// whether one answered. The caller holds the lock.
func (r *resolver) failsAlone(n *name, answered bool) bool {
	if !r.hasOtherLocked(n) {
		return answered
	}
	return r.resolved.After(n.lastGood.failed) && r.resolvedIn >= r.cycleNo-1
}

// hasOtherLocked reports whether nameservers are asked for another name than n, as far as
// is known. The caller holds the lock.
func (r *resolver) hasOtherLocked(n *name) bool {
	for _, other := range r.names {
		if other != n && !other.lastGood.local {
			return true
		}
	}
	return false
}

// warn passes a hint to the operator. It does not wait for the log: one that is
// stuck must not stop look-ups.
func (r *resolver) warn(name, trouble string) {
	if r.notify != nil {
		go r.notify(name, trouble)
	}
}

// warnHourlyLocked is warn, once an hour for each name. The caller holds the lock.
func (r *resolver) warnHourlyLocked(name, trouble string) {
	if at, ok := r.notified[name]; ok && time.Since(at) < time.Hour {
		return
	}
	r.notified[name] = time.Now()
	r.warn(name, trouble)
}

// warnHourly is warnHourlyLocked for a caller without the lock.
func (r *resolver) warnHourly(name, trouble string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.warnHourlyLocked(name, trouble)
}

// fromLookup turns the error of a look-up with the limit wait into a local failure.
func fromLookup(host string, err error, wait time.Duration) *Error {
	what := fmt.Sprintf("the resolver gave no answer within %v", rounded(wait))
	if server, ok := errors.AsType[*serverError](err); ok {
		if what = server.reason; server.short != nil && !server.answered {
			return &Error{Kind: KindLocal, Reason: fmt.Sprintf("looking up %q: %s", host, server.short.Reason), Err: err}
		}
	}
	return &Error{Kind: KindLocal, Reason: fmt.Sprintf("looking up %q: %s: look at this host's /etc/resolv.conf", host, what), Err: err}
}
