package scheduler

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/crisp-im/crisp-status-local/v2/internal/probe"
	"github.com/crisp-im/crisp-status-local/v2/internal/statusapi"
)

func TestAReloadFetchesTheMapAtOnce(t *testing.T) {
	m := mapOf(t, "tcp://a:1")
	r := newRig(t, gives(m))
	r.run(func() {
		r.until(50 * time.Second)
		r.reload(r.settings)
		r.until(250 * time.Second)
	})
	r.wantAsked(0, 50, 120, 240)
	if got := r.asked[1].prev; got != m {
		t.Errorf("the same page was asked for a whole map, want only for what changed")
	}
	r.wantEvery("tcp://a:1", 0, 120*time.Second, 3)
}

func TestAReloadAsksAnewWhileARequestHangs(t *testing.T) {
	m := mapOf(t, "tcp://a:1")
	r := newRig(t, hangs)
	r.run(func() {
		r.until(10 * time.Second)
		r.answer(gives(m))
		r.reload(r.settings)
	})
	r.wantAsked(0, 10)
	r.wantEvery("tcp://a:1", 10*time.Second, 120*time.Second, 1)
	if got := len(r.said(logrus.ErrorLevel, "there is no map yet, so nothing is probed")); got != 0 {
		t.Errorf("got %d errors for the request that was cancelled, want none", got)
	}
}

func TestAReloadStartsTheWaitForAMapAgain(t *testing.T) {
	r := newRig(t, fails(errDown))
	r.run(func() {
		r.until(40 * time.Second) // the next request would be at 45 s
		r.reload(r.settings)
		r.until(48 * time.Second)
	})
	r.wantAsked(0, 1, 3, 7, 15, 30, 40, 41, 43, 47)
}

func TestAReloadSaysAgainThatTheTokenIsWrong(t *testing.T) {
	r := newRig(t, gives(mapOf(t, "tcp://a:1")))
	r.run(func() {
		r.until(0)
		r.answer(fails(statusapi.ErrUnauthorized))
		r.until(130 * time.Second)
		r.reload(r.settings)
		r.until(140 * time.Second)
	})
	if got := len(r.said(logrus.ErrorLevel, "check report.token: get your reporter token from the Crisp dashboard, under Status")); got != 2 {
		t.Errorf("got %d lines, want 2: of the beat, and of the reload", got)
	}
}

func TestAnotherPageIsAskedForAWholeMapUntilItGivesOne(t *testing.T) {
	old, other := mapOf(t, "tcp://old:1", "tcp://both:1"), mapOf(t, "tcp://both:1", "tcp://new:1")
	r := newRig(t, gives(old))
	var prevs []*statusapi.Map
	answers := []fetchFunc{fails(errDown), fails(statusapi.ErrUnauthorized), gives(other), gives(other), gives(other), gives(other)}
	r.run(func() {
		r.until(50 * time.Second)
		s := r.settings
		s.API = fetchFunc(func(ctx context.Context, prev *statusapi.Map) (*statusapi.Map, error) {
			prevs = append(prevs, prev)
			return answers[len(prevs)-1](ctx, prev)
		})
		r.reloadOf(s, OtherPage)
		r.until(60 * time.Second) // a second reload, of the log's level perhaps
		r.reload(s)
		r.until(370 * time.Second)
	})
	r.wantAsked(0)
	if want := []*statusapi.Map{nil, nil, nil, other, other, other}; !slices.Equal(prevs, want) {
		t.Errorf("the other page was asked %d times, with maps %v; want 6 times, without a map until it has given one", len(prevs), prevs)
	}
	// The old map stays in force until the answer.
	r.wantEvery("tcp://old:1", 0, 120*time.Second, 1)
	if got := r.probes["tcp://both:1"]; !slices.Equal(got, []time.Duration{0, 65 * time.Second, 120 * time.Second, 240 * time.Second, 360 * time.Second}) {
		t.Errorf("tcp://both:1 was probed at %v, want its turns and once at 1m5s, since the other page knows nothing of it", got)
	}
	r.wantEvery("tcp://new:1", 65*time.Second, 120*time.Second, 3) // 5 s after the 401
}

// The request to the old page ends only after the reload, one way or another.
func TestTheOldPagesLateAnswerIsIgnored(t *testing.T) {
	late, other := mapOf(t, "tcp://late:1"), mapOf(t, "tcp://other:1")
	for _, tt := range []struct {
		name   string
		answer fetchFunc // how the old one ends when it is cancelled
	}{
		{"cancelled", hangs},
		{"with a map", func(ctx context.Context, _ *statusapi.Map) (*statusapi.Map, error) {
			<-ctx.Done()
			return late, nil
		}},
		{"long after, with a map", func(context.Context, *statusapi.Map) (*statusapi.Map, error) {
			time.Sleep(90 * time.Second)
			return late, nil
		}},
		{"with a 401", func(ctx context.Context, _ *statusapi.Map) (*statusapi.Map, error) {
			<-ctx.Done()
			return nil, statusapi.ErrUnauthorized
		}},
	} {
		for _, takes := range []time.Duration{0, 100 * time.Second} {
			t.Run(fmt.Sprintf("%s, new one after %v", tt.name, takes), func(t *testing.T) {
				cancelled := false
				r := newRig(t, func(ctx context.Context, prev *statusapi.Map) (*statusapi.Map, error) {
					context.AfterFunc(ctx, func() { cancelled = true })
					return tt.answer(ctx, prev)
				})
				r.run(func() {
					r.until(5 * time.Second)
					s := r.settings
					s.API = later(takes, other)
					r.reloadOf(s, OtherPage)
					if !cancelled {
						t.Errorf("the request to the old page was not cancelled")
					}
					r.until(119 * time.Second)
				})
				if len(r.probes["tcp://late:1"]) != 0 || len(r.said(logrus.ErrorLevel, "check report.token: get your reporter token from the Crisp dashboard, under Status")) != 0 {
					t.Errorf("the old page's answer was taken, want it ignored")
				}
				r.wantEvery("tcp://other:1", 5*time.Second+takes, 120*time.Second, 1)
			})
		}
	}
}

