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
	headless  headless
	extra     extraDials
	costly    chan struct{} // holds one while a costly chain of certificates is verified

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
		costly:    make(chan struct{}, 1),
		extra:     make(extraDials, maxExtraDials(openFiles())),
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
// DeadAfter whole. What was down while this process stalled is repeated, with
// the budget anew. A probe whose context ends has no verdict: the result's
// Health is Unknown and its Err the context's.
func (p *Prober) Probe(ctx context.Context, t Task) (r Result) {
	c, budget := t.Check, t.Budget
	rules := c.rules()
	r.Check = c
	start, limit, downs := time.Now(), rules.DeadAfter, 0
	backoff := Pause // after a failure of this host
	repeats := maxRepeats
	var local error
	var notBefore time.Time // an earlier look-up of the name is too old
	if t.Fresh {
		notBefore = start
	}
	for {
		pause := Pause
		r.Attempts++
		whole := r.Err
		a := p.stalls.enter(limit)
		a.lookups.notBefore = notBefore
		r.Latency, r.Err = p.measure(ctx, c, a)
		r.note, notBefore = a.odd(), a.lookups.next()
		r.addNotes(a.record.notes)
		stalled := p.stalls.leave(a, r.Err)
		if limit < rules.DeadAfter && isTimeout(r.Err) && whole != nil {
			// That a cut attempt had no answer in time explains nothing; and
			// where this host's trouble has cut it, it is not the target's.
			r.Err = whole
		}
		switch {
		case r.Err == nil:
			r.Health = rules.classify(r.Latency)
			return r
		case ctx.Err() != nil:
			r.cancel(ctx)
			return r
		case stalled && repeats > 0:
			// An answer may have come while nobody was there to take it. The
			// attempt that takes its place has its time whole, as a first one.
			repeats--
			if !sleep(ctx, pause) {
				r.cancel(ctx)
				return r
			}
			start, limit = time.Now(), rules.DeadAfter
			continue
		case isLasting(r.Err):
			return r
		case isLocal(r.Err):
			local = r.Err
			// What is short seldom comes back in 200 ms. However long it lacks,
			// the probe takes no more time than one of a silent target, by
			// which the pool is measured.
			pause, backoff = backoff, min(2*backoff, 5*time.Second)
			budget = min(budget, rules.Longest(budget))
		default:
			downs++
		}
		if downs >= t.attempts() {
			r.Health = Dead
			return r
		}
		limit = min(rules.DeadAfter, budget-time.Since(start)-pause)
		if limit <= 0 {
			break
		}
		if !sleep(ctx, pause) {
			r.cancel(ctx)
			return r
		}
	}
	if local != nil {
		r.Err = local
		return r
	}
	r.Health = Dead // cut: there is no time for the attempts that are left
	return r
}

// addNotes adds those that r does not have yet.
func (r *Result) addNotes(notes []string) {
	for _, text := range notes {
		if !slices.Contains(r.Notes, text) {
			r.Notes = append(r.Notes, text)
		}
	}
}

// cancel makes r one without a verdict: what the end of ctx broke off says
// nothing of the replica.
func (r *Result) cancel(ctx context.Context) {
	r.Health, r.Err = Unknown, context.Cause(ctx)
}

// measure makes one attempt and returns its latency: for ICMP the round trip,
// otherwise the time of the whole attempt, less what the
// look-ups took and what this process was late by.
func (p *Prober) measure(ctx context.Context, c Check, a attempt) (latency time.Duration, err error) {
	defer survive(&err)
	t := c.Target
	switch t.Scheme() {
	case ICMP:
		latency, err = p.measureICMP(ctx, t, a)
		return latency, a.lookups.excuse(err)
	case TCP:
		err = p.measureTCP(ctx, t, a)
	default:
		err = p.measureHTTP(ctx, t, c.rules(), a)
	}
	return max(0, a.latency()-a.lookups.time()-a.waited()), a.lookups.excuse(err)
}

// survive makes a panic the failure of an attempt: an answer that trips up a
// parser must not end the watch over all the others, nor make this one dead.
func survive(err *error) {
	if fault := recover(); fault != nil {
		*err = Panicked(fault)
	}
}

// maxStack bounds the stack of a panic, in bytes: its first frames say it all.
const maxStack = 8 << 10

// Panicked returns the failure of what panicked with fault, with the stack. It is
// for the function that recovered.
func Panicked(fault any) *Error {
	e := failure(KindLocal, "internal error, please report it: %v", fault)
	stack := debug.Stack()
	e.Stack = string(stack[:min(len(stack), maxStack)])
	return e
}

// maxPing is how long an ICMP echo is waited for: a second is long for a round
// trip, and the original waits no longer.
const maxPing = time.Second

func (p *Prober) measureICMP(ctx context.Context, t Target, a attempt) (time.Duration, error) {
	addrs, err := p.addrs(ctx, t, a)
	if err != nil {
		return 0, err
	}
	if a.left() <= 0 && !a.prolong() {
		return 0, noAnswer(a.limit)
	}
	// The second begins with the echo: a slow resolver is not a slow target.
	answer, err := pingAll(ctx, addrs, min(a.left(), maxPing), func(ctx context.Context, addr netip.Addr, limit time.Duration) (pong, error) {
		return p.pingPermitted(ctx, t, addr, limit)
	})
	a.remark(answer.note)
	return max(0, answer.trip-a.late()), err
}

// maxRepeats bounds how often attempts are repeated because this process stalled:
// one that stalls again and again says enough of itself by its late reports.
const maxRepeats = 3

// sleep waits for d and reports whether it did so before ctx ended.
func sleep(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}
