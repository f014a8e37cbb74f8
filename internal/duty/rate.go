package duty

import (
	"fmt"
	"math"

	"golang.org/x/sys/unix"
)

// RateTolerance is the largest difference between the clock rates of two daemons of
// a group, as a fraction, at which the term of one surely ends before the lease of
// the next begins.
const RateTolerance = 0.05

// ClockRate is how the kernel runs the clock of this host.
type ClockRate struct {
	Kept      bool    // NTP or the like corrects it
	Corrected float64 // by which its rate is corrected, as a part: 0.0001 is 100 ppm, which is much for a quartz
}

// ReadClockRate asks the kernel. It cannot say how the corrected rate compares with
// that of another host: that takes minutes, and a clock that is right.
func ReadClockRate() (ClockRate, error) {
	var t unix.Timex // without a mode: it changes nothing, and needs no right
	state, err := unix.Adjtimex(&t)
	if err != nil {
		return ClockRate{}, fmt.Errorf("asking the kernel for the rate of its clock: %w", err)
	}
	return rateOf(state, &t), nil
}

func rateOf(state int, t *unix.Timex) ClockRate {
	// Ticks of nominally 10 ms, in microseconds; the frequency in 2^-16 ppm.
	return ClockRate{
		Kept:      state != unix.TIME_ERROR && t.Status&unix.STA_UNSYNC == 0,
		Corrected: float64(t.Tick-10_000)/10_000 + float64(t.Freq)/65536/1e6,
	}
}

// Suspect reports whether the correction is so large that another host's clock,
// corrected the other way, would differ by more than the tolerance.
func (r ClockRate) Suspect() bool { return math.Abs(r.Corrected) > RateTolerance/2 }
