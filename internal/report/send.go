package report

import (
	"context"
	"sync"
	"time"

	"github.com/crisp-im/crisp-status-local/v2/internal/pace"
	"github.com/crisp-im/crisp-status-local/v2/internal/probe"
)

const drainTime = 5 * time.Second // for what is held when the daemon ends

// Run delivers until ctx is done; then it goes on for a few seconds with what
// it holds, and says how much of that was not taken. It waits for the requests
// that were begun meanwhile.
func (o *Outbox) Run(ctx context.Context) {
	var requests sync.WaitGroup
	// What is under way when ctx ends is still to be delivered.
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
	if n := o.Waiting(); n > 0 {
		o.log.WithField("verdicts", n).Warn("stopping before the Status API has taken every verdict")
	}
}

// loop begins what the time brings, until ctx is done and nothing is left or
// may be waited for.
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
		case <-alarm.C:
		case <-ending:
			ending, end = nil, time.After(drainTime)
			o.drain()
		case <-end:
			return
		}
	}
}

// tick does what is due now. It returns when there is more to do, zero if only
// an answer or a verdict can bring that, and whether the outbox has ended.
func (o *Outbox) tick() (time.Time, bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.grow(time.Now())
	o.running.alarm = o.sendReady()
	nothing := o.queue.Len() == 0 || o.running.hopeless && o.inFlight.first == nil
	return o.running.alarm, o.running.draining && nothing
}

// drain makes all that waits due now: the daemon ends.
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

// grow notes which requests have become slow, and which hang.
func (o *Outbox) grow(now time.Time) {
	for e := o.inFlight.first; e != nil; e = e.next {
		age := now.Sub(e.began)
		if age < slowAfter {
			return // the others are younger
		}
		if e.age == fresh {
			o.limiter.grow(e)
		}
		if e.age == slow && age >= pace.StatusLine {
			o.limiter.grow(e)
			o.failure(now, e, errNoStatusLine)
		}
		// While nothing is taken, another one would hang too.
		if !e.cut.IsZero() && !now.Before(e.cut) && !o.held() {
			e.cut = time.Time{}
			e.cancel()
		}
	}
}

// held reports whether trials alone may begin.
func (o *Outbox) held() bool { return o.gate.closed || o.breaker.state() != closed }

// dispatch begins the requests that may begin now, and has Run look again when
// more may. The caller holds the lock.
func (o *Outbox) dispatch() {
	if o.running.ctx != nil {
		o.arm(o.sendReady())
	}
}

// sendReady begins the requests that may begin now. It returns when more may, or
// one under way is to be looked at; zero if neither.
func (o *Outbox) sendReady() time.Time {
	now := time.Now()
	for {
		e, next := o.pick(now)
		if e == nil {
			return earliest(next, o.inFlight.nextAge(now))
		}
		ctx, reporter := o.begin(now, e), o.reporter
		o.running.requests.Go(func() { o.deliver(ctx, reporter, e) })
	}
}

// arm has Run look again at a time, unless it will do so before.
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

// pick returns the entry whose request may begin now, or else when one may;
// zero if only an answer or a verdict can bring that.
func (o *Outbox) pick(now time.Time) (*entry, time.Time) {
	o.queue.advance(now)
	if o.queue.ready.Len() == 0 {
		if o.catchUp && !o.held() {
			o.catchUp = false
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

// mayBegin returns when gate, breaker and limiter let a request begin; false if
// the end of one comes first.
func (o *Outbox) mayBegin(now time.Time) (time.Time, bool) {
	if o.held() {
		gate, opens := o.gate.next(now)
		breaker, closes := o.breaker.next(now)
		return later(gate, breaker), opens && closes
	}
	backlog := 0
	first := o.queue.ready.list[0]
	if o.catchUp || !first.deadline.IsZero() && first.deadline.Before(now) {
		backlog = o.queue.ready.Len()
	}
	return o.limiter.at(now, backlog)
}

// begin begins the request of e, whose context it returns.
func (o *Outbox) begin(now time.Time, e *entry) context.Context {
	ctx, cancel := context.WithCancel(o.running.ctx)
	e.request = request{sent: e.verdict, interval: o.limiter.interval, began: now, cancel: cancel}
	if e.deadline.After(now) {
		e.cut = later(e.deadline, now.Add(pace.StatusLine))
	}
	o.inFlight.push(e)
	o.limiter.begin(now)
	o.gate.begin(now, e)
	o.breaker.begin(now, e, o.trialWait)
	return ctx
}

// trialWait is the pause before trial n. There is no time for more when the
// daemon ends.
func (o *Outbox) trialWait(n int) time.Duration {
	if o.running.draining {
		return pace.Shortest
	}
	return pace.TrialWait(o.limiter.interval, n)
}

// deliver sends the verdict of e, and then those of others for as long as one
// may follow at once.
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
// stack is said once.
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
	return reporter.Report(ctx, e.sent, e.interval)
}

// finished takes what came of the request of e, and begins the next one that
// may begin; nil if there is none.
func (o *Outbox) finished(e *entry, err error) (context.Context, Reporter, *entry) {
	o.mu.Lock()
	defer o.mu.Unlock()
	now := time.Now()
	o.inFlight.remove(e)
	o.limiter.end(e)
	o.gate.end(e)
	o.breaker.end(e)
	o.answer(now, e, err)
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
		o.arm(now) // it may have been the last one
	}
	return ctx, o.reporter, following
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
