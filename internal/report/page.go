package report

import (
	"hash/maphash"
	"time"

	"github.com/crisp-im/crisp-status-local/v2/internal/pace"
	"github.com/crisp-im/crisp-status-local/v2/internal/probe"
)

// page is a model of the status page, by the reports that it took. It costs memory for
// every replica of the map, so the key is a hash: a collision only changes the order of
// two reports.
type page struct {
	seed    maphash.Seed
	epoch   time.Time
	reports map[uint64]shown
	gaps    gaps
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
	return page{seed: maphash.MakeSeed(), epoch: time.Now(), reports: make(map[uint64]shown)}
}

func (p *page) hash(id probe.ID) uint64 { return maphash.Comparable(p.seed, id) }

// reported notes that the page took a report with the promise of interval.
func (p *page) reported(now time.Time, id probe.ID, health probe.Health, interval time.Duration) {
	hash := p.hash(id)
	if before, ok := p.reports[hash]; ok {
		p.noteGap(now, before, interval)
	}
	p.reports[hash] = shown{now.Sub(p.epoch) + pace.Deadline(interval), uint16(interval / time.Second), health == probe.Dead, health == probe.Sick}
}

// deadline returns the report deadline of a replica; zero if it was never
// reported.
func (p *page) deadline(id probe.ID) time.Time {
	if s, ok := p.reports[p.hash(id)]; ok {
		return p.epoch.Add(s.deadline)
	}
	return time.Time{}
}

// showsDead reports whether the page shows a replica dead: it was reported dead, or its
// last report is too old.
func (p *page) showsDead(now time.Time, id probe.ID) bool {
	s, ok := p.reports[p.hash(id)]
	return !ok || s.dead || s.red(now.Sub(p.epoch))
}

// red reports whether the page has turned the replica red for want of a report.
func (s shown) red(now time.Duration) bool { return now > s.deadline+pace.Grace-pace.Deadline(0) }

// prune forgets reports that are so old that they have no influence; that includes
// replicas that left the map.
func (p *page) prune(now time.Time) {
	for h, s := range p.reports {
		if s.red(now.Sub(p.epoch)) {
			delete(p.reports, h)
		}
	}
}
