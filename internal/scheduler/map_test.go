package scheduler

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/crisp-im/crisp-status-local/v2/internal/probe"
	"github.com/crisp-im/crisp-status-local/v2/internal/statusapi"
)

func TestTheLastGoodMapStaysInForce(t *testing.T) {
	for _, tt := range []struct {
		name  string
		fetch fetchFunc
	}{
		{"500", fails(errDown)},
		{"401", fails(statusapi.ErrUnauthorized)},
		{"a map that does not parse", fails(errMap)},
		{"no answer within an interval", hangs},
		{"304", func(_ context.Context, prev *statusapi.Map) (*statusapi.Map, error) { return prev, nil }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			good := mapOf(t, names(0, 100)...)
			r := newRig(t, gives(good))
			r.run(func() {
				r.until(0)
				r.answer(tt.fetch)
				r.until(4*120*time.Second - 1)
				if r.scheduler.currentMap != good {
					t.Errorf("got another map in force, want the last good one")
				}
			})
			// No request delays a probe.
			r.wantGaps(120 * time.Second)
			if got := len(r.puts); got != 400 {
				t.Errorf("got %d verdicts in 4 cycles of 100 replicas, want 400", got)
			}
			for _, a := range r.asked[1:] {
				if a.prev != good {
					t.Errorf("the map was asked for at %v as if none were held, want with the last good one", a.at)
				}
			}
		})
	}
}

func TestAFailedMapRequestIsRepeatedAtTheNextBeat(t *testing.T) {
	r := newRig(t, gives(mapOf(t, "tcp://a:1")))
	r.run(func() {
		r.until(0)
		r.answer(fails(errDown))
		r.until(400 * time.Second)
	})
	r.wantAsked(0, 120, 240, 360)
}

// Of one 401 a proxy may be the cause.
func TestAfterA401TheMapIsRequestedMoreOften(t *testing.T) {
	r := newRig(t, gives(mapOf(t, "tcp://a:1")))
	r.run(func() {
		r.until(0)
		r.answer(fails(fmt.Errorf("fetching the map: %w", statusapi.ErrUnauthorized)))
		r.until(700 * time.Second)
		r.answer(gives(mapOf(t, "tcp://a:1")))
		r.until(900 * time.Second)
	})
	// 5, 10, 20, 40 and 80 s after the answers, then every interval, and with the
	// first good one at the beat again.
	r.wantAsked(0, 120, 125, 135, 155, 195, 275, 395, 515, 635, 755, 840)
	r.wantEvery("tcp://a:1", 0, 120*time.Second, 8)
}

func TestWhileThereIsNoMapItIsRequestedAgain(t *testing.T) {
	seconds := func(s int) time.Duration { return time.Duration(s) * time.Second }
	want := []float64{0, 1, 3, 7, 15, 30, 45, 60, 75, 90, 105, 120, 135, 150}
	for _, interval := range []time.Duration{seconds(1), seconds(10), seconds(120), seconds(3600)} {
		for _, err := range []error{errDown, statusapi.ErrUnauthorized, fmt.Errorf("fetching the map: %w", statusapi.ErrUnauthorized)} {
			t.Run(fmt.Sprintf("%v, %v", interval, err), func(t *testing.T) {
				r := newRig(t, fails(err))
				r.settings.Interval = interval
				r.run(func() { r.until(159 * time.Second) })
				r.wantAsked(want...)
			})
		}
	}
}

func TestRecoversAsSoonAsTheTokenIsAccepted(t *testing.T) {
	r := newRig(t, fails(statusapi.ErrUnauthorized))
	r.run(func() {
		r.until(70 * time.Second)
		r.answer(gives(mapOf(t, "tcp://a:1")))
		r.until(479 * time.Second)
	})
	r.wantEvery("tcp://a:1", 75*time.Second, 120*time.Second, 4)
	r.wantAsked(0, 1, 3, 7, 15, 30, 45, 60, 75, 120, 240, 360)
}

func TestTheTokenIsSaidToBeWrongOncePerCycle(t *testing.T) {
	for _, interval := range []time.Duration{90 * time.Second, 120 * time.Second, 40 * time.Second} {
		for _, held := range []bool{false, true} {
			t.Run(fmt.Sprintf("%v, map held: %v", interval, held), func(t *testing.T) {
				r := newRig(t, fails(statusapi.ErrUnauthorized))
				r.settings.Interval = interval
				if held {
					r.fetch = gives(mapOf(t, "tcp://a:1"))
				}
				r.run(func() {
					r.until(0)
					r.answer(fails(statusapi.ErrUnauthorized))
					r.until(20*interval - 1)
				})
				in := make(map[time.Duration]int)
				lines := r.said(logrus.ErrorLevel, "check report.token: get your reporter token from the Crisp dashboard, under Status")
				for _, l := range lines {
					in[l.at/interval]++
					if err, _ := l.entry.Data["error"].(error); !errors.Is(err, statusapi.ErrUnauthorized) {
						t.Errorf("field error of the line: got %v, want %v", err, statusapi.ErrUnauthorized)
					}
				}
				for cycle, n := range in {
					if n > 1 {
						t.Errorf("cycle %d: got %d lines, want one", cycle, n)
					}
				}
				if held && len(lines) != 19 || !held && len(lines) < 20*int(interval/time.Second)/max(60, int(interval/time.Second))-1 {
					t.Errorf("got %d lines in 20 cycles, want one in each in which the API was asked", len(lines))
				}
			})
		}
	}
}

