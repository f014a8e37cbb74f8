package scheduler

import (
	"time"

	"github.com/crisp-im/crisp-status-local/v2/internal/probe"
	"github.com/crisp-im/crisp-status-local/v2/internal/statusapi"
)

// apiAlone is for how long the Status API must be silent, after a probe that began in the
// silence was up, until this host's network is known to work. It is longer than the network
// works again before the next report finds that out, and than an attempt takes that had
// failed before.
const apiAlone = 15 * time.Second

// reportDeath reports the death that j found by attempts that began then; but if the Status API
// was silent since, and this host's network is not known to work, the death is not believed.
func (s *Scheduler) reportDeath(r *replica, j *job, began time.Time) {
	if !s.silentSince(began) || s.silenceIsOfAPI() {
		s.report(r, j.result)
		return
	}
	s.disbelieve(r, &j.result)
	s.noVerdict(r, j)
}

// silentSince reports whether the Status API was silent at any time since then.
func (s *Scheduler) silentSince(then time.Time) bool {
	began, ended := s.outbox.Silence()
	return !began.IsZero() || ended.After(then)
}

// silenceIsOfAPI reports whether the Status API is silent and this host's network works.
func (s *Scheduler) silenceIsOfAPI() bool {
	began, _ := s.outbox.Silence()
	return !began.IsZero() && s.upInSilence.After(began) && time.Since(s.upInSilence) >= apiAlone
}

// upWith notes that the probe of j was up.
func (s *Scheduler) upWith(j *job) {
	if began, _ := s.outbox.Silence(); !began.IsZero() && j.turn.After(began) && !s.upInSilence.After(began) {
		s.upInSilence = time.Now()
	}
}

// disbelieve makes the result by which a replica died one without a verdict: the Status
// API does not answer either, so this host's network may be down. The death could not be
// reported now, and may be wrong by the time that it could: once the API answers, the
// replica is probed again.
func (s *Scheduler) disbelieve(r *replica, result *probe.Result) {
	if r.cutOff = s.silentSince(time.Now()); !r.cutOff {
		r.want(wanted) // the silence ended while it was probed
	}
	reason := result.Reason() + ", and the Status API does not answer either: is this host's network down?"
	result.Health, result.Err = probe.Unknown, &probe.Error{Kind: probe.KindLocal, Reason: reason, Err: result.Err}
}

// takeBack takes back the deaths of replicas of which the page shows these verdicts still:
// the Status API has become silent before it took the deaths, so they are not believed any
// more.
func (s *Scheduler) takeBack(shown []statusapi.Verdict) {
	now, n := time.Now(), 0
	for _, v := range shown {
		r := s.replicas[v.ID]
		if r == nil || r.phase == gone || r.health != probe.Dead {
			continue
		}
		n++
		s.dead--
		r.health, r.since = v.Health, now
		result := r.history.TakeBack()
		s.disbelieve(r, &result)
		s.noVerdict(r, &job{replica: r, turn: now, result: result})
		if r.phase == idle {
			s.settled(r)
		}
	}
	if n > 0 {
		s.log.WithField("replicas", n).
			Warn("the Status API does not answer: deaths that it has not taken may be this host's own, and are taken back until the replicas are probed again")
	}
}
