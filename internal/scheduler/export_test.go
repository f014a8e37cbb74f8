package scheduler

import "time"

// SuspendBy makes clock tell how long the host was suspended. It must be called before Run.
func (s *Scheduler) SuspendBy(clock func() time.Duration) { s.suspension.clock = clock }

// Known returns how many replicas are known, how many have a turn, and how many are of
// the current map. It must not be called while Run is at work.
func (s *Scheduler) Known() (all, scheduled, current int) {
	return len(s.replicas), s.schedule.size(), s.mapSize()
}
