package probe

import (
	"context"
	"errors"
	"net/netip"
	"sync/atomic"
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
				start, jumped := time.Now(), new(atomic.Int64)
				p.stalls.clock = func() time.Duration { return time.Since(start) + time.Duration(jumped.Load()) }
				connectHalfOpen := p.connectHalfOpen
				p.connectHalfOpen = func(ctx context.Context, addr netip.AddrPort, a attempt) error {
					if len(*attempts) == 0 {
						jumped.Store(int64(tt.jump))
					}
					return connectHalfOpen(ctx, addr, a)
				}
				r := p.probe(t.Context(), tcpCheck(t, &Rules{Retry: 2, DeadAfter: 10 * time.Second}), 35*time.Second)
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
		r := p.probe(t.Context(), tcpCheck(t, &Rules{Retry: 0, DeadAfter: time.Second}), 35*time.Second)
		if r.Health != Dead || r.Attempts != 1+maxRepeats {
			t.Errorf("got %q after %d attempts, want dead after %d", r.Health, r.Attempts, 1+maxRepeats)
		}
	})
}

func TestStallIsNoticedOnlyWhileAttemptsAreUnderWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var now time.Duration
		s := stalls{clock: func() time.Duration { return now }}
		down := errors.New("down")
		s.leave(s.enter(time.Second), down)
		now += time.Hour // nobody was looking, and nobody waited
		a := s.enter(time.Second)
		if s.leave(a, down) {
			t.Error("an hour without attempts counts as a stall, want none")
		}
		a = s.enter(time.Second)
		now += stallTick + worstStall
		if s.leave(a, down) {
			t.Errorf("%v between two looks counts as a stall, want none", stallTick+worstStall)
		}
		a = s.enter(time.Second)
		now += stallTick + worstStall + 1
		if !s.leave(a, down) {
			t.Errorf("more than %v between two looks is not noticed", stallTick+worstStall)
		}
		a = s.enter(time.Second)
		for range 6 { // 30 ms of running, again and again
			now += stallTick + 200*time.Millisecond
			s.tick()
		}
		if !s.leave(a, down) {
			t.Error("1.2 s in pieces are not noticed")
		}
		a = s.enter(time.Second)
		for range 1000 {
			now += stallTick + tolerance
			s.tick()
		}
		if s.leave(a, down) {
			t.Errorf("%v more than a tick counts as a stall, want none", tolerance)
		}
	})
}

func TestTimeSinceBootGoesOn(t *testing.T) {
	before := sinceBoot()
	time.Sleep(2 * time.Millisecond)
	if after := sinceBoot(); before == 0 || after <= before {
		t.Errorf("time since boot: got %v and then %v, want it to go on", before, after)
	}
}

// However small the budget, the attempt that takes the place of one that
// straddled a stall has its time whole: a slow replica would be dead otherwise.
func TestAttemptAfterAStallHasItsTimeWhole(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, attempts := scripted(refused, upAfter(4*time.Second))
		start, jumped := time.Now(), new(atomic.Int64)
		p.stalls.clock = func() time.Duration { return time.Since(start) + time.Duration(jumped.Load()) }
		connectHalfOpen := p.connectHalfOpen
		p.connectHalfOpen = func(ctx context.Context, addr netip.AddrPort, a attempt) error {
			jumped.Store(int64(2 * time.Second))
			return connectHalfOpen(ctx, addr, a)
		}
		r := p.probe(t.Context(), tcpCheck(t, &Rules{Retry: 0, DeadAfter: 5 * time.Second}), Budget(time.Second))
		if r.Health != Healthy || len(*attempts) != 2 || (*attempts)[1].limit != 5*time.Second {
			t.Errorf("got %q after the attempts %v, want healthy after two of 5 s", r.Health, *attempts)
		}
	})
}

// Where this host's trouble took the time that an attempt should have had, that
// it had no answer says nothing of the target.
func TestAttemptThatThisHostsTroubleCutIsNoDeath(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, _ := scripted(lacking, silent)
		r := p.probe(t.Context(), tcpCheck(t, &Rules{Retry: 0, DeadAfter: 5 * time.Second}), 2*time.Second)
		if r.Health != Unknown || kindOf(r.Err) != KindLocal {
			t.Errorf("got %q for %v, want no verdict: no attempt had its time whole", r.Health, r.Err)
		}
	})
}
