package scheduler

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/crisp-im/crisp-status-local/v2/internal/pace"
	"github.com/crisp-im/crisp-status-local/v2/internal/probe"
)

// poolTrial is a pool whose probes take a second each, and the record of it.
// Its goroutine is that of the test.
type poolTrial struct {
	pool
	ctx     context.Context
	t       *testing.T
	results chan *job
	started chan probe.Task
	order   []string // replicas, in the order in which their probes started
	over    []string
	most    int // probes at a time
}

func newPoolTrial(t *testing.T, limit int) *poolTrial {
	p := &poolTrial{ctx: t.Context(), t: t, results: make(chan *job), started: make(chan probe.Task, 100)}
	p.pool = pool{done: p.results, probe: func(ctx context.Context, task probe.Task) probe.Result {
		p.started <- task
		select {
		case <-ctx.Done():
			return probe.Result{Err: ctx.Err()}
		case <-time.After(time.Second):
			return healthy
		}
	}}
	p.resize(p.ctx, limit, 120*time.Second)
	return p
}

// add starts probes of n replicas, named after what they are.
func (p *poolTrial) add(name string, n int) {
	for i := range n {
		c := check(p.t, fmt.Sprintf("tcp://%s%d:1", name, i), nil)
		p.start(p.ctx, &job{replica: &replica{check: &c, phase: probing}, wasDead: name == "dead"})
	}
}

// names takes note of the probes that have started.
func (p *poolTrial) names() []string {
	synctest.Wait()
	for {
		select {
		case task := <-p.started:
			p.order = append(p.order, task.Check.Target.ID()[len("tcp://"):])
		default:
			p.most = max(p.most, p.running)
			return p.order
		}
	}
}

// wait receives every result.
func (p *poolTrial) wait() {
	p.names()
	for p.running > 0 {
		j := <-p.results
		p.over = append(p.over, j.replica.check.Target.ID()[len("tcp://"):])
		p.release(p.ctx, j)
		p.names()
	}
	p.goroutines.Wait()
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
			p, start := newPoolTrial(t, tt.limit), time.Now()
			p.add("live", tt.probes)
			if got := p.load(); got != tt.probes {
				t.Errorf("limit %d: %d run or wait, want %d", tt.limit, got, tt.probes)
			}
			p.wait()
			if took := time.Since(start); took != tt.takes || p.most != tt.bound {
				t.Errorf("limit %d: %d probes took %v, %d at a time, want %v, %d", tt.limit, tt.probes, took, p.most, tt.takes, tt.bound)
			}
			if len(p.over) != tt.probes || p.load() != 0 {
				t.Errorf("limit %d: %d done, %d left, want all %d", tt.limit, len(p.over), p.load(), tt.probes)
			}
		})
	}
}

func TestPoolKeepsTheOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPoolTrial(t, 1)
		p.add("live", 6)
		p.wait()
		if want := []string{"live0:1", "live1:1", "live2:1", "live3:1", "live4:1", "live5:1"}; !slices.Equal(p.order, want) {
			t.Errorf("started %v, want %v", p.order, want)
		}
	})
}

func TestDeadOnesComeLastAndHaveThreeQuarters(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPoolTrial(t, 8)
		p.add("dead", 20)
		if got := len(p.names()); got != 6 {
			t.Errorf("%d of 20 dead ones have a place of 8, want 6", got)
		}
		p.add("live", 10)
		if got := count(p.names(), "live"); got != 2 {
			t.Errorf("%d live ones started beside six dead ones, want 2 in the places kept for them", got)
		}
		p.wait()
		if next := p.order[8:16]; count(next, "live") != 8 {
			t.Errorf("then %v started, want the eight live ones that waited", next)
		}
		if len(p.over) != 30 || p.most != 8 {
			t.Errorf("%d done, %d at a time, want 30 and 8", len(p.over), p.most)
		}
	})
}

func TestADeadOneHasAPlaceWhereThereIsButOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPoolTrial(t, 1)
		p.add("dead", 2)
		p.add("live", 1)
		p.wait()
		if want := []string{"dead0:1", "live0:1", "dead1:1"}; !slices.Equal(p.order, want) {
			t.Errorf("started %v, want %v", p.order, want)
		}
	})
}

