package scheduler

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/crisp-im/crisp-status-local/v2/internal/probe"
	"github.com/crisp-im/crisp-status-local/v2/internal/statusapi"
)

const manyDied = "many replicas turned dead in one cycle: is it this host's network? each is tried once more before it is reported"

// outage makes replicas dead from one time to another, as far as attempts can
// tell that are made meanwhile.
func outage(r *rig, from, to time.Duration, replicas ...string) {
	off := make(map[string]bool)
	for _, replica := range replicas {
		off[replica] = true
	}
	r.judge = func(_ context.Context, task probe.Task) probe.Result {
		if now := r.now(); off[task.Check.Target.ID()] && from <= now && now < to {
			return dead
		}
		return healthy
	}
}

// deaths returns when each replica was first reported dead.
func (r *rig) deaths() map[string]time.Duration {
	first := make(map[string]time.Duration)
	for _, p := range r.puts {
		if _, known := first[p.replica]; !known && p.health == probe.Dead {
			first[p.replica] = p.at
		}
	}
	return first
}

func TestOneCableOnThisSideIsNotManyOutages(t *testing.T) {
	replicas := names(0, 10)
	r := newRig(t, gives(mapOf(t, replicas...)))
	outage(r, 120*time.Second, 122*time.Second, replicas...)
	r.run(func() { r.until(360*time.Second - 1) })
	if got := r.deaths(); len(got) != 0 {
		t.Errorf("replicas reported dead: got %v, want none: all answered 3 s later", got)
	}
	for _, replica := range replicas {
		verdicts := r.putsOf(replica)
		if len(verdicts) != 4 || verdicts[1].at != 120*time.Second || verdicts[2].at != 123*time.Second {
			t.Errorf("%s: got verdicts %v, want the last one repeated at 2m0s and a new one 3 s later", replica, verdicts)
		}
	}
	if got := r.said(logrus.WarnLevel, manyDied); len(got) != 1 {
		t.Errorf("got %d lines that many turned dead, want one", len(got))
	}
}

func TestManyOutagesAreReportedAfterOneAttemptMore(t *testing.T) {
	replicas := names(0, 10)
	r := newRig(t, gives(mapOf(t, replicas...)))
	outage(r, 120*time.Second, time.Hour, replicas[:5]...)
	var tasks []probe.Task
	judge := r.judge
	r.judge = func(ctx context.Context, task probe.Task) probe.Result {
		if r.now() == 123*time.Second {
			r.mu.Lock()
			tasks = append(tasks, task)
			r.mu.Unlock()
		}
		return judge(ctx, task)
	}
	r.run(func() { r.until(360*time.Second - 1) })
	got := r.deaths()
	for _, replica := range replicas[:5] {
		if got[replica] != 123*time.Second {
			t.Errorf("%s: reported dead at %v, want 2m3s: after one more attempt 3 s later", replica, got[replica])
		}
	}
	if len(got) != 5 {
		t.Errorf("replicas reported dead: got %v, want the five that are", got)
	}
	if len(tasks) != 5 {
		t.Fatalf("got %d attempts more, want one of each that turned dead", len(tasks))
	}
	for _, task := range tasks {
		if task.Attempts != 1 || !task.Fresh || task.Check.Rules != nil {
			t.Errorf("the attempt more: got %+v, want one, with the name looked up anew and the rules of the replica", task)
		}
	}
}

func TestFewOutagesAreReportedAtOnce(t *testing.T) {
	for _, tt := range []struct {
		name           string
		replicas, dead int
	}{
		{"less than half", 10, 4},
		{"one of a thousand, in the last group", 1000, 1},
		{"all, but fewer than five", 4, 4},
	} {
		t.Run(tt.name, func(t *testing.T) {
			replicas := names(0, tt.replicas)
			r := newRig(t, gives(mapOf(t, replicas...)))
			outage(r, 120*time.Second, time.Hour, replicas[tt.replicas-tt.dead:]...)
			r.run(func() { r.until(240*time.Second - 1) })
			got := r.deaths()
			if len(got) != tt.dead {
				t.Fatalf("got %d replicas reported dead, want %d", len(got), tt.dead)
			}
			for replica, at := range got {
				if want := r.probes[replica][1]; at != want {
					t.Errorf("%s: reported dead at %v, want %v, when it was judged", replica, at, want)
				}
			}
			if n := len(r.said(logrus.WarnLevel, manyDied)); n != 0 {
				t.Errorf("got %d lines that many turned dead, want none", n)
			}
		})
	}
}

