// Package report delivers verdicts: an outbox holds the newest one of every
// replica until the Status API has taken it.
//
// An outage of the API costs constant memory, and when it ends, the page gets
// what is true then. There is one request per replica at a time, so an older
// verdict can never overwrite a newer one.
//
// The outbox has four parts under one mutex:
//
//	queue    one verdict per replica; recoveries first, then by report deadline
//	limiter  the requests in flight, and after a 429 the reports a second
//	breaker  opens when nothing is taken: one trial at a time
//	gate     closes when the token is not accepted: one report at a time
//
// What follows from an answer of the API stands in answer.go.
package report

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/crisp-im/crisp-status-local/v2/internal/probe"
	"github.com/crisp-im/crisp-status-local/v2/internal/statusapi"
)

// Reporter delivers one verdict; statusapi.Client is one. Its errors are those
// of statusapi.
type Reporter interface {
	Report(ctx context.Context, v statusapi.Verdict, interval time.Duration) error
}

// Outbox holds the verdicts that are to be delivered. Its methods may be
// called by many goroutines.
type Outbox struct {
	log   logrus.FieldLogger
	wake  chan struct{} // holds a token when Run has to look at the time again
	pings chan struct{}

	panicked sync.Once // the stack of a panic was said

	mu       sync.Mutex // protects all following fields
	reporter Reporter
	queue    queue
	limiter  limiter
	breaker  breaker
	gate     gate
	inFlight requests

	running  run
	catchUp  bool // what waits was held up by the breaker or the gate
	outdated bool // 404: the map in hand is not the API's
	warned   map[outcome]time.Time
}

// run is what Run lends to the requests; the zero value begins none.
type run struct {
	ctx      context.Context // ends the requests; nil while Run does not run
	requests *sync.WaitGroup
	alarm    time.Time // when Run will look at the time; zero: it will not
	draining bool      // the daemon ends
	hopeless bool      // the token was not accepted while it did
}

// New returns an empty outbox that delivers through reporter, with the promise
// that the next verdict comes within interval.
func New(reporter Reporter, interval time.Duration, log logrus.FieldLogger) *Outbox {
	return &Outbox{
		log:      log,
		wake:     make(chan struct{}, 1),
		pings:    make(chan struct{}),
		reporter: reporter,
		queue:    newQueue(),
		limiter:  limiter{interval: interval, rtt: firstRTT},
		warned:   make(map[outcome]time.Time),
	}
}

// Reload replaces the reporter and the interval. What is under way is left so.
func (o *Outbox) Reload(reporter Reporter, interval time.Duration) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.reporter, o.limiter.interval = reporter, interval
	o.dispatch()
}

// Forget drops all verdicts and what is known of the API and its page. It is
// called before Reload when the next reporter has another page: they may not be
// that one's.
func (o *Outbox) Forget() {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, e := range o.queue.all {
		o.drop(e)
	}
	o.queue.page = newPage()
	o.queue.ready.before = byDeadline // of nothing
	o.breaker.reset()
	o.gate.open()
	o.outdated, o.catchUp = false, false
}

// Put makes v the verdict to deliver of its replica, in place of an older one
// that was not taken yet.
func (o *Outbox) Put(v statusapi.Verdict) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.queue.put(time.Now(), v)
	o.dispatch()
}

// Retain drops the verdicts of all replicas but those for which keep is true;
// replicas is how many the map has.
func (o *Outbox) Retain(replicas int, keep func(probe.ID) bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.limiter.replicas = replicas
	for id, e := range o.queue.all {
		if !keep(id) {
			o.drop(e)
		}
	}
	o.queue.page.prune(time.Now())
	o.dispatch()
}

// drop forgets the verdict of e, and breaks its request off.
func (o *Outbox) drop(e *entry) {
	o.queue.drop(e)
	if e.phase == gone {
		e.cancel()
	}
}

// MapOutdated reports, once, whether the API answered since the last call that
// it does not know a replica: then the map in hand is not the one that it has.
func (o *Outbox) MapOutdated() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	outdated := o.outdated
	o.outdated = false
	return outdated
}

// Waiting returns how many verdicts were not taken yet.
func (o *Outbox) Waiting() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.queue.Len()
}

// Ping returns nil when Run has come round to it, which it does at once unless
// it hangs; else, when ctx is done, an error with the cause of that.
func (o *Outbox) Ping(ctx context.Context) error {
	select {
	case o.pings <- struct{}{}:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("the outbox does not respond: %w", context.Cause(ctx))
	}
}