// later answers with m, but only after d.
func later(d time.Duration, m *statusapi.Map) fetchFunc {
	return func(ctx context.Context, _ *statusapi.Map) (*statusapi.Map, error) {
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(d):
			return m, nil
		}
	}
}

func TestANewMapIsInForceTheMomentItArrives(t *testing.T) {
	rules := probe.DefaultRules()
	rules.Retry = 7
	changed := mapOf(t, "tcp://stays:1", "tcp://comes:1", "tcp://changes:1")
	changed.Checks[2].Rules = rules
	changed.Problems = []string{"replica \"ftp://x\" has the unknown scheme \"ftp\"; it is left out"}
	r := newRig(t, gives(mapOf(t, "tcp://stays:1", "tcp://goes:1", "tcp://changes:1")))
	retries := make(map[int]bool)
	r.judge = func(_ context.Context, task probe.Task) probe.Result {
		if task.Check.Target.ID() == "tcp://changes:1" && task.Check.Rules != nil && r.now() > 120*time.Second {
			r.mu.Lock()
			retries[task.Check.Rules.Retry] = true
			r.mu.Unlock()
		}
		return healthy
	}
	r.run(func() {
		r.until(0)
		r.answer(later(17*time.Second, changed))
		r.until(500 * time.Second)
	})
	r.wantEvery("tcp://stays:1", 0, 120*time.Second, 5)
	if got := r.probes["tcp://changes:1"]; !slices.Equal(got, []time.Duration{0, 120 * time.Second, 137 * time.Second, 240 * time.Second, 360 * time.Second, 480 * time.Second}) {
		t.Errorf("the replica whose rules changed was probed at %v, want its turns and once at 2m17s", got)
	}
	r.wantEvery("tcp://comes:1", 137*time.Second, 120*time.Second, 4)
	r.wantEvery("tcp://goes:1", 0, 120*time.Second, 2)
	if !retries[7] {
		t.Errorf("the replica whose rules changed was never probed by the new ones")
	}
	if got := r.putsOf("tcp://goes:1"); len(got) != 0 {
		t.Errorf("the outbox holds verdicts of the replica that left: %v, want none", got)
	}
	if r.retained != 3 {
		t.Errorf("the outbox was told of %d replicas, want 3", r.retained)
	}
	if got := len(r.scheduler.replicas) + len(r.scheduler.schedule.groups); got != 3+2 {
		t.Errorf("got %d replicas and groups, want 3 and 2", got)
	}
	lines := r.said(logrus.InfoLevel, "map changed")
	if len(lines) != 2 {
		t.Fatalf("got %d lines that the map changed, want 2", len(lines))
	}
	want := logrus.Fields{"replicas": 3, "added": 1, "removed": 1}
	if got := lines[1].entry.Data; !maps.Equal(got, want) {
		t.Errorf("fields of the line: got %v, want %v", got, want)
	}
	if got := r.said(logrus.WarnLevel, "ignored invalid map entry"); len(got) != 1 {
		t.Errorf("got %d lines on what the map holds that is odd, want one per map, 1", len(got))
	}
}

func TestReplicasKeepTheirTurnWhenTheMapChanges(t *testing.T) {
	ten := names(0, 10)
	for _, tt := range []struct {
		name string
		maps [][]string // one per cycle
		stay []string   // replicas that are in all of them
	}{
		{"10, 1000, 10", [][]string{ten, names(0, 1000), ten, names(0, 1000), ten}, ten},
		{"1000, 10, 1000", [][]string{names(0, 1000), names(500, 10), names(0, 1000)}, names(500, 10)},
		{"the other way round", [][]string{names(0, 100), reversed(names(0, 100)), names(0, 100)}, names(0, 100)},
		{"one by one", [][]string{names(0, 5), names(0, 6), names(0, 7), names(1, 7), names(2, 7)}, names(2, 3)},
		{"replaced", [][]string{append(ten, names(100, 200)...), append(names(400, 300), ten...), append(ten, names(900, 40)...)}, ten},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := newRig(t, nil)
			asked := 0
			r.fetch = func(context.Context, *statusapi.Map) (*statusapi.Map, error) {
				// Now early, now late in the cycle.
				time.Sleep([]time.Duration{0, 700 * time.Millisecond, 50 * time.Second, 3 * time.Second}[asked%4])
				m := tt.maps[min(asked, len(tt.maps)-1)]
				asked++
				return mapOf(t, m...), nil
			}
			cycles := len(tt.maps) + 2
			r.run(func() { r.until(time.Duration(cycles)*120*time.Second - 1) })
			for _, replica := range tt.stay {
				first := r.probes[replica][0]
				r.wantEvery(replica, first, 120*time.Second, cycles)
			}
			last := tt.maps[len(tt.maps)-1]
			for _, replica := range last {
				if began := r.probes[replica]; len(began) < 2 || began[len(began)-1] < time.Duration(cycles-1)*120*time.Second {
					t.Errorf("replica %s of the last map: probed at %v, want in the last cycle, too", replica, began)
				}
			}
			for replica, began := range r.probes {
				if !slices.Contains(last, replica) && began[len(began)-1] > time.Duration(len(tt.maps))*120*time.Second {
					t.Errorf("replica %s has left the map: probed at %v", replica, began)
				}
			}
		})
	}
}

