package pace

import (
	"testing"
	"time"
)

// intervals are those that a configuration can have, densely.
func intervals() []time.Duration {
	var all []time.Duration
	for i := time.Second; i <= 24*time.Hour; i += max(time.Second, i/50) {
		all = append(all, i.Round(time.Second))
	}
	return all
}

func TestSilenceEndsBeforeThePageTurnsRed(t *testing.T) {
	for _, i := range intervals() {
		silence := i + Repeat + Outage + Trial(i) + Recovery
		if limit := i + 38*time.Second; silence > limit {
			t.Errorf("interval %v: got a silence of %v, want at most %v", i, silence, limit)
		}
		if silence >= i+Grace {
			t.Errorf("interval %v: got a silence of %v, want less than the %v after which the page turns red", i, silence, i+Grace)
		}
		// A try at the deadline that hangs counts as failed while there is
		// still time for another one.
		if last := Deadline(i) + StatusLine + Recovery; last >= i+Grace {
			t.Errorf("interval %v: got a second try %v after the last report, want it before %v", i, last, i+Grace)
		}
	}
}

func TestProbesFitTheBeat(t *testing.T) {
	for _, i := range intervals() {
		if got := Spread(i); got > i/4 || got > 30*time.Second || got <= 0 {
			t.Errorf("interval %v: got a spread of %v, want a quarter, 30s at most", i, got)
		}
		for _, dead := range []time.Duration{time.Second, 10 * time.Second, 35 * time.Second} {
			budget := Budget(i, dead)
			if budget < dead || budget > max(dead, LongestProbe) {
				t.Errorf("interval %v, delay_dead %v: got a budget of %v", i, dead, budget)
			}
			// A probe, the pause before it is confirmed, and the confirmation.
			if verdict := budget + 3*time.Second + dead; verdict > RepeatFor(i) {
				t.Errorf("interval %v, delay_dead %v: got a verdict after %v, want it while the last one is repeated, for %v", i, dead, verdict, RepeatFor(i))
			}
		}
	}
}

func TestTableOfTheComment(t *testing.T) {
	for _, tt := range []struct {
		name      string
		got, want time.Duration
	}{
		{"Spread(10s)", Spread(10 * time.Second), 2500 * time.Millisecond},
		{"Spread(120s)", Spread(120 * time.Second), 30 * time.Second},
		{"Budget(10s)", Budget(10*time.Second, time.Second), 5 * time.Second},
		{"Budget(120s)", Budget(120*time.Second, time.Second), 35 * time.Second},
		{"Budget(10s, 20s)", Budget(10*time.Second, 20*time.Second), 20 * time.Second},
		{"RepeatFor(10s)", RepeatFor(10 * time.Second), 90 * time.Second},
		{"RepeatFor(120s)", RepeatFor(120 * time.Second), 240 * time.Second},
		{"Trial(1s)", Trial(time.Second), 500 * time.Millisecond},
		{"Trial(10s)", Trial(10 * time.Second), 1250 * time.Millisecond},
		{"Trial(120s)", Trial(120 * time.Second), 5 * time.Second},
		{"Deadline(10s)", Deadline(10 * time.Second), 40 * time.Second},
		{"Deadline(120s)", Deadline(120 * time.Second), 150 * time.Second},
		{"MapMissing(1)", MapMissing(1), time.Second},
		{"MapMissing(3)", MapMissing(3), 4 * time.Second},
		{"MapMissing(9)", MapMissing(9), 15 * time.Second},
		{"MapRefused(60s, 1)", MapRefused(time.Minute, 1), 5 * time.Second},
		{"MapRefused(60s, 3)", MapRefused(time.Minute, 3), 20 * time.Second},
		{"MapRefused(60s, 5)", MapRefused(time.Minute, 5), time.Minute},
		{"MapRefused(3s, 1)", MapRefused(3*time.Second, 1), 3 * time.Second},
		{"RejectedWait(120s, 1)", RejectedWait(2*time.Minute, 1), time.Second},
		{"RejectedWait(120s, 7)", RejectedWait(2*time.Minute, 7), time.Minute},
		{"RejectedWait(1s, 1)", RejectedWait(time.Second, 1), 500 * time.Millisecond},
		{"UnauthorizedWait(0, 1)", UnauthorizedWait(0, 1), time.Second},
		{"UnauthorizedWait(0, 4)", UnauthorizedWait(0, 4), 5 * time.Second},
		{"UnauthorizedWait(10m, 9)", UnauthorizedWait(10*time.Minute, 9), time.Minute},
		{"TrialWait(120s, 1)", TrialWait(2*time.Minute, 1), 500 * time.Millisecond},
		{"MapAttempt(120s, 1h)", MapAttempt(2*time.Minute, time.Hour), 5 * time.Second},
		{"MapAttempt(120s, 1s)", MapAttempt(2*time.Minute, time.Second), time.Second},
		{"Backoff after a million tries", Backoff(time.Second, time.Hour, 1e6), time.Hour},
	} {
		if tt.got != tt.want {
			t.Errorf("%s: got %v, want %v", tt.name, tt.got, tt.want)
		}
	}
}

