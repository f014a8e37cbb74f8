package scheduler

import (
	"time"

	"github.com/sirupsen/logrus"

	"github.com/crisp-im/crisp-status-local/v2/internal/probe"
)

// stats is what is logged about a cycle at its end.
type stats struct {
	started    int // probes
	passedOver int // turns of replicas whose last probe was still under way
	withheld   int // turns of replicas whose death was not confirmed yet
	healths    map[probe.Health]int
	slowest    time.Duration

	unprobed   int // results without a verdict
	unreported int // of them, those for which none could be repeated

	notes       int // that were logged
	unsaidNotes int // that were not, since they are too many

	unauthorized bool // it was logged that the API does not accept the token
	massFailure  bool // it was logged that many replicas died
}

// verdict counts a verdict.
func (s *stats) verdict(r probe.Result) {
	if s.healths == nil {
		s.healths = make(map[probe.Health]int)
	}
	s.healths[r.Health]++
	if r.Health != probe.Dead {
		s.slowest = max(s.slowest, r.Latency)
	}
}

// noVerdict counts a result without a verdict.
func (s *stats) noVerdict(repeated bool) {
	s.unprobed++
	if !repeated {
		s.unreported++
	}
}

// logStats logs the cycle that ends.
func (s *Scheduler) logStats() {
	c := s.stats
	if c.started+c.passedOver+c.withheld == 0 {
		return
	}
	log := s.log.WithFields(logrus.Fields{
		"replicas": s.mapSize(),
		"healthy":  c.healths[probe.Healthy],
		"sick":     c.healths[probe.Sick],
		"dead":     c.healths[probe.Dead],
		"slowest":  c.slowest,
		"waiting":  s.outbox.Waiting(),
	})
	if c.passedOver > 0 {
		log = log.WithField("passed_over", c.passedOver)
	}
	if c.withheld > 0 {
		log = log.WithField("withheld", c.withheld)
	}
	log.Info("cycle over")
	s.logTotals(c)
	if c.unsaidNotes > 0 {
		s.log.WithField("notes", c.unsaidNotes).Warn("there is something to know of more replicas; the next cycles will say it")
	}
}
