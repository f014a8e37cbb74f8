package scheduler

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/crisp-im/crisp-status-local/v2/internal/pace"
	"github.com/crisp-im/crisp-status-local/v2/internal/probe"
)

// seconds returns when verdicts were reported, in seconds.
func seconds(puts []put) []float64 {
	var at []float64
	for _, p := range puts {
		at = append(at, p.at.Seconds())
	}
	return at
}

func TestAReplicaThatWasUpRepeatsItsVerdictWhileItIsProbed(t *testing.T) {
	sick := probe.Result{Health: probe.Sick, Attempts: 1}
	for _, tt := range []struct {
		name     string
		interval time.Duration
		judge    []judge // by probe
		want     []float64
	}{
		{"up within 5 s", 120 * time.Second, []judge{script(healthy), lasts(4900*time.Millisecond, healthy), script(healthy)}, []float64{0, 124.9, 240}},
		{"up at its last attempt", 120 * time.Second, []judge{script(healthy), lasts(30400*time.Millisecond, healthy), script(healthy)}, []float64{0, 125, 150.4, 240}},
		{"sick", 120 * time.Second, []judge{script(sick), lasts(30*time.Second, sick), script(sick)}, []float64{0, 125, 150, 240}},
		{"dead: only an up one is repeated", 120 * time.Second, []judge{script(dead), lasts(30*time.Second, dead), script(dead)}, []float64{0, 150, 240}},
		{"without a verdict yet", 120 * time.Second, []judge{lasts(30*time.Second, healthy), script(healthy)}, []float64{30, 120, 240}},
		{"again every interval, passed over or not", 2 * time.Second, []judge{script(healthy), lasts(8500*time.Millisecond, healthy), hour}, []float64{0, 7, 9, 10.5, 17, 19}},
		{"trouble of this host, told late: once a turn", 120 * time.Second, []judge{script(healthy), lasts(35*time.Second, local), script(local)}, []float64{0, 125, 240}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := newRig(t, gives(mapOf(t, "tcp://a:1")))
			r.settings.Interval = tt.interval
			n := 0
			r.judge = func(ctx context.Context, task probe.Task) probe.Result {
				n++
				return tt.judge[min(n, len(tt.judge))-1](ctx, task)
			}
			until := 241 * time.Second
			if tt.interval == 2*time.Second {
				until = 20 * time.Second
			}
			r.run(func() { r.until(until) })
			if got := seconds(r.puts); !slices.Equal(got, tt.want) {
				t.Errorf("reported after %v s, want %v", got, tt.want)
			}
		})
	}
}

// hour is a probe that takes one.
func hour(ctx context.Context, task probe.Task) probe.Result {
	return lasts(time.Hour, healthy)(ctx, task)
}

func TestAVerdictIsRepeatedForABoundedTime(t *testing.T) {
	for _, interval := range []time.Duration{time.Second, 2 * time.Second, 10 * time.Second, 45 * time.Second, 120 * time.Second} {
		for name, j := range map[string]judge{"probed": hour, "local trouble": script(local), "slow local trouble": lasts(35*time.Second, local)} {
			t.Run(interval.String()+", "+name, func(t *testing.T) {
				r := newRig(t, gives(mapOf(t, "tcp://a:1")))
				r.settings.Interval = interval
				first := true
				r.judge = func(ctx context.Context, task probe.Task) probe.Result {
					if first {
						first = false
						return healthy
					}
					return j(ctx, task)
				}
				r.run(func() { r.until(20 * time.Minute) })
				last := r.puts[len(r.puts)-1].at
				from := interval // the first turn without a verdict
				if end := from + pace.RepeatFor(interval); last >= end || last < end-interval-pace.Repeat {
					t.Errorf("repeated until %v, want until %v at most, and not much less", last, end)
				}
				for i := 1; i < len(r.puts); i++ {
					if gap := r.puts[i].at - r.puts[i-1].at; gap > interval+pace.Repeat {
						t.Errorf("a gap of %v between reports, want at most %v", gap, interval+pace.Repeat)
					}
				}
			})
		}
	}
}

// A withheld verdict is repeated at once and then every interval, and its turns
// are not called ones whose probe is under way.
func TestATurnThatComesWhileADeathIsWithheld(t *testing.T) {
	replicas := names(0, 32)
	r := newRig(t, gives(mapOf(t, replicas...)))
	r.settings.Interval = 2 * time.Second
	r.level = logrus.DebugLevel
	r.judge = func(ctx context.Context, task probe.Task) probe.Result {
		switch {
		case r.now() < 2*time.Second:
			return healthy
		case task.Check.Target.ID() == replicas[0]:
			return dead
		}
		return lasts(20*time.Second, healthy)(ctx, task) // may still die until 22 s
	}
	r.run(func() { r.until(21 * time.Second) })
	if got, want := seconds(r.putsOf(replicas[0])), []float64{0, 2, 9, 11, 13, 15, 17, 19, 21}; !slices.Equal(got, want) {
		t.Errorf("reported after %v s, want %v", got, want)
	}
	for _, l := range r.said(logrus.DebugLevel, "passed over: its last probe is still under way") {
		if l.entry.Data["replica"].(probe.Target).ID() == replicas[0] {
			t.Errorf("at %v it was said that the probe is still under way, want that its death is withheld", l.at)
		}
	}
	if got := len(r.said(logrus.DebugLevel, "passed over: its death is withheld until it is confirmed")); got != 9 {
		t.Errorf("got %d lines on its nine turns, want one each", got)
	}
}

func TestNothingIsRepeatedOfAReplicaThatLeft(t *testing.T) {
	r := newRig(t, gives(mapOf(t, "tcp://goes:1", "tcp://stays:1")))
	r.judge = byReplica(map[string]judge{"tcp://goes:1": script(healthy)})
	r.run(func() {
		r.until(119 * time.Second)
		r.judgeBy(byReplica(map[string]judge{"tcp://goes:1": hour}))
		r.answer(later(time.Second, mapOf(t, "tcp://stays:1")))
		r.until(250 * time.Second)
	})
	if got := r.putsOf("tcp://goes:1"); len(got) != 0 {
		t.Errorf("got %v after it left the map, want nothing", got)
	}
}

// What was measured before a host slept is not repeated when it wakes.
func TestNothingIsRepeatedAfterASuspension(t *testing.T) {
	r := newRig(t, gives(mapOf(t, "tcp://a:1")))
	r.judge = script(healthy)
	r.run(func() {
		r.until(119 * time.Second)
		r.judgeBy(hour)
		r.until(121 * time.Second)
		r.suspend(10 * time.Second)
		r.until(200 * time.Second)
	})
	if got := seconds(r.puts); !slices.Equal(got, []float64{0}) {
		t.Errorf("reported after %v s, want only before the suspension", got)
	}
}
