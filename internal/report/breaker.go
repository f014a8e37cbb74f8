package report

import (
	"slices"
	"time"

	"github.com/crisp-im/crisp-status-local/v2/internal/pace"
	"github.com/crisp-im/crisp-status-local/v2/internal/probe"
)

const (
	breakerFailures = 5 // in a row, over breakerReplicas, open the breaker
	breakerReplicas = 3 // or all that there are
)

// state is one of a circuit breaker's:
//
//	          five failures in a row              trial begins
//	closed ─────────────────────────────► open ─────────────────► halfOpen
//	  ▲                                     ▲                        │
//	  │                                     └──── trials fail ───────┤
//	  └───────────────────────── report taken ───────────────────────┘
type state int

const (
	closed   state = iota // reports flow
	open                  // no trial is in flight
	halfOpen              // trials are in flight
)

// breaker is a circuit breaker: it stops the flow of reports to an API that takes none
// of them, whatever the reason.
type breaker struct {
	generation int       // counts how often it was closed; requests from before do not count
	failures   int       // in a row, by the beginnings of the reports
	taken      time.Time // when the newest report began that was taken
	replicas   []probe.ID
	tripped    bool
	tried      int // trials since it opened
	trials     trials
}

func (b *breaker) state() state {
	switch {
	case !b.tripped:
		return closed
	case b.trials.inFlight == 0:
		return open
	default:
		return halfOpen
	}
}

// failure notes that the report of e was not taken; the map has so many
// replicas. It reports whether that opens the breaker.
func (b *breaker) failure(now time.Time, e *entry, replicas int) bool {
	if e.generation != b.generation || b.tripped {
		return false
	}
	if !b.taken.IsZero() && !e.began.After(b.taken) {
		return false // one that began later was taken: it hung alone
	}
	b.failures++
	if len(b.replicas) < breakerReplicas && !slices.Contains(b.replicas, e.verdict.ID) {
		b.replicas = append(b.replicas, e.verdict.ID)
	}
	if b.failures < breakerFailures || len(b.replicas) < min(breakerReplicas, max(1, replicas)) {
		return false
	}
	b.tripped = true
	b.trials.next = now.Add(pace.Shortest)
	return true
}

// success notes that the report of e was taken. It reports whether that closes
// the breaker.
func (b *breaker) success(e *entry) bool {
	was := b.tripped
	if was {
		b.reset()
	}
	b.failures, b.replicas, b.taken = 0, b.replicas[:0], later(b.taken, e.began)
	return was
}

// reset closes the breaker; requests from before do not count any more.
func (b *breaker) reset() { *b = breaker{generation: b.generation + 1} }

// next returns the time at which a report may begin; false if none may before a trial
// has ended.
func (b *breaker) next(now time.Time) (time.Time, bool) {
	if !b.tripped {
		return now, true
	}
	return b.trials.at()
}

// postpone delays the next trial, but never so long that two of them are further apart
// than with an API that hangs.
func (b *breaker) postpone(until time.Time) {
	if limit := b.trials.began.Add(pace.StatusLine); until.After(limit) {
		until = limit
	}
	if b.tripped && until.After(b.trials.next) {
		b.trials.next = until
	}
}

// begin notes that the report of e begins; wait is the pause before trial n.
func (b *breaker) begin(now time.Time, e *entry, wait func(n int) time.Duration) {
	e.generation, e.trial = b.generation, b.tripped
	if b.tripped {
		b.tried++
		b.trials.begin(now, wait(b.tried+1))
	}
}

// end notes that the request of e is over.
func (b *breaker) end(e *entry) {
	if e.trial && e.generation == b.generation {
		b.trials.inFlight--
	}
}
