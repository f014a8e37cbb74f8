package duty

import (
	"time"

	"golang.org/x/sys/unix"
)

// Suspended returns how long the host was suspended since boot. Go's monotonic clock
// stops in a suspension; the sum of both runs all the time, and cannot be set.
func Suspended() time.Duration {
	var boot, awake unix.Timespec
	if unix.ClockGettime(unix.CLOCK_MONOTONIC, &awake) != nil || unix.ClockGettime(unix.CLOCK_BOOTTIME, &boot) != nil {
		return 0 // a sandbox that forbids it: then suspensions go unnoticed
	}
	return time.Duration(boot.Nano() - awake.Nano())
}
