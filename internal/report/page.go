package report

import (
	"hash/maphash"
	"time"

	"github.com/crisp-im/crisp-status-local/v2/internal/pace"
	"github.com/crisp-im/crisp-status-local/v2/internal/probe"
)

// page is the status page as far as the reports that it took tell. It is what
// every replica of the map costs for good, so a replica is its hash: if two had
// the same, the order of their reports would be another one, no more.
type page struct {
	seed    maphash.Seed
	epoch   time.Time
	reports map[uint64]shown
}

// shown is the last report of a replica.
type shown struct {
	deadline time.Duration // of its next report, since epoch
	promised uint16        // the interval, in seconds
	dead     bool
	sick     bool
}

// interval returns the interval that was promised.
func (s shown) interval() time.Duration { return time.Duration(s.promised) * time.Second }

// takenAt returns when the report was taken, since epoch.
func (s shown) takenAt() time.Duration { return s.deadline - pace.Deadline(s.interval()) }

func (s shown) healthOf() probe.Health {
	switch {
	case s.dead:
		return probe.Dead
	case s.sick:
		return probe.Sick
	}
	return probe.Healthy
}

func newPage() page {
	return page{maphash.MakeSeed(), time.Now(), make(map[uint64]shown)}
}

func (p *page) hash(id probe.ID) uint64 { return maphash.Comparable(p.seed, id) }

// take notes that the page took a report with the promise of interval. It returns
// the report before it; false if there was none.
func (p *page) take(now time.Time, id probe.ID, health probe.Health, interval time.Duration) (shown, bool) {
	h := p.hash(id)
	last, ok := p.reports[h]
	p.reports[h] = shown{now.Sub(p.epoch) + pace.Deadline(interval), uint16(interval / time.Second), health == probe.Dead, health == probe.Sick}
	return last, ok
}

// deadline returns the report deadline of a replica; zero if it was never
// reported.
func (p *page) deadline(id probe.ID) time.Time {
	if s, ok := p.reports[p.hash(id)]; ok {
		return p.epoch.Add(s.deadline)
	}
	return time.Time{}
}

// showsDead reports whether the page shows a replica dead: it was reported so,
// or its reports ceased.
func (p *page) showsDead(now time.Time, id probe.ID) bool {
	s, ok := p.reports[p.hash(id)]
	return !ok || s.dead || s.red(now.Sub(p.epoch))
}

// red reports whether the time has run out in which the next report was promised.
func (s shown) red(now time.Duration) bool { return now > s.deadline+pace.Grace-pace.Deadline(0) }

// prune forgets reports that say nothing any more. A replica that left the map
// is among them before long.
func (p *page) prune(now time.Time) {
	for h, s := range p.reports {
		if s.red(now.Sub(p.epoch)) {
			delete(p.reports, h)
		}
	}
}
