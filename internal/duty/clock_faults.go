//go:build faults

package duty

import (
	"os"
	"strconv"
	"time"
)

// clockRate is the variable that makes the boot clock run faster or slower, in
// daemons built with the tag faults alone: 0.5 is half as fast.
const clockRate = "CRISP_BOOT_CLOCK_RATE"

// bootClock is the clock on which terms are counted, at the rate that the
// environment names.
func bootClock() clock {
	rate, err := strconv.ParseFloat(os.Getenv(clockRate), 64)
	if err != nil || rate <= 0 {
		return sinceBoot
	}
	began := sinceBoot()
	return func() time.Duration {
		return began + time.Duration(float64(sinceBoot()-began)*rate)
	}
}
