package scheduler

import (
	"context"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/crisp-im/crisp-status-local/v2/internal/pace"
	"github.com/crisp-im/crisp-status-local/v2/internal/probe"
)

// limitPool bounds the pool, and says so where the bound breaks the promise.
func (s *Scheduler) limitPool(ctx context.Context) {
	// Probes in flight may have started under older, slower rules; they keep
	// their places, so they count on top of the schedule's peak. A replica
	// never has two.
	all := len(s.replicas)
	s.turnPlaces = s.schedule.peak(s.longestProbe())
	needed := min(all, s.pool.load()+s.turnPlaces)
	allowed, by := s.settings.places(all)
	s.pool.resize(ctx, allowed, s.settings.Interval)
	s.observed.needed = needed
	s.overCapacity = allowed < needed
	if s.overCapacity {
		s.log.WithFields(logrus.Fields{"needed": needed, "allowed": allowed, "by": by}).
			Warn("probe concurrency limit too low for this map: if most replicas stop answering, others are reported late")
	}
}

// longestProbe returns the longest time that a probe of the current map can
// take, a confirmation included.
func (s *Scheduler) longestProbe() time.Duration {
	if s.currentMap == nil {
		return 0
	}
	var longest time.Duration
	for i := range s.currentMap.Checks {
		rules := rulesOf(&s.currentMap.Checks[i])
		budget := pace.Budget(s.settings.Interval, rules.DeadAfter)
		longest = max(longest, rules.Longest(budget)+confirmAfter+rules.DeadAfter)
	}
	return longest
}

// spareFiles returns how many of the open files may be those of probes: the
// rest of the process needs some, for the connections to the API above all, and
// probes open some beside one each.
func spareFiles(files int) int {
	const others = 256
	return max(1, files-max(32, min(files/4, others+probe.FilesBeside(files))))
}
