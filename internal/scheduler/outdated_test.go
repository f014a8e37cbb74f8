package scheduler

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/crisp-im/crisp-status-local/v2/internal/pace"
	"github.com/crisp-im/crisp-status-local/v2/internal/probe"
	"github.com/crisp-im/crisp-status-local/v2/internal/statusapi"
)

// judges returns a judge with one answer.
func judges(result probe.Result) judge {
	return func(context.Context, probe.Task) probe.Result { return result }
}

// hourly returns a rig whose interval is an hour: whatever waits for a turn waits long.
func hourly(t *testing.T, fetch fetchFunc) *rig {
	r := newRig(t, fetch)
	r.settings.Interval = time.Hour
	return r
}

// wantBeside checks that each replica was probed once within the spread of a start from
// at on, beside turns an interval apart, and that no more than a group of them began at
// a time.
func (r *rig) wantBeside(at time.Duration, replicas ...string) {
	r.t.Helper()
	starts := make(map[time.Duration]int)
	for _, replica := range replicas {
		began := r.probes[replica]
		before := slices.IndexFunc(began, func(t time.Duration) bool { return t >= at })
		if before < 0 || len(began)-before != 2 {
			r.t.Fatalf("%s: probed at %v, want its turn and once beside it from %v on", replica, began, at)
		}
		beside, turn := began[before], began[before+1]
		if beside-at > pace.Spread(r.settings.Interval) {
			r.t.Fatalf("%s: probed at %v, want it within %v from %v on", replica, began, pace.Spread(r.settings.Interval), at)
		}
		if turn-began[0] != r.settings.Interval {
			r.t.Fatalf("%s: probed at %v, want its turns %v apart", replica, began, r.settings.Interval)
		}
		if starts[beside]++; starts[beside] > groupSize {
			r.t.Fatalf("got more than %d probes at %v, want groups", groupSize, beside)
		}
	}
}

// TestAReloadProbesWhatIsNotHealthy: whatever kept a replica from being healthy may be
// what the operator has just mended.
func TestAReloadProbesWhatIsNotHealthy(t *testing.T) {
	for _, tt := range []struct {
		name     string
		before   probe.Result
		replicas int
	}{
		{"denied", denied, 25_000}, // more than groups 50 ms apart have room for
		{"dead", dead, 320},
		{"sick", slow, 320},
		{"this host's trouble", local, 320},
	} {
		t.Run(tt.name, func(t *testing.T) {
			bad, good := names(0, tt.replicas), names(tt.replicas, 100)
			r := hourly(t, gives(mapOf(t, append(bad, good...)...)))
			judgesBad := make(map[string]judge)
			for _, replica := range bad {
				judgesBad[replica] = judges(tt.before)
			}
			r.judge = byReplica(judgesBad)
			r.run(func() {
				r.until(100 * time.Second)
				r.judgeBy(nil)
				r.reload(r.settings)
				r.until(101 * time.Second)
				r.reload(r.settings) // what waits already does not wait twice
				r.until(time.Hour + 60*time.Second)
			})
			r.wantBeside(100*time.Second, bad...)
			for _, replica := range good {
				if got := r.probes[replica]; len(got) != 2 {
					t.Fatalf("%s: probed at %v, want its two turns alone, since it was healthy", replica, got)
				}
			}
			first := bad[0]
			if puts := r.putsOf(first); puts[len(puts)-2] != (put{100 * time.Second, first, probe.Healthy}) {
				t.Errorf("%s: got the verdicts %v, want healthy with the reload", first, puts)
			}
		})
	}
}

// TestAReloadWhileReplicasAreBusy: a probe that began before the reload says nothing of
// the new settings.
func TestAReloadWhileReplicasAreBusy(t *testing.T) {
	const busy = "tcp://busy:1"
	for _, tt := range []struct {
		name   string
		judge  judge
		at     time.Duration // of the reload
		beside time.Duration // the time of the probe that follows
	}{
		{"probing", lasts(30*time.Second, dead), 10 * time.Second, 30 * time.Second},
		{"probing, and denied", lasts(30*time.Second, denied), 10 * time.Second, 30 * time.Second},
		{"probing, and local", lasts(30*time.Second, local), 10 * time.Second, 30 * time.Second},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := hourly(t, gives(mapOf(t, busy)))
			r.judge = tt.judge
			r.run(func() {
				r.until(tt.at)
				r.judgeBy(nil)
				r.reload(r.settings)
				r.until(2*time.Hour - time.Second)
			})
			if got := r.probes[busy]; len(got) != 3 || got[1] != tt.beside || got[2] != time.Hour {
				t.Errorf("probed at %v, want at 0, %v and 1h0m0s", got, tt.beside)
			}
			if puts := r.putsOf(busy); puts[len(puts)-2] != (put{tt.beside, busy, probe.Healthy}) {
				t.Errorf("got the verdicts %v, want healthy at %v", puts, tt.beside)
			}
		})
	}
}

