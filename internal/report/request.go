package report

import (
	"context"
	"time"

	"github.com/crisp-im/crisp-status-local/v2/internal/pace"
	"github.com/crisp-im/crisp-status-local/v2/internal/statusapi"
)

// request is a report in flight. It is a part of its entry, since a replica has one at
// a time.
type request struct {
	sent       statusapi.Verdict
	promise    time.Duration
	began      time.Time
	cut        time.Time // when it is cancelled if it hangs; zero: at its timeout
	age        age
	failed     bool      // it was counted as failed
	patient    bool      // it keeps its time though it hangs alone, or had it
	alone      bool      // it was cut since it hung alone
	anew       bool      // it was cut since it began in an outage that is over
	fresh      bool      // it has a connection of its own
	generation int       // of the breaker when it began
	trial      bool      // of the breaker
	gate       time.Time // the time of the closing of the gate that allowed it

	cancel     context.CancelFunc
	next, prev *entry // in the order of their beginnings
}

// age is how long a request has been without a status line.
type age int

const (
	fresh age = iota
	slow      // see Outbox.slowFrom
	hung      // for pace.StatusLine: it counts as failed
)

// overdue reports whether the request hangs beyond its replica's deadline.
func (r *request) overdue(now time.Time) bool { return !r.cut.IsZero() && !now.Before(r.cut) }

// requests is the list of requests in flight, the oldest first: those that hang, then
// the slow ones, then the fresh ones. At a million replicas there may be thousands, so
// the first of each age is known.
type requests struct{ first, last, slow, fresh *entry }

func (l *requests) push(e *entry) {
	e.next, e.prev = nil, l.last
	if l.last != nil {
		l.last.next = e
	} else {
		l.first = e
	}
	l.last = e
	if l.fresh == nil {
		l.fresh = e
	}
}

func (l *requests) remove(e *entry) {
	if l.fresh == e {
		l.fresh = e.next
	}
	if l.slow == e {
		l.slow = e.nextSlow()
	}
	if e.prev != nil {
		e.prev.next = e.next
	} else {
		l.first = e.next
	}
	if e.next != nil {
		e.next.prev = e.prev
	} else {
		l.last = e.prev
	}
	e.next, e.prev = nil, nil
}

// aged updates the list after e, the first request of its age, has become older.
func (l *requests) aged(e *entry) {
	switch {
	case l.fresh == e:
		l.fresh = e.next
		if l.slow == nil {
			l.slow = e
		}
	case l.slow == e:
		l.slow = e.nextSlow()
	}
}

// nextSlow returns the request that follows, if it is slow; else nil.
func (e *entry) nextSlow() *entry {
	if e.next != nil && e.next.age == slow {
		return e.next
	}
	return nil
}

// nextAge returns the time at which a request becomes slow, by slowFrom, or hung, or is cut;
// zero if there is none.
func (l *requests) nextAge(now time.Time, slowFrom func(*entry) time.Time) time.Time {
	var next time.Time
	if l.fresh != nil {
		next = slowFrom(l.fresh)
	}
	if l.slow != nil {
		next = earliest(next, l.slow.began.Add(pace.StatusLine))
	}
	for e := l.first; e != nil && e.age == hung; e = e.next {
		if e.cut.After(now) {
			next = earliest(next, e.cut)
		}
	}
	return next
}

// earliest returns the earlier of two times; zero is none.
func earliest(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}
