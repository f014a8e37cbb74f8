package report

import (
	"cmp"
	"container/heap"
	"math"
	"slices"
	"time"

	"github.com/crisp-im/crisp-status-local/v2/internal/duty"
	"github.com/crisp-im/crisp-status-local/v2/internal/pace"
	"github.com/crisp-im/crisp-status-local/v2/internal/probe"
	"github.com/crisp-im/crisp-status-local/v2/internal/status"
	"github.com/crisp-im/crisp-status-local/v2/internal/statusapi"
)

// onDuty is the duty that the outbox obeys, and what follows from it.
type onDuty struct {
	duty   duty.Duty
	shared bool // with other daemons: an old death may be refuted by now

	suspended func() time.Duration // of the host, since boot
	stale     chan struct{}        // has a token when TakeStale has something
	takenOver bool                 // since the last TakeStale
	inVain    time.Time            // when reports last failed repeatedly; zero if one was taken since
}

// never is entry.measured of a verdict that was repeated, not measured.
const never time.Duration = math.MinInt64 / 2

func newOnDuty() onDuty {
	return onDuty{duty: duty.Always(), suspended: duty.Suspended, stale: make(chan struct{}, 1)}
}

// Obey makes the outbox report within the scope of d from now on; without a call,
// everything may be reported.
//
// A verdict that the scope does not permit is kept, the newest of each replica, and
// counts neither as waiting nor as late. Once the scope permits it, it is sent at
// once, unless it is older than [pace.FreshFor]: then a replica that is up is probed
// first, and a death is not sent before another probe has seen it.
func (o *Outbox) Obey(d duty.Duty) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.on.duty, o.on.shared = d, d.State().Engine != duty.EngineNone
	o.heed(time.Now())
	o.dispatch()
	select {
	case o.wake <- struct{}{}: // Run listens to another channel
	default:
	}
}

// Stale returns a channel that yields a value when TakeStale or TakeRecalled has something
// to return, or a silence of the Status API has ended. It has one reader, and is never closed.
func (o *Outbox) Stale() <-chan struct{} { return o.on.stale }

// TakeStale returns the replicas whose verdicts are too old to be sent, the oldest
// verdict first; the caller probes them at once. No replica is returned twice for one
// verdict. takenOver says that the duty was taken over since the last call: then
// replicas without a verdict are to be probed at once, too.
func (o *Outbox) TakeStale() (replicas []probe.ID, takenOver bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	var stale []*entry
	for _, e := range o.queue.all {
		if e.stale {
			stale = append(stale, e)
		}
	}
	slices.SortFunc(stale, func(a, b *entry) int { return cmp.Compare(a.measured, b.measured) })
	for _, e := range stale {
		e.stale = false
		replicas = append(replicas, e.verdict.ID)
	}
	takenOver, o.on.takenOver = o.on.takenOver, false
	return replicas, takenOver
}

// vainFor is how long a repeated failure counts as an API that does not answer this
// host, if no other report is tried.
const vainFor = 15 * time.Second

// vainAfter is how long a request must be without an answer to count as two tries.
const vainAfter = 2 * pace.StatusLine

// Answered returns when a report was last taken, zero if none was; and whether
// verdicts wait while two tries have recently failed.
func (o *Outbox) Answered() (at time.Time, inVain bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	now := time.Now()
	lately := !o.on.inVain.IsZero() && now.Sub(o.on.inVain) <= vainFor
	return o.queue.taken, o.queue.Len() > 0 && (lately || o.hangs(now))
}

// hangs reports whether any request is hung. If packets are dropped, a request ends
// only long after the page has turned red, and a replica has one request at a time.
func (o *Outbox) hangs(now time.Time) bool {
	for e := o.inFlight.first; e != nil && now.Sub(e.began) >= vainAfter; e = e.next {
		if o.hung(now, e) {
			return true
		}
	}
	return false
}

// hung reports whether the request of e has waited for vainAfter, and no request that
// began later was taken.
func (o *Outbox) hung(now time.Time, e *entry) bool {
	return now.Sub(e.began) >= vainAfter && e.began.After(o.breaker.taken)
}

// failed notes that the report of e was not taken, by an API that may be at fault.
func (o *Outbox) failed(now time.Time, e *entry) {
	again := e.failures > 1 || !o.on.inVain.IsZero() || o.hung(now, e)
	if o.breaker.tripped || o.gate.refusals > 1 || again && !e.rejected {
		o.on.inVain = now
	}
}

// signalStale wakes the reader of Stale.
func (o *Outbox) signalStale() {
	select {
	case o.on.stale <- struct{}{}:
	default:
	}
}

// enter makes v the verdict of its replica to deliver. fresh says that v was measured
// now, not repeated.
func (o *Outbox) enter(now time.Time, v statusapi.Verdict, fresh bool) {
	e := o.queue.put(now, v)
	e.ups = o.reach.ups
	if e.measured, e.stale = o.clock(now), false; !fresh {
		e.measured = never
	}
}

