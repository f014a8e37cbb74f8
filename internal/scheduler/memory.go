package scheduler

import (
	"runtime/debug"
	"time"
)

// releaseEvery is how often memory is released at most: it costs some
// milliseconds, which is nothing once a minute.
const releaseEvery = time.Minute

// releaseMemory returns to the system the memory that a cycle needed, once its
// work is done: the daemon rests for most of the interval.
func (s *Scheduler) releaseMemory(now time.Time) {
	due, ok := s.schedule.next()
	nextCycle := s.cycleStart.Add(s.settings.Interval)
	if !ok || due.Before(nextCycle) || now.Sub(s.memoryReleased) < releaseEvery || !s.memoryReleased.Before(s.cycleStart) {
		return
	}
	if s.pool.load() > 0 || s.outbox.Waiting() > 0 {
		return
	}
	s.memoryReleased = now
	debug.FreeOSMemory()
}