func TestANewIntervalKeepsTheOldPromise(t *testing.T) {
	seconds := func(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }
	for _, tt := range []struct{ from, to, at time.Duration }{
		{seconds(120), seconds(10), seconds(300)},
		{seconds(120), seconds(10), seconds(250)}, // while a cycle's probes start
		{seconds(10), seconds(120), seconds(33.3)},
		{seconds(10), seconds(120), seconds(31)},
		{seconds(60), seconds(61), seconds(119.9)},
		{seconds(3600), seconds(1), seconds(7300)},
		{seconds(1), seconds(3600), seconds(10.1)},
	} {
		t.Run(fmt.Sprintf("from %v to %v at %v", tt.from, tt.to, tt.at), func(t *testing.T) {
			replicas := names(0, 400)
			r := newRig(t, gives(mapOf(t, replicas...)))
			r.settings.Interval = tt.from
			r.run(func() {
				r.until(tt.at)
				s := r.settings
				s.Interval = tt.to
				r.reload(s)
				r.until(tt.at + 4*tt.to)
			})
			for _, replica := range replicas {
				began := r.probes[replica]
				after := 0
				for i := 1; i < len(began); i++ {
					gap, want := began[i]-began[i-1], tt.from
					if began[i-1] >= tt.at {
						after++
						want = tt.to
					}
					// From one interval to the other it may be sooner, and once more
					// while bunched turns are spread out, but never later.
					if gap > want || gap < want && began[i] >= tt.at && after > 1 {
						t.Fatalf("replica %s: probed at %v and at %v: a gap of %v, want %v", replica, began[i-1], began[i], gap, want)
					}
				}
				if after < 2 {
					t.Fatalf("replica %s: probed %d times in the new interval, want at least twice", replica, after)
				}
			}
			at := make(map[time.Duration]int)
			for _, replica := range replicas {
				for _, began := range r.probes[replica] {
					if at[began]++; at[began] > groupSize {
						t.Fatalf("got more than %d probes that began at %v, want them spread", groupSize, began)
					}
				}
			}
			// The new interval's cycle begins with the reload.
			if n := len(r.refreshed); r.refreshed[n-4] != tt.at+tt.to || r.refreshed[n-5] != tt.at {
				t.Errorf("cycles began at %v, want the last five from %v on, %v apart", r.refreshed[n-5:], tt.at, tt.to)
			}
		})
	}
}

func TestReloadEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		scheduler := New(Settings{Interval: time.Second}, (*prober)(newRig(t, nil)), (*outbox)(newRig(t, nil)), logrus.New())
		scheduler.Reload(ctx, Settings{}, SamePage) // nobody runs it: it returns all the same
	})
}

// What was measured is delivered, what was broken off is not, and nothing more
// begins.
func TestShutdown(t *testing.T) {
	replicas := names(0, 100)
	r := newRig(t, gives(mapOf(t, replicas...)))
	slow := lasts(20*time.Second, dead)
	stubborn := make(chan struct{}) // a probe that has its verdict just as it is cancelled
	r.judge = func(ctx context.Context, task probe.Task) probe.Result {
		switch task.Check.Target.ID() {
		case replicas[0]:
			return slow(ctx, task)
		case replicas[1]:
			<-ctx.Done()
			close(stubborn)
			return dead
		}
		return healthy
	}
	r.run(func() {
		r.until(8 * time.Second) // two of four groups
		r.answer(hangs)
		r.reload(r.settings)
		r.cancel()
		<-stubborn
	})
	if got := len(r.probes); got != 64 {
		t.Errorf("got %d replicas probed, want the 64 that were due before the end", got)
	}
	if got := r.putsOf(replicas[0]); len(got) != 0 {
		t.Errorf("the probe that was broken off: got verdicts %v, want none", got)
	}
	if got := len(r.puts); got != 63 {
		t.Errorf("got %d verdicts in the outbox, want all 63 that were measured", got)
	}
	if got := r.putsOf(replicas[1]); len(got) != 1 || got[0].health != probe.Dead {
		t.Errorf("the verdict that came with the end: got %v, want dead", got)
	}
	for _, l := range r.lines {
		if l.entry.Level <= logrus.WarnLevel && l.entry.Message != "health changed" && l.entry.Message != watching {
			t.Errorf("got %q said at %v, want nothing about what was cancelled", l.entry.Message, l.entry.Level)
		}
	}
}

func TestShutdownWithManyVerdictsAtOnce(t *testing.T) {
	replicas := names(0, 32)
	r := newRig(t, gives(mapOf(t, replicas...)))
	r.judge = func(ctx context.Context, _ probe.Task) probe.Result {
		<-ctx.Done()
		return healthy
	}
	r.run(func() { r.until(time.Second) })
	if got := len(r.puts); got != 32 {
		t.Errorf("got %d verdicts in the outbox, want 32", got)
	}
}
