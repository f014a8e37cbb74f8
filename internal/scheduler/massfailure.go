package scheduler

import (
	"context"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/crisp-im/crisp-status-local/v2/internal/probe"
)

// One cable on this side is not forty outages: when many replicas turn dead in
// one cycle, each is tried once more before it is reported. So a replica that
// turned dead waits until it is known whether many did, which is at the latest
// when half of the others were not; until then its last verdict is repeated.
const (
	fewestTurned = 5               // fewer are believed at once, however few replicas there are
	confirmAfter = 3 * time.Second // a switch that restarted a link has settled by then
	confirmStep  = 50 * time.Millisecond
)

// turning is what is known of the replicas whose probes began in one cycle,
// whenever they end: the beat must not cut an outage into two small ones.
type turning struct {
	alive  int        // replicas that were not dead before
	judged int        // of them, those with a result, or gone meanwhile
	turned int        // of them, those that turned dead
	held   []*replica // of them, those that wait to be reported
	many   bool       // so many turned that each is tried once more
}

// suspicion is why a replica that turned dead is not reported yet.
type suspicion struct {
	result probe.Result // its verdict
	again  time.Time    // when it is tried once more; zero until that is decided
	trying bool         // that attempt is under way
}

// many returns how many replicas are many.
func (l *Loop) many() int { return max(fewestTurned, (len(l.replicas)+1)/2) }

// begun notes that a probe of r begins in this cycle.
func (l *Loop) begun(r *replica) {
	if r.cycle = l.number; r.health == probe.Dead {
		return
	}
	t := l.turnings[l.number]
	if t == nil {
		t = new(turning)
		l.turnings[l.number] = t
	}
	t.alive++
	r.open = true
}

// ended notes that the probe of r that began last is over, or does not matter
// any more.
func (l *Loop) ended(r *replica) {
	if r.open {
		r.open = false
		l.turnings[r.cycle].judged++
	}
}

// hold keeps a verdict back by which a replica turned dead.
func (l *Loop) hold(known *replica, r probe.Result) {
	known.busy = true // it has no other turn before this one is over
	known.suspicion = &suspicion{result: r}
	t := l.turnings[known.cycle]
	t.turned++
	t.held = append(t.held, known)
	l.repeat(known, r)
}

// decideAll decides for every cycle that has probes under way.
func (l *Loop) decideAll() {
	for number := range l.turnings {
		l.decide(number)
	}
}

// decide does with the verdicts of a cycle that are held back what can be done
// by now.
func (l *Loop) decide(number int) {
	t := l.turnings[number]
	if t == nil {
		return
	}
	yet := t.alive - t.judged // those that may still turn
	if number == l.number {
		yet += max(0, len(l.replicas)-l.dead-t.alive) // whose probes have not begun
	}
	switch {
	case len(t.held) == 0:
	case t.turned >= l.many():
		l.doubt(t)
	case t.turned+yet < l.many():
		l.believe(t)
	}
	if number != l.number && t.alive == t.judged && len(t.held) == 0 {
		delete(l.turnings, number)
	}
}

// doubt has what is held back tried once more, in groups as any probes.
func (l *Loop) doubt(t *turning) {
	if !t.many {
		l.log.WithFields(logrus.Fields{"replicas": len(l.replicas), "dead": t.turned}).
			Warn("many replicas turned dead in one cycle: is it this host's network? each is tried once more before it is reported")
	}
	t.many = true
	again := time.Now().Add(confirmAfter)
	if n := len(l.confirms); n > 0 && l.confirms[n-1].suspicion.again.After(again) {
		again = l.confirms[n-1].suspicion.again
	}
	for i, known := range t.held {
		known.suspicion.again = again.Add(time.Duration(i/groupSize) * confirmStep)
	}
	l.confirms = append(l.confirms, t.held...)
	t.held = nil
}

// believe reports what is held back: not many turned dead.
func (l *Loop) believe(t *turning) {
	for _, known := range t.held {
		if known.gone {
			continue
		}
		r := known.suspicion.result
		known.busy, known.suspicion = false, nil
		l.report(known, r)
	}
	t.held = nil
}

// confirmDue tries once more the replicas whose time it is.
func (l *Loop) confirmDue(ctx context.Context, now time.Time) {
	for len(l.confirms) > 0 && !l.confirms[0].suspicion.again.After(now) {
		known := l.confirms[0]
		if l.confirms = l.confirms[1:]; len(l.confirms) == 0 {
			l.confirms = nil
		}
		if known.gone {
			continue
		}
		known.suspicion.trying = true
		once := *probe.DefaultRules()
		if known.check.Rules != nil {
			once = *known.check.Rules
		}
		once.Retry = 0
		c := *known.check
		c.Rules = &once
		l.pool.Start(ctx, c, false)
	}
}

// confirmed returns the verdict that r, of one attempt more, makes of the one
// that was held back.
func (l *Loop) confirmed(known *replica, r probe.Result) probe.Result {
	held := known.suspicion.result
	known.suspicion = nil
	r.Check = *known.check
	r.Attempts += held.Attempts
	if r.Health == probe.Dead {
		r.Err = held.Err // what was seen when it turned
	}
	return r
}