func reversed(replicas []string) []string {
	slices.Reverse(replicas)
	return replicas
}

// outdate has the API answer 404 to a report, and a second pass.
func (r *rig) outdate() {
	r.unknown()
	r.until(r.now() + time.Second)
}

// unknown has the API answer 404 to a report.
func (r *rig) unknown() {
	select {
	case r.outdated <- struct{}{}:
	default:
	}
}

func TestAfterA404TheMapIsFetchedWholeAtOnce(t *testing.T) {
	m := mapOf(t, "tcp://a:1")
	r := newRig(t, gives(m))
	r.run(func() {
		r.until(130 * time.Second)
		r.answer(fails(errDown))
		r.outdate()
		r.until(490 * time.Second) // without since, until there is an answer
		r.answer(gives(m))
		r.until(730 * time.Second)
	})
	r.wantAsked(0, 120, 130, 240, 360, 480, 600, 720)
	for i, want := range []*statusapi.Map{nil, m, nil, nil, nil, nil, nil, m} {
		if got := r.asked[i].prev; got != want {
			t.Errorf("request %d: with a map in hand: %v, want %v", i, got != nil, want != nil)
		}
	}
	r.wantEvery("tcp://a:1", 0, 120*time.Second, 7)
}

// A proxy that answers 404 to everything is asked less and less.
func TestWhile404sGoOnAndTheMapIsUnchangedTheWaitsDouble(t *testing.T) {
	fresh := func(context.Context, *statusapi.Map) (*statusapi.Map, error) { return mapOf(t, "tcp://a:1"), nil }
	r := newRig(t, fresh)
	r.run(func() {
		r.until(130 * time.Second)
		for r.now() < 600*time.Second {
			r.outdate() // every second
		}
		r.until(719 * time.Second)
	})
	// At once, then 5, 10, 20, 40, 80 and 120 s later, and never twice for one 404.
	r.wantAsked(0, 120, 130, 135, 145, 165, 205, 285, 405, 525, 645)
	for i, a := range r.asked {
		if whole := i == 0 || i > 1; whole != (a.prev == nil) {
			t.Errorf("request %d, at %v: the whole map: %v, want %v", i, a.at, a.prev == nil, whole)
		}
	}
}

func TestA404AfterAQuietIntervalHasTheMapFetchedAtOnce(t *testing.T) {
	m := mapOf(t, "tcp://a:1")
	r := newRig(t, gives(m))
	r.run(func() {
		r.until(130 * time.Second)
		r.outdate()
		r.until(260 * time.Second)
		r.outdate()
		r.outdate()
		r.until(300 * time.Second)
	})
	r.wantAsked(0, 120, 130, 240, 260, 265)
}

// The 404 comes while the map is requested, with since.
func TestA404DuringAMapRequestHasTheWholeMapFetchedAfterIt(t *testing.T) {
	m := mapOf(t, "tcp://a:1")
	r := newRig(t, gives(m))
	r.run(func() {
		r.until(1 * time.Second)
		r.answer(later(10*time.Second, m))
		r.until(122 * time.Second)
		r.outdate()
		r.until(239 * time.Second)
	})
	r.wantAsked(0, 120, 130)
	if r.asked[2].prev != nil {
		t.Error("the map was requested with since, want the whole map")
	}
}

func TestAnEmptyMapIsAMap(t *testing.T) {
	r := newRig(t, gives(mapOf(t)))
	r.run(func() { r.until(130 * time.Second) })
	r.wantAsked(0, 120)
	if len(r.probes) != 0 || len(r.said(logrus.ErrorLevel, "there is no map yet, so nothing is probed")) != 0 {
		t.Errorf("got probes %v, or an error said, want neither", r.probes)
	}
}

// An API that answers 404 to reports and has other replicas in each map is asked once a
// second: each map brings reports at once, and so the next 404.
func TestWhile404sGoOnAndTheMapChangesItIsFetchedOnceASecond(t *testing.T) {
	answers := 0
	r := newRig(t, func(context.Context, *statusapi.Map) (*statusapi.Map, error) {
		answers++
		time.Sleep(20 * time.Millisecond)
		return mapOf(t, names(answers, 1)...), nil
	})
	r.onPut = func(statusapi.Verdict) { r.unknown() }
	r.run(func() {
		r.until(10*time.Second + time.Millisecond)
		if got := len(r.asked); got > 12 {
			t.Errorf("the map was asked for %d times in 10 s, want 12 at most", got)
		}
		if last := r.asked[len(r.asked)-1].at; last < 9*time.Second {
			t.Errorf("the map was last asked for after %v, want again a second after the one before", last)
		}
	})
}