func TestJitterKeepsTheLimit(t *testing.T) {
	for range 1000 {
		if got := Jitter(5 * time.Second); got < 4*time.Second || got > 5*time.Second {
			t.Fatalf("got %v, want 4s to 5s", got)
		}
	}
}

// pairs calls f with every interval and promise that a configuration can have, densely.
func pairs(f func(interval, promise time.Duration)) {
	for i := time.Second; i <= time.Hour; i += max(time.Second, (i / 50).Truncate(time.Second)) {
		for p := i; p <= time.Hour; p += max(time.Second, ((p - i) / 100).Truncate(time.Second)) {
			f(i, p)
		}
	}
}

// TestSilenceEndsBeforeThePageTurnsRedWithAPromise: a report that was just too young to be
// renewed is followed by one a turn later, an outage of the API included.
func TestSilenceEndsBeforeThePageTurnsRedWithAPromise(t *testing.T) {
	pairs(func(i, p time.Duration) {
		silence := Renewal(i, p) + i + Repeat + Outage + Trial(i) + Recovery
		if limit := p + 38*time.Second; silence > limit {
			t.Errorf("interval %v, promise %v: got a silence of %v, want at most %v", i, p, silence, limit)
		}
		if last := Deadline(p) + StatusLine + Recovery; last >= p+Grace {
			t.Errorf("interval %v, promise %v: got a second try %v after the last report, want it before %v", i, p, last, p+Grace)
		}
		switch got := Renewal(i, p); {
		case p == i && got != 0:
			t.Errorf("interval and promise %v: got a renewal after %v, want every verdict reported", i, got)
		case got > p/2:
			t.Errorf("interval %v, promise %v: got a renewal after %v, want it after half the promise at most", i, p, got)
		case p >= 2*i && got != p/2:
			t.Errorf("interval %v, promise %v: got a renewal after %v, want it after half the promise", i, p, got)
		}
	})
}

// TestAbsenceIsNotShown: the last report is as old as can be when the daemon ends.
func TestAbsenceIsNotShown(t *testing.T) {
	pairs(func(i, p time.Duration) {
		if silence := Renewal(i, p) + i + Absence(i, p); silence > p+Grace {
			t.Errorf("interval %v, promise %v: got a silence of %v around an absence of %v, want %v at most", i, p, silence, Absence(i, p), p+Grace)
		}
		if got := Absence(i, p); got < Grace || p >= 2*i && got != p-p/2+Grace-i {
			t.Errorf("interval %v, promise %v: got an absence of %v, want half the promise and 40s less the interval, 40s at least", i, p, got)
		}
		if silence := Parting + p + Spread(i) + Repeat; silence >= p+Grace {
			t.Errorf("interval %v, promise %v: got a silence of %v around a planned absence, want less than %v", i, p, silence, p+Grace)
		}
	})
}
