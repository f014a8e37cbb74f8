package scheduler

import (
	"context"
	"slices"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/crisp-im/crisp-status-local/v2/internal/pace"
	"github.com/crisp-im/crisp-status-local/v2/internal/probe"
	"github.com/crisp-im/crisp-status-local/v2/internal/statusapi"
)

// mostTraced is the largest map, in replicas, of whose last failures all attempts are
// kept, some 300 bytes each; of a larger map, only the last attempt. All may fail.
const mostTraced = 50_000

// kept returns what is kept of the attempts of a failure, if the map has so many replicas.
func kept(attempts []probe.Attempt, replicas int) []probe.Attempt {
	if n := len(attempts); n > 1 && replicas > mostTraced {
		return slices.Clone(attempts[n-1:]) // the others are let go
	}
	return attempts
}

// startDue starts the groups that are due.
func (s *Scheduler) startDue(ctx context.Context, now time.Time) {
	for {
		due, ok := s.schedule.next()
		if !ok || due.After(now) {
			return
		}
		s.startGroup(ctx, s.schedule.take(now), now)
	}
}

// startGroup starts the probes of a group, but of the members that are still
// busy with their last turn. It returns the count of their deaths.
func (s *Scheduler) startGroup(ctx context.Context, members []*replica, now time.Time) *cohort {
	starting := make([]*replica, 0, len(members))
	for _, r := range members {
		switch r.phase {
		case idle:
			starting = append(starting, r)
		case probing:
			s.stats.passedOver++
			s.observed.probing.PassedOver++
			s.logTo(r).Debug("passed over: its last probe is still under way")
		default:
			s.stats.withheld++
			s.logTo(r).Debug("passed over: its death is withheld until it is confirmed")
		}
	}
	c := s.massFailure.started(starting, now)
	s.stats.started += len(starting)
	for _, r := range starting {
		r.phase, r.recheck = probing, noRecheck
		s.pool.start(ctx, &job{replica: r, turn: now, wasDead: s.overCapacity && r.health == probe.Dead})
	}
	s.repeatChecks = append(s.repeatChecks, repeatCheck{now.Add(pace.Repeat), now, members})
	return c
}

// handleResult takes the result of a probe.
func (s *Scheduler) handleResult(ctx context.Context, j *job) {
	s.pool.release(ctx, j)
	r := j.replica
	switch {
	case r.phase == gone:
		delete(s.replicas, r.check.ID())
		return
	case j.result.Health == probe.Unknown && ctx.Err() != nil:
		return // cancelled: that says nothing of the replica
	}
	s.sayPanic(j.result.Panic)
	j.result.Trace = kept(j.result.Trace, s.mapSize())
	if s.log.IsLevelEnabled(logrus.DebugLevel) {
		s.logResult(r, j.result).WithField("health", j.result.Health).Debug("probed")
	}
	s.logNotes(r, j.result)
	s.observed.probing.Probed(r.check.Target.Scheme(), j.result)
	if probe.IsDenied(j.result.Err) {
		s.deny(r, j)
	} else if r.phase == probing {
		s.handleProbe(r, j)
	} else {
		s.applyConfirmation(r, j)
	}
}

// handleProbe takes the result of the probe of a turn.
func (s *Scheduler) handleProbe(r *replica, j *job) {
	if j.result.Health == probe.Dead && r.cohort != nil {
		s.withhold(r, j)
		return
	}
	r.phase = idle
	switch {
	case j.result.Health == probe.Unknown:
		s.noVerdict(r, j)
	case j.result.Health != probe.Dead:
		s.upWith(j)
		s.report(r, j.result)
	case r.health != probe.Dead: // it was taken back meanwhile
		s.reportDeath(r, j, j.turn)
	default:
		s.report(r, j.result)
	}
	s.settled(r)
	s.decide(s.massFailure.survived(r))
}

// report reports a verdict.
func (s *Scheduler) report(r *replica, result probe.Result) {
	s.stats.verdict(result)
	s.observed.probing.Verdict(r.check.Target.Scheme(), result.Health)
	r.history.Record(time.Now(), result)
	deliver := s.outbox.Renew
	if r.health != result.Health {
		deliver = s.outbox.Put
		s.logChange(r, result)
	}
	if r.health == probe.Dead {
		s.dead--
	}
	if result.Health == probe.Dead {
		s.dead++
	}
	r.health, r.repeats, r.cutOff = result.Health, nil, false
	deliver(statusapi.Verdict{ID: r.check.ID(), Health: r.health})
	if r.health != probe.Dead {
		s.hear()
	}
}

// noVerdict takes a result without a verdict: this host could not probe the
// replica. No report would be a false outage too, so the last verdict is
// repeated, but for a bounded time.
func (s *Scheduler) noVerdict(r *replica, j *job) {
	passedOver := time.Since(j.turn) / s.settings.Interval
	repeated := s.repeat(r, j.turn.Add(passedOver*s.settings.Interval))
	s.observed.probing.Unjudged[repeated]++
	r.history.Unjudged(time.Now(), j.result)
	s.stats.noVerdict(repeated)
	if !s.trouble.isNews(time.Now(), j.result.Reason(), repeated) {
		return
	}
	log := s.logResult(r, j.result)
	if repeated {
		log.WithField("for_at_most", pace.RepeatFor(s.settings.Interval)).
			Error("this host cannot probe a replica: its last verdict is repeated")
		return
	}
	log.Error("this host cannot probe a replica: the page will show it dead, since there is no verdict to repeat")
}

// logTo returns the log with the fields of a replica.
func (s *Scheduler) logTo(r *replica) *logrus.Entry {
	return s.log.WithFields(logrus.Fields{"service": r.check.ServiceID, "node": r.check.NodeID, "replica": r.check.Target})
}

// logResult returns the log with the fields of a replica and a result.
func (s *Scheduler) logResult(r *replica, result probe.Result) *logrus.Entry {
	log := s.logTo(r).WithFields(logrus.Fields{
		"attempts": result.Attempts,
		"latency":  result.Latency.Round(10 * time.Microsecond),
	})
	if reason := result.Reason(); reason != "" {
		log = log.WithField("reason", reason)
	}
	return log.WithFields(kindOf(result))
}
