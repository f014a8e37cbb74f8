// Package probe judges a replica by its attempts.
//
// An attempt is up or down; down attempts are repeated, and only a replica that
// was down on all of them is dead. Trouble of this host (no file descriptor, no
// route, no resolver) does not count as an attempt: it is retried while there is
// time, and then there is no verdict, since a verdict is about the target or there
// is none.
package probe

import (
	"cmp"
	"context"
	"crypto/x509"
	"errors"
	"net"
	"net/netip"
	"runtime/debug"
	"slices"
	"sync/atomic"
	"time"

	"github.com/crisp-im/crisp-status-local/v2/internal/policy"
)

// Prober makes attempts. Its methods may be called by many goroutines.
type Prober struct {
	userAgent string
	roots     atomic.Pointer[x509.CertPool] // nil: the system's
	policy    atomic.Pointer[policy.Policy] // nil: the default
	resolver  *resolver
	connector connector
	pinger    *pinger
	stalls    stalls
	getOnly   getOnly
	extra     extraDials
	costly    chan struct{} // full while a costly chain of certificates is verified

	// The parts of an attempt, which tests replace. A connection from connect has
	// no deadline yet, and the caller closes it.
	connectHalfOpen func(ctx context.Context, addr netip.AddrPort, a attempt) error
	connect         func(ctx context.Context, addr netip.AddrPort, a attempt) (net.Conn, error)
	ping            func(ctx context.Context, addr netip.Addr, limit time.Duration) (pong, error)
	way             func(netip.Addr) error
}

// New returns a Prober that names itself userAgent to HTTP servers. It opens
// one ICMP socket per address family where it may. The caller closes it.
func New(userAgent string) *Prober {
	p := &Prober{
		userAgent: userAgent,
		resolver:  newResolver(),
		connector: newConnector(),
		pinger:    openPinger(),
		costly:    make(chan struct{}, 1),
		extra:     make(extraDials, maxExtraDials(openFiles())),
	}
	p.resolver.refuse = p.permitAlias
	p.connectHalfOpen = p.connector.connectHalfOpen
	p.connect = p.connector.connect
	p.ping = p.pinger.ping
	p.way = wayTo
	return p
}

// Close closes the ICMP sockets. Probes in flight end without a verdict.
func (p *Prober) Close() error { return p.pinger.close() }

// Trouble returns the rights and features that this host refuses to the prober,
// each an error that says how to grant them; replicas that need them have no
// verdict.
func (p *Prober) Trouble() []error { return p.pinger.trouble() }

// TrustRoots sets the certificate authorities that the certificates of HTTPS
// replicas are verified against; nil means the system's.
func (p *Prober) TrustRoots(roots *x509.CertPool) { p.roots.Store(roots) }

// OnNameTrouble sets the function that is called on trouble with a name or a
// nameserver that no verdict shows, rarely enough for a log and in a goroutine of
// its own. It must be set before the first probe.
func (p *Prober) OnNameTrouble(notify func(name, trouble string)) { p.resolver.notify = notify }

// Refresh must be called at the start of each cycle: by the cycles the resolver
// forgets names that are no longer probed, and tells a name that fails alone from
// an outage of all names.
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
		pause, again := time.Duration(0), true
		if stalled && s.repeats > 0 {
			pause = s.repeat()
		} else {
			pause, again = s.next(r.Err)
		}
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
	r.Panic = cmp.Or(r.Panic, a.record.panicked.Load(), PanicOf(r.Err))
	r.anomaly, s.notBefore = a.anomaly(), a.lookups.next()
	r.addNotes(a.record.notes)
	r.trace(s, a)
	stalled := p.stalls.leave(a, r.Err)
	if s.limit < s.rules.DeadAfter && isTimeout(r.Err) && previous != nil {
		// A timeout of a shortened attempt explains nothing; and where this host's
		// trouble has shortened it, it is not the target's.
		r.Err = previous
	}
	return stalled
}

// addNotes adds the notes that r does not have yet.
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
// the time of look-ups and the lateness and waits of this process.
func (p *Prober) measure(ctx context.Context, c Check, a attempt) (latency time.Duration, err error) {
	defer recoverPanic(&err)
	latency, err = c.Target.scheme.method().attempt(p, ctx, c, a)
	if isTimeout(err) && a.record != nil {
		if lost := lostWay(&a.record.phases, p.way); lost != nil {
			err = lost
		}
	}
	return latency, a.lookups.localIfStale(err)
}

// recoverPanic turns a panic into a local failure of the attempt: an answer that
// trips up a parser must not end the probing of all others, nor make this replica
// dead. It must be deferred.
func recoverPanic(err *error) {
	if fault := recover(); fault != nil {
		*err = Panicked(fault)
	}
}

// recoverPanic is recoverPanic of one address, which keeps the panic whatever the other
// addresses come to. A nil record keeps nothing.
func (r *record) recoverPanic(err *error) {
	if fault := recover(); fault != nil {
		*err = Panicked(fault)
	}
	if e := PanicOf(*err); e != nil && r != nil {
		r.panicked.CompareAndSwap(nil, e)
	}
}

// PanicOf returns the panic that err is, or that it is by; nil if there was none.
func PanicOf(err error) *Error {
	for e, ok := errors.AsType[*Error](err); ok; e, ok = errors.AsType[*Error](e.Err) {
		if e.Stack != "" {
			return e
		}
	}
	return nil
}

// maxStack bounds the stack of a panic, in bytes; its first frames suffice.
const maxStack = 8 << 10

// Panicked returns the failure of a function that panicked with fault, with the
// stack. It must be called by the deferred function that recovered.
func Panicked(fault any) *Error {
	e := failure(KindLocal, "internal error, please report it: %v", fault)
	stack := debug.Stack()
	e.Stack = string(stack[:min(len(stack), maxStack)])
	return e
}

// sleep waits for d; it returns false if ctx ended first.
func sleep(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}
