package scheduler

import "time"

// SuspendBy makes clock tell how long the host was suspended. It must be called before Run.
func (s *Scheduler) SuspendBy(clock func() time.Duration) { s.suspension.clock = clock }

// Known returns how many replicas are known, and how many of them are of the current
// map. It must not be called while Run is at work.
func (s *Scheduler) Known() (all, current int) { return len(s.replicas), s.mapSize() }
