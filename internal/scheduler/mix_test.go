package scheduler

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/crisp-im/crisp-status-local/v2/internal/probe"
	"github.com/crisp-im/crisp-status-local/v2/internal/statusapi"
)

// mix is what the bound depends on.
type mix struct {
	replicas       int
	interval       time.Duration
	retry          int
	deadAfter      time.Duration
	workers, files int
	blackHoles     float64 // share of the replicas that take the longest
}

func (m mix) String() string {
	return fmt.Sprintf("%d replicas every %v, retry %d, delay_dead %v, workers %d, files %d, %.0f%% black holes",
		m.replicas, m.interval, m.retry, m.deadAfter, m.workers, m.files, 100*m.blackHoles)
}

func (m mix) rules() *probe.Rules {
	rules := probe.DefaultRules()
	rules.Retry, rules.DeadAfter = m.retry, m.deadAfter
	return rules
}

// mapWith returns a map of the replicas with the rules.
func mapWith(t *testing.T, replicas []string, rules *probe.Rules) *statusapi.Map {
	m := mapOf(t, replicas...)
	for i := range m.Checks {
		m.Checks[i].Rules = rules
	}
	return m
}

// wait is a probe that did not begin when its turn was.
type wait struct {
	replica   string
	due, late time.Duration
}

// simulate runs a mix, with the maps that next gives, one per request (nil: the
// last one again) at once or after a while, and returns the waits. Its model of
// the turns is its own.
func (m mix) simulate(r *rig, cycles int, next func(n int) (*statusapi.Map, time.Duration)) []wait {
	var waits []wait
	turns := make(map[string]time.Duration)
	rechecks := make(map[string]bool) // not probed by their new rules yet
	var rules *probe.Rules
	asked := 0
	r.settings = Settings{Interval: m.interval, Workers: m.workers, Files: m.files}
	r.fetch = func(ctx context.Context, prev *statusapi.Map) (*statusapi.Map, error) {
		got, pause := next(asked)
		asked++
		if got == nil {
			return prev, nil
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		kept := make(map[string]time.Duration)
		var added []string
		for _, c := range got.Checks {
			id := c.Target.ID()
			if turn, ok := turns[id]; ok {
				kept[id] = turn
				rechecks[id] = rechecks[id] || *c.Rules != *rules
			} else {
				added = append(added, id)
			}
		}
		step := min(m.interval/4, 30*time.Second) / time.Duration(max(1, (len(added)+31)/32))
		for i, id := range added {
			kept[id] = r.now() + time.Duration(i/32)*step
			rechecks[id] = true // if it is back while its last probe goes on
		}
		turns, rules = kept, got.Checks[0].Rules
		return got, nil
	}
	random := rand.New(rand.NewPCG(7, 8))
	r.judge = func(ctx context.Context, task probe.Task) probe.Result {
		r.mu.Lock()
		if turn, ok := turns[task.Check.Target.ID()]; ok {
			if late := (r.now() - turn) % m.interval; late != 0 && !rechecks[task.Check.Target.ID()] {
				waits = append(waits, wait{task.Check.Target.ID(), r.now() - late, late})
			}
		}
		delete(rechecks, task.Check.Target.ID())
		blackHole := random.Float64() < m.blackHoles
		r.mu.Unlock()
		if !blackHole {
			return healthy
		}
		return lasts(task.Check.Rules.Longest(task.Budget), slow)(ctx, task)
	}
	r.run(func() { r.until(time.Duration(cycles)*m.interval - 1) })
	return waits
}

// wantSaid checks that for each wait the log had said in the same cycle, before
// the turn, that it could happen; and that it says nothing where nothing but the
// replicas themselves bounds the pool.
func (m mix) wantSaid(r *rig, waits []wait) {
	r.t.Helper()
	said := r.said(logrus.WarnLevel, outgrown)
	for _, w := range waits {
		before := false
		for _, l := range said {
			before = before || l.at <= w.due && l.at/m.interval == w.due/m.interval
		}
		if !before {
			r.t.Fatalf("%v:\nreplica %s was probed %v after its turn at %v, want at its turn, or a line in that cycle that says that it may not", m, w.replica, w.late, w.due)
		}
	}
	for _, l := range said {
		needed, allowed := l.entry.Data["needed"].(int), l.entry.Data["allowed"].(int)
		if needed <= allowed || m.workers == 0 && m.files == 0 {
			r.t.Fatalf("%v:\nthe log said that %d of %d needed probes are allowed, want nothing said", m, allowed, needed)
		}
	}
	limit := m.replicas * 3
	if m.workers > 0 {
		limit = min(limit, m.workers)
	}
	if m.files > 0 {
		limit = min(limit, spareFiles(m.files))
	}
	if r.most > max(1, limit) {
		r.t.Errorf("%v:\ngot %d probes at a time, want at most %d", m, r.most, limit)
	}
}
