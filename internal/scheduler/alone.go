package scheduler

import (
	"slices"
	"time"
)

// besideDeath is how long after a replica died another may be heard of for this host's
// network to have worked by then: others take longer to answer than some to refuse.
const besideDeath = 100 * time.Millisecond

// lonely is a death that was noted by diedAlone.
type lonely struct {
	replica *replica
	death   *pendingDeath
	at      time.Time
}

// diedAlone notes that r died, and that this host heard of nobody since its probe began: no
// other replica was up, and no map came. Its network may be down, too shortly for the Status
// API to be known to be silent: an echo is given up sooner than a connection. By the time
// that the death is decided, all may be well again. Therefore decide has it confirmed.
func (s *Scheduler) diedAlone(r *replica) {
	now := time.Now()
	for len(s.alone) > 0 && now.Sub(s.alone[0].at) > besideDeath {
		s.alone = s.alone[1:]
	}
	r.death.alone = true
	s.alone = append(s.alone, lonely{r, r.death, now})
}

// hear notes that a replica is up, or a map has come: this host's network works. Deaths a
// moment ago were not this host's, then, and those that wait for a confirmation for this
// reason only are reported.
func (s *Scheduler) hear() {
	now := time.Now()
	s.lastHeard = now
	alone := s.alone
	s.alone = nil
	var d decision
	for _, a := range alone {
		if now.Sub(a.at) > besideDeath {
			continue
		}
		a.death.alone = false
		if r := a.replica; r.death == a.death && r.phase == doubted && a.death.lone {
			s.confirmations = slices.DeleteFunc(s.confirmations, func(c *replica) bool { return c == r })
			d.report = append(d.report, r)
		}
	}
	s.decide(d)
}