// TestAReloadBeforeAConfirmation: the confirmation is the probe that follows.
func TestAReloadBeforeAConfirmation(t *testing.T) {
	all := names(0, 10)
	r := hourly(t, gives(mapOf(t, all...)))
	r.judge = judges(dead)
	r.run(func() {
		r.until(time.Second) // doubted until 3 s
		r.judgeBy(nil)
		r.reload(r.settings)
		r.until(time.Minute)
	})
	for _, replica := range all {
		if got := r.probes[replica]; len(got) != 2 || got[1] != confirmAfter {
			t.Errorf("%s: probed at %v, want at 0 and %v", replica, got, confirmAfter)
		}
	}
}

// TestReportDeniedByAReload: both ways at once, not an interval later.
func TestReportDeniedByAReload(t *testing.T) {
	const mine = "tcp://mine:1"
	r := hourly(t, gives(mapOf(t, mine, "tcp://other:1")))
	r.judge = byReplica(map[string]judge{mine: judges(denied)})
	r.run(func() {
		r.until(100 * time.Second)
		s := r.settings
		s.ReportDenied = true
		r.reload(s)
		r.until(200 * time.Second)
		if got := r.scheduler.replicas[r.scheduler.currentMap.Checks[0].ID()].health; got != probe.Dead {
			t.Errorf("report_denied on: got the health %q, want dead", got)
		}
		s.ReportDenied = false
		r.reload(s)
		r.until(300 * time.Second)
		if got := r.scheduler.replicas[r.scheduler.currentMap.Checks[0].ID()].health; got != probe.Unknown {
			t.Errorf("report_denied off: got the health %q, want none", got)
		}
	})
	if got := r.putsOf(mine); len(got) != 1 || got[0] != (put{100 * time.Second, mine, probe.Dead}) {
		t.Errorf("got the reports %v, want one: dead, at the reload", got)
	}
}

// TestOtherRulesProbeAtOnce: of the map's replicas, those whose rules have changed. A
// map has new rules in any case, so their values count.
func TestOtherRulesProbeAtOnce(t *testing.T) {
	changed, same := names(0, 3200), names(3200, 3200)
	rulesBy := func(delay time.Duration, match string) *statusapi.Map {
		m := &statusapi.Map{}
		for i, replica := range append(changed[:len(changed):len(changed)], same...) {
			rules := probe.DefaultRules()
			if rules.HealthyMatch = "ok"; i < len(changed) {
				rules.SickAfter, rules.DeadMatch = delay, match
			}
			rules.Compile()
			m.Checks = append(m.Checks, check(t, replica, rules))
		}
		return m
	}
	for name, second := range map[string]*statusapi.Map{
		"another delay": rulesBy(2*time.Second, ""),
		"another match": rulesBy(time.Second, "maintenance"),
	} {
		t.Run(name, func(t *testing.T) {
			r := hourly(t, gives(rulesBy(time.Second, "")))
			r.run(func() {
				r.until(100 * time.Second)
				r.answer(gives(second))
				r.reload(r.settings)
				r.until(time.Hour + 60*time.Second)
			})
			r.wantBeside(100*time.Second, changed...)
			for _, replica := range same {
				if got := r.probes[replica]; len(got) != 2 {
					t.Fatalf("%s: probed at %v, want its two turns alone, since its rules are the same", replica, got)
				}
			}
		})
	}
}

// TestOtherRulesWhileProbing: a verdict by the old rules is followed by one by the new.
func TestOtherRulesWhileProbing(t *testing.T) {
	const busy = "tcp://busy:1"
	old, other := probe.DefaultRules(), probe.DefaultRules()
	other.Retry = 0
	r := hourly(t, gives(&statusapi.Map{Checks: []probe.Check{check(t, busy, old)}}))
	r.judge = lasts(10*time.Second, healthy)
	r.run(func() {
		r.until(5 * time.Second)
		r.answer(gives(&statusapi.Map{Checks: []probe.Check{check(t, busy, other)}}))
		r.reload(r.settings)
		r.until(time.Minute)
	})
	if got := r.probes[busy]; len(got) != 2 || got[1] != 10*time.Second {
		t.Errorf("probed at %v, want at 0 and 10s", got)
	}
}

