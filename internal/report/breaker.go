package report

import (
	"math/rand/v2"
	"time"

	"github.com/crisp-im/crisp-status-local/v2/internal/probe"
)

const (
	firstBackoff   = 500 * time.Millisecond // a passing failure must not make a report late
	longestBackoff = 30 * time.Second

	downFailures = 5 // failures in a row, over downReplicas, after which the API is down
	downReplicas = 3
	tellFailures = 3 // failures of one verdict after which that is told of
)

// outage is what is known of failures in a row. A new one begins with every
// answer.
type outage struct {
	failures int
	of       map[probe.ID]bool // the replicas whose reports failed, downReplicas at most
	down     bool              // one trial at a time
	trials   int               // that failed
	next     time.Time         // of the next trial
	trying   bool              // a trial is under way
}

// answered notes that the API is there. What hung while it was down is begun
// anew: it would hang to its end.
func (o *Outbox) answered() {
	if o.outage.failures == 0 {
		return
	}
	if o.outage.down {
		for _, r := range o.underway {
			r.cancel()
		}
		o.log.WithField("verdicts", len(o.entries)).Warn("the Status API answers again; sending what waits")
	}
	o.outage = new(outage)
}

// failed notes that the API was not there for r, or answered with status. hold
// is how long it wants to be left alone.
func (o *Outbox) failed(r *request, status int, hold time.Duration, err error) {
	r.entry.logTo(o.log).WithError(err).Debug("report failed; it will be sent again")
	if r.entry.failures+1 >= tellFailures && !o.outage.down {
		o.tell(r.entry, status, err)
	}
	out := o.outage
	out.failures++
	if out.of == nil {
		out.of = make(map[probe.ID]bool)
	}
	if len(out.of) < downReplicas {
		out.of[r.entry.id] = true
	}
	switch {
	case out.down && r.trial == out:
		out.trials++
	case !out.down && out.failures >= downFailures && len(out.of) >= min(downReplicas, max(1, o.replicas)):
		out.down = true
		o.allDue() // only the trials are waited for now
		o.log.WithError(err).WithField("verdicts", len(o.entries)).
			Error("the Status API is down; verdicts wait, and one at a time is tried")
	default: // a request that began before the API was down tells nothing new
		o.again(r.entry, hold)
		return
	}
	out.next = time.Now().Add(max(hold, o.backoff(out.trials+1)))
	o.again(r.entry, hold)
}

// backoff is how long to wait after so many failures: doubling, with a fifth of
// jitter, and never longer than the interval. When the daemon ends, there is
// no time for that.
func (o *Outbox) backoff(failures int) time.Duration {
	if o.draining {
		failures = 1
	}
	longest := min(longestBackoff, o.interval) * 5 / 6 // leaves room for the jitter
	d := min(firstBackoff<<min(failures-1, 10), longest)
	return time.Duration(float64(d) * (0.8 + 0.4*rand.Float64()))
}
