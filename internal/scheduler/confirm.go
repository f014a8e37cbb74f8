package scheduler

import (
	"context"
	"slices"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/crisp-im/crisp-status-local/v2/internal/probe"
)

const (
	confirmAfter = 3 * time.Second // a switch that restarted a link has settled by then
	confirmStep  = 50 * time.Millisecond
)

// withhold keeps back the result by which a replica turned dead, and repeats its
// last verdict meanwhile.
func (s *Scheduler) withhold(r *replica, j *job) {
	r.phase = withheld
	r.death = &pendingDeath{result: j.result, turn: j.turn}
	if s.lastHeard.Before(j.turn) {
		s.diedAlone(r)
	}
	r.history.Withheld(time.Now(), j.result)
	s.repeat(r, j.turn)
	s.decide(s.massFailure.died(r))
}

// decide carries out a decision on deaths that were withheld. A replica during whose probe
// this host heard of nobody else gets another attempt, too.
func (s *Scheduler) decide(d decision) {
	for _, r := range d.report {
		if r.death.alone && r.death.confirmAt.IsZero() && !s.silentSince(time.Now()) {
			r.death.lone = true
			d.retry = append(d.retry, r)
			continue
		}
		died, began := job{replica: r, turn: r.death.turn, result: r.death.result}, r.death.turn
		if !r.death.confirmAt.IsZero() {
			began = r.death.confirmAt
		}
		r.phase, r.death = idle, nil
		s.reportDeath(r, &died, began)
		s.settled(r)
	}
	if len(d.retry) == 0 {
		return
	}
	s.scheduleConfirmations(d.retry)
	if d.died == 0 {
		return
	}
	if !s.stats.massFailure {
		s.log.WithFields(logrus.Fields{"replicas": s.mapSize(), "dead": d.died}).
			Warn("many replicas turned dead in one cycle: is it this host's network? each is tried once more before it is reported")
	}
	s.stats.massFailure = true
}

// scheduleConfirmations schedules one more attempt of each replica, in groups
// like any probes.
func (s *Scheduler) scheduleConfirmations(replicas []*replica) {
	at := time.Now().Add(confirmAfter)
	if n := len(s.confirmations); n > 0 && s.confirmations[n-1].death.confirmAt.After(at) {
		at = s.confirmations[n-1].death.confirmAt
	}
	for i, r := range replicas {
		r.phase = doubted
		r.death.confirmAt = at.Add(time.Duration(i/groupSize) * confirmStep)
	}
	s.confirmations = append(s.confirmations, replicas...)
}

// confirmDue starts the confirmations that are due.
func (s *Scheduler) confirmDue(ctx context.Context, now time.Time) {
	for len(s.confirmations) > 0 && !s.confirmations[0].death.confirmAt.After(now) {
		r := s.confirmations[0]
		if s.confirmations = s.confirmations[1:]; len(s.confirmations) == 0 {
			s.confirmations = nil // releases the memory of a queue that was long once
		}
		if r.phase == doubted {
			r.phase, r.recheck = confirming, noRecheck
			s.pool.start(ctx, &job{replica: r, turn: r.death.turn, confirmation: true})
		}
	}
}

// applyConfirmation takes the result of a confirmation. Many replicas died: if the Status
// API is silent, too, none of the deaths is believed.
func (s *Scheduler) applyConfirmation(r *replica, j *job) {
	death := r.death
	j.result.Attempts += death.result.Attempts
	j.result.Trace = slices.Concat(death.result.Trace, j.result.Trace)
	if j.result.Health == probe.Dead && s.silentSince(death.confirmAt) {
		j.result.Err = death.result.Err
		s.disbelieve(r, &j.result)
	}
	s.observed.probing.Doubted[doubtedOutcome(j.result.Health)]++
	if j.result.Health == probe.Dead {
		j.result.Err = death.result.Err // the failure that was seen when it died
		r.phase, death.result = withheld, j.result
		s.decide(s.massFailure.confirmed(r))
		return
	}
	r.phase, r.death = idle, nil
	if j.result.Health == probe.Unknown {
		s.noVerdict(r, j)
	} else {
		s.report(r, j.result)
	}
	s.settled(r)
}

// doubtedOutcome returns what a confirmation brought, for the count of them.
func doubtedOutcome(h probe.Health) string {
	switch h {
	case probe.Dead:
		return "dead"
	case probe.Unknown:
		return "none"
	}
	return "up"
}
