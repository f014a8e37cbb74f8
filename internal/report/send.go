package report

import (
	"container/heap"
	"context"
	"errors"
	"math"
	"sync"
	"time"
)

const (
	drainTime = 5 * time.Second // for what is held when the daemon ends

	fewestInFlight = 8
	mostInFlight   = 256         // about what servers let one connection carry
	slowAfter      = time.Second // an older request counts no more against the window
)

// request is a report that is under way.
type request struct {
	entry  *entry
	trial  *outage // the one whose end it may be; nil if it is no trial
	began  time.Time
	slow   *time.Timer // fires when it is one of the slow ones
	cancel context.CancelFunc
}

// Run delivers until ctx is done; then it goes on for a few seconds with what
// it holds, and says how much of that was not taken. It waits for the requests
// that it began.
func (o *Outbox) Run(ctx context.Context) error {
	var requests sync.WaitGroup
	defer requests.Wait()
	// What is under way when ctx ends is still to be delivered.
	sending, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()

	defer func() {
		if n := o.Waiting(); n > 0 {
			o.log.WithField("verdicts", n).Warn("stopping before the Status API has taken every verdict")
		}
	}()
	ending := ctx.Done()
	var end <-chan time.Time
	for {
		next := o.send(sending, &requests)
		if ending == nil && o.idle() {
			return nil
		}
		select {
		case <-o.wake:
		case <-o.pings:
		case <-next:
		case <-ending:
			ending, end = nil, time.After(drainTime)
			o.hurry()
		case <-end:
			return nil
		}
	}
}

// idle reports whether there is nothing that could be delivered.
func (o *Outbox) idle() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return len(o.entries) == 0 || o.refused && o.inFlight+o.slow == 0
}

// hurry makes all that waits due now.
func (o *Outbox) hurry() {
	o.mu.Lock()
	defer o.unlock()
	o.draining = true
	o.outage.next = time.Now()
	o.allDue()
}

// send begins the requests that may begin now and returns a channel that says
// when there may be more; nil if only a change can bring that.
func (o *Outbox) send(ctx context.Context, requests *sync.WaitGroup) <-chan time.Time {
	o.mu.Lock()
	defer o.mu.Unlock()
	for !o.refused && len(o.waiting) > 0 {
		e, now := o.waiting[0], time.Now()
		due := e.due
		if o.outage.down && due.Before(o.outage.next) {
			due = o.outage.next
		}
		if wait := due.Sub(now); wait > 0 {
			return time.After(wait)
		}
		window := o.window()
		if o.outage.down && o.outage.trying || o.inFlight >= window || o.inFlight+o.slow >= max(4*window, mostInFlight) {
			return nil
		}
		heap.Pop(&o.waiting)
		o.begin(ctx, e, requests)
	}
	return nil
}

// begin begins the request that is to deliver e. The caller holds the lock.
func (o *Outbox) begin(ctx context.Context, e *entry, requests *sync.WaitGroup) {
	ctx, cancel := context.WithCancel(ctx)
	r := &request{entry: e, began: time.Now(), cancel: cancel}
	if o.outage.down {
		r.trial = o.outage
		r.trial.trying = true
	}
	e.newer = false
	o.underway[e.id] = r
	o.inFlight++
	r.slow = time.AfterFunc(slowAfter, o.slowDown)
	reporter, interval, result := o.reporter, o.interval, e.result
	requests.Go(func() {
		defer cancel()
		err := reporter.Report(ctx, result, interval)
		o.finished(r, ctx.Err() != nil, err)
	})
}

// window is how many requests may be under way: a quarter more than it takes to
// get the verdicts of a cycle through as they come, at the round trip that was
// seen. More would only open connections for the bursts that they come in.
// The caller holds the lock.
func (o *Outbox) window() int {
	needed := float64(o.replicas) * o.rtt.Seconds() / max(o.spread.Seconds(), 0.001)
	return int(min(max(math.Ceil(1.25*needed), fewestInFlight), mostInFlight))
}

// slowDown counts a request as slow: it may hang, and holds up only itself.
func (o *Outbox) slowDown() {
	o.mu.Lock()
	defer o.unlock()
	o.inFlight--
	o.slow++
}

// finished takes what came of r: err, which means nothing if r was cut.
func (o *Outbox) finished(r *request, cut bool, err error) {
	o.mu.Lock()
	defer o.unlock()
	if r.slow.Stop() {
		o.inFlight--
	} else {
		o.slow--
	}
	if r.trial != nil {
		r.trial.trying = false
	}
	e := r.entry
	delete(o.underway, e.id)
	if current := o.entries[e.id]; current != e { // dropped meanwhile: page or map do not know it any more
		if current != nil {
			o.queue(current, time.Now())
		}
		return
	}
	var answer refusal
	answered := errors.As(err, &answer)
	switch {
	case err == nil:
		o.rtt += (time.Since(r.began) - o.rtt) / 8
		o.answered()
		o.taken(e)
	case cut:
		o.queue(e, time.Now())
	case answered && answer.Status() == 401:
		o.answered()
		if !o.refused {
			o.log.Error("the Status API does not accept the token for reports: check report.token; nothing is sent until the map was asked for again")
		}
		o.refused = true
		o.queue(e, time.Now()) // it is not this verdict's fault
	case answered && answer.Status() == 404:
		o.answered()
		if !o.stale { // one line per map request: it may be all of them
			e.logTo(o.log).Warn("the Status API does not know this replica; the map will be fetched again")
		}
		o.stale = true
		o.taken(e)
	case answered && answer.Status() < 500 && answer.Status() != 429:
		o.answered()
		o.tell(e, answer.Status(), err)
		o.again(e, 0)
	case answered:
		o.failed(r, answer.Status(), answer.RetryAfter(), err)
	default:
		o.failed(r, 0, 0, err)
	}
}

// tell warns that a verdict is not taken: one line per status, 0 for no answer,
// and map request, since it may be so with all of them.
func (o *Outbox) tell(e *entry, status int, err error) {
	if !o.said[status] {
		e.logTo(o.log).WithError(err).WithField("verdicts", len(o.entries)).
			Warn("the Status API does not take this verdict; those that wait will be sent again")
	}
	o.said[status] = true
}

// taken ends with e, unless a newer verdict has come meanwhile.
func (o *Outbox) taken(e *entry) {
	e.failures, e.tried, e.held = 0, time.Time{}, time.Time{}
	if e.newer {
		o.queue(e, time.Now())
		return
	}
	o.drop(e)
}

// again makes e wait for another request, alone, at least for hold. A newer
// verdict that has come meanwhile waits just as long: it would fare no better.
func (o *Outbox) again(e *entry, hold time.Duration) {
	e.failures++
	e.tried = time.Now()
	if hold > 0 {
		e.held = e.tried.Add(hold)
	}
	o.queue(e, e.tried.Add(o.backoff(e.failures)))
}
