// Package report delivers verdicts: an outbox holds the newest one of every
// replica until the Status API has taken it.
//
// An outage of the API costs constant memory, and when it ends, the page gets
// what is true then. There is one request per replica at a time, so an older
// verdict can never overwrite a newer one.
package report

import (
	"container/heap"
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/crisp-im/crisp-status-local/v2/internal/probe"
)

// Reporter delivers one verdict; statusapi.Client is one. Where the API
// answered, but did not take it, the error is, or wraps, a refusal.
type Reporter interface {
	Report(ctx context.Context, r probe.Result, interval time.Duration) error
}

// refusal is an answer that did not take a verdict.
type refusal interface {
	error
	Status() int               // the HTTP status
	RetryAfter() time.Duration // how long the API wants to be left alone; 0: it did not say
}

// Outbox holds the verdicts that are to be delivered. Its methods may be
// called by many goroutines.
type Outbox struct {
	log   logrus.FieldLogger
	wake  chan struct{} // holds a token when something changed for Run
	pings chan struct{}

	mu       sync.Mutex // protects all following fields
	reporter Reporter
	interval time.Duration
	spread   time.Duration // over which the verdicts of a cycle come
	replicas int           // how many the map has

	entries  map[probe.ID]*entry
	underway map[probe.ID]*request // also for what was dropped: a replica has one at a time
	waiting  queue                 // the entries to send that have none
	order    int                   // counts what was put, so that equal times keep their order
	inFlight int                   // requests under way that are younger than slowAfter
	slow     int                   // the older ones
	rtt      time.Duration

	refused  bool         // 401: nothing is sent until Resume
	stale    bool         // 404: the map in hand is not the API's
	said     map[int]bool // the other statuses that were told of since Resume
	draining bool         // the daemon ends
	outage   *outage
}

// New returns an empty outbox that delivers through reporter, with the promise
// that the next verdict comes within interval.
func New(reporter Reporter, interval time.Duration, log logrus.FieldLogger) *Outbox {
	o := &Outbox{
		log:      log,
		wake:     make(chan struct{}, 1),
		pings:    make(chan struct{}),
		said:     make(map[int]bool),
		entries:  make(map[probe.ID]*entry),
		underway: make(map[probe.ID]*request),
		outage:   new(outage),
		rtt:      100 * time.Millisecond,
	}
	o.Reload(reporter, interval, false)
	return o
}

// Reload replaces the reporter and the interval. With another page, what waits
// or is under way is dropped: it may not be that page's.
func (o *Outbox) Reload(reporter Reporter, interval time.Duration, otherPage bool) {
	o.mu.Lock()
	defer o.unlock()
	o.reporter, o.interval = reporter, interval
	o.spread = min(interval/4, 30*time.Second)
	if otherPage {
		for _, e := range o.entries {
			o.drop(e)
		}
		o.refused, o.stale, o.outage = false, false, new(outage)
	}
}

// Put makes r the verdict to deliver of its replica, in place of an older one
// that was not taken yet.
func (o *Outbox) Put(r probe.Result) {
	o.mu.Lock()
	defer o.unlock()
	id := r.Check.ID()
	e := o.entries[id]
	if e == nil {
		e = &entry{id: id, index: -1}
		o.entries[id] = e
	}
	e.result, e.newer = r, o.underway[id] != nil
	// What is due keeps its turn: else those would never get one whose next
	// verdict always comes before it.
	if now := time.Now(); e.index < 0 || e.due.After(now) {
		o.queue(e, now)
	}
}

// Retain drops the verdicts of all replicas but those for which keep is true;
// replicas is how many the map has.
func (o *Outbox) Retain(replicas int, keep func(probe.ID) bool) {
	o.mu.Lock()
	defer o.unlock()
	o.replicas = replicas
	for id, e := range o.entries {
		if !keep(id) {
			o.drop(e)
		}
	}
}

// Resume lets reports go out again after the API did not accept the token, and
// has what it does not take told of again. It is called after every map request
// that did not end with the same.
func (o *Outbox) Resume() {
	o.mu.Lock()
	defer o.unlock()
	o.refused = false
	clear(o.said)
}

// Stale reports, once, whether the API answered since the last call that it
// does not know a replica: then the map in hand is not the one that it has.
func (o *Outbox) Stale() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	stale := o.stale
	o.stale = false
	return stale
}

// Waiting returns how many verdicts were not taken yet.
func (o *Outbox) Waiting() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return len(o.entries)
}

// Ping returns nil when Run has come round to it, which it does at once unless
// it hangs; else, when ctx is done, an error with the cause of that.
func (o *Outbox) Ping(ctx context.Context) error {
	select {
	case o.pings <- struct{}{}:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("the outbox stands still: %w", context.Cause(ctx))
	}
}

// unlock wakes Run, since something may have changed for it.
func (o *Outbox) unlock() {
	o.mu.Unlock()
	select {
	case o.wake <- struct{}{}:
	default:
	}
}

// queue makes e wait until due. While the API is down, all are due, and who was
// not tried for the longest time comes first. The caller holds the lock.
func (o *Outbox) queue(e *entry, due time.Time) {
	o.order++
	e.order = o.order
	if o.outage.down {
		due = e.tried
	}
	if e.due = due; due.Before(e.held) {
		e.due = e.held
	}
	switch {
	case o.underway[e.id] != nil: // it is queued when that is over
	case e.index >= 0:
		heap.Fix(&o.waiting, e.index)
	default:
		heap.Push(&o.waiting, e)
	}
}

// allDue makes all that waits due now, but what the API wants to be left alone
// with. What was never tried comes first. The caller holds the lock.
func (o *Outbox) allDue() {
	now := time.Now()
	for _, e := range o.waiting {
		if !e.held.After(now) {
			e.due = e.tried
		}
	}
	heap.Init(&o.waiting)
}

// drop forgets e, and breaks its request off. The caller holds the lock.
func (o *Outbox) drop(e *entry) {
	if e.index >= 0 {
		heap.Remove(&o.waiting, e.index)
	}
	if r := o.underway[e.id]; r != nil && r.entry == e {
		r.cancel()
	}
	delete(o.entries, e.id)
}
