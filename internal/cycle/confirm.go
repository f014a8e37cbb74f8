package cycle

import (
	"context"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/crisp-im/crisp-status-local/internal/probe"
)

// One cable on this side is not forty outages: when many replicas turn dead in
// one cycle, each is tried once more before it is reported. So a replica that
// turned dead waits until it is known whether many did, which is at the latest
// when half of the others were not; until then its last verdict is repeated.
const (
	fewestTurned = 5               // fewer are believed at once, however few replicas there are
	confirmAfter = 3 * time.Second // a switch that restarted a link has settled by then
)

// turning is what is known in a cycle of the replicas that turned dead.
type turning struct {
	judged int        // replicas with a result in this cycle
	turned int        // of them, those that were not dead before
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

// hold keeps a verdict back by which a replica turned dead.
func (l *Loop) hold(known *replica, r probe.Result) {
	known.busy = true // it has no other turn before this one is over
	known.suspicion = &suspicion{result: r}
	l.turning.turned++
	l.turning.held = append(l.turning.held, known)
	l.repeat(known, r)
}

// decide does with the verdicts that are held back what can be done by now.
func (l *Loop) decide() {
	t := &l.turning
	switch {
	case len(t.held) == 0:
		return
	case t.turned >= l.many():
		if !t.many {
			l.log.WithFields(logrus.Fields{"replicas": len(l.replicas), "dead": t.turned}).
				Warn("many replicas turned dead in one cycle: is it this host's network? each is tried once more before it is reported")
		}
		t.many = true
		for _, known := range t.held {
			known.suspicion.again = time.Now().Add(confirmAfter)
		}
		l.confirms = append(l.confirms, t.held...)
		t.held = nil
	case t.turned+len(l.replicas)-t.judged < l.many():
		l.believe()
	}
}

// believe reports what is held back: not many turned dead.
func (l *Loop) believe() {
	for _, known := range l.turning.held {
		if known.gone {
			continue
		}
		r := known.suspicion.result
		known.busy, known.suspicion = false, nil
		l.report(known, r)
	}
	l.turning.held = nil
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
