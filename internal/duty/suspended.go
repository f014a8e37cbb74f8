package duty

import (
	"time"

	"golang.org/x/sys/unix"
)

// Suspended returns how long the host was suspended since boot. Added to a time of
// Go's monotonic clock, which stands still meanwhile, it gives one that goes on, and
// that nobody sets.
func Suspended() time.Duration {
	var boot, awake unix.Timespec
	if unix.ClockGettime(unix.CLOCK_MONOTONIC, &awake) != nil || unix.ClockGettime(unix.CLOCK_BOOTTIME, &boot) != nil {
		return 0 // a sandbox that forbids it: then nothing is noticed
	}
	return time.Duration(boot.Nano() - awake.Nano())
}
