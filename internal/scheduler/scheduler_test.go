package scheduler

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/crisp-im/crisp-status-local/v2/internal/probe"
	"github.com/crisp-im/crisp-status-local/v2/internal/statusapi"
)

func TestTheMapIsAskedForAndProbedAtOnce(t *testing.T) {
	r := newRig(t, gives(mapOf(t, "tcp://a:1", "tcp://b:1")))
	r.run(func() { r.until(0) })
	r.wantAsked(0)
	if got := r.asked[0].prev; got != nil {
		t.Errorf("the first map was asked for with one in hand: got %v, want nil", got)
	}
	for _, replica := range []string{"tcp://a:1", "tcp://b:1"} {
		if got, want := r.putsOf(replica), (put{0, replica, probe.Healthy}); len(got) != 1 || got[0] != want {
			t.Errorf("verdicts of %s: got %v, want %v", replica, got, want)
		}
	}
}

func TestCyclesStartEveryIntervalWhateverTheLastTook(t *testing.T) {
	// A hundred replicas, each with a latency of its own at every probe, up to
	// all but the whole interval; the map takes as long as that, too.
	random := rand.New(rand.NewPCG(1, 2))
	m := mapOf(t, names(0, 100)...)
	r := newRig(t, nil)
	r.fetch = func(_ context.Context, prev *statusapi.Map) (*statusapi.Map, error) {
		if prev != nil {
			time.Sleep(119 * time.Second)
		}
		return m, nil
	}
	r.judge = func(ctx context.Context, task probe.Task) probe.Result {
		r.mu.Lock()
		d := time.Duration(random.Int64N(int64(119 * time.Second)))
		r.mu.Unlock()
		return lasts(d, healthy)(ctx, task)
	}
	const beats = 100
	r.run(func() { r.until(beats*120*time.Second - 1) })
	r.wantGaps(120 * time.Second)
	for replica, began := range r.probes {
		if len(began) != beats {
			t.Errorf("replica %s: got %d probes in %d cycles, want one in each", replica, len(began), beats)
		}
	}
	if len(r.probes) != 100 {
		t.Errorf("got %d replicas probed, want all 100", len(r.probes))
	}
	if len(r.asked) != beats || r.asked[beats-1].at != 99*120*time.Second {
		t.Errorf("the map was asked for %d times, last at %v, want %d times, last at %v",
			len(r.asked), r.asked[len(r.asked)-1].at, beats, 99*120*time.Second)
	}
	if len(r.refreshed) != beats {
		t.Errorf("names were looked up anew %d times, want once per cycle, %d", len(r.refreshed), beats)
	}
}

func TestStartsAreSpreadInGroups(t *testing.T) {
	for _, tt := range []struct {
		interval time.Duration
		replicas int
		spread   time.Duration
	}{
		{time.Second, 1, 250 * time.Millisecond},
		{time.Second, 100, 250 * time.Millisecond},
		{10 * time.Second, 33, 2500 * time.Millisecond},
		{60 * time.Second, 320, 15 * time.Second},
		{120 * time.Second, 32, 30 * time.Second},
		{120 * time.Second, 1000, 30 * time.Second},
		{3600 * time.Second, 1000, 30 * time.Second},
	} {
		t.Run(fmt.Sprintf("%d every %v", tt.replicas, tt.interval), func(t *testing.T) {
			replicas := names(0, tt.replicas)
			r := newRig(t, gives(mapOf(t, replicas...)))
			r.settings.Interval = tt.interval
			const cycles = 3
			r.run(func() { r.until(cycles*tt.interval - 1) })
			groups := (tt.replicas + 31) / 32
			for i, replica := range replicas {
				first := time.Duration(i/32) * (tt.spread / time.Duration(groups))
				r.wantEvery(replica, first, tt.interval, cycles)
			}
			// Within a group they run side by side; the groups keep their order.
			for i, replica := range r.order {
				if n, group := i%tt.replicas/32, slices.Index(replicas, replica)/32; n != group {
					t.Fatalf("start %d was of a replica of group %d, want of group %d", i, group, n)
				}
			}
		})
	}
}

func TestAReplicaThatIsStillBeingProbedIsPassedOver(t *testing.T) {
	r := newRig(t, gives(mapOf(t, "tcp://slow:1", "tcp://quick:1")))
	r.settings.Interval = 10 * time.Second
	r.judge = byReplica(map[string]judge{
		"tcp://slow:1": lasts(25*time.Second, dead),
	})
	r.run(func() { r.until(95 * time.Second) })
	r.wantEvery("tcp://slow:1", 0, 30*time.Second, 4) // two of three turns passed over
	r.wantEvery("tcp://quick:1", 0, 10*time.Second, 10)
	if got := len(r.putsOf("tcp://slow:1")); got != 3 {
		t.Errorf("got %d verdicts of the slow replica, want all 3 that were measured", got)
	}
	for i, l := range r.said(logrus.InfoLevel, "cycle over") {
		passed, _ := l.entry.Data["passed_over"].(int)
		if want := min(1, i%3); passed != want {
			t.Errorf("cycle %d: got %d replicas passed over, want %d", i, passed, want)
		}
	}
}