// One dead replica whose turn comes first waits until it is known that not many
// are, and its page is kept up meanwhile.
func TestVerdictWaitsUntilItIsKnownThatFewTurnedDead(t *testing.T) {
	replicas := names(0, 320) // ten groups, 3 s apart
	r := newRig(t, gives(mapOf(t, replicas...)))
	outage(r, 120*time.Second, time.Hour, replicas[0])
	r.run(func() { r.until(240*time.Second - 1) })
	verdicts := r.putsOf(replicas[0])
	if len(verdicts) != 3 || verdicts[1].at != 120*time.Second || verdicts[1].health != probe.Healthy {
		t.Fatalf("got verdicts %v, want the last one repeated at 2m0s, and then a new one", verdicts)
	}
	// With six groups judged, 160 dead are not possible any more.
	if last := verdicts[2]; last.health != probe.Dead || last.at != 135*time.Second {
		t.Errorf("got %s at %v, want dead at 2m15s", last.health, last.at)
	}
	if n := len(r.probes[replicas[0]]); n != 2 {
		t.Errorf("got %d probes in two cycles, want 2", n)
	}
}

func TestReplicasWithoutAnEarlierVerdictCountAsTurning(t *testing.T) {
	replicas := names(0, 6)
	r := newRig(t, gives(mapOf(t, replicas...)))
	outage(r, 0, time.Second, replicas...)
	r.run(func() { r.until(120*time.Second - 1) })
	if got := r.deaths(); len(got) != 0 {
		t.Errorf("replicas reported dead: got %v, want none: all answered 3 s later", got)
	}
}

func TestShutdownReportsNoDeathThatIsStillInDoubt(t *testing.T) {
	for _, tt := range []struct {
		name  string
		dead  int
		after time.Duration
	}{
		{"before it is known how many turned dead", 1, time.Second},
		{"before they were tried once more", 200, 2 * time.Second},
		{"before it is known how many of the cycle did", 159, 14 * time.Second},
	} {
		t.Run(tt.name, func(t *testing.T) {
			replicas := names(0, 320)
			r := newRig(t, gives(mapOf(t, replicas...)))
			outage(r, 0, time.Hour, replicas[:tt.dead]...)
			r.run(func() { r.until(tt.after) })
			if got := r.deaths(); len(got) != 0 {
				t.Errorf("replicas reported dead at shutdown: got %v, want none", got)
			}
		})
	}
}

// A beat between the beginning and the end of the probes does not make two
// small outages of a large one.
func TestBeatDoesNotCutAnOutageInTwo(t *testing.T) {
	replicas := names(0, 320)
	r := newRig(t, gives(mapOf(t, replicas...)))
	r.settings.Interval = 5 * time.Second // so the starts are spread over 1.25 s
	r.judge = func(ctx context.Context, task probe.Task) probe.Result {
		if began := r.now(); began >= 5*time.Second && began < 10*time.Second {
			return lasts(4*time.Second, dead)(ctx, task) // the last groups end in the next cycle
		}
		return healthy
	}
	r.run(func() { r.until(25 * time.Second) })
	if got := r.deaths(); len(got) != 0 {
		t.Errorf("%d replicas reported dead, want none: all answered when they were tried once more", len(got))
	}
}

func TestManyThatWereDeadBeforeDoNotDelayTheNewsOfOne(t *testing.T) {
	replicas := names(0, 320) // ten groups, 3 s apart
	r := newRig(t, gives(mapOf(t, replicas...)))
	r.judge = func(_ context.Context, task probe.Task) probe.Result {
		id := task.Check.Target.ID()
		if id == replicas[0] && r.now() >= 240*time.Second || id > replicas[100] {
			return dead
		}
		return healthy
	}
	r.run(func() { r.until(360*time.Second - 1) })
	if at := r.deaths()[replicas[0]]; at != 240*time.Second {
		t.Errorf("reported dead at %v, want 4m0s, at once: half of all cannot turn dead any more", at)
	}
}

// While its verdict is held back, a replica has no probe under way that would
// have to end before it can be probed anew.
func TestReplicaThatLeavesWhileItsVerdictIsHeldBackCanComeBack(t *testing.T) {
	replicas := names(0, 10)
	all, fewer := mapOf(t, replicas...), mapOf(t, replicas[:2]...)
	r := newRig(t, gives(all))
	outage(r, 0, time.Second, replicas...)
	r.run(func() {
		for _, m := range []*statusapi.Map{fewer, all} { // the dead are held back for 3 s
			time.Sleep(500 * time.Millisecond)
			r.mu.Lock()
			r.fetch = gives(m)
			r.mu.Unlock()
			r.scheduler.Reload(context.Background(), r.settings, SamePage)
			time.Sleep(time.Millisecond)
		}
		r.until(360 * time.Second)
	})
	for _, replica := range replicas {
		if got := r.putsOf(replica); len(got) < 3 {
			t.Errorf("%s: got verdicts %v, want one in every cycle", replica, got)
		}
	}
}

