package scheduler

import (
	"context"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/crisp-im/crisp-status-local/v2/internal/probe"
)

// A probe that is under way when its replica leaves the map.
func TestResultsOfReplicasThatHaveLeftAreIgnored(t *testing.T) {
	r := newRig(t, gives(mapOf(t, "tcp://goes:1", "tcp://stays:1")))
	r.judge = byReplica(map[string]judge{
		"tcp://goes:1": lasts(35*time.Second, dead),
	})
	r.run(func() {
		r.until(100 * time.Second)
		r.answer(later(time.Second, mapOf(t, "tcp://stays:1")))
		r.until(200 * time.Second)
		if n := len(r.scheduler.replicas); n != 1 {
			t.Errorf("got %d replicas, want only the one that stays", n)
		}
	})
	if got := r.putsOf("tcp://goes:1"); len(got) != 0 {
		t.Errorf("verdicts of the replica that left: got %v, want none", got)
	}
	if got := len(r.said(logrus.WarnLevel, "health changed")); got != 1 {
		t.Errorf("got %d lines on its health, want none after the first cycle's", got)
	}
}

func TestAReplicaThatLeftAndCameBackIsNotProbedTwiceAtOnce(t *testing.T) {
	both := mapOf(t, "tcp://slow:1", "tcp://stays:1")
	r := newRig(t, gives(both))
	r.settings.Interval = 10 * time.Second
	r.judge = byReplica(map[string]judge{
		"tcp://slow:1": lasts(35*time.Second, dead),
	})
	r.run(func() {
		r.until(5 * time.Second)
		r.answer(gives(mapOf(t, "tcp://stays:1")))
		r.until(15 * time.Second)
		r.answer(gives(both))
		r.until(75 * time.Second)
	})
	// Back at 20 s, while its probe of 0 s goes on until 35 s.
	if want := []time.Duration{0, 40 * time.Second}; !slices.Equal(r.probes["tcp://slow:1"], want) {
		t.Errorf("probed at %v, want %v", r.probes["tcp://slow:1"], want)
	}
	if got := r.putsOf("tcp://slow:1"); len(got) != 2 || got[0].at != 35*time.Second {
		t.Errorf("verdicts: got %v, want one at 35 s and one at 75 s", got)
	}
}

// The same with a probe that still waited for its place: it is not made at all.
func TestAReplicaThatLeavesGivesUpItsPlaceInThePool(t *testing.T) {
	r := newRig(t, gives(mapOf(t, "tcp://hog:1", "tcp://goes:1", "tcp://stays:1")))
	r.settings.Workers = 1
	r.judge = lasts(30*time.Second, healthy)
	r.run(func() {
		r.until(5 * time.Second)
		r.answer(gives(mapOf(t, "tcp://hog:1", "tcp://stays:1")))
		r.reload(r.settings)
		r.until(6 * time.Second)
		r.answer(gives(mapOf(t, "tcp://hog:1", "tcp://stays:1", "tcp://goes:1")))
		r.reload(r.settings)
		r.until(130 * time.Second)
	})
	r.wantEvery("tcp://goes:1", 60*time.Second, 120*time.Second, 1)
	if got := r.putsOf("tcp://goes:1"); len(got) != 1 {
		t.Errorf("verdicts of the replica that came back: got %v, want one", got)
	}
}

// TestLastVerdictsAreLeft: as the daemon ends, the last verdict of every replica that has one
// is left, but of one too old to be repeated, or from before a suspension.
func TestLastVerdictsAreLeft(t *testing.T) {
	tired := func() judge { // judged once, and never again
		first := true
		return func(context.Context, probe.Task) probe.Result {
			if first {
				first = false
				return healthy
			}
			return local
		}
	}
	for _, tt := range []struct {
		name  string
		end   time.Duration
		sleep bool
		want  map[string]probe.Health
	}{
		{"all of this cycle", 100 * time.Second, false, map[string]probe.Health{"tcp://a:1": probe.Healthy, "tcp://b:1": probe.Dead, "tcp://tired:1": probe.Healthy}},
		{"one repeated", 250 * time.Second, false, map[string]probe.Health{"tcp://a:1": probe.Healthy, "tcp://b:1": probe.Dead, "tcp://tired:1": probe.Healthy}},
		{"one too old", 400 * time.Second, false, map[string]probe.Health{"tcp://a:1": probe.Healthy, "tcp://b:1": probe.Dead}},
		{"just awake", 100 * time.Second, true, map[string]probe.Health{}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := newRig(t, gives(mapOf(t, "tcp://a:1", "tcp://b:1", "tcp://tired:1", "tcp://never:1")))
			r.judge = byReplica(map[string]judge{"tcp://b:1": script(dead), "tcp://tired:1": tired(), "tcp://never:1": script(local)})
			r.run(func() {
				r.until(tt.end)
				if tt.sleep {
					r.suspend(3 * time.Second)
					r.until(tt.end + 2*time.Second)
				}
			})
			if !maps.Equal(r.left, tt.want) {
				t.Errorf("got %v, want %v", r.left, tt.want)
			}
		})
	}
}

// TestWhatThePageMayHaveLost: a suspension and an edit of the page put it in doubt, and
// nothing else does. The first verdict of a replica, and one that changes, are put; others
// are renewed.
func TestWhatThePageMayHaveLost(t *testing.T) {
	r := newRig(t, gives(mapOf(t, "tcp://a:1")))
	r.judge = script(healthy)
	r.run(func() {
		r.until(130 * time.Second)
		if len(r.puts) != 2 || r.renewed != 1 {
			t.Errorf("got %d verdicts, %d renewed, want two and the second renewed", len(r.puts), r.renewed)
		}
		r.judgeBy(script(slow))
		r.until(250 * time.Second)
		if len(r.puts) != 3 || r.renewed != 1 {
			t.Errorf("got %d verdicts, %d renewed, want a third that is put", len(r.puts), r.renewed)
		}
		if len(r.doubted) != 0 {
			t.Errorf("doubted after %v, want never", r.doubted)
		}
		r.suspend(5 * time.Second)
		r.until(252 * time.Second)
		if len(r.doubted) != 1 {
			t.Errorf("doubted %d times after a suspension, want once", len(r.doubted))
		}
	})
}