func TestSlowAndDeadReplicasTakeNobodysTurn(t *testing.T) {
	// All but one of a thousand are black holes.
	replicas := names(0, 999)
	r := newRig(t, gives(mapOf(t, append(replicas, "tcp://fine:1")...)))
	r.judge = func(ctx context.Context, task probe.Task) probe.Result {
		if task.Check.Target.ID() == "tcp://fine:1" {
			return healthy
		}
		return lasts(35*time.Second, dead)(ctx, task)
	}
	r.run(func() { r.until(5*120*time.Second - 1) })
	verdicts := r.putsOf("tcp://fine:1")
	if len(verdicts) != 5 {
		t.Fatalf("got %d verdicts of the healthy replica in 5 cycles, want 5", len(verdicts))
	}
	for i, p := range verdicts {
		if want := verdicts[0].at + time.Duration(i)*120*time.Second; p.at != want || p.health != probe.Healthy {
			t.Errorf("verdict %d of the healthy replica: got %s at %v, want healthy at %v", i, p.health, p.at, want)
		}
	}
}

// A stall: the scheduler is kept from running while probes go on.
func TestMissedBeatsStartAtOnceAndTurnsAreKept(t *testing.T) {
	replicas := names(0, 64)
	r := newRig(t, gives(mapOf(t, replicas...)))
	r.settings.Interval = 10 * time.Second
	const stall = 47 * time.Second
	r.onPut = func(v statusapi.Verdict) {
		if v.ID.Replica == replicas[63] && r.now() > 20*time.Second && r.now() < 30*time.Second {
			time.Sleep(stall)
		}
	}
	r.run(func() { r.until(90 * time.Second) })
	// The second group's turn is 1.25 s after the first's; the stall begins with
	// its third.
	over := 21250*time.Millisecond + stall
	for i, replica := range replicas {
		turn := time.Duration(i/32) * 1250 * time.Millisecond
		var want []time.Duration
		for at := turn; at <= 90*time.Second; at += 10 * time.Second {
			if at <= 21250*time.Millisecond || at > over {
				want = append(want, at)
			}
		}
		want = append(want, over)
		slices.Sort(want)
		if got := r.probes[replica]; !slices.Equal(got, want) {
			t.Errorf("replica %s: probed at %v, want %v", replica, got, want)
		}
	}
	r.wantAsked(0, 10, 20, 68.25, 70, 80, 90)
	if got := len(r.refreshed); got != 7 {
		t.Errorf("cycles began at %v, want one for all the beats that were missed", r.refreshed)
	}
}

// A probe that ended during a stall is over: its replica is not passed over
// because nobody had the time to take its result.
func TestAResultThatHadToWaitDoesNotCostATurn(t *testing.T) {
	replicas := names(0, 200)
	r := newRig(t, gives(mapOf(t, replicas...)))
	r.settings.Interval = 10 * time.Second
	r.judge = func(ctx context.Context, task probe.Task) probe.Result {
		return lasts(3*time.Second, healthy)(ctx, task)
	}
	stalled := false
	r.onPut = func(statusapi.Verdict) {
		if !stalled {
			stalled = true
			time.Sleep(8 * time.Second) // every replica's next turn is due by then, or soon
		}
	}
	r.run(func() { r.until(25 * time.Second) })
	for _, replica := range replicas {
		if got := len(r.probes[replica]); got != 3 {
			t.Errorf("replica %s: got %d probes in 25 s, want 3", replica, got)
		}
	}
}

func TestNothingIsProbedTwiceInACycle(t *testing.T) {
	// Latencies of up to three intervals, so that replicas are passed over.
	const interval = 10 * time.Second
	r := newRig(t, gives(mapOf(t, names(0, 100)...)))
	r.settings.Interval = interval
	random := rand.New(rand.NewPCG(3, 4))
	ends := make(map[string]map[time.Duration]bool)
	r.judge = func(ctx context.Context, task probe.Task) probe.Result {
		r.mu.Lock()
		defer r.mu.Unlock()
		d := time.Duration(random.Int64N(int64(3 * interval)))
		id := task.Check.Target.ID()
		if ends[id] == nil {
			ends[id] = make(map[time.Duration]bool)
		}
		ends[id][r.now()+d] = true
		r.mu.Unlock()
		defer r.mu.Lock()
		return lasts(d, slow)(ctx, task)
	}
	const cycles = 50
	r.run(func() {
		r.until(cycles*interval - 1)
		r.judgeBy(nil)
	})
	measured := 0
	for _, replica := range slices.Sorted(maps.Keys(r.probes)) {
		in := make(map[time.Duration]int)
		for _, at := range r.probes[replica] {
			in[at/interval]++
		}
		for cycle, n := range in {
			if n > 1 {
				t.Errorf("replica %s: got %d probes in cycle %d, want one at most", replica, n, cycle)
			}
		}
		measured += len(r.probes[replica])
	}
	got := 0 // but for those that were repeated while the next one took its time
	for _, p := range r.puts {
		if ends[p.replica][p.at] {
			got++
		}
	}
	if lost := len(r.probes); got > measured || got < measured-lost {
		t.Errorf("got %d verdicts of %d probes, want all but those still under way, at most %d", got, measured, lost)
	}
}
