package scheduler

import (
	"time"

	"github.com/sirupsen/logrus"

	"github.com/crisp-im/crisp-status-local/v2/internal/probe"
)

// limitPool bounds the pool, and says so where the bound breaks the promise.
func (l *Loop) limitPool() {
	budget := probe.Budget(l.settings.Interval)
	// There is at most one probe of a replica at a time. Those under way may
	// have begun by other rules, and hold their places as long as these allow.
	all := len(l.replicas) + len(l.leaving)
	needed := min(all, l.pool.Running()+l.schedule.peak(l.longest(budget)))
	allowed, by := all, ""
	if files := spareFiles(l.settings.Files); l.settings.Files > 0 && files < allowed {
		allowed, by = files, "the limit of open files (raise LimitNOFILE= or ulimit -n)"
	}
	if l.settings.Workers > 0 && l.settings.Workers < allowed {
		allowed, by = l.settings.Workers, "probe.workers"
	}
	l.pool.Limit(allowed, budget)
	l.short = allowed < needed
	if l.short {
		l.log.WithFields(logrus.Fields{"needed": needed, "allowed": allowed, "by": by}).
			Warn("the map outgrows what may be probed at a time: if most replicas stop answering, others are reported late")
	}
}

// longest returns the longest that a probe of the map in force can take, the one
// attempt more that a doubtful verdict may need included.
func (l *Loop) longest(budget time.Duration) time.Duration {
	if l.held == nil {
		return 0
	}
	longest, defaults := time.Duration(0), probe.DefaultRules()
	for _, c := range l.held.Checks {
		rules := c.Rules
		if rules == nil {
			rules = defaults
		}
		longest = max(longest, rules.Longest(budget)+confirmAfter+rules.DeadAfter)
	}
	return longest
}

// spareFiles returns how many of files may be those of probes: what the rest of
// the process has open, the connections to the API above all, is left out.
func spareFiles(files int) int { return max(1, files-max(32, min(files/4, 320))) }
