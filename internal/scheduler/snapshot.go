package scheduler

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/crisp-im/crisp-status-local/v2/internal/pace"
	"github.com/crisp-im/crisp-status-local/v2/internal/probe"
	"github.com/crisp-im/crisp-status-local/v2/internal/status"
	"github.com/crisp-im/crisp-status-local/v2/internal/statusapi"
)

// Snapshot is the state of the scheduler at one moment. It is a copy that no
// longer changes.
type Snapshot struct {
	Interval  time.Duration
	Cycle     time.Time       // when the last one began
	Map       MapState        //
	Replicas  []status.Record // of the current map, in its order; empty if they are not wanted
	Counts    map[probe.Health]int
	Problems  []string // of the current map
	InFlight  int      // probes
	Limit     int
	Needed    int
	Probing   status.Probing
	MapsAsked status.Requests
}

// MapState is the outcome of the requests for the map.
type MapState struct {
	Held         bool           // there is a map
	Current      *statusapi.Map // not to be changed; nil while there is none
	At           time.Time      // when the API last confirmed or replaced it
	Outcome      status.MapOutcome
	Err          error     // of the last request
	Unauthorized bool      // the last request was refused for its token
	FailingSince time.Time // zero unless the last request failed
}

// Detail is how much of the state is wanted.
type Detail int

// The details of a snapshot.
const (
	Totals Detail = iota
	Replicas
)

// snapshotRequest asks Run for a snapshot.
type snapshotRequest struct {
	detail Detail
	answer chan<- Snapshot // has room for it
}

// observations is what is kept for snapshots alone.
type observations struct {
	requests chan snapshotRequest
	probing  status.Probing
	maps     status.Requests
	mapState MapState
	needed   int // probes at a time
}

func newObservations() observations {
	return observations{requests: make(chan snapshotRequest), probing: status.NewProbing(), maps: status.NewRequests()}
}

// Snapshot returns the state. The error, if ctx is done before Run has come
// round to it, holds the cause of that.
func (s *Scheduler) Snapshot(ctx context.Context, detail Detail) (Snapshot, error) {
	answer := make(chan Snapshot, 1)
	select {
	case s.observed.requests <- snapshotRequest{detail, answer}:
		return <-answer, nil
	case <-ctx.Done():
		return Snapshot{}, fmt.Errorf("the scheduler does not respond: %w", context.Cause(ctx))
	}
}

// snapshot copies the state: what is made of it is made elsewhere, so that
// probing is not held up.
func (s *Scheduler) snapshot(detail Detail) Snapshot {
	shot := Snapshot{
		Interval:  s.settings.Interval,
		Cycle:     s.cycleStart,
		Map:       s.observed.mapState,
		Counts:    make(map[probe.Health]int),
		InFlight:  s.pool.running,
		Limit:     s.pool.limit,
		Needed:    s.observed.needed,
		Probing:   s.observed.probing.Clone(),
		MapsAsked: s.observed.maps.Clone(),
	}
	if s.currentMap == nil {
		return shot
	}
	shot.Map.Held, shot.Map.Current, shot.Problems = true, s.currentMap, s.currentMap.Problems
	if detail == Replicas {
		shot.Replicas = make([]status.Record, len(s.ordered))
	}
	for i, r := range s.ordered {
		shot.Counts[r.health]++
		if detail == Replicas {
			s.observe(r, &shot.Replicas[i])
		}
	}
	return shot
}

// observe copies the state of a replica.
func (s *Scheduler) observe(r *replica, o *status.Record) {
	o.Check, o.History, o.Withheld = r.check, r.history, r.death != nil
	if r.repeats != nil {
		o.RepeatedUntil = r.repeats.since.Add(pace.RepeatFor(s.settings.Interval))
	}
}

// mapAnswered notes the outcome of a request for the map.
func (o *observations) mapAnswered(f *fetch, changed bool) {
	now := time.Now()
	m := &o.mapState
	m.Err, m.Unauthorized = f.err, errors.Is(f.err, statusapi.ErrUnauthorized)
	outcome := "error"
	_, refused := errors.AsType[*statusapi.RejectedError](f.err)
	switch {
	case f.err == nil && changed:
		m.Outcome, outcome = status.MapChanged, "changed"
	case f.err == nil:
		m.Outcome, outcome = status.MapUnchanged, "unchanged"
	case m.Unauthorized:
		m.Outcome, outcome = status.MapError, "unauthorized"
	case refused:
		m.Outcome, outcome = status.MapError, "refused"
	default:
		m.Outcome = status.MapError
	}
	o.maps.Count(outcome, now.Sub(f.began))
	switch {
	case f.err == nil:
		m.At, m.FailingSince = now, time.Time{}
	case m.FailingSince.IsZero():
		m.FailingSince = f.began
	}
}
