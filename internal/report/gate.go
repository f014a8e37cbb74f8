package report

import (
	"time"

	"github.com/crisp-im/crisp-status-local/v2/internal/pace"
)

// gate is closed while the API does not accept the token: one report at a time
// is tried, until one is taken.
type gate struct {
	closed   bool
	since    time.Time // when it was closed
	refusals int       // since then
	lasting  bool      // for so long that only an operator can help
	trials   trials
}

// refuse notes that a report was answered so; it closes the gate. It reports
// whether that is to be said: it was open, or only an operator can help by now.
func (g *gate) refuse(now time.Time, e *entry) bool {
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
	g.lasting = now.Sub(g.since) >= pace.UnauthorizedPatience
	return g.lasting && !lasted
}

// open opens the gate; it reports whether it was closed.
func (g *gate) open() bool {
	was := g.closed
	*g = gate{}
	return was
}

// next returns when a report may be tried; false if the end of one comes first.
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

// wait is the pause before the next trial.
func (g *gate) wait(now time.Time) time.Duration {
	return pace.UnauthorizedWait(now.Sub(g.since), g.refusals)
}
