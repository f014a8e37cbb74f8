package report

import (
	"iter"
	"time"

	"github.com/crisp-im/crisp-status-local/v2/internal/pace"
	"github.com/crisp-im/crisp-status-local/v2/internal/probe"
	"github.com/crisp-im/crisp-status-local/v2/internal/statusapi"
)

// Renew delivers v, the same verdict as the last one of its replica, unless the page
// surely has it by a report younger than pace.Renewal. With a promise that is the
// interval that is never so, and Renew is Put.
//
// Nothing is sure of a report with another promise than the one in force, of one
// whose answer was a web page, or from before the page was doubted; nor while a
// verdict of the replica waits or is under way.
func (o *Outbox) Renew(v statusapi.Verdict) { o.renew(v, true) }

// Repeat delivers v as Renew does, though nobody has measured it in this turn: such a
// death is not sent where several daemons share the duty.
func (o *Outbox) Repeat(v statusapi.Verdict) { o.renew(v, v.Health != probe.Dead) }

// renew is Renew; fresh says that v was measured in this turn.
func (o *Outbox) renew(v statusapi.Verdict, fresh bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	now := time.Now()
	if o.queue.all[v.ID] == nil && o.queue.page.has(now, v, o.promise, pace.Renewal(o.limiter.interval, o.promise)) {
		return
	}
	o.enter(now, v, fresh)
	o.dispatch()
}

// Leave has the last reports of replicas that are up renewed, but for those younger
// than pace.Parting, so that the daemon may be away for as long as it promised. It
// must be called before the context of Run is done; the earliest deadlines come
// first, since there may be time for some alone. Dead replicas are left out: the
// page shows them dead without a report, too.
func (o *Outbox) Leave(verdicts iter.Seq[statusapi.Verdict]) {
	o.mu.Lock()
	defer o.mu.Unlock()
	now := time.Now()
	for v := range verdicts {
		if v.Health == probe.Dead || o.queue.all[v.ID] != nil || o.queue.page.has(now, v, o.promise, pace.Parting) {
			continue
		}
		o.enter(now, v, true)
		o.queue.all[v.ID].renewal = true
		o.catchUp = true // in as many requests at a time as a backlog has
	}
	o.dispatch()
}

// Doubt notes that the page may have lost what it took: the next verdict of every
// replica is delivered, whatever it is.
func (o *Outbox) Doubt() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.queue.page.doubt(time.Now())
}

// renewals returns how many entries Leave has added.
func (q *queue) renewals() int {
	n := 0
	for _, e := range q.all {
		if e.renewal && e.phase != gone && e.phase != withheld {
			n++
		}
	}
	return n
}
