package scheduler

import (
	"time"

	"golang.org/x/sys/unix"
)

const (
	// alertness is how often it is looked whether the host was suspended: its
	// timers stand still meanwhile, and what they were to begin is overdue.
	alertness = time.Second
	// shortSuspension is what needs nothing done.
	shortSuspension = time.Second
)

// suspended returns how long the host was suspended since it was booted: the
// time since boot goes on, the monotonic clock stands still. Nobody sets either
// of them, as NTP does the wall clock.
func suspended() time.Duration {
	var boot, awake unix.Timespec
	if unix.ClockGettime(unix.CLOCK_MONOTONIC, &awake) != nil || unix.ClockGettime(unix.CLOCK_BOOTTIME, &boot) != nil {
		return 0 // the kernel is older than 2.6.39: then nothing is noticed
	}
	return time.Duration(boot.Nano() - awake.Nano())
}

// wakeUp makes up for a suspension: what would have been due meanwhile is due
// now, and every replica keeps its turn by the time that really went by.
func (l *Loop) wakeUp() {
	away := l.suspended() - l.away
	if away < shortSuspension {
		return
	}
	l.away += away
	l.beat, l.ask = l.beat.Add(-away), l.ask.Add(-away)
	l.schedule.shift(-away)
	l.log.WithField("for", away.Round(time.Second)).Info("the host was suspended; what was missed begins now")
}
