package scheduler

import (
	"context"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/crisp-im/crisp-status-local/v2/internal/probe"
)

// maxRepeats is for how many intervals a verdict can be answered for.
const maxRepeats = 2

// replica is what is known of a replica of the map in force.
type replica struct {
	check  *probe.Check // in the map in force
	health probe.Health // of its last verdict; Unknown before the first
	turns  int          // how many it had since then
	busy   bool         // a probe is under way or waits for its place
	gone   bool         // it is not in the map any more

	cycle     int        // the number of the one in which its last probe began
	open      bool       // that probe counts among those of its cycle that have no result yet
	suspicion *suspicion // nil unless it turned dead and that is not reported yet
}

// startDue begins the probes of the groups that are due.
func (l *Loop) startDue(ctx context.Context, now time.Time) {
	for {
		due, ok := l.schedule.next()
		if !ok || due.After(now) {
			return
		}
		for _, r := range l.schedule.take(now) {
			r.turns++
			if r.busy {
				l.cycle.passed++
				l.logTo(*r.check).Debug("passed over: its last probe is still under way")
				continue
			}
			r.busy = true
			l.begun(r)
			l.cycle.started++
			l.pool.Start(ctx, *r.check, l.short && r.health == probe.Dead)
		}
	}
}

// judge takes what a probe came to.
func (l *Loop) judge(r probe.Result) {
	id := r.Check.ID()
	known := l.replicas[id]
	if known == nil {
		delete(l.leaving, id)
		return
	}
	known.busy = false
	if l.log.IsLevelEnabled(logrus.DebugLevel) {
		l.logResult(r).WithField("health", r.Health).Debug("probed")
	}
	if known.suspicion != nil {
		r = l.confirmed(known, r)
	}
	turned := known.open && r.Health == probe.Dead
	l.ended(known)
	switch {
	case r.Health == probe.Unknown:
		l.unjudged(known, r)
	case turned:
		l.hold(known, r)
	default:
		l.report(known, r)
	}
	l.decide(known.cycle)
}

// report hands a verdict on.
func (l *Loop) report(known *replica, r probe.Result) {
	l.cycle.judged(r)
	if known.health != r.Health && (known.health != probe.Unknown || r.Health != probe.Healthy) {
		l.changed(known.health, r)
	}
	if known.health == probe.Dead {
		l.dead--
	}
	if r.Health == probe.Dead {
		l.dead++
	}
	known.health, known.turns = r.Health, 0
	l.outbox.Put(r)
}

// changed says that a replica's health is another than before.
func (l *Loop) changed(from probe.Health, r probe.Result) {
	if from == probe.Unknown {
		from = "new"
	}
	l.logResult(r).WithFields(logrus.Fields{"from": from, "to": r.Health}).Warn("health changed")
}

// unjudged takes a result without a verdict: this host could not probe the
// replica. No report is a false outage too, so the last verdict is repeated,
// but not for longer than it can be answered for.
func (l *Loop) unjudged(known *replica, r probe.Result) {
	repeat := l.repeat(known, r)
	if l.cycle.unjudged(r.Reason(), repeat, &l.last) {
		what := "the page will show it dead, since there is no verdict to repeat"
		if repeat {
			what = "its last verdict is repeated, for two intervals at most"
		}
		l.logResult(r).Error("this host cannot probe a replica: " + what)
	}
}

// repeat hands the last verdict of a replica on once more, in the place of r,
// and reports whether there was one that can still be answered for.
func (l *Loop) repeat(known *replica, r probe.Result) bool {
	if known.health == probe.Unknown || known.turns > maxRepeats {
		return false
	}
	r.Health = known.health
	l.outbox.Put(r)
	return true
}

// logTo returns the log with the fields that say which replica it is.
func (l *Loop) logTo(c probe.Check) *logrus.Entry {
	return l.log.WithFields(logrus.Fields{"service": c.ServiceID, "node": c.NodeID, "replica": c.Target})
}

// logResult returns the log with the fields of a result.
func (l *Loop) logResult(r probe.Result) *logrus.Entry {
	log := l.logTo(r.Check).WithFields(logrus.Fields{
		"attempts": r.Attempts,
		"latency":  r.Latency.Round(10 * time.Microsecond),
	})
	if reason := r.Reason(); reason != "" {
		log = log.WithField("reason", reason)
	}
	return log
}
