package probe

import (
	"context"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"
)

// An attempt that was down while the process did not run is repeated, with the
// budget anew; one that was up counts.
func TestAttemptThatStraddledAStall(t *testing.T) {
	for _, tt := range []struct {
		name     string
		jump     time.Duration // of the clock, in the first attempt
		steps    []step
		health   Health
		attempts int
	}{
		{"down, then up", 2 * time.Second, []step{refused, up}, Healthy, 2},
		{"down, then down on all attempts", 2 * time.Second, []step{refused}, Dead, 4},
		{"up", 2 * time.Second, []step{up}, Healthy, 1},
		{"down after a short pause of the process", time.Second, []step{refused}, Dead, 3},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p, attempts := scripted(tt.steps...)
				start, jumped := time.Now(), time.Duration(0)
				p.stalls.clock = func() time.Duration { return time.Since(start) + jumped }
				touch := p.touch
				p.touch = func(ctx context.Context, addr netip.AddrPort, a attempt) error {
					if len(*attempts) == 0 {
						jumped = tt.jump
					}
					return touch(ctx, addr, a)
				}
				r := p.Probe(t.Context(), tcpCheck(t, &Rules{Retry: 2, DeadAfter: 10 * time.Second}), 35*time.Second)
				if r.Health != tt.health || r.Attempts != tt.attempts {
					t.Errorf("got %q after %d attempts, want %q after %d", r.Health, r.Attempts, tt.health, tt.attempts)
				}
			})
		})
	}
}

func TestProcessThatStallsAgainAndAgainStillJudges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, _ := scripted(refused)
		var now time.Duration
		p.stalls.clock = func() time.Duration { now += 10 * time.Second; return now }
		r := p.Probe(t.Context(), tcpCheck(t, &Rules{Retry: 0, DeadAfter: time.Second}), 35*time.Second)
		if r.Health != Dead || r.Attempts != 1+maxRepeats {
			t.Errorf("got %q after %d attempts, want dead after %d", r.Health, r.Attempts, 1+maxRepeats)
		}
	})
}

func TestStallIsNoticedOnlyWhileAttemptsAreUnderWay(t *testing.T) {
	var now time.Duration
	s := stalls{clock: func() time.Duration { return now }}
	s.leave(s.enter())
	now += time.Hour // nobody was looking, and nobody waited
	mark := s.enter()
	if s.leave(mark) {
		t.Error("an hour without attempts counts as a stall, want none")
	}
	mark = s.enter()
	now += stallTick + worstStall
	if s.leave(mark) {
		t.Errorf("%v between two looks counts as a stall, want none", stallTick+worstStall)
	}
	mark = s.enter()
	now += stallTick + worstStall + 1
	if !s.leave(mark) {
		t.Errorf("more than %v between two looks is not noticed", stallTick+worstStall)
	}
}

func TestTimeSinceBootGoesOn(t *testing.T) {
	before := sinceBoot()
	time.Sleep(2 * time.Millisecond)
	if after := sinceBoot(); before == 0 || after <= before {
		t.Errorf("time since boot: got %v and then %v, want it to go on", before, after)
	}
}
