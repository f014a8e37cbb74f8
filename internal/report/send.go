package report

import (
	"context"
	"sync"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/crisp-im/crisp-status-local/v2/internal/pace"
	"github.com/crisp-im/crisp-status-local/v2/internal/probe"
)

const (
	drainTime    = 5 * time.Second // for the delivery of waiting verdicts when the daemon ends
	crowdedEvery = time.Hour       // it is said that connections are too few
)

// Run delivers until ctx is done; then it delivers the waiting verdicts for drainTime
// at most, and logs how many were not taken. It waits for the requests in flight.
func (o *Outbox) Run(ctx context.Context) {
	var requests sync.WaitGroup
	// Requests in flight when ctx ends are still to be answered.
	sending, stop := context.WithCancel(context.WithoutCancel(ctx))
	o.mu.Lock()
	o.running = run{ctx: sending, requests: &requests}
	o.mu.Unlock()
	o.loop(ctx)
	o.mu.Lock()
	o.running = run{}
	o.mu.Unlock()
	stop()
	requests.Wait()
	o.mu.Lock()
	renewals := o.queue.renewals()
	waiting := o.queue.Len() - renewals
	o.mu.Unlock()
	if waiting > 0 {
		o.log.WithField("verdicts", waiting).Warn("stopping before the Status API has taken every verdict")
	}
	if renewals > 0 {
		o.log.WithField("replicas", renewals).Warn("stopping before every report could be renewed: the page shows these replicas dead sooner")
	}
}

// loop sends entries as they become due. It returns after ctx is done, when the queue is
// empty or the time of the drain is up.
func (o *Outbox) loop(ctx context.Context) {
	ending := ctx.Done()
	var end <-chan time.Time
	alarm := time.NewTimer(time.Hour)
	defer alarm.Stop()
	for {
		next, over := o.tick()
		if over {
			return
		}
		if next.IsZero() {
			alarm.Stop()
		} else {
			alarm.Reset(time.Until(next))
		}
		select {
		case <-o.wake:
		case <-o.pings:
		case <-o.changes():
		case <-alarm.C:
		case <-ending:
			ending, end = nil, time.After(drainTime)
			o.drain()
		case <-end:
			return
		}
	}
}

// tick sends the entries that are due. It returns the time of the next ones, zero if
// only an answer or a verdict can bring one, and whether the outbox has ended.
func (o *Outbox) tick() (time.Time, bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.ageRequests(time.Now())
	o.running.alarm = o.sendReady()
	nothing := o.queue.Len() == 0 || o.running.tokenRefused && o.inFlight.first == nil
	return o.running.alarm, o.running.draining && nothing
}

// drain makes all waiting entries due: the daemon ends.
func (o *Outbox) drain() {
	o.mu.Lock()
	defer o.mu.Unlock()
	now := time.Now()
	o.running.draining = true
	o.breaker.trials.next, o.gate.trials.next = now, now
	o.queue.flush(now, func(*entry) bool { return true })
	for e := o.inFlight.first; e != nil; e = e.next {
		if e.age == hung {
			e.cancel()
		}
	}
}

// ageRequests marks requests as slow or hung, and cuts those past their deadline.
func (o *Outbox) ageRequests(now time.Time) {
	if o.hangs(now) {
		o.on.inVain = now
	}
	for e := o.inFlight.fresh; e != nil && !now.Before(o.slowFrom(e)); e = o.inFlight.fresh {
		o.limiter.nextAge(e)
		o.inFlight.aged(e)
	}
	for e := o.inFlight.slow; e != nil && now.Sub(e.began) >= pace.StatusLine; e = o.inFlight.slow {
		o.limiter.nextAge(e)
		o.inFlight.aged(e)
		o.failure(now, e, errNoStatusLine)
		o.failed(now, e)
	}
	o.noteSilence(now)
	o.cut(now)
}