// TestTurnsThatComeSoonAreWaitedFor: a shorter interval brings every turn forward, so no
// replica is probed twice for one reload.
func TestTurnsThatComeSoonAreWaitedFor(t *testing.T) {
	all := names(0, 3200)
	r := hourly(t, gives(mapOf(t, all...)))
	r.judge = judges(slow)
	r.run(func() {
		r.until(100 * time.Second)
		s := r.settings
		s.Interval = 10 * time.Second
		r.reload(s)
		r.until(110*time.Second - 1)
	})
	for _, replica := range all {
		if got := r.probes[replica]; len(got) != 2 || got[len(got)-1] < 100*time.Second || got[len(got)-1] > 102500*time.Millisecond {
			t.Fatalf("%s: probed at %v, want it once from 100 s on, within 2.5 s", replica, got)
		}
	}
}

// TestAnotherPageIsToldAllAtOnce: it knows nothing of the replicas that both have.
func TestAnotherPageIsToldAllAtOnce(t *testing.T) {
	both := names(0, 3200)
	r := hourly(t, gives(mapOf(t, both...)))
	r.run(func() {
		r.until(100 * time.Second)
		r.answer(gives(mapOf(t, both...)))
		r.reloadOf(r.settings, OtherPage)
		r.until(200 * time.Second)
		r.answer(gives(mapOf(t, both...))) // of the same page, some time later
		r.reload(r.settings)
		r.until(time.Hour + 60*time.Second)
	})
	r.wantBeside(100*time.Second, both...)
}

// TestARefreshDoesNotDelayATakeover: the page waits for the verdicts of a takeover.
func TestARefreshDoesNotDelayATakeover(t *testing.T) {
	all := names(0, 3200)
	r := hourly(t, gives(mapOf(t, all...)))
	r.judge = judges(dead)
	r.run(func() {
		r.until(100 * time.Second)
		r.reload(r.settings)
		last := all[len(all)-1]
		probes := func() int {
			r.mu.Lock()
			defer r.mu.Unlock()
			return len(r.probes[last])
		}
		before := probes()
		r.takeStale(false, last)
		r.until(101 * time.Second)
		if got := probes() - before; got != 1 {
			t.Errorf("got %d probes within a second of the takeover, want one", got)
		}
		r.until(200 * time.Second)
		if got := probes() - before; got != 1 {
			t.Errorf("got %d probes beside the turn, want one", got)
		}
	})
}

// TestADeathOfARecheckIsConfirmed: a fault of this host for two seconds, just then, is no
// death, though too few replicas are probed to see a mass failure.
func TestADeathOfARecheckIsConfirmed(t *testing.T) {
	const sick, dying = "tcp://sick:1", "tcp://dying:1"
	r := hourly(t, gives(mapOf(t, append(names(0, 64), sick, dying)...)))
	r.judge = byReplica(map[string]judge{sick: judges(slow), dying: judges(slow)})
	r.run(func() {
		r.until(100 * time.Second)
		r.judgeBy(judges(dead))
		r.reload(r.settings)
		r.until(102 * time.Second)
		r.judgeBy(byReplica(map[string]judge{sick: judges(slow), dying: judges(dead)}))
		r.until(200 * time.Second)
	})
	for _, p := range r.putsOf(sick) {
		if p.health != probe.Sick {
			t.Errorf("%s: got %s at %v, want sick alone", sick, p.health, p.at)
		}
	}
	puts := r.putsOf(dying)
	if last := puts[len(puts)-1]; last != (put{100*time.Second + confirmAfter, dying, probe.Dead}) {
		t.Errorf("%s: got %v, want it dead when it was confirmed", dying, puts)
	}
	if got := r.said(logrus.WarnLevel, "many replicas turned dead in one cycle: is it this host's network? each is tried once more before it is reported"); len(got) != 0 {
		t.Errorf("got the warning of a mass failure for two replicas, want none")
	}
}

// TestRechecksLeaveTurnsTheirPlaces: where the pool is small, they wait, rather than a
// turn.
func TestRechecksLeaveTurnsTheirPlaces(t *testing.T) {
	all := names(0, 320)
	r := newRig(t, gives(mapOf(t, all...)))
	r.settings.Workers = 100
	r.judge = lasts(5*time.Second, slow) // turns take 64 places
	r.run(func() {
		for at := 10 * time.Second; at < 20*time.Minute; at += 7 * time.Second {
			r.until(at)
			r.reload(r.settings)
		}
	})
	rechecks := 0
	for _, replica := range all {
		began := r.probes[replica]
		turns := 0
		for turn := began[0]; turn < 19*time.Minute; turn += 120 * time.Second {
			turns++
			if !slices.ContainsFunc(began, func(t time.Duration) bool { return t <= turn && t >= turn-5*time.Second }) {
				t.Fatalf("%s: probed at %v, want a probe that began or went on at its turn at %v", replica, brief(began), turn)
			}
		}
		rechecks += len(began) - turns
	}
	if rechecks == 0 || r.most > 100 {
		t.Errorf("got %d rechecks and %d probes at a time, want some, and 100 at most", rechecks, r.most)
	}
}
