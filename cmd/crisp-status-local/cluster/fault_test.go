//go:build cluster

package cluster

import (
	"fmt"
	"slices"
	"testing"
	"time"
)

// fault is one fault: how it begins, how long it lasts, and what it may cost.
type fault struct {
	name    string
	lasts   time.Duration
	options options
	rounds  int // at most; 0: any number
	begin   func(l *lab, victim *process) (heal func())
	check   func(l *lab, victim *process, round int) // after each round, of which the first is 1; nil: nothing

	withoutEngine bool          // daemons without the engine may say what is alive
	inFlight      int           // dead reports that may have been in flight when the fault began
	gap           time.Duration // the promised longest silence, where it is not that of etcd
	takeover      time.Duration // the promised time until another reports; 0: none is
}

// try runs every fault in namespaces of its own.
func try(t *testing.T, faults []fault, tools ...string) {
	t.Helper()
	for _, f := range faults {
		t.Run(f.name, func(t *testing.T) {
			t.Parallel()
			if inside(t, tools...) {
				f.run(t)
			}
		})
	}
}

// run injects the fault, ends it, and checks the promises, round by round.
func (f fault) run(t *testing.T) {
	l := newLab(t, f.options)
	n := rounds()
	if f.rounds > 0 {
		n = min(n, f.rounds)
	}
	var takeovers, agreed figures
	victim := l.daemons[0]
	if l.watcher != nil {
		victim, _ = l.onDuty(l.settled)
	}
	for round := range n {
		began := time.Now()
		heal := f.begin(l, victim)
		l.page.turn()
		time.Sleep(f.lasts - time.Since(began))
		heal()
		ended := time.Now()
		l.asItIs(ended)
		if took, is := l.takeover(victim, began); is {
			takeovers = append(takeovers, took)
		}
		before := victim
		if l.watcher != nil {
			var since time.Time
			victim, since = l.onDuty(ended)
			agreed = append(agreed, since.Sub(ended))
		}
		if f.check != nil {
			f.check(l, before, round+1)
		}
	}
	v := l.judge(l.settled)
	t.Logf("figures: %s: %v; takeovers %v; one reports again after %v", f.name, v, takeovers, agreed)
	f.hold(l, v, agreed)
	for _, took := range takeovers {
		if strict() && f.takeover > 0 && took > f.takeover {
			t.Errorf("another daemon reported %v after the fault, want %v at most as promised", took, f.takeover)
		}
	}
}

// hold checks the promises since a time.
func (f fault) hold(l *lab, v verdict, agreed figures) {
	l.t.Helper()
	if v.worst > longest {
		l.t.Errorf("I1: %s had no report for %v, until %v, want %v at most: %s", v.worstOf, v.worst, v.worstEnd.Format(time.TimeOnly), longest, l.explainGap(v))
	}
	gap := promised
	if f.gap > 0 {
		gap = f.gap
	}
	if strict() && v.worst > gap {
		l.t.Errorf("I1: %s had no report for %v, until %v, want %v at most as promised", v.worstOf, v.worst, v.worstEnd.Format(time.TimeOnly), gap)
	}
	if len(v.overlaps) > f.inFlight {
		l.t.Errorf("I2: %d dead reports were of one who was not on duty, want %d at most: %s", len(v.overlaps), f.inFlight, l.explain(v.overlaps))
	}
	if len(v.strays) > 0 && !f.withoutEngine {
		l.t.Errorf("I3: %d reports were of one who was not on duty, want none: %s", len(v.strays), l.explain(v.strays))
	}
	for i, r := range v.wrong {
		if i < 5 {
			l.t.Errorf("%s was reported %s by %s at %v, want what it is", r.replica, r.health, r.from, r.at.Format(time.StampMilli))
		}
	}
	for _, took := range agreed {
		if strict() && took > ttl+2*time.Second {
			l.t.Errorf("I4: one daemon alone reports %v after the fault, want %v at most", took, ttl+2*time.Second)
		}
	}
	l.secretive()
	for _, violation := range l.page.Summary().Violations {
		l.t.Errorf("a daemon broke the protocol: %s (%d times, as in %s)", violation.Rule, violation.Count, violation.Example)
	}
}

// explain returns who was on duty at each of some reports, for a failure.
func (l *lab) explain(reports []report) string {
	text := ""
	seen := l.watcher.after(l.settled)
	for i, r := range reports {
		if i == 8 {
			return text + "\n…"
		}
		before, next := around(seen, r.at)
		text += fmt.Sprintf("\n%s %s reports %s %s; on duty was %q %v before, %q %v after", r.at.Format(time.StampMilli), r.from, r.replica, r.health,
			before.holder, r.at.Sub(before.answered).Round(time.Millisecond), next.holder, next.asked.Sub(r.at).Round(time.Millisecond))
	}
	return text
}

// explainGap returns what was known during the worst gap, for a failure: each change of
// the holder, and the reports of each host by replica.
func (l *lab) explainGap(v verdict) string {
	from := v.worstEnd.Add(-v.worst - interval)
	text, last := "", "?"
	if l.watcher != nil {
		for _, s := range l.watcher.after(from) {
			if s.holder != last && s.asked.Before(v.worstEnd) {
				text += fmt.Sprintf("\n%s on duty is %q", s.answered.Format(time.StampMilli), s.holder)
				last = s.holder
			}
		}
	}
	type row struct{ replica, host string }
	times := make(map[row][]string)
	for _, r := range l.page.after(from) {
		if !r.at.After(v.worstEnd) && slices.Contains(up, r.replica) {
			times[row{r.replica, r.from}] = append(times[row{r.replica, r.from}], r.at.Format("05.000"))
		}
	}
	for _, replica := range up {
		for _, d := range l.daemons {
			text += fmt.Sprintf("\n%s reports %s at %v", d.host.name, replica, times[row{replica, d.host.name}])
		}
	}
	return text
}

// takeover returns how long after that time another daemon than the victim first
// reported something, and whether one did.
func (l *lab) takeover(victim *process, since time.Time) (time.Duration, bool) {
	for _, r := range l.page.after(since) {
		if r.from != victim.host.name {
			return r.at.Sub(since), true
		}
	}
	return 0, false
}