// cut breaks off requests that hang beyond the report deadline of their replica, or
// alone. While nothing is taken, others would hang too: then it breaks off one, where
// a trial may begin and nothing else is there to be tried.
func (o *Outbox) cut(now time.Time) {
	held := o.trialsOnly()
	if at, ok := o.trialAt(); held && (!ok || at.After(now)) {
		return
	}
	for e := o.inFlight.first; e != nil && e.age == hung; e = e.next { // before that none is
		alone := !held && !e.patient && !e.anew && o.hangsAlone(now, e)
		if alone || e.overdue(now) {
			e.cut, e.alone = time.Time{}, e.alone || alone
			e.cancel()
			if held {
				return
			}
		}
	}
}

// trialAt returns when a trial may begin in the place of a request that hangs;
// false if there are others to be tried, or the end of one comes first.
func (o *Outbox) trialAt() (time.Time, bool) {
	if !o.trialsOnly() || o.queue.ready.Len() > 0 {
		return time.Time{}, false
	}
	return o.mayBegin(time.Time{})
}

// nextCut returns when a request that is overdue is to make place for a trial;
// zero if none is.
func (o *Outbox) nextCut(now time.Time) time.Time {
	if at, ok := o.trialAt(); ok {
		for e := o.inFlight.first; e != nil && e.age == hung; e = e.next {
			if e.overdue(now) {
				return later(at, now)
			}
		}
	}
	return time.Time{}
}

// trialsOnly reports whether the breaker or the gate allows nothing but trials.
func (o *Outbox) trialsOnly() bool { return o.gate.closed || o.breaker.state() != closed }

// dispatch begins the requests that may begin now, and arms Run for the next ones. The
// caller holds the lock.
func (o *Outbox) dispatch() {
	if o.running.ctx != nil {
		o.arm(o.sendReady())
	}
}

// sendReady begins the requests that may begin now. It returns the time at which more
// may, or a request in flight ages; zero if neither.
func (o *Outbox) sendReady() time.Time {
	now := time.Now()
	for {
		e, next := o.pick(now)
		if e == nil {
			return earliest(earliest(next, o.inFlight.nextAge(now, o.slowFrom)), o.nextCut(now))
		}
		ctx, reporter := o.begin(now, e), o.reporter
		o.running.requests.Go(func() { o.deliver(ctx, reporter, e) })
	}
}

// arm wakes Run at next, unless it wakes before.
func (o *Outbox) arm(next time.Time) {
	if next.IsZero() || !o.running.alarm.IsZero() && !next.Before(o.running.alarm) {
		return
	}
	o.running.alarm = next
	select {
	case o.wake <- struct{}{}:
	default:
	}
}

// pick returns the entry whose request may begin now, or else the time at which one
// may; zero if only an answer or a verdict can bring one.
func (o *Outbox) pick(now time.Time) (*entry, time.Time) {
	o.heed(now)
	o.queue.advance(now)
	o.skipOutdated(now)
	if o.queue.ready.Len() == 0 {
		if !o.trialsOnly() {
			o.catchUp, o.backlog = false, 0
			o.partly, o.queue.ready.before = false, byDeadline
			o.limiter.caughtUp()
		}
		return nil, o.queue.nextDue()
	}
	at, ok := o.mayBegin(now)
	switch {
	case !ok:
		return nil, time.Time{}
	case at.After(now):
		return nil, at
	}
	return o.queue.take(), now
}

// mayBegin returns the time at which gate, breaker and limiter allow a request; false if
// they allow none before another has ended.
func (o *Outbox) mayBegin(now time.Time) (time.Time, bool) {
	if o.trialsOnly() {
		gate, opens := o.gate.next(now)
		breaker, closes := o.breaker.next(now)
		return later(gate, breaker), opens && closes
	}
	first := o.queue.ready.list[0]
	if o.catchUp || !first.deadline.IsZero() && first.deadline.Before(now) {
		o.backlog = max(o.backlog, o.queue.ready.Len())
	}
	return o.limiter.at(now, o.backlog)
}

