package probe

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// trial is a pool whose probes take a second each, and what it did.
type trial struct {
	Pool
	mu      sync.Mutex
	begun   []string // replicas, in the order in which their probes began
	done    []string
	most    int // probes at the same time
	running int
}

func newTrial(t *testing.T, limit int) *trial {
	p := new(trial)
	p.Probe = func(ctx context.Context, c Check, budget time.Duration) Result {
		p.mu.Lock()
		p.begun = append(p.begun, c.NodeID)
		p.running++
		p.most = max(p.most, p.running)
		p.mu.Unlock()
		defer func() {
			p.mu.Lock()
			p.running--
			p.mu.Unlock()
		}()
		if budget != 35*time.Second {
			t.Errorf("a probe has the budget %v, want 35s", budget)
		}
		if !sleep(ctx, time.Second) {
			r := Result{Check: c}
			r.cancel(ctx)
			return r
		}
		return Result{Check: c, Health: Healthy}
	}
	p.Done = func(r Result) {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.done = append(p.done, r.Check.NodeID)
	}
	p.Limit(limit, 35*time.Second)
	return p
}

// start starts probes of n replicas, named after what they are.
func (p *trial) start(ctx context.Context, t *testing.T, name string, n int) {
	for i := range n {
		c := tcpCheck(t, nil)
		c.NodeID = fmt.Sprintf("%s%d", name, i)
		p.Start(ctx, c, name == "dead")
	}
}

func (p *trial) beginnings() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.begun)
}

func (p *trial) ends() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.done)
}

func (p *trial) peak() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.most
}

// count returns how many of the names begin with prefix.
func count(names []string, prefix string) (n int) {
	for _, name := range names {
		if strings.HasPrefix(name, prefix) {
			n++
		}
	}
	return n
}

func TestPoolIsBoundedAndDoesAll(t *testing.T) {
	for _, tt := range []struct {
		limit, probes, bound int
		takes                time.Duration
	}{
		{4, 10, 4, 3 * time.Second},
		{1, 5, 1, 5 * time.Second},
		{0, 3, 1, 3 * time.Second}, // at least one
		{100, 10, 10, time.Second},
	} {
		synctest.Test(t, func(t *testing.T) {
			p, start := newTrial(t, tt.limit), time.Now()
			p.start(t.Context(), t, "live", tt.probes)
			if got := p.Running(); got != tt.probes {
				t.Errorf("limit %d: %d run or wait, want %d", tt.limit, got, tt.probes)
			}
			p.Wait()
			if took := time.Since(start); took != tt.takes || p.peak() != tt.bound {
				t.Errorf("limit %d: %d probes took %v, %d at a time, want %v, %d", tt.limit, tt.probes, took, p.peak(), tt.takes, tt.bound)
			}
			if len(p.ends()) != tt.probes || p.Running() != 0 {
				t.Errorf("limit %d: %d done, %d left, want all %d", tt.limit, len(p.ends()), p.Running(), tt.probes)
			}
		})
	}
}

func TestPoolKeepsTheOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newTrial(t, 1)
		p.start(t.Context(), t, "live", 6)
		p.Wait()
		want := []string{"live0", "live1", "live2", "live3", "live4", "live5"}
		if !slices.Equal(p.beginnings(), want) {
			t.Errorf("begun %v, want %v", p.beginnings(), want)
		}
	})
}

func TestDeadOnesComeLastAndHaveThreeQuarters(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newTrial(t, 8)
		p.start(t.Context(), t, "dead", 20)
		synctest.Wait()
		if got := len(p.beginnings()); got != 6 {
			t.Errorf("%d of 20 dead ones have a place of 8, want 6", got)
		}
		p.start(t.Context(), t, "live", 10)
		synctest.Wait()
		if got := count(p.beginnings(), "live"); got != 2 {
			t.Errorf("%d live ones begun beside six dead ones, want 2 in the places kept for them", got)
		}
		p.Wait()
		if next := p.beginnings()[8:16]; count(next, "live") != 8 {
			t.Errorf("then %v began, want the eight live ones that waited", next)
		}
		if len(p.ends()) != 30 || p.peak() != 8 {
			t.Errorf("%d done, %d at a time, want 30 and 8", len(p.ends()), p.peak())
		}
	})
}

func TestADeadOneHasAPlaceWhereThereIsButOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newTrial(t, 1)
		p.start(t.Context(), t, "dead", 2)
		p.start(t.Context(), t, "live", 1)
		p.Wait()
		if want := []string{"dead0", "live0", "dead1"}; !slices.Equal(p.beginnings(), want) {
			t.Errorf("begun %v, want %v", p.beginnings(), want)
		}
	})
}

