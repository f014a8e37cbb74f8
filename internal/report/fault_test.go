package report

import (
	"cmp"
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/crisp-im/crisp-status-local/v2/internal/pace"
	"github.com/crisp-im/crisp-status-local/v2/internal/probe"
	"github.com/crisp-im/crisp-status-local/v2/internal/statusapi"
)

// fault is what an API does with the reports of a while.
type fault struct {
	name  string
	err   error         // nil: the request hangs for 20 s
	lasts time.Duration // 0: for one report
	slow  time.Duration // before it answers
}

func faults() []fault {
	var all []fault
	for _, code := range []int{401, 404, 422, 429, 500, 503} {
		for _, lasts := range []time.Duration{0, time.Second, 6 * time.Second} {
			all = append(all, fault{fmt.Sprint(code), refusing(code, time.Hour), lasts, 0})
		}
	}
	for _, lasts := range []time.Duration{0, time.Second, 6 * time.Second, 25 * time.Second} {
		all = append(all, fault{"a hang", nil, lasts, 0})
	}
	return append(all,
		fault{"503", refusing(503, 0), 25 * time.Second, 0},
		fault{"503 with Retry-After", refusing(503, time.Hour), 25 * time.Second, 0},
		fault{"429 with Retry-After", refusing(429, time.Hour), 25 * time.Second, 0},
		fault{"404", refusing(404, 0), 25 * time.Second, 0},
		fault{"no connection", errUnreachable, 25 * time.Second, 0},
		fault{"no connection after 4s", errUnreachable, 25 * time.Second, 4 * time.Second},
	)
}

// estate is a map of replicas that are up, the turns of which are spread as the
// scheduler's, and the page that their reports make.
type estate struct {
	replicas int
	interval time.Duration
	fault    fault
	from     time.Time // when the fault begins

	mu       sync.Mutex
	once     bool
	taken    []time.Time // the last report of each replica
	newest   []int       // the number of it
	longest  time.Duration
	requests int
}

// Report is the API.
func (s *estate) Report(ctx context.Context, v statusapi.Verdict, _ time.Duration) error {
	wait := func(d time.Duration) error {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(d):
			return nil
		}
	}
	s.mu.Lock()
	s.requests++
	now := time.Now()
	faulty := !now.Before(s.from) && (now.Before(s.from.Add(s.fault.lasts)) || s.fault.lasts == 0 && !s.once)
	s.once = s.once || faulty
	s.mu.Unlock()
	if faulty {
		if s.fault.err != nil {
			return cmp.Or(wait(s.fault.slow), s.fault.err)
		}
		return cmp.Or(wait(20*time.Second), errUnreachable)
	}
	if err := wait(20 * time.Millisecond); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	i, err := strconv.Atoi(strings.TrimSuffix(strings.TrimPrefix(v.ID.Replica, "tcp://replica-"), ":1"))
	if err != nil {
		return err
	}
	now = time.Now()
	if number(v) < s.newest[i] {
		panic("an older verdict follows a newer one")
	}
	if !s.taken[i].IsZero() {
		s.longest = max(s.longest, now.Sub(s.taken[i]))
	}
	s.taken[i] = now
	s.newest[i] = number(v)
	return nil
}

// run has the replicas judged for so many cycles: each is ready after ready(turn)
// of its turn, or its last verdict is repeated.
func (s *estate) run(b *bench, cycles int, ready func(replica, cycle int) time.Duration) {
	type put struct {
		at      time.Duration
		replica int
		n       int
	}
	var puts []put
	groups := (s.replicas + 31) / 32
	for cycle := range cycles {
		for i := range s.replicas {
			turn := time.Duration(cycle)*s.interval + pace.Spread(s.interval)*time.Duration(i/32)/time.Duration(groups)
			after := ready(i, cycle)
			if after > pace.Repeat {
				puts = append(puts, put{turn + pace.Repeat, i, cycle})
			}
			puts = append(puts, put{turn + after, i, cycle + 1})
		}
	}
	slices.SortStableFunc(puts, func(a, b put) int { return cmp.Compare(a.at, b.at) })
	began := time.Now()
	for _, p := range puts {
		if wait := p.at - time.Since(began); wait > 0 {
			time.Sleep(wait)
		}
		b.Put(verdict(p.replica, p.n, probe.Healthy))
	}
	time.Sleep(time.Minute) // a request that hangs is over
	synctest.Wait()
}

