package report

import (
	"time"

	"github.com/crisp-im/crisp-status-local/v2/internal/pace"
)

// Promise is how the promise to the page is kept: a report of every replica
// that is up within the promised time.
type Promise struct {
	WorstGap time.Duration // between two taken reports of a replica, within the last two promises; zero: there were none
	Late     int           // reports that were taken too late, within the last two promises
	Overdue  int           // replicas whose next report is too late already, and waits
}

// gaps is the gaps between reports in the current and the last period of a
// promise.
type gaps struct {
	began         time.Time // of the current one
	current, last gapCount
	late          int // reports that were taken too late, since the start

	promise time.Duration // of the last report
	mixed   time.Time     // until then, gaps may have begun with another promise
}

type gapCount struct {
	worst time.Duration
	late  int
}

// advance begins a new period once the current one has lasted a promise.
func (g *gaps) advance(now time.Time, promise time.Duration) {
	switch past := now.Sub(g.began); {
	case past >= 2*promise:
		g.began, g.current, g.last = now, gapCount{}, gapCount{}
	case past >= promise:
		g.began, g.current, g.last = g.began.Add(promise), gapCount{}, g.current
	}
}

// note counts a report that was taken after another one of the same replica.
func (g *gaps) note(now time.Time, gap, promise time.Duration, late bool) {
	g.advance(now, promise)
	if g.promise != promise {
		if g.promise > 0 {
			g.mixed = now.Add(max(promise, g.promise) + pace.Grace)
		}
		g.promise = promise
	}
	if now.Before(g.mixed) {
		return
	}
	g.current.worst = max(g.current.worst, gap)
	if late {
		g.current.late++
		g.late++
	}
}

// noteGap counts the gap that a report of a replica closes, which was up.
func (p *page) noteGap(now time.Time, before shown, promise time.Duration) {
	if before.dead || before.silent {
		return
	}
	at := now.Sub(p.epoch)
	p.gaps.note(now, at-before.takenAt(), promise, before.red(at))
}

// overdue returns how many replicas that were up the page shows dead since
// their next report waits for too long.
func (q *queue) overdue(now time.Time) int {
	n := 0
	for id := range q.all {
		if s, ok := q.page.reports[q.page.hash(id)]; ok && !s.dead && !s.silent && s.red(now.Sub(q.page.epoch)) {
			n++
		}
	}
	return n
}

// promiseLocked returns how the promise to the page is kept. The caller holds the lock.
func (o *Outbox) promiseLocked(now time.Time) Promise {
	p := &o.queue.page
	p.gaps.advance(now, o.promise)
	current, last := p.gaps.current, p.gaps.last
	return Promise{max(current.worst, last.worst), current.late + last.late, o.queue.overdue(now)}
}