func TestRaisedLimitLetsWaitingOnesBegin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPoolTrial(t, 1)
		p.add("live", 9)
		p.resize(p.ctx, 8, 120*time.Second)
		if got := len(p.names()); got != 8 {
			t.Errorf("%d probes started after the limit was raised to 8, want 8", got)
		}
		p.wait()
		if len(p.over) != 9 {
			t.Errorf("%d done, want 9", len(p.over))
		}
	})
}

func TestLoweredLimitHoldsForWhatBeginsThen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, start := newPoolTrial(t, 6), time.Now()
		p.add("live", 12)
		p.resize(p.ctx, 2, 120*time.Second)
		p.wait()
		if took := time.Since(start); took != 4*time.Second || len(p.over) != 12 {
			t.Errorf("%d done after %v, want all 12 after 4s: six, then two at a time", len(p.over), took)
		}
	})
}

func TestTaskHoldsForTheProbesThatBeginThen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPoolTrial(t, 1)
		rules := probe.DefaultRules()
		rules.DeadAfter = time.Second
		c := check(t, "tcp://a:1", rules)
		for range 3 {
			p.start(p.ctx, &job{replica: &replica{check: &c}})
		}
		p.start(p.ctx, &job{replica: &replica{check: &c}, confirmation: true})
		want := []probe.Task{
			{Check: c, Budget: 35 * time.Second},
			{Check: c, Budget: 5 * time.Second},
			{Check: c, Budget: pace.Budget(time.Second, time.Second)},
			{Check: c, Budget: time.Second, Attempts: 1, Fresh: true},
		}
		for i, interval := range []time.Duration{10 * time.Second, time.Second, time.Second, time.Second} {
			if got := <-p.started; got != want[i] {
				t.Errorf("task %d: got %+v, want %+v", i, got, want[i])
			}
			p.resize(p.ctx, 1, interval)
			p.release(p.ctx, <-p.results)
		}
	})
}

func TestPruneDropsTheJobsOfReplicasThatAreGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPoolTrial(t, 2)
		p.add("dead", 4)
		p.names()
		p.add("live", 6)
		p.names()
		for _, j := range slices.Concat(p.queue, p.deadQueue) {
			if !strings.HasSuffix(j.replica.check.Target.ID(), "3:1") {
				j.replica.phase = gone
			}
		}
		if got := len(p.prune()); got != 6 {
			t.Errorf("%d dropped, want the six that waited and are gone", got)
		}
		if got := p.load(); got != 4 {
			t.Errorf("%d run or wait, want the two that run and the two that stay", got)
		}
		p.wait()
		if want := []string{"dead0:1", "live0:1", "live3:1", "dead3:1"}; !slices.Equal(p.order, want) || len(p.over) != 4 {
			t.Errorf("started %v, %d done, want %v", p.order, len(p.over), want)
		}
	})
}

func TestCancelledPoolStartsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, start := newPoolTrial(t, 4), time.Now()
		ctx, cancel := context.WithCancel(t.Context())
		p.ctx = ctx
		p.add("live", 10)
		p.add("dead", 10)
		for range 4 {
			p.names()
			p.release(ctx, <-p.results)
		}
		p.names()
		time.Sleep(500 * time.Millisecond)
		cancel()
		for p.running > 0 {
			j := <-p.results
			if j.result.Health != probe.Unknown || !errors.Is(j.result.Err, context.Canceled) {
				t.Errorf("got %+v of a probe that was cancelled, want no verdict", j.result)
			}
			p.release(ctx, j)
		}
		p.goroutines.Wait()
		if took := time.Since(start); took != 1500*time.Millisecond {
			t.Errorf("ended after %v, want at once", took)
		}
		if got := len(p.names()); got != 8 {
			t.Errorf("%d started, want the 8 before the end", got)
		}
	})
}

// A result that nobody has received keeps the place of its probe, and nothing
// is lost.
func TestPoolWaitsForItsResultsToBeTaken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPoolTrial(t, 2)
		p.add("live", 5)
		time.Sleep(time.Minute)
		if got := len(p.names()); got != 2 {
			t.Errorf("%d started while nobody takes results, want 2", got)
		}
		p.wait()
		if len(p.over) != 5 {
			t.Errorf("%d done, want all 5", len(p.over))
		}
	})
}
