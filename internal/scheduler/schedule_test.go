package scheduler

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/crisp-im/crisp-status-local/v2/internal/pace"
)

// scheduled returns a schedule of one map of n replicas.
func scheduled(n int, interval time.Duration, now time.Time) *schedule {
	s := &schedule{interval: interval}
	s.add(now, make([]*replica, n))
	return s
}

func TestSpreadIsAQuarterOfTheIntervalAtMost30s(t *testing.T) {
	for _, tt := range []struct{ interval, want time.Duration }{
		{time.Second, 250 * time.Millisecond},
		{60 * time.Second, 15 * time.Second},
		{120 * time.Second, 30 * time.Second},
		{3600 * time.Second, 30 * time.Second},
	} {
		if got := pace.Spread(tt.interval); got != tt.want {
			t.Errorf("spread(%v): got %v, want %v", tt.interval, got, tt.want)
		}
	}
}

// peak against counting every window of w that begins with a turn, over two
// intervals.
func TestPeakIsTheMostTurnsWithinW(t *testing.T) {
	random := rand.New(rand.NewPCG(5, 6))
	for range 300 {
		interval := time.Duration(1+random.IntN(100)) * time.Second
		s := &schedule{interval: interval}
		now := time.Unix(1e9, 0)
		all := 0
		for range random.IntN(5) {
			n := random.IntN(200)
			s.add(now.Add(time.Duration(random.Int64N(int64(interval)))), make([]*replica, n))
			all += n
		}
		for range random.IntN(20) {
			if due, ok := s.next(); ok {
				s.take(due)
			}
		}
		w := time.Duration(random.Int64N(int64(interval)))
		want := 0
		for _, first := range s.groups {
			within := 0
			for _, g := range s.groups {
				after := g.due.Sub(first.due) % interval
				if after < 0 {
					after += interval
				}
				if after <= w {
					within += len(g.members)
				}
			}
			want = max(want, within)
		}
		if got := s.peak(w); got != want {
			t.Fatalf("peak(%v) of %d groups every %v: got %d, want %d", w, len(s.groups), interval, got, want)
		}
		if got := s.peak(interval); got != all {
			t.Fatalf("peak of the whole interval: got %d, want all, %d", got, all)
		}
	}
}

// bound is the formula of the package comment.
func bound(n int, w, interval time.Duration) int {
	s := min(interval/4, 30*time.Second)
	groups := (n + 31) / 32
	return min(n, 32*(int(int64(groups)*int64(w)/int64(s))+1))
}

func TestPeakOfOneMapIsTheFormulaOfThePackage(t *testing.T) {
	for _, interval := range []time.Duration{1, 2, 10, 60, 119, 120, 600, 3600} {
		interval *= time.Second
		for _, n := range []int{0, 1, 31, 32, 33, 64, 100, 1000, 9999, 10000} {
			for _, w := range []time.Duration{time.Second, 3400 * time.Millisecond, 10 * time.Second, 30400 * time.Millisecond, 35 * time.Second} {
				t.Run(fmt.Sprintf("%d replicas of %v every %v", n, w, interval), func(t *testing.T) {
					// A step is a whole number of nanoseconds, so it can be a trifle
					// shorter than the formula's.
					got, want := scheduled(n, interval, time.Unix(1e9, 0)).peak(w), bound(n, w, interval)
					if got < want || got > bound(n, w+time.Microsecond, interval) {
						t.Errorf("got %d, want %d", got, want)
					}
				})
			}
		}
	}
}

func TestTakeKeepsThePhase(t *testing.T) {
	start := time.Unix(1e9, 0)
	for _, tt := range []struct{ late, next time.Duration }{
		{0, 10 * time.Second},
		{time.Second, 10 * time.Second},
		{9999 * time.Millisecond, 10 * time.Second},
		{10 * time.Second, 20 * time.Second},
		{47 * time.Second, 50 * time.Second},
	} {
		s := scheduled(1, 10*time.Second, start)
		s.take(start.Add(tt.late))
		if due, _ := s.next(); !due.Equal(start.Add(tt.next)) {
			t.Errorf("taken %v late: due again %v after its turn, want %v", tt.late, due.Sub(start), tt.next)
		}
	}
}
