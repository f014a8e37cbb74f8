package scheduler

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/crisp-im/crisp-status-local/v2/internal/probe"
	"github.com/crisp-im/crisp-status-local/v2/internal/status"
	"github.com/crisp-im/crisp-status-local/v2/internal/statusapi"
)

func (r *rig) snapshot(detail Detail) Snapshot {
	r.t.Helper()
	got, err := r.scheduler.Snapshot(context.Background(), detail)
	if err != nil {
		r.t.Fatal(err)
	}
	return got
}

func TestSnapshotShowsTheReplicasAsTheyAre(t *testing.T) {
	r := newRig(t, gives(mapOf(t, "tcp://a:1", "tcp://b:1", "tcp://c:1")))
	r.judge = byReplica(map[string]judge{"tcp://b:1": script(healthy, dead, dead), "tcp://c:1": script(healthy, local, local)})
	r.run(func() {
		r.until(250 * time.Second)
		got := r.snapshot(Replicas)
		if len(got.Replicas) != 3 || got.Counts[probe.Healthy] != 2 || got.Counts[probe.Dead] != 1 || !got.Map.Held || got.Map.Outcome != status.MapUnchanged {
			t.Fatalf("got %d replicas, %v, the map %+v, want three, one of them dead, of a map that did not change", len(got.Replicas), got.Counts, got.Map)
		}
		for i, want := range []probe.Health{probe.Healthy, probe.Dead, probe.Healthy} {
			if h := got.Replicas[i].History; h.Health() != want {
				t.Errorf("replica %d: got %s, want %s", i, h.Health(), want)
			}
		}
		if since := got.Replicas[1].History.Since(); !since.Equal(r.start.Add(120 * time.Second)) {
			t.Errorf("dead since %v, want the second turn", since.Sub(r.start))
		}
		if reason, _, _, ok := got.Replicas[2].History.Local(); !ok || reason != errLocal.Error() || got.Replicas[2].RepeatedUntil.IsZero() {
			t.Errorf("got %q, %v, repeated until %v, want this host's trouble and until when the last verdict is repeated", reason, ok, got.Replicas[2].RepeatedUntil)
		}
		if n := got.Probing.Verdicts[[2]string{"tcp", "dead"}]; n != 2 {
			t.Errorf("counted %d deaths, want 2", n)
		}
		if len(r.snapshot(Totals).Replicas) != 0 {
			t.Error("got replicas with the totals, want none")
		}
	})
}

func TestSnapshotHasTheReplicasOfTheMapInItsOrder(t *testing.T) {
	r := newRig(t, gives(mapOf(t, "tcp://a:1", "tcp://b:1", "tcp://c:1")))
	r.run(func() {
		r.until(10 * time.Second)
		r.answer(gives(mapOf(t, "tcp://d:1", "tcp://c:1", "tcp://a:1")))
		r.until(130 * time.Second)
		got := r.snapshot(Replicas)
		var shown []string
		for i := range got.Replicas {
			shown = append(shown, got.Replicas[i].Check.Target.String())
		}
		if want := []string{"tcp://d:1", "tcp://c:1", "tcp://a:1"}; !slices.Equal(shown, want) {
			t.Errorf("got %q, want %q", shown, want)
		}
		if n := got.Counts[probe.Healthy]; n != 3 || r.snapshot(Totals).Counts[probe.Healthy] != 3 {
			t.Errorf("got %d healthy replicas, want the three of the map", n)
		}
	})
}

func TestSnapshotSaysWhyThereIsNoMap(t *testing.T) {
	r := newRig(t, fails(statusapi.ErrUnauthorized))
	r.run(func() {
		r.until(10 * time.Second)
		got := r.snapshot(Replicas).Map
		if got.Held || !got.Unauthorized || got.Outcome != status.MapError || !errors.Is(got.Err, statusapi.ErrUnauthorized) || !got.FailingSince.Equal(r.start) {
			t.Errorf("got %+v, want no map since the token is not accepted, since the start", got)
		}
	})
}

func TestSnapshotOfASchedulerThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := New(Settings{Interval: time.Minute}, (*prober)(newRig(t, nil)), nil, nil)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := s.Snapshot(ctx, Totals); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v, want that it does not respond", err)
		}
	})
}