// clock returns the time by which the age of verdicts is counted. It runs while the
// host is suspended. It is always 0 unless the duty is shared.
func (o *Outbox) clock(now time.Time) time.Duration {
	if !o.on.shared {
		return 0
	}
	return now.Sub(o.queue.page.epoch) + o.on.suspended()
}

// tooOld reports whether the verdict of e was measured too long ago.
func (o *Outbox) tooOld(now time.Time, e *entry) bool {
	return o.on.shared && o.clock(now)-e.measured > pace.FreshFor(o.limiter.interval)
}

// changes returns the channel of the duty that is obeyed.
func (o *Outbox) changes() <-chan struct{} {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.on.duty.Changed()
}

// heed puts the current scope of the duty in force, if it has changed: it cancels
// requests, keeps verdicts and releases others.
func (o *Outbox) heed(now time.Time) {
	before, scope := o.queue.scope, o.on.duty.Scope()
	if scope == before {
		return
	}
	o.queue.scope = scope
	o.queue.page.beSilent() // before or after this change, another daemon may report
	if scope == duty.Nothing {
		o.rest(now)
	}
	for e := o.inFlight.first; e != nil; e = e.next {
		if !scope.Permits(e.sent.Health == probe.Dead) {
			e.cancel()
		}
	}
	o.queue.keepForbidden()
	o.release(now)
	if before == duty.Nothing && o.on.shared {
		o.on.takenOver = true
		o.signalStale()
	}
}

// rest resets the state of the API to unknown, since nothing is sent to it any more.
func (o *Outbox) rest(now time.Time) {
	o.breaker.reset()
	o.gate = gate{}
	o.reach = reach{}
	o.observed.api, o.observed.since, o.observed.lastErr = status.APIUnknown, time.Time{}, ""
	o.catchUp, o.backlog = false, 0
	o.on.inVain = time.Time{}
	o.queue.reorder(now, byDeadline)
}

// release queues the kept verdicts that the scope now permits.
func (o *Outbox) release(now time.Time) {
	var released []*entry
	for _, e := range o.queue.all {
		if e.phase == kept && o.queue.permits(e) {
			released = append(released, e)
		}
	}
	slices.SortFunc(released, func(a, b *entry) int { return cmp.Compare(a.order, b.order) })
	for _, e := range released {
		switch {
		case !o.tooOld(now, e):
			o.queue.wait(now, e, now)
		case e.verdict.Health == probe.Dead:
			o.outdate(e)
		default:
			// It must be sent in time, even if the new probe brings no verdict.
			e.stale = true
			o.queue.wait(now, e, now.Add(pace.Repeat+pace.Recovery))
			o.signalStale()
		}
	}
	if len(released) > 0 && o.queue.ready.Len() > 0 {
		o.catchUp = true
		o.limiter.catchUp(now, o.queue.ready.Len(), o.queue.left(now))
	}
}

// skipOutdated takes the deaths that are too old from the head of the queue, and keeps
// them.
func (o *Outbox) skipOutdated(now time.Time) {
	for o.on.shared && o.queue.ready.Len() > 0 {
		e := o.queue.ready.list[0]
		if e.verdict.Health != probe.Dead || !o.tooOld(now, e) {
			return
		}
		heap.Remove(e.in, e.index)
		o.outdate(e)
	}
}

// outdate keeps the death of e until another probe has seen it.
func (o *Outbox) outdate(e *entry) {
	o.queue.keep(e)
	if e.measured != never {
		e.stale = true
		o.signalStale()
	}
}

// permits reports whether the scope permits a report of e's verdict.
func (q *queue) permits(e *entry) bool { return q.scope.Permits(e.verdict.Health == probe.Dead) }

// keepForbidden keeps the waiting verdicts that the scope does not permit.
func (q *queue) keepForbidden() {
	for _, e := range q.all {
		if e.phase == waiting && !q.permits(e) {
			heap.Remove(e.in, e.index)
			q.keep(e)
		}
	}
}

// keep makes e kept. The entry must be in no heap.
func (q *queue) keep(e *entry) {
	if e.phase != kept {
		e.phase = kept
		q.kept++
	}
	q.page.silence(e.verdict.ID)
}

// silence notes that this daemon sends no report of the replica, so the page may
// show another health than the last one that this daemon reported.
func (p *page) silence(id probe.ID) {
	hash := p.hash(id)
	if s, ok := p.reports[hash]; ok && !s.silent {
		s.silent = true
		p.reports[hash] = s
	}
}

// beSilent is silence for every replica.
func (p *page) beSilent() {
	for hash, s := range p.reports {
		s.silent = true
		p.reports[hash] = s
	}
}
