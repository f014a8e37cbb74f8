package scheduler

import (
	"time"

	"github.com/sirupsen/logrus"

	"github.com/crisp-im/crisp-status-local/v2/internal/probe"
)

// maxReasons bounds how many reasons for having no verdict are told in a
// cycle: one cause seldom has more, and a thousand replicas would fill the log.
const maxReasons = 10

// summary is what is told of a cycle at its end.
type summary struct {
	started int // probes
	passed  int // replicas passed over, since their last probe was still under way
	healths map[probe.Health]int
	slowest time.Duration
	reasons map[string]bool // why there were results without a verdict, and whether one could be repeated
	none    int             // results without a verdict
	silent  int             // of them, those for which none could be repeated
	denied  bool            // it was said that the API does not accept the token
}

// judged counts a verdict.
func (s *summary) judged(r probe.Result) {
	if s.healths == nil {
		s.healths = make(map[probe.Health]int)
	}
	s.healths[r.Health]++
	if r.Health != probe.Dead {
		s.slowest = max(s.slowest, r.Latency)
	}
}

// unjudged counts a result without a verdict and reports whether to tell why:
// what was so in the cycle before, last, was told then.
func (s *summary) unjudged(why string, repeated bool, last *summary) bool {
	s.none++
	if !repeated {
		s.silent++
	}
	if s.reasons == nil {
		s.reasons = make(map[string]bool)
	}
	if _, known := s.reasons[why]; known || len(s.reasons) >= maxReasons {
		return false
	}
	was, known := last.reasons[why]
	s.reasons[why] = repeated
	return !known || was != repeated
}

// summarize tells of the cycle that ends.
func (l *Loop) summarize() {
	s := l.cycle
	if s.started == 0 && s.passed == 0 {
		return
	}
	log := l.log.WithFields(logrus.Fields{
		"replicas": len(l.replicas),
		"healthy":  s.healths[probe.Healthy],
		"sick":     s.healths[probe.Sick],
		"dead":     s.healths[probe.Dead],
		"slowest":  s.slowest,
		"waiting":  l.outbox.Waiting(),
	})
	if s.passed > 0 {
		log = log.WithField("passed_over", s.passed)
	}
	log.Info("cycle over")
	if s.none > 0 && (s.none != l.last.none || s.silent != l.last.silent) {
		l.log.WithFields(logrus.Fields{"replicas": s.none, "not_reported": s.silent}).
			Error("replicas without a verdict in this cycle; the page will show those dead that are not reported")
	}
}
