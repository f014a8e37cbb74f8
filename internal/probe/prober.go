// Package probe judges a replica by its attempts.
//
// An attempt is up or down; down attempts are repeated, and only a replica that
// was down on all of them is dead. What is this host's own trouble (no file
// descriptor, no route, no resolver) is not an attempt at all: it is tried
// again while there is time, and in the end there is no verdict, since a verdict
// is about the target or there is none.
package probe

import (
	"context"
	"crypto/x509"
	"net"
	"net/netip"
	"slices"
	"sync/atomic"
	"time"
)

// Prober makes attempts. Its methods may be called by many goroutines.
type Prober struct {
	userAgent string
	roots     atomic.Pointer[x509.CertPool] // nil: the system's
	resolver  *resolver
	connector connector
	pinger    *pinger
	stalls    stalls
	headless  headless

	// What the attempts are made of; tests put their own in. What connect
	// returns has no deadline yet, and the caller closes it.
	touch   func(ctx context.Context, addr netip.AddrPort, a attempt) error
	connect func(ctx context.Context, addr netip.AddrPort, a attempt) (net.Conn, error)
	ping    func(ctx context.Context, addr netip.Addr, limit time.Duration) (pong, error)
}

// New returns a Prober that names itself userAgent to HTTP servers. It opens
// one ICMP socket per address family where it may. The caller closes it.
func New(userAgent string) *Prober {
	p := &Prober{
		userAgent: userAgent,
		resolver:  newResolver(),
		connector: newConnector(),
		pinger:    openPinger(),
	}
	p.touch = p.connector.touch
	p.connect = p.connector.connect
	p.ping = p.pinger.ping
	return p
}

// Close closes the ICMP sockets. Probes under way have no verdict.
func (p *Prober) Close() error { return p.pinger.close() }

// Trouble returns what this host refuses to the prober, each an error that says
// what to do about it; replicas that need it have no verdict.
func (p *Prober) Trouble() []error { return p.pinger.trouble() }

// TrustRoots sets the certificate authorities that HTTPS replicas are verified
// against; nil means the system's.
func (p *Prober) TrustRoots(roots *x509.CertPool) { p.roots.Store(roots) }

// OnNameTrouble sets what is told of trouble with a name, or with a nameserver,
// that no verdict shows, seldom enough for a log; it is called in a goroutine of
// its own. It is set before the first probe.
func (p *Prober) OnNameTrouble(notify func(name, trouble string)) { p.resolver.notify = notify }

// Refresh says that a cycle begins: names that are no longer probed are forgotten
// in time, and a name is known to fail alone if others were resolved of late.
func (p *Prober) Refresh() { p.resolver.refresh() }

// Probe judges the replica of t once, with its retries. All attempts together
// take no longer than the budget, but the first one always has the rules'
// DeadAfter whole. An attempt that failed while this process stalled is repeated,
// with a new budget. A probe whose context ends has no verdict: the result's
// Health is Unknown and its Err the context's.
func (p *Prober) Probe(ctx context.Context, t Task) Result {
	r, s := Result{Check: t.Check}, newSeries(t)
	for {
		stalled := p.attempt(ctx, &s, &r)
		switch {
		case r.Err == nil:
			r.Health = s.rules.classify(r.Latency)
			return r
		case ctx.Err() != nil:
			return r.cancelled(ctx)
		}
		pause, again := s.next(r.Err, stalled)
		switch {
		case !again:
			r.Health, r.Err = s.conclude(r.Err)
			return r
		case !sleep(ctx, pause):
			return r.cancelled(ctx)
		}
	}
}

// attempt makes one attempt of s and notes its outcome in r. It reports whether
// this process stalled so long that a failure may be its own fault.
func (p *Prober) attempt(ctx context.Context, s *series, r *Result) bool {
	r.Attempts++
	previous := r.Err
	a := p.stalls.enter(s.limit)
	a.lookups.notBefore = s.notBefore
	r.Latency, r.Err = p.measure(ctx, r.Check, a)
	r.note, s.notBefore = a.odd(), a.lookups.next()
	r.addNotes(a.record.notes)
	stalled := p.stalls.leave(a, r.Err)
	if s.limit < s.rules.DeadAfter && isTimeout(r.Err) && previous != nil {
		// A timeout of a shortened attempt explains nothing; and where this host's
		// trouble has shortened it, it is not the target's.
		r.Err = previous
	}
	return stalled
}

// addNotes adds those that r does not have yet.
func (r *Result) addNotes(notes []string) {
	for _, text := range notes {
		if !slices.Contains(r.Notes, text) {
			r.Notes = append(r.Notes, text)
		}
	}
}

// cancelled returns r without a verdict: a result that the end of ctx broke off
// says nothing of the replica.
func (r Result) cancelled(ctx context.Context) Result {
	r.Health, r.Err = Unknown, context.Cause(ctx)
	return r
}

// measure makes one attempt by the method of the target's scheme and returns its
// latency: for ICMP the round trip, otherwise the time of the whole attempt, less
// the time of look-ups and the lateness of this process.
func (p *Prober) measure(ctx context.Context, c Check, a attempt) (latency time.Duration, err error) {
	defer survive(&err)
	latency, err = c.Target.scheme.method().attempt(p, ctx, c, a)
	return latency, a.lookups.excuse(err)
}

// survive makes a panic the failure of an attempt: an answer that trips up a
// parser must not end the watch over all the others, nor make this one dead.
func survive(err *error) {
	if fault := recover(); fault != nil {
		*err = failure(KindLocal, "internal error, please report it: %v", fault)
	}
}

// sleep waits for d and reports whether it did so before ctx ended.
func sleep(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}
