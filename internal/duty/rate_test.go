package duty

import (
	"math"
	"testing"

	"golang.org/x/sys/unix"
)

func TestTheRateOfAClockIsReadFromTicksAndFrequency(t *testing.T) {
	for _, tt := range []struct {
		name    string
		state   int
		timex   unix.Timex
		want    ClockRate
		suspect bool
	}{
		{"kept by NTP, 12.5 ppm", unix.TIME_OK, unix.Timex{Tick: 10_000, Freq: 12.5 * 65536}, ClockRate{true, 12.5e-6}, false},
		{"left alone", unix.TIME_ERROR, unix.Timex{Tick: 10_000, Status: unix.STA_UNSYNC}, ClockRate{false, 0}, false},
		{"left alone since a moment ago", unix.TIME_OK, unix.Timex{Tick: 10_000, Status: unix.STA_UNSYNC}, ClockRate{false, 0}, false},
		{"a leap second ahead", unix.TIME_INS, unix.Timex{Tick: 10_000}, ClockRate{true, 0}, false},
		{"2 % slow", unix.TIME_OK, unix.Timex{Tick: 9_800}, ClockRate{true, -0.02}, false},
		{"3 % fast", unix.TIME_OK, unix.Timex{Tick: 10_300}, ClockRate{true, 0.03}, true},
		{"3 % slow", unix.TIME_OK, unix.Timex{Tick: 9_700}, ClockRate{true, -0.03}, true},
	} {
		got := rateOf(tt.state, &tt.timex)
		if got.Kept != tt.want.Kept || math.Abs(got.Corrected-tt.want.Corrected) > 1e-12 || got.Suspect() != tt.suspect {
			t.Errorf("%s: got %+v, suspect %v, want %+v, %v", tt.name, got, got.Suspect(), tt.want, tt.suspect)
		}
	}
}

func TestTheKernelSaysHowItRunsItsClock(t *testing.T) {
	rate, err := ReadClockRate()
	if err != nil {
		t.Skipf("no kernel says so here: %v", err)
	}
	if math.Abs(rate.Corrected) > 0.11 { // its own bound is a tenth, and 500 ppm
		t.Errorf("got a correction by %v, want a tenth at most", rate.Corrected)
	}
}
