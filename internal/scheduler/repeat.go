package scheduler

import (
	"time"

	"github.com/crisp-im/crisp-status-local/v2/internal/pace"
	"github.com/crisp-im/crisp-status-local/v2/internal/probe"
	"github.com/crisp-im/crisp-status-local/v2/internal/statusapi"
)

// repeatCheck is a look at the members of a group pace.Repeat after their turn:
// one timer serves 32 replicas.
type repeatCheck struct {
	at      time.Time
	turn    time.Time
	members []*replica
}

// repeats is the record of repeated verdicts since the last verdict.
type repeats struct {
	since time.Time // the first turn without a verdict
	turn  time.Time // the last one for which it was repeated
}

// repeatDue repeats the last verdict of replicas last reported up that still
// have no newer one. So the time that attempts take never adds to a silence.
func (s *Scheduler) repeatDue(now time.Time) {
	for len(s.repeatChecks) > 0 && !s.repeatChecks[0].at.After(now) {
		c := s.repeatChecks[0]
		s.repeatChecks[0] = repeatCheck{}
		if s.repeatChecks = s.repeatChecks[1:]; len(s.repeatChecks) == 0 {
			s.repeatChecks = nil
		}
		for _, r := range c.members {
			if r.awaitsVerdictOf(c.turn) && (r.health == probe.Healthy || r.health == probe.Sick) {
				s.repeat(r, c.turn)
			}
		}
	}
}

// awaitsVerdictOf reports whether r has had no result since turn.
func (r *replica) awaitsVerdictOf(turn time.Time) bool {
	busy := r.phase != idle && r.phase != gone
	return busy && r.cohort != nil && !r.cohort.turn.After(turn)
}

// repeat reports the last verdict of r once more, once a turn, and returns
// false if there is none or it is too old.
func (s *Scheduler) repeat(r *replica, turn time.Time) bool {
	if r.health == probe.Unknown {
		return false
	}
	if r.repeats == nil {
		r.repeats = &repeats{since: turn}
	} else if !r.repeats.turn.Before(turn) {
		return true
	}
	if s.tooOld(r) {
		return false
	}
	r.repeats.turn = turn
	s.outbox.Repeat(statusapi.Verdict{ID: r.check.ID(), Health: r.health})
	return true
}

// tooOld reports whether r has had no verdict for so long that the last one is not
// repeated any more.
func (s *Scheduler) tooOld(r *replica) bool {
	return r.repeats != nil && time.Since(r.repeats.since) >= pace.RepeatFor(s.settings.Interval)
}

// lastVerdicts yields the last verdict of each replica of the map, but for those that
// are too old to be repeated, or from before a suspension.
func (s *Scheduler) lastVerdicts(yield func(statusapi.Verdict) bool) {
	for id, r := range s.replicas {
		if r.phase == gone || r.health == probe.Unknown || s.tooOld(r) || r.history.JudgedAt().Before(s.suspension.ended) {
			continue
		}
		if !yield(statusapi.Verdict{ID: id, Health: r.health}) {
			return
		}
	}
}
