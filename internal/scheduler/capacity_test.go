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

const outgrown = "probe concurrency limit too low for this map: if most replicas stop answering, others are reported late"

func TestThePoolSufficesOrTheLogSaysThatItDoesNot(t *testing.T) {
	s := time.Second
	for _, m := range []mix{
		{400, 120 * s, 2, 10 * s, 0, 0, 1},
		{400, 120 * s, 2, 10 * s, 0, 410, 1},
		{400, 120 * s, 2, 10 * s, 200, 0, 1},
		{500, 120 * s, 2, 10 * s, 150, 1024, 0.5},
		{64, 120 * s, 0, 10 * s, 32, 0, 1}, // one group at a time, each alone
		{64, 120 * s, 0, 10 * s, 31, 0, 1},
		{64, 120 * s, 0, 20 * s, 63, 0, 1},
		{400, 120 * s, 2, s, 1, 0, 0.9},
		{400, 3600 * s, 0, s, 64, 0, 1},
		{400, 3600 * s, 100, 35 * s, 0, 256, 1},
		{100, s, 2, 20 * s, 0, 0, 1}, // delay_dead above the budget, and the interval
		{100, s, 2, 20 * s, 50, 0, 0.3},
		{100, s, 0, s, 99, 0, 1},
		{300, 10 * s, 2, 9 * s, 280, 0, 1}, // from one cycle into the next
		{300, 10 * s, 0, 6 * s, 0, 300, 1},
		{1, 10 * s, 2, 20 * s, 1, 0, 1},
		{33, 60 * s, 1, 5 * s, 0, 2, 1},
	} {
		t.Run(m.String(), func(t *testing.T) {
			r := newRig(t, nil)
			all := mapWith(t, names(0, m.replicas), m.rules())
			waits := m.simulate(r, 4, func(n int) (*statusapi.Map, time.Duration) {
				if n == 0 {
					return all, 0
				}
				return nil, 0
			})
			m.wantSaid(r, waits)
		})
	}
}

func TestThePoolSufficesForRandomMixesOrTheLogSaysThatItDoesNot(t *testing.T) {
	random := rand.New(rand.NewPCG(9, 10))
	waited, silent := 0, 0
	for i := range 80 {
		m := mix{
			replicas:   1 + random.IntN(200),
			interval:   []time.Duration{1, 2, 5, 10, 30, 60, 120, 600, 3600}[random.IntN(9)] * time.Second,
			retry:      random.IntN(5),
			deadAfter:  time.Duration(1+random.IntN(35)) * time.Second,
			blackHoles: []float64{0.1, 0.5, 1}[random.IntN(3)],
		}
		if random.IntN(3) > 0 {
			m.workers = 1 + random.IntN(2*m.replicas)
		}
		if random.IntN(3) == 0 {
			m.files = 1 + random.IntN(3*m.replicas)
		}
		// The map grows, shrinks and changes its rules, and takes its time.
		changing := mix{deadAfter: m.deadAfter, retry: m.retry}
		next := func(n int) (*statusapi.Map, time.Duration) {
			if n > 0 && random.IntN(2) == 0 {
				return nil, 0
			}
			if random.IntN(3) == 0 {
				changing.deadAfter = time.Duration(1+random.IntN(35)) * time.Second
			}
			first, count := random.IntN(1+m.replicas), 1+random.IntN(m.replicas)
			return mapWith(t, names(first, count), changing.rules()), time.Duration(random.Int64N(int64(m.interval * 3 / 2)))
		}
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			r := newRig(t, nil)
			waits := m.simulate(r, 8, next)
			m.wantSaid(r, waits)
			if len(waits) > 0 {
				waited++
			}
			if len(r.said(logrus.WarnLevel, outgrown)) == 0 {
				silent++
			}
		})
	}
	if waited < 5 || silent < 5 {
		t.Errorf("of 80 mixes %d made replicas wait and %d had nothing to say, want some of both, or this shows nothing", waited, silent)
	}
}

