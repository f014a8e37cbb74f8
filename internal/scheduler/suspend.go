package scheduler

import (
	"time"

	"golang.org/x/sys/unix"
)

const (
	// alertness is how often a suspension of the host is looked for: timers stand
	// still meanwhile, so whatever they were to start is overdue.
	alertness = time.Second
	// shortSuspension needs no reaction.
	shortSuspension = time.Second
)

// suspension detects that the host was suspended.
type suspension struct {
	clock func() time.Duration // total time suspended since boot
	seen  time.Duration
	ended time.Time // when the last one was noticed; zero without one
}

// suspended returns how long the host was suspended since boot: CLOCK_BOOTTIME
// goes on, CLOCK_MONOTONIC stands still, and nobody sets either of them.
func suspended() time.Duration {
	var boot, awake unix.Timespec
	if unix.ClockGettime(unix.CLOCK_MONOTONIC, &awake) != nil || unix.ClockGettime(unix.CLOCK_BOOTTIME, &boot) != nil {
		return 0 // a sandbox that forbids it: then nothing is noticed
	}
	return time.Duration(boot.Nano() - awake.Nano())
}

// reset forgets all suspensions until now.
func (s *suspension) reset() { s.seen = s.clock() }

// since returns the time suspended since the last call that returned any.
func (s *suspension) since() time.Duration {
	away := s.clock() - s.seen
	if away < shortSuspension {
		return 0
	}
	s.seen += away
	return away
}

// resume makes up for a suspension: whatever was due meanwhile is due now, and
// every replica keeps its turn by the time that really went by. Verdicts from
// before are not repeated: nobody knows how old they are worth.
func (s *Scheduler) resume() {
	away := s.suspension.since()
	if away == 0 {
		return
	}
	s.cycleStart, s.nextMap.nextFetch = s.cycleStart.Add(-away), s.nextMap.nextFetch.Add(-away)
	s.schedule.shift(-away)
	s.repeatChecks = nil
	s.suspension.ended = time.Now()
	s.outbox.Doubt() // what was promised before
	s.log.WithField("for", away.Round(time.Second)).Info("the host was suspended; what was missed begins now")
}
