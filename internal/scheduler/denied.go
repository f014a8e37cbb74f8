package scheduler

import (
	"time"

	"github.com/crisp-im/crisp-status-local/v2/internal/probe"
)

// maxDenied bounds the lines about denied replicas of one map.
const maxDenied = 50

// denials is the replicas of the current map that were logged as denied.
type denials struct {
	said map[probe.ID]string // the rule; maxDenied at most
	more bool                // it was logged that there are more
}

// deny takes a result that the policy denied. It is no verdict, and no earlier
// one is repeated: nobody measured anything. Where the operator wants such
// replicas reported, they are dead, and that is no mass failure.
func (s *Scheduler) deny(r *replica, j *job) {
	s.sayDenied(r, j.result)
	wasConfirming := r.phase == confirming
	r.phase, r.death = idle, nil
	if s.settings.ReportDenied {
		j.result.Health = probe.Dead
		s.report(r, j.result)
	} else {
		if r.health == probe.Dead {
			s.dead--
		}
		if r.health != probe.Unknown {
			r.history.Forget() // or its last verdict would be shown as if it still held
		}
		r.health, r.repeats = probe.Unknown, nil
		r.history.Unjudged(time.Now(), j.result)
	}
	s.settled(r)
	if !wasConfirming { // else it was counted when it died
		s.decide(s.massFailure.survived(r))
	}
}

// sayDenied logs once per map that a replica is denied, and by which rule.
func (s *Scheduler) sayDenied(r *replica, result probe.Result) {
	d, id := &s.denials, r.check.ID()
	if d.said == nil {
		d.said = make(map[probe.ID]string)
	}
	rule, known := d.said[id]
	switch {
	case known && rule == result.Reason():
		return
	case !known && len(d.said) >= maxDenied:
		if !d.more {
			s.log.WithField("said", maxDenied).Warn("more replicas are denied by policy: each is in the log at the level debug")
		}
		d.more = true
		return
	}
	d.said[id] = result.Reason()
	log := s.logTo(r).WithField("kind", probe.KindPolicy).WithField("reason", result.Reason())
	if s.settings.ReportDenied {
		log.Warn("replica denied by policy: it is not probed, and reported dead")
		return
	}
	log.Warn("replica denied by policy: it is neither probed nor reported, so the page will show it dead")
}
