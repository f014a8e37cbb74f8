package scheduler

import (
	"context"
	"testing"
	"time"

	"github.com/crisp-im/crisp-status-local/v2/internal/probe"
)

// takeStale makes TakeStale return replicas, so that the scheduler probes them at once.
func (r *rig) takeStale(takenOver bool, replicas ...string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.tooOld, r.takenOver = nil, takenOver
	for _, replica := range replicas {
		r.tooOld = append(r.tooOld, probe.ID{Service: "service", Node: "node", Replica: replica})
	}
	r.stale <- struct{}{}
}

// TestRefresh: replicas whose verdicts are too old are probed within a second, in
// groups, and once; the turns of all stay where they are.
func TestRefresh(t *testing.T) {
	const replicas = 6400
	all := names(0, replicas)
	r := newRig(t, gives(mapOf(t, all...)))
	var before int
	r.run(func() {
		r.until(100 * time.Second)
		before = len(r.order)
		r.takeStale(true, append(all[:replicas/2:replicas/2], "tcp://left:1")...)
		r.until(101 * time.Second)
		if got := len(r.order) - before; got != replicas/2 {
			t.Errorf("got %d probes within a second, want one of each of %d", got, replicas/2)
		}
		r.until(300 * time.Second)
	})
	starts := make(map[time.Duration]int)
	for i, replica := range all {
		began := r.probes[replica]
		refreshed := i < replicas/2
		if want := 3; len(began) != want && !refreshed || refreshed && len(began) != want+1 {
			t.Fatalf("%s: probed at %v, want 3 turns and perhaps the one beside them", replica, began)
		}
		if refreshed {
			starts[began[1]]++
			began = append(began[:1:1], began[2:]...)
		}
		if began[1]-began[0] != 120*time.Second || began[2]-began[1] != 120*time.Second {
			t.Errorf("%s: had its turns at %v, want 120 s from one to the next", replica, began)
		}
	}
	for at, n := range starts {
		if n > 2*groupSize {
			t.Errorf("got %d starts at %v, want groups of %d", n, at, groupSize)
		}
	}
}

// TestRefreshOfWhatIsBusy: a replica with a probe under way is not probed twice, and one
// without a verdict is probed only if the duty was taken over.
func TestRefreshOfWhatIsBusy(t *testing.T) {
	for _, takenOver := range []bool{false, true} {
		r := newRig(t, gives(mapOf(t, append([]string{"tcp://busy:1", "tcp://none:1"}, names(0, 64)...)...)))
		r.judge = byReplica(map[string]judge{"tcp://busy:1": lasts(30*time.Second, healthy), "tcp://none:1": lasts(0, local)})
		r.run(func() {
			r.until(125 * time.Second)
			r.takeStale(takenOver, "tcp://busy:1")
			r.until(140 * time.Second)
		})
		if got := len(r.probes["tcp://busy:1"]); got != 2 {
			t.Errorf("taken over %v: got %d probes of the replica that was busy, want those of its 2 turns", takenOver, got)
		}
		want := 2
		if takenOver {
			want = 3
		}
		if got := len(r.probes["tcp://none:1"]); got != want {
			t.Errorf("taken over %v: got %d probes of the replica without a verdict, want %d", takenOver, got, want)
		}
	}
}

// TestMassFailureInARefresh: a takeover on a host with a broken network reports nothing
// dead without confirmation.
func TestMassFailureInARefresh(t *testing.T) {
	all := names(0, 320)
	r := newRig(t, gives(mapOf(t, all...)))
	broken := false
	r.judge = func(ctx context.Context, task probe.Task) probe.Result {
		r.mu.Lock()
		defer r.mu.Unlock()
		if broken && task.Attempts != 1 {
			return dead
		}
		return healthy
	}
	r.run(func() {
		r.until(100 * time.Second)
		r.mu.Lock()
		broken = true
		r.mu.Unlock()
		r.takeStale(true, all...)
		r.until(101 * time.Second)
		r.mu.Lock()
		broken = false
		r.mu.Unlock()
		r.until(119 * time.Second)
	})
	for _, p := range r.puts {
		if p.health == probe.Dead {
			t.Fatalf("got %s dead at %v, want none: the confirmations found it healthy", p.replica, p.at)
		}
	}
}
