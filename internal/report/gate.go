package report

import (
	"time"

	"github.com/crisp-im/crisp-status-local/v2/internal/pace"
)

// gate is closed while the API does not accept the token: one report at a time
// is tried, until one is taken. After that, for pace.UnauthorizedGrace, it takes
// oddRefusals in a row to close it again: the API may refuse some replicas, or one of its
// servers all, and the others would wait for a trial after each.
type gate struct {
	closed   bool
	since    time.Time // when it was closed
	refusals int       // since then
	lasting  bool      // closed for longer than pace.UnauthorizedGrace
	trials   trials
	opened   time.Time // when a taken report last opened it; zero: never
	odd      int       // refusals since a report was last taken, while it is open
}

const oddRefusals = breakerFailures

// tolerates notes a 401 to a report. It reports whether that is no reason to close the gate.
func (g *gate) tolerates(now time.Time) bool {
	if g.closed || g.opened.IsZero() || now.Sub(g.opened) >= pace.UnauthorizedGrace {
		return false
	}
	g.odd++
	return g.odd < oddRefusals
}

// unauthorized notes a 401 to the report of e, which closes the gate. It reports
// whether that is to be logged: the gate was open, or the refusal is lasting by now.
func (g *gate) unauthorized(now time.Time, e *entry) bool {
	if !g.closed {
		*g = gate{closed: true, since: now, refusals: 1}
		g.trials.next = now.Add(g.wait(now))
		return true
	}
	if e.gate != g.since {
		return false // it began before the gate was closed
	}
	g.refusals++
	g.trials.next = now.Add(g.wait(now))
	lasted := g.lasting
	g.lasting = now.Sub(g.since) >= pace.UnauthorizedGrace
	return g.lasting && !lasted
}

// open notes that a report was taken, which opens the gate; it reports whether it was closed.
func (g *gate) open(now time.Time) bool {
	was := g.closed
	if *g = (gate{opened: g.opened}); was {
		g.opened = now
	}
	return was
}

// next returns the time at which a report may begin; false if none may before a trial
// has ended.
func (g *gate) next(now time.Time) (time.Time, bool) {
	if !g.closed {
		return now, true
	}
	return g.trials.at()
}

// begin notes that a report begins.
func (g *gate) begin(now time.Time, e *entry) {
	e.gate = g.since
	if g.closed {
		g.trials.begin(now, g.wait(now))
	}
}

// end notes that the request of e is over.
func (g *gate) end(e *entry) {
	if g.closed && e.gate == g.since {
		g.trials.inFlight--
	}
}

// wait returns the wait before the next trial.
func (g *gate) wait(now time.Time) time.Duration {
	return pace.UnauthorizedWait(now.Sub(g.since), g.refusals)
}
