package report

import (
	"iter"
	"time"

	"github.com/crisp-im/crisp-status-local/v2/internal/pace"
	"github.com/crisp-im/crisp-status-local/v2/internal/probe"
	"github.com/crisp-im/crisp-status-local/v2/internal/statusapi"
)

// Renew delivers v, the same verdict as the last one of its replica, unless the page
// surely has it by a report younger than pace.Renewal. If the promise is the interval,
// that age is zero, and Renew is Put.
//
// The page does not surely have a verdict by a report with another promise than the
// one in force, by one whose answer was a web page, or by one from before Doubt; nor
// while a verdict of the replica waits or is under way.
func (o *Outbox) Renew(v statusapi.Verdict) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.seen(v)
	o.renew(v, true)
}

// Repeat delivers v as Renew does, but v is the last verdict again, not a new one: if
// several daemons share the duty, such a death is not sent.
func (o *Outbox) Repeat(v statusapi.Verdict) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.renew(v, v.Health != probe.Dead)
}

// renew delivers v as Renew does; fresh says that it may be sent as if it was measured in
// this turn.
func (o *Outbox) renew(v statusapi.Verdict, fresh bool) {
	now := time.Now()
	if o.queue.all[v.ID] == nil && o.queue.page.has(now, v, o.promise, pace.Renewal(o.limiter.interval, o.promise)) {
		return
	}
	o.enter(now, v, fresh)
	o.dispatch()
}

// Leave renews the last report of every replica of verdicts that is up, unless that
// report is younger than pace.Parting, so that the daemon may be away for as long as
// it promised. It must be called before the context of Run is done, and does not wait.
// The earliest deadlines come first, since there may be time for a part only. Dead
// replicas are left out: the page shows them dead without a report, too.
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
		o.catchUp = true // as many requests at a time as for a backlog
	}
	o.dispatch()
}

// Doubt notes that the page may have lost what it took: the next verdict of every
// replica is delivered, changed or not.
func (o *Outbox) Doubt() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.queue.page.doubt(time.Now())
}

// renewals returns how many entries that Leave has added are not delivered yet.
func (q *queue) renewals() int {
	n := 0
	for _, e := range q.all {
		if e.renewal && e.phase != gone && e.phase != kept {
			n++
		}
	}
	return n
}
