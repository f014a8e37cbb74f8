// Package report delivers verdicts: an outbox keeps the newest one of every
// replica until the Status API has taken it.
//
// An outage of the API costs constant memory, and when it ends, the page gets the
// current verdicts. There is one request per replica at a time, so an older
// verdict can never overwrite a newer one.
//
// The outbox has four parts under one mutex:
//
//	queue    one verdict per replica; recoveries first, then by report deadline
//	limiter  the requests in flight, and after a 429 the reports a second
//	breaker  opens when the API takes no report: one trial at a time
//	gate     closes when the API does not accept the token: one trial at a time
//
// An unchanged verdict is not delivered while its last report is young enough: see
// Renew. A verdict that the duty does not permit is kept, outside of all parts.
//
// The consequences of each answer of the API stand above Outbox.answer.
package report

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/crisp-im/crisp-status-local/v2/internal/pace"
	"github.com/crisp-im/crisp-status-local/v2/internal/probe"
	"github.com/crisp-im/crisp-status-local/v2/internal/status"
	"github.com/crisp-im/crisp-status-local/v2/internal/statusapi"
)

// Reporter delivers one verdict; statusapi.Client is one. Its errors are those
// of statusapi.
type Reporter interface {
	Report(ctx context.Context, v statusapi.Verdict, promise time.Duration) error
}

// Terms are the times that the outbox works by.
type Terms struct {
	Interval time.Duration // between two verdicts of a replica
	Promise  time.Duration // within which the page is told to expect the next report; whole seconds, the interval at least
}

// Carrier is a Reporter whose connections carry a limited number of reports at a time:
// more would wait for each other, and look as if the API hung. Carries returns how many
// they carry now, at least one, and how many at most under a constant load.
type Carrier interface {
	Reporter
	Carries() (now, most int)
}

// Outbox keeps the verdicts that are to be delivered. Its methods may be called by
// many goroutines.
type Outbox struct {
	log      logrus.FieldLogger
	wake     chan struct{} // has a token when Run must compute its alarm again
	outdated chan struct{} // has a token when a 404 said that the API has another map
	pings    chan struct{}

	panicked sync.Once // the stack of a panic was said

	mu       sync.Mutex // protects all following fields
	reporter Reporter
	promise  time.Duration // to the page
	queue    queue
	on       onDuty
	limiter  limiter
	breaker  breaker
	gate     gate
	reach    reach
	prompt   prompt
	inFlight requests
	observed observations

	running run
	catchUp bool      // the waiting verdicts were delayed by the breaker or the gate
	partly  bool      // the API takes a part of the reports: breaker or gate let them flow, and stopped them again within slowFor
	flowed  time.Time // when one of them last did
	backlog int       // the most verdicts that were behind since none was
	warned  map[outcome]time.Time
	crowded time.Time // when it was last said that the connections are too few
}

// run is the state of Run that requests need; with the zero value none begins.
type run struct {
	ctx          context.Context // ends the requests; nil while Run does not run
	requests     *sync.WaitGroup
	alarm        time.Time // when Run wakes; zero: it does not
	draining     bool      // the daemon ends
	tokenRefused bool      // the token was refused while draining
}

// New returns an empty outbox that delivers through reporter, on terms.
func New(reporter Reporter, terms Terms, log logrus.FieldLogger) *Outbox {
	return &Outbox{
		log:      log,
		wake:     make(chan struct{}, 1),
		outdated: make(chan struct{}, 1),
		pings:    make(chan struct{}),
		reporter: reporter,
		promise:  terms.Promise,
		queue:    newQueue(),
		on:       newOnDuty(),
		limiter:  limiter{interval: terms.Interval, rtt: firstRTT},
		warned:   make(map[outcome]time.Time),
		observed: newObservations(),
	}
}

// Reload replaces the reporter and the terms. Requests in flight are not affected.
// A new promise reaches the page with the next verdict of each replica. What waits for
// another try, half an interval perhaps, is due at once: the operator may have mended the
// cause.
func (o *Outbox) Reload(reporter Reporter, terms Terms) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.reporter, o.promise, o.limiter.interval = reporter, terms.Promise, terms.Interval
	now := time.Now()
	o.gate.trials.hasten()
	o.queue.flush(now, func(e *entry) bool { return e.failures > 0 && now.Sub(e.tried) >= pace.Shortest })
	o.dispatch()
}

// Forget drops all verdicts and all knowledge of the API and its page. It must be called
// before Reload if the next reporter is for another page, to which they may not
// belong.
func (o *Outbox) Forget() {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, e := range o.queue.all {
		o.drop(e)
	}
	o.queue.page = newPage()
	o.observed.api, o.observed.since, o.observed.lastErr = status.APIUnknown, time.Time{}, ""
	o.queue.ready.before = byDeadline // of nothing
	o.breaker.reset()
	o.gate = gate{}
	o.reach, o.prompt = reach{}, prompt{}
	o.catchUp, o.backlog = false, 0
	select {
	case <-o.outdated:
	default:
	}
}

// Put makes v the verdict of its replica to deliver, in place of an older one that was
// not taken yet.
func (o *Outbox) Put(v statusapi.Verdict) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.seen(v)
	o.enter(time.Now(), v, true)
	o.dispatch()
}

// seen counts v, which was measured now, if it is not dead.
func (o *Outbox) seen(v statusapi.Verdict) {
	if v.Health != probe.Dead {
		o.reach.ups++
	}
}

// Retain drops the verdicts of all replicas but those for which keep is true;
// replicas is how many the map has.
func (o *Outbox) Retain(replicas int, keep func(probe.ID) bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	most := max(replicas, o.limiter.replicas) // a map may be whole again after a moment
	o.limiter.replicas = replicas
	for id, e := range o.queue.all {
		if !keep(id) {
			o.drop(e)
		}
	}
	o.queue.page.prune(time.Now(), most)
	o.dispatch()
}

// drop forgets the verdict of e, and cancels its request.
func (o *Outbox) drop(e *entry) {
	o.queue.drop(e)
	if e.phase == gone {
		e.cancel()
	}
}

// MapOutdated returns a channel that yields a value once the API has answered that it
// does not know a replica: then the map in hand may be outdated.
func (o *Outbox) MapOutdated() <-chan struct{} { return o.outdated }

// Waiting returns the number of verdicts that were not taken yet, but for those that
// are kept: the duty does not permit them.
func (o *Outbox) Waiting() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.queue.Len()
}

// Ping returns nil when Run has received it, which is at once unless Run hangs; else,
// when ctx is done, an error with its cause.
func (o *Outbox) Ping(ctx context.Context) error {
	select {
	case o.pings <- struct{}{}:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("the outbox does not respond: %w", context.Cause(ctx))
	}
}