func (s *estate) String() string {
	return fmt.Sprintf("%d replicas, interval %v, %s for %v", s.replicas, s.interval, s.fault.name, s.fault.lasts)
}

// TestNoFaultOfTheAPITurnsThePageRed: whatever the API does for up to 25 s,
// whenever that begins, no replica that is up is unreported for longer than the
// interval and 38 s, and none of their verdicts is lost.
func TestNoFaultOfTheAPITurnsThePageRed(t *testing.T) {
	for _, size := range []struct{ replicas, phases int }{{1, 3}, {2, 2}, {40, 3}, {2000, 1}} {
		for _, interval := range []time.Duration{10 * time.Second, time.Minute, 2 * time.Minute, time.Hour} {
			for n, f := range faults() {
				if size.replicas > 1000 && (f.lasts < 25*time.Second || interval == time.Minute || interval == time.Hour) {
					continue // as with forty, in a hundred times the time
				}
				s := &estate{replicas: size.replicas, interval: interval, fault: f}
				t.Run(s.String(), func(t *testing.T) {
					for phase := range size.phases {
						random := rand.New(rand.NewPCG(uint64(n), uint64(phase)))
						synctest.Test(t, func(t *testing.T) { s.suffer(t, random, phase) })
					}
				})
			}
		}
	}
}

// suffer has the fault begin at a random moment of the third of six cycles.
func (s *estate) suffer(t *testing.T, random *rand.Rand, phase int) {
	const cycles = 6
	s.taken, s.newest, s.once, s.longest = make([]time.Time, s.replicas), make([]int, s.replicas), false, 0
	b := newBench(t, s.replicas, s.interval, s.Report)
	defer b.stop()
	within := pace.Spread(s.interval) + pace.Repeat // when most verdicts come
	if phase == 1 {
		within = s.interval
	}
	begin := time.Duration(random.Float64() * float64(within))
	s.from = time.Now().Add(2*s.interval + begin)
	delays := []time.Duration{0, 5 * time.Second, 10*time.Second - 1, 30400 * time.Millisecond, 35 * time.Second}
	s.run(b, cycles, func(int, int) time.Duration {
		return min(delays[random.IntN(len(delays))], s.interval/2)
	})
	if limit := s.interval + 38*time.Second; s.longest > limit {
		t.Errorf("%v into a cycle: got a replica unreported for %v, want at most %v", begin, s.longest, limit)
	}
	for i, n := range s.newest {
		if n != cycles {
			t.Errorf("%v into a cycle: got verdict %d of replica %d last, want %d", begin, n, i, cycles)
		}
	}
	b.settled(t)
}

// TestRefusalsForAnHour: the requests an interval are those of the table, for
// two thousand replicas, and all is well when they end.
func TestRefusalsForAnHour(t *testing.T) {
	for _, tt := range []struct {
		code, most int // requests an interval of two minutes, after a quarter of an hour
	}{
		{401, 2},
		{403, 30},
		{404, 30},
		{422, 30},
		{500, 30},
	} {
		synctest.Test(t, func(t *testing.T) {
			const replicas, interval = 2000, 2 * time.Minute
			s := &estate{replicas: replicas, interval: interval, fault: fault{"", refusing(tt.code, 0), time.Hour, 0},
				taken: make([]time.Time, replicas), newest: make([]int, replicas)}
			b := newBench(t, replicas, interval, s.Report)
			defer b.stop()
			s.from = time.Now().Add(2*interval + 10*time.Second)
			before := 0
			time.AfterFunc(2*interval+25*time.Minute, func() { s.mu.Lock(); before = s.requests; s.mu.Unlock() })
			time.AfterFunc(2*interval+55*time.Minute, func() {
				s.mu.Lock()
				defer s.mu.Unlock()
				if got := float64(s.requests-before) / 15; got > float64(tt.most) {
					t.Errorf("status %d: got %.1f requests an interval, want at most %d", tt.code, got, tt.most)
				} else {
					t.Logf("status %d: %.1f requests an interval", tt.code, got)
				}
			})
			s.run(b, 34, func(int, int) time.Duration { return time.Second })
			for i, n := range s.newest {
				if n != 34 {
					t.Fatalf("status %d: got verdict %d of replica %d last, want 34", tt.code, n, i)
				}
			}
		})
	}
}
