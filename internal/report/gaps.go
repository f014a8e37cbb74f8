package report

import (
	"time"

	"github.com/crisp-im/crisp-status-local/v2/internal/pace"
)

// Promise is how the promise to the page is kept: a report of every replica
// that is up in each interval.
type Promise struct {
	WorstGap time.Duration // between two taken reports of a replica, in the last two intervals; zero: there were none
	Late     int           // reports that were taken too late, in the last two intervals
	Overdue  int           // replicas whose next report is too late already, and waits
}

// gaps is the gaps between reports in the current and the last period of an
// interval.
type gaps struct {
	began         time.Time // of the current one
	current, last gapCount
	late          int // reports that were taken too late, since the start

	interval time.Duration // of the last report
	mixed    time.Time     // until then, gaps may have begun with another interval
}

type gapCount struct {
	worst time.Duration
	late  int
}

// advance begins a new period once the current one has lasted an interval.
func (g *gaps) advance(now time.Time, interval time.Duration) {
	switch past := now.Sub(g.began); {
	case past >= 2*interval:
		g.began, g.current, g.last = now, gapCount{}, gapCount{}
	case past >= interval:
		g.began, g.current, g.last = g.began.Add(interval), gapCount{}, g.current
	}
}

// note counts a report that was taken after another one of the same replica.
func (g *gaps) note(now time.Time, gap, interval time.Duration, late bool) {
	g.advance(now, interval)
	if g.interval != interval {
		if g.interval > 0 {
			g.mixed = now.Add(max(interval, g.interval) + pace.Grace)
		}
		g.interval = interval
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
func (p *page) noteGap(now time.Time, before shown, interval time.Duration) {
	if before.dead {
		return
	}
	at := now.Sub(p.epoch)
	p.gaps.note(now, at-before.deadline+pace.Deadline(interval), interval, before.red(at))
}

// overdue returns how many replicas that were up the page shows dead since
// their next report waits for too long.
func (q *queue) overdue(now time.Time) int {
	n := 0
	for id := range q.all {
		if s, ok := q.page.reports[q.page.hash(id)]; ok && !s.dead && s.red(now.Sub(q.page.epoch)) {
			n++
		}
	}
	return n
}

// promiseLocked returns how the promise to the page is kept. The caller holds the lock.
func (o *Outbox) promiseLocked(now time.Time) Promise {
	p := &o.queue.page
	p.gaps.advance(now, o.limiter.interval)
	current, last := p.gaps.current, p.gaps.last
	return Promise{max(current.worst, last.worst), current.late + last.late, o.queue.overdue(now)}
}
