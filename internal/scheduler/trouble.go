package scheduler

import (
	"time"

	"github.com/sirupsen/logrus"

	"github.com/crisp-im/crisp-status-local/v2/internal/logging"
)

const (
	// maxReasons bounds the reasons for having no verdict that are logged in an
	// hour: one cause seldom has more, and a thousand replicas would fill the log.
	maxReasons = 10
	// reminder is how often trouble that goes on is said again.
	reminder = time.Hour
)

// trouble is what was said of this host's own trouble since it began. It ends
// with a cycle in which every replica had a verdict.
type trouble struct {
	began  time.Time              // when it began, or was last said anew
	last   time.Time              // when a result was without a verdict
	said   map[troubleReason]bool // nil while there is none
	totals totals
}

// troubleReason is a reason for having no verdict, by its shape: what changes
// by itself, such as a port, is no other reason.
type troubleReason struct {
	shape    string
	repeated bool // the last verdict was repeated
}

// totals is the line about a whole cycle that was said last.
type totals struct {
	unprobed, unreported int
	next                 time.Time     // before it, only a first replica that is not reported is news
	wait                 time.Duration // doubles with each line, up to reminder
}

// isNews reports whether to log a reason for having no verdict.
func (t *trouble) isNews(now time.Time, reason string, repeated bool) bool {
	t.last = now
	if t.said == nil || now.Sub(t.began) >= reminder {
		t.began, t.said = now, make(map[troubleReason]bool)
	}
	r := troubleReason{logging.Shape(reason), repeated}
	if t.said[r] || len(t.said) >= maxReasons {
		return false
	}
	t.said[r] = true
	return true
}

// endCycle takes the counts of a cycle and reports whether to log them. Two results of a
// replica are at most an interval and the longest probe apart: with a short interval, a
// cycle without any proves nothing.
func (t *trouble) endCycle(now time.Time, c stats, interval time.Duration, longestProbe func() time.Duration) bool {
	if c.unprobed == 0 {
		if !t.last.IsZero() && now.Sub(t.last) > interval+longestProbe() {
			*t = trouble{}
		}
		return false
	}
	last := &t.totals
	changed := c.unprobed != last.unprobed || c.unreported != last.unreported
	urgent := c.unreported > 0 && last.unreported == 0
	if !changed || !urgent && now.Before(last.next) {
		return false
	}
	wait := min(max(2*last.wait, interval), reminder)
	*last = totals{c.unprobed, c.unreported, now.Add(wait), wait}
	return true
}

// logTotals says how many replicas had no verdict in the cycle that ends.
func (s *Scheduler) logTotals(c stats) {
	if s.trouble.endCycle(time.Now(), c, s.settings.Interval, s.longestProbe) {
		s.log.WithFields(logrus.Fields{"replicas": c.unprobed, "not_reported": c.unreported}).
			Error("replicas without a verdict in this cycle; the page will show those dead that are not reported")
	}
}
