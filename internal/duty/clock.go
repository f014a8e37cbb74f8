package duty

import (
	"math"
	"time"

	"golang.org/x/sys/unix"
)

// clock returns the time on some clock whose rate is all that counts.
type clock func() time.Duration

// never is a time on a clock that does not come.
const never = time.Duration(math.MaxInt64)

// sinceBoot is CLOCK_BOOTTIME: it goes on while the host is suspended, and nobody
// sets it. A term counted on Go's clock, which stands still meanwhile, would
// outlive its lease.
func sinceBoot() time.Duration {
	var t unix.Timespec
	if unix.ClockGettime(unix.CLOCK_BOOTTIME, &t) != nil {
		return never // no kernel says so; every term would be over
	}
	return time.Duration(t.Nano())
}
