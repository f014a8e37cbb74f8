package status

import (
	"errors"
	"math"
	"reflect"
	"testing"
	"time"
	"unsafe"

	"github.com/crisp-im/crisp-status-local/v2/internal/probe"
)

var epoch = time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)

// down is a result whose attempts were refused.
func down(attempts int) probe.Result {
	r := probe.Result{Health: probe.Dead, Attempts: attempts, Err: &probe.Error{Kind: probe.KindRefused, Reason: "connection refused"}}
	for range attempts {
		r.Trace = append(r.Trace, probe.Attempt{Total: time.Millisecond, Err: r.Err})
	}
	return r
}

func up(latency time.Duration) probe.Result {
	return probe.Result{Health: probe.Healthy, Attempts: 1, Latency: latency}
}

func show(t *testing.T, h History) Replica {
	t.Helper()
	target, err := probe.ParseTarget("tcp://192.0.2.1:22")
	if err != nil {
		t.Fatal(err)
	}
	rec := Record{Check: &probe.Check{ServiceID: "s", NodeID: "n", Target: target}, History: h}
	return rec.Show()
}

func TestAReplicaWithWhichAllIsWellTakes64Bytes(t *testing.T) {
	if got := unsafe.Sizeof(History{}); got > 64 {
		t.Errorf("a history takes %d bytes, want 64 at most", got)
	}
	var h History
	n := testing.AllocsPerRun(100, func() { h.Record(epoch, up(time.Millisecond)) })
	if n > 0 {
		t.Errorf("a verdict costs %v allocations, want none while all is well", n)
	}
}

func TestTheLastTenVerdictsAreKept(t *testing.T) {
	var h History
	for i := range 13 {
		r := up(time.Duration(i+1) * time.Millisecond)
		r.Attempts = i%3 + 1
		h.Record(epoch.Add(time.Duration(i)*2*time.Minute), r)
	}
	r := show(t, h)
	if len(r.History) != kept {
		t.Fatalf("got %d verdicts, want %d", len(r.History), kept)
	}
	for i, v := range r.History {
		n := 12 - i
		if want := epoch.Add(time.Duration(n) * 2 * time.Minute); !v.At.Equal(want) {
			t.Errorf("verdict %d: came at %v, want %v", i, v.At, want)
		}
		if want := float64(n+1) / 1000; math.Abs(v.LatencySeconds-want) > want/500 {
			t.Errorf("verdict %d: got the latency %v s, want %v within a five-hundredth", i, v.LatencySeconds, want)
		}
		if v.Health != "healthy" || v.Attempts != n%3+1 {
			t.Errorf("verdict %d: got %+v, want healthy after %d attempts", i, v, n%3+1)
		}
	}
	if !r.Since.Equal(epoch) || r.LastFailure != nil {
		t.Errorf("got %+v, want healthy since the first verdict and no failure", r)
	}
}

func TestGoodVerdictsNeverPushTheLastFailureOut(t *testing.T) {
	var h History
	h.Record(epoch, down(3))
	for i := range 50 {
		h.Record(epoch.Add(time.Duration(i+1)*time.Minute), up(time.Millisecond))
	}
	r := show(t, h)
	if f := r.LastFailure; f == nil || !f.At.Equal(epoch) || f.Reason != "connection refused" || f.Kind != "refused" || len(f.Attempts) != 3 {
		t.Errorf("got the last failure %+v, want that of %v with its three attempts", r.LastFailure, epoch)
	}
	if r.Health != "healthy" || r.Reason != "" || r.Kind != "" || !r.Since.Equal(epoch.Add(time.Minute)) {
		t.Errorf("got %+v, want healthy since a minute later and no reason", r)
	}
}

func TestAnAttemptThatWasDownIsAFailureThoughTheReplicaIsUp(t *testing.T) {
	r := down(1)
	r.Health, r.Attempts, r.Err = probe.Healthy, 2, nil
	var h History
	h.Record(epoch, r)
	if got := show(t, h); got.Health != "healthy" || got.LastFailure == nil || got.LastFailure.Reason != "connection refused" {
		t.Errorf("got %+v, want healthy with a last failure", got)
	}
}

func TestHostTroubleIsNoVerdict(t *testing.T) {
	var h History
	h.Record(epoch, up(time.Millisecond))
	local := probe.Result{Attempts: 2, Err: &probe.Error{Kind: probe.KindLocal, Reason: "no route"}}
	h.Unjudged(epoch.Add(time.Minute), local)
	h.Unjudged(epoch.Add(2*time.Minute), local)
	reason, _, since, ok := h.Local()
	if !ok || reason != "no route" || !since.Equal(epoch.Add(time.Minute)) || h.Health() != probe.Healthy {
		t.Errorf("got %q since %v, %v, and %s, want the trouble since its first result, and the last verdict", reason, since, ok, h.Health())
	}
	h.Record(epoch.Add(3*time.Minute), up(time.Millisecond))
	if _, _, _, ok := h.Local(); ok {
		t.Error("got this host's trouble after a verdict, want none")
	}
}

func TestACopyOfAHistoryDoesNotChange(t *testing.T) {
	var h History
	h.Record(epoch, down(2))
	before, c := show(t, h), h
	h.Record(epoch.Add(time.Minute), probe.Result{Health: probe.Dead, Attempts: 1, Err: errors.New("another")})
	if after := show(t, c); !reflect.DeepEqual(before, after) {
		t.Errorf("a copy shows %+v after a later verdict, want %+v", after, before)
	}
}

func TestLatenciesAreKeptToAThousandth(t *testing.T) {
	for d := time.Microsecond; d < time.Hour; d = d*5/4 + 1 {
		if got := latencyOf(logLatency(d)); math.Abs(float64(got-d)) > float64(d)/1000+1 {
			t.Errorf("%v is kept as %v, want it within a thousandth", d, got)
		}
	}
}

// TestAVerdictIsTakenBack: the history is as if it had never come, but for the failure that
// was seen.
func TestAVerdictIsTakenBack(t *testing.T) {
	for n := range 13 {
		var with, without History
		for i := range n {
			r := up(time.Duration(i+1) * time.Millisecond)
			if r.Attempts = i%3 + 1; i < n/2 {
				r.Health = probe.Sick
			}
			at := epoch.Add(time.Duration(i) * 2 * time.Minute)
			with.Record(at, r)
			if n <= kept-1 || i >= n-kept+1 {
				without.Record(at, r)
			}
		}
		failed := down(3)
		failed.Latency = time.Second
		with.Record(epoch.Add(time.Hour), failed)
		got := with.TakeBack()
		if got.Health != probe.Dead || got.Attempts != 3 || got.Reason() != "connection refused" || got.Kind() != probe.KindRefused || len(got.Trace) != 3 ||
			(got.Latency-time.Second).Abs() > 2*time.Millisecond {
			t.Errorf("after %d verdicts: got %+v, want the death", n, got)
		}
		a, b := show(t, with), show(t, without)
		if !reflect.DeepEqual(a.History, b.History) || a.Health != b.Health || !a.Since.Equal(b.Since) || !with.JudgedAt().Equal(without.JudgedAt()) {
			t.Errorf("after %d verdicts: got %v, %s since %v, want %v, %s since %v", n, a.History, a.Health, a.Since, b.History, b.Health, b.Since)
		}
	}
}