func TestRaisedLimitLetsWaitingOnesBegin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newTrial(t, 1)
		p.start(t.Context(), t, "live", 9)
		p.Limit(8, 35*time.Second)
		synctest.Wait()
		if len(p.beginnings()) != 8 {
			t.Errorf("%d probes begun after the limit was raised to 8, want 8", len(p.beginnings()))
		}
		p.Wait()
		if len(p.ends()) != 9 {
			t.Errorf("%d done, want 9", len(p.ends()))
		}
	})
}

func TestLoweredLimitHoldsForWhatBeginsThen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, start := newTrial(t, 6), time.Now()
		p.start(t.Context(), t, "live", 12)
		p.Limit(2, 35*time.Second)
		p.Wait()
		if took := time.Since(start); took != 4*time.Second || len(p.ends()) != 12 {
			t.Errorf("%d done after %v, want all 12 after 4s: six, then two at a time", len(p.ends()), took)
		}
	})
}

func TestBudgetHoldsForTheProbesThatBeginThen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newTrial(t, 1)
		var budgets []time.Duration
		p.Probe = func(ctx context.Context, c Check, budget time.Duration) Result {
			budgets = append(budgets, budget)
			time.Sleep(time.Second)
			return Result{Check: c, Health: Healthy}
		}
		p.start(t.Context(), t, "live", 2)
		synctest.Wait()
		p.Limit(1, 5*time.Second)
		p.Wait()
		if want := []time.Duration{35 * time.Second, 5 * time.Second}; !slices.Equal(budgets, want) {
			t.Errorf("budgets %v, want %v", budgets, want)
		}
	})
}

func TestRetainDropsWhatWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newTrial(t, 2)
		p.start(t.Context(), t, "dead", 4)
		synctest.Wait()
		p.start(t.Context(), t, "live", 6)
		synctest.Wait()
		p.Retain(func(id ID) bool { return strings.HasSuffix(id.Node, "3") })
		if got := p.Running(); got != 4 {
			t.Errorf("%d run or wait, want the two that run and the two retained", got)
		}
		p.Wait()
		if want := []string{"dead0", "live0", "live3", "dead3"}; !slices.Equal(p.beginnings(), want) || len(p.ends()) != 4 {
			t.Errorf("begun %v, %d done, want %v", p.beginnings(), len(p.ends()), want)
		}
	})
}

func TestCancelledPoolEndsWithoutVerdicts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, start := newTrial(t, 4), time.Now()
		ctx, cancel := context.WithCancel(t.Context())
		p.start(ctx, t, "live", 10)
		p.start(ctx, t, "dead", 10)
		time.Sleep(1500 * time.Millisecond)
		cancel()
		p.Wait()
		if took := time.Since(start); took != 1500*time.Millisecond {
			t.Errorf("ended after %v, want at once", took)
		}
		if len(p.ends()) != 4 || len(p.beginnings()) != 8 || p.Running() != 0 {
			t.Errorf("%d begun, %d done, %d left, want 8, the 4 that were over, none", len(p.beginnings()), len(p.ends()), p.Running())
		}
	})
}

func TestCancelledPoolKeepsWhatWasMeasured(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newTrial(t, 1)
		ctx, cancel := context.WithCancel(t.Context())
		p.Probe = func(_ context.Context, c Check, _ time.Duration) Result {
			cancel()
			return Result{Check: c, Health: Dead}
		}
		p.start(ctx, t, "live", 1)
		p.Wait()
		if len(p.ends()) != 1 {
			t.Errorf("%d done, want the verdict that was there before the end", len(p.ends()))
		}
	})
}

func TestEachProbeRunsUnderItsOwnContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newTrial(t, 1)
		ctx, cancel := context.WithCancel(t.Context())
		p.start(ctx, t, "live", 2)
		p.start(t.Context(), t, "other", 1)
		cancel()
		p.Wait()
		if want := []string{"other0"}; !slices.Equal(p.ends(), want) {
			t.Errorf("done %v, want %v", p.ends(), want)
		}
	})
}

// Without a verdict for want of something here, the result is handed on.
func TestPoolHandsOnLocalTrouble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newTrial(t, 1)
		p.Probe = func(_ context.Context, c Check, _ time.Duration) Result { return Result{Check: c, Err: lacking.err} }
		p.start(t.Context(), t, "live", 1)
		p.Wait()
		if len(p.ends()) != 1 {
			t.Errorf("%d done, want 1", len(p.ends()))
		}
	})
}

// Done that blocks keeps the place of its probe, and nothing is lost.
func TestPoolWaitsForDone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newTrial(t, 2)
		results := make(chan Result)
		p.Done = func(r Result) { results <- r }
		p.start(t.Context(), t, "live", 5)
		time.Sleep(time.Minute)
		if len(p.beginnings()) != 2 {
			t.Errorf("%d begun while nobody takes results, want 2", len(p.beginnings()))
		}
		for range 5 {
			<-results
		}
		p.Wait()
	})
}
