package report

import (
	"time"

	"github.com/crisp-im/crisp-status-local/v2/internal/pace"
	"github.com/crisp-im/crisp-status-local/v2/internal/probe"
	"github.com/crisp-im/crisp-status-local/v2/internal/status"
)

// Snapshot is the state of the outbox at one moment.
type Snapshot struct {
	API     status.APIState
	Since   time.Time     // when that began; zero while it is unknown
	LastErr string        // of the last report that was not taken, while none is
	RTT     time.Duration // smoothed; 0 while none was taken
	Waiting int           // verdicts that were not taken yet
	Kept    int           // verdicts that the duty does not permit; not among Waiting
	NextTry time.Time     // while only trials begin
	Promise Promise
	Within  time.Duration // which the page is promised the next report of each replica
	Late    int           // reports that were taken too late, since the start
	Reports status.Requests
}

// observations is what is kept for snapshots alone. The lock of the outbox
// protects it.
type observations struct {
	api     status.APIState
	since   time.Time
	lastErr string
	reports status.Requests
}

func newObservations() observations {
	return observations{api: status.APIUnknown, reports: status.NewRequests()}
}

// Snapshot returns the state.
func (o *Outbox) Snapshot() Snapshot {
	o.mu.Lock()
	defer o.mu.Unlock()
	now := time.Now()
	s := Snapshot{
		API:     o.observed.api,
		Since:   o.observed.since,
		Waiting: o.queue.Len(),
		Kept:    o.queue.kept,
		Promise: o.promiseLocked(now),
		Within:  o.promise,
		Late:    o.queue.page.gaps.late,
		Reports: o.observed.reports.Clone(),
	}
	if o.observed.api != status.APIUnknown && o.limiter.rtt != firstRTT {
		s.RTT = o.limiter.rtt
	}
	if s.API != status.APIAnswers {
		s.LastErr = o.observed.lastErr
	}
	if o.trialsOnly() && o.queue.Len() > 0 {
		if at, ok := o.mayBegin(now); ok && at.After(now) {
			s.NextTry = at
		}
	}
	return s
}

// Taken is the last report of a replica that the page took.
type Taken struct {
	Health probe.Health
	At     time.Time
	Due    time.Time // when the page shows the replica dead unless it takes the next one
}

// Taken returns the last report of a replica; false if there is none.
func (o *Outbox) Taken(id probe.ID) (Taken, bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	s, ok := o.queue.page.reports[o.queue.page.hash(id)]
	if !ok {
		return Taken{}, false
	}
	at := o.queue.page.epoch.Add(s.takenAt())
	return Taken{s.healthOf(), at, at.Add(s.promise() + pace.Grace)}, true
}

// is notes that the API is in a state, with the error that says so.
func (o *observations) is(now time.Time, state status.APIState, err error) {
	if err != nil {
		o.lastErr = err.Error()
	}
	if o.api != state {
		o.api, o.since = state, now
	}
}

// answered counts an answer to a report that began then.
func (o *observations) answered(now, began time.Time, meaning outcome) {
	label := "error"
	switch meaning {
	case taken, webPage:
		label = "taken"
	case cut:
		return
	case unauthorized:
		label = "unauthorized"
	case unknown, rejected, throttled:
		label = "refused"
	}
	o.reports.Count(label, now.Sub(began))
}