func TestSuspendedHostMakesUpForMissedBeats(t *testing.T) {
	replicas := names(0, 64) // two groups, 15 s apart
	r := newRig(t, gives(mapOf(t, replicas...)))
	const away = 100 * time.Second
	r.run(func() {
		r.until(30 * time.Second)
		// The host sleeps: its timers stand still, the time since boot goes on.
		r.suspend(away)
		r.until(300 * time.Second)
	})
	// By the time that goes on, a turn is 120 s after the one before; by the
	// timers, those after the sleep come 100 s sooner.
	for i, replica := range replicas {
		turn := time.Duration(i/32) * 15 * time.Second
		got := r.probes[replica]
		if len(got) < 3 || got[0] != turn {
			t.Fatalf("%s: got probes at %v, want the first at %v", replica, got, turn)
		}
		want := max(turn+120*time.Second-away, 30*time.Second) // overdue: as soon as it is noticed
		if late := got[1] - want; late < 0 || late > alertness {
			t.Errorf("%s: got the first probe after the sleep at %v, want it at %v or within %v", replica, got[1], want, alertness)
		}
		if next := turn + 240*time.Second - away; got[2] != next {
			t.Errorf("%s: got the next probe at %v, want %v: it keeps its turn", replica, got[2], next)
		}
	}
}

// An outage that a reload with another interval falls into is one outage.
func TestReloadDoesNotCutAnOutageInTwo(t *testing.T) {
	replicas := names(0, 320) // ten groups, 400 ms apart
	r := newRig(t, gives(mapOf(t, replicas...)))
	r.settings.Interval = 16 * time.Second
	outage(r, 16*time.Second, 19200*time.Millisecond, replicas...)
	r.run(func() {
		r.until(17600 * time.Millisecond)
		s := r.settings
		s.Interval = 20 * time.Second
		r.scheduler.Reload(context.Background(), s, SamePage)
		r.until(60 * time.Second)
	})
	if got := r.deaths(); len(got) != 0 {
		t.Errorf("%d replicas reported dead, want none: all answered when they were tried once more", len(got))
	}
}

// A fault of two seconds meets one or two groups of 32, a small part of the map.
func TestAFaultOfTwoSecondsKillsNoGroup(t *testing.T) {
	for _, n := range []int{64, 320, 1000, 3000} {
		replicas := names(0, n)
		for _, from := range []time.Duration{120, 125, 133, 149} {
			t.Run(fmt.Sprintf("%d replicas, from %v", n, from*time.Second), func(t *testing.T) {
				r := newRig(t, gives(mapOf(t, replicas...)))
				outage(r, from*time.Second, (from+2)*time.Second, replicas...)
				r.run(func() { r.until(360*time.Second - 1) })
				if got := r.deaths(); len(got) != 0 {
					t.Errorf("%d replicas reported dead, want none: all answered 3 s later", len(got))
				}
			})
		}
	}
}

// An outage that outlasts the first confirmations but meets half of the map is
// found by the cycle.
func TestDeathsAreConfirmedAgainOnceManyOfTheCycleDied(t *testing.T) {
	replicas := names(0, 320) // ten groups, 3 s apart
	r := newRig(t, gives(mapOf(t, replicas...)))
	outage(r, 120*time.Second, 134*time.Second, replicas...)
	r.run(func() { r.until(360*time.Second - 1) })
	if got := r.deaths(); len(got) != 0 {
		t.Errorf("%d replicas reported dead, want none: all answered after the outage", len(got))
	}
	for _, replica := range replicas {
		for i, p := range r.putsOf(replica)[1:] {
			if gap := p.at - r.putsOf(replica)[i].at; gap > 125*time.Second {
				t.Errorf("%s: a gap of %v between reports, want 125s at most", replica, gap)
			}
		}
	}
}

func TestAGroupThatIsDeadIsReportedAfterItsCycleIsDecided(t *testing.T) {
	replicas := names(0, 320)
	r := newRig(t, gives(mapOf(t, replicas...)))
	outage(r, 120*time.Second, time.Hour, replicas[:32]...)
	r.run(func() { r.until(240*time.Second - 1) })
	got := r.deaths()
	if len(got) != 32 {
		t.Fatalf("%d replicas reported dead, want the 32 that are", len(got))
	}
	for replica, at := range got {
		// With seven groups judged, 160 dead are not possible any more.
		if at != 138*time.Second {
			t.Errorf("%s: reported dead at %v, want 2m18s", replica, at)
		}
		if n := len(r.probes[replica]); n != 3 {
			t.Errorf("%s: got %d probes, want two turns and one confirmation", replica, n)
		}
	}
}
