package duty

import (
	"math"
	"time"

	"golang.org/x/sys/unix"
)

// clock returns the time on a clock whose zero is arbitrary; only its rate matters.
type clock func() time.Duration

// never is a time on a clock that is never reached.
const never = time.Duration(math.MaxInt64)

// sinceBoot is CLOCK_BOOTTIME: it runs while the host is suspended, and cannot be
// set. A term counted on Go's monotonic clock, which stops in a suspension, would
// outlive its lease.
func sinceBoot() time.Duration {
	var t unix.Timespec
	if unix.ClockGettime(unix.CLOCK_BOOTTIME, &t) != nil {
		return never // no Linux kernel fails here; every term would be over
	}
	return time.Duration(t.Nano())
}
