package scheduler

import (
	"slices"
	"time"

	"github.com/crisp-im/crisp-status-local/v2/internal/pace"
)

// spareGroups is how many groups more than twice the necessary number are left
// alone: so few cost nothing.
const spareGroups = 8

// rebalance undoes what reloads of the interval and long churn do to the turns:
// groups that are almost empty are merged, and groups that are bunched are
// spread out. A turn may come earlier by that, never later. It must be called
// at the start of a cycle, when each group has its turn ahead.
func (s *schedule) rebalance() {
	for _, g := range s.groups {
		g.advance = 0
	}
	if least := (s.size() + groupSize - 1) / groupSize; len(s.groups) > 2*least+spareGroups {
		s.merge()
	}
	if s.bunched() {
		s.spreadOut()
	}
}

// merge moves the members of a group to the group before it where they fit.
func (s *schedule) merge() {
	s.sort()
	merged := s.groups[:1]
	for _, g := range s.groups[1:] {
		if last := merged[len(merged)-1]; len(last.members)+len(g.members) <= groupSize {
			last.members = slices.Concat(last.members, g.members)
		} else {
			merged = append(merged, g)
		}
	}
	clear(s.groups[len(merged):])
	s.groups = merged
}

// bunched reports whether half of all turns, and two groups more, come within a
// quarter of the spread.
func (s *schedule) bunched() bool {
	return 2*(s.peak(pace.Spread(s.interval)/4)-2*groupSize) >= max(s.size(), 1)
}

// spreadOut has turns that lie too close before the next one come earlier from
// the next cycle on, by the spread at most. Each group then has as much of the
// spread to itself as it has members. The order starts after the longest pause,
// so that the shifts end in it.
func (s *schedule) spreadOut() {
	s.sort()
	n, size := len(s.groups), s.size()
	start := s.afterLongestPause()
	turn := func(i int) time.Time { // of the group that is the i-th of that order
		due := s.groups[(start+i)%n].due
		if start+i >= n {
			due = due.Add(s.interval)
		}
		return due
	}
	next := turn(n - 1)
	for i := n - 2; i >= 0; i-- {
		g := s.groups[(start+i)%n]
		share := pace.Spread(s.interval) * time.Duration(len(g.members)) / time.Duration(size)
		latest := next.Add(-share)
		if next = turn(i); next.After(latest) {
			g.advance = next.Sub(latest)
			next = latest
		}
	}
}

// afterLongestPause returns the index of the group whose turn follows the
// longest time without one. The groups are sorted.
func (s *schedule) afterLongestPause() int {
	n := len(s.groups)
	start, longest := 0, s.groups[0].due.Add(s.interval).Sub(s.groups[n-1].due)
	for i := 1; i < n; i++ {
		if pause := s.groups[i].due.Sub(s.groups[i-1].due); pause > longest {
			start, longest = i, pause
		}
	}
	return start
}