func TestTheLogSaysWhatIsNeededAllowedAndByWhat(t *testing.T) {
	const (
		byFiles   = "the limit of open files (raise LimitNOFILE= or ulimit -n)"
		byWorkers = "probe.workers"
	)
	s := time.Second
	for _, tt := range []struct {
		mix
		needed, allowed int // 0: nothing is said
		by              string
	}{
		{mix{replicas: 4000, interval: 120 * s, retry: 2, deadAfter: 10 * s}, 0, 0, ""},
		{mix{replicas: 4000, interval: 120 * s, retry: 2, deadAfter: 10 * s, files: 1 << 20}, 0, 0, ""},
		{mix{replicas: 4000, interval: 120 * s, retry: 2, deadAfter: 10 * s, files: 4096}, 4000, 3072, byFiles},
		{mix{replicas: 4000, interval: 120 * s, retry: 2, deadAfter: 10 * s, files: 1024}, 4000, 768, byFiles},
		{mix{replicas: 4000, interval: 120 * s, retry: 2, deadAfter: 10 * s, files: 4096, workers: 500}, 4000, 500, byWorkers},
		{mix{replicas: 4000, interval: 120 * s, retry: 2, deadAfter: 10 * s, files: 1024, workers: 5000}, 4000, 768, byFiles},
		{mix{replicas: 4000, interval: 120 * s, retry: 0, deadAfter: 3 * s, workers: 1215}, 1216, 1215, byWorkers},
		{mix{replicas: 4000, interval: 120 * s, retry: 0, deadAfter: 3 * s, workers: 1216}, 0, 0, ""},
		{mix{replicas: 10, interval: 120 * s, retry: 2, deadAfter: 10 * s, workers: 10}, 0, 0, ""},
		{mix{replicas: 10, interval: 120 * s, retry: 2, deadAfter: 10 * s, workers: 9}, 10, 9, byWorkers},
		{mix{replicas: 10, interval: s, retry: 2, deadAfter: 35 * s, workers: 9}, 10, 9, byWorkers},
	} {
		t.Run(tt.String(), func(t *testing.T) {
			r := newRig(t, nil)
			all := mapWith(t, names(0, tt.replicas), tt.rules())
			tt.blackHoles = 0
			tt.simulate(r, 2, func(n int) (*statusapi.Map, time.Duration) { return all, 0 })
			lines := r.said(logrus.WarnLevel, outgrown)
			if tt.by == "" {
				if len(lines) > 0 {
					t.Errorf("got %v, want nothing said", lines[0].entry.Data)
				}
				return
			}
			if len(lines) != 2 || lines[1].at != tt.interval {
				t.Fatalf("got %d lines in two cycles, want one at the beginning of each", len(lines))
			}
			for _, l := range lines {
				got := l.entry.Data
				if got["needed"] != tt.needed || got["allowed"] != tt.allowed || got["by"] != tt.by {
					t.Errorf("got needed %v, allowed %v, by %v, want %d, %d, %s", got["needed"], got["allowed"], got["by"], tt.needed, tt.allowed, tt.by)
				}
			}
		})
	}
}

func TestRulesThatAreNotGivenAreTheDefaultOnes(t *testing.T) {
	r := newRig(t, gives(mapOf(t, names(0, 100)...))) // without rules of their own
	r.settings.Workers = 50
	r.run(func() { r.until(0) })
	if got := len(r.said(logrus.WarnLevel, outgrown)); got != 1 {
		t.Errorf("got %d lines that 50 workers do not suffice for 100 replicas of 35 s in 30 s, want one", got)
	}
}

// A pool that is too small: those that were dead the last time come last, so the
// others are still on time.
func TestWhereThePoolIsTooSmallDeadReplicasComeLast(t *testing.T) {
	replicas := names(0, 320)
	r := newRig(t, gives(mapWith(t, replicas, mix{retry: 2, deadAfter: 10 * time.Second}.rules())))
	r.settings.Workers = 200
	dark := make(map[string]bool)
	for i, replica := range replicas {
		dark[replica] = i%4 != 0 // 240
	}
	r.judge = func(ctx context.Context, task probe.Task) probe.Result {
		if dark[task.Check.Target.ID()] {
			return lasts(30400*time.Millisecond, dead)(ctx, task)
		}
		return healthy
	}
	r.run(func() { r.until(6 * 120 * time.Second) })
	for i, replica := range replicas {
		if dark[replica] {
			continue
		}
		for _, at := range r.probes[replica][1:] {
			if want := time.Duration(i/32) * 3 * time.Second; at%(120*time.Second) != want {
				t.Errorf("healthy replica %s: probed %v into a cycle, want %v", replica, at%(120*time.Second), want)
			}
		}
	}
	if r.most != 200 {
		t.Errorf("got %d probes at a time, want all 200 taken, or this shows nothing", r.most)
	}
}

// After a stall all turns are due at once, more than ever else.
func TestTheCapsHoldAfterAStall(t *testing.T) {
	for _, s := range []Settings{{Workers: 96}, {Files: 128}} {
		r := newRig(t, gives(mapWith(t, names(0, 320), mix{deadAfter: time.Second}.rules())))
		s.Interval = 120 * time.Second
		r.settings = s
		r.judge = lasts(time.Second, healthy)
		stalled := false
		r.onPut = func(statusapi.Verdict) {
			if r.now() > 120*time.Second && !stalled {
				stalled = true
				time.Sleep(200 * time.Second)
			}
		}
		r.run(func() { r.until(400 * time.Second) })
		if got := len(r.said(logrus.WarnLevel, outgrown)); got != 0 {
			t.Errorf("got %d lines that %+v does not suffice, want none", got, s)
		}
		if r.most != 96 {
			t.Errorf("got %d probes at a time, want the 96 that %+v allows, and no more", r.most, s)
		}
	}
}