// begin begins the request of e and returns its context.
func (o *Outbox) begin(now time.Time, e *entry) context.Context {
	ctx, cancel := context.WithCancel(o.running.ctx)
	patient := o.patient(now, e)
	e.request = request{sent: e.verdict, promise: o.promise, began: now, cancel: cancel,
		cut: o.cutAt(now, e, patient), patient: patient,
		// The one after a fresh one is not: the API may serve a single connection.
		fresh: o.again(e) && !e.fresh || o.trialsOnly()}
	o.inFlight.push(e)
	o.limiter.begin(now)
	o.gate.begin(now, e)
	o.breaker.begin(now, e, o.trialWait)
	return ctx
}

// trialWait returns the wait before trial n; the shortest one while the daemon ends.
func (o *Outbox) trialWait(n int) time.Duration {
	if o.running.draining {
		return pace.Shortest
	}
	return pace.TrialWait(o.limiter.interval, n)
}

// deliver sends the verdict of e, and then of others, as long as one may follow at
// once.
func (o *Outbox) deliver(ctx context.Context, reporter Reporter, e *entry) {
	for e != nil {
		err := o.report(ctx, reporter, e)
		if ctx.Err() != nil && err != nil {
			err = errCut
		}
		e.cancel()
		ctx, reporter, e = o.finished(e, err)
	}
}

// report sends the verdict of e. A panic is the failure of that report, and its
// stack is logged once.
func (o *Outbox) report(ctx context.Context, reporter Reporter, e *entry) (err error) {
	defer func() {
		fault := recover()
		if fault == nil {
			return
		}
		failed := probe.Panicked(fault)
		err = failed
		o.panicked.Do(func() {
			o.log.WithField("reason", failed.Reason).WithField("stack", failed.Stack).Error("internal error: the daemon lives on, please report it with the stack")
		})
	}()
	if over, ok := reporter.(Redialer); ok && e.fresh {
		return over.ReportAfresh(ctx, e.sent, e.promise)
	}
	return reporter.Report(ctx, e.sent, e.promise)
}

// finished takes the result of the request of e, and begins the next one that may
// begin; nil if there is none.
func (o *Outbox) finished(e *entry, err error) (context.Context, Reporter, *entry) {
	o.mu.Lock()
	defer o.mu.Unlock()
	now := time.Now()
	o.inFlight.remove(e)
	o.limiter.end(e)
	o.gate.end(e)
	o.breaker.end(e)
	o.answer(now, e, err)
	o.fitConnections()
	if err == nil {
		o.sayCrowded(now)
	}
	if o.running.ctx == nil {
		return nil, nil, nil
	}
	following, _ := o.pick(now)
	var ctx context.Context
	if following != nil {
		ctx = o.begin(now, following)
	}
	o.dispatch() // an answer may have made room for several
	if o.running.draining {
		o.arm(now) // the queue may be empty now
	}
	return ctx, o.reporter, following
}

// fitConnections takes up how many requests the connections carry.
func (o *Outbox) fitConnections() {
	o.limiter.carried = 0
	if c, ok := o.reporter.(Carrier); ok {
		o.limiter.carried, o.limiter.carriable = c.Carries()
	}
}

// sayCrowded says once an hour that the connections carry too few reports for the map.
func (o *Outbox) sayCrowded(now time.Time) {
	late := o.limiter.late()
	if late == 0 || now.Sub(o.crowded) < crowdedEvery {
		return
	}
	o.crowded = now
	o.log.WithFields(logrus.Fields{"replicas": o.limiter.replicas, "round_trip": o.limiter.rtt, "at_a_time": o.limiter.carriable, "late": late}).
		Warn("the connections to the Status API carry too few reports at a time for this map, so they are late: it needs an API or a proxy that speaks HTTP/2, or several daemons")
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
