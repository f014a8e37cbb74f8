package report

import (
	"hash/maphash"
	"slices"
	"time"

	"github.com/crisp-im/crisp-status-local/v2/internal/pace"
	"github.com/crisp-im/crisp-status-local/v2/internal/probe"
	"github.com/crisp-im/crisp-status-local/v2/internal/statusapi"
)

// page is a model of the status page, by the reports that it took. It costs memory for
// every replica of the map, so the key is a hash of 64 bits: a
// collision, of which there is one in a billion daemons with 100,000 replicas, would
// have one replica renewed for the other.
type page struct {
	seed    maphash.Seed
	epoch   time.Time
	reports map[uint64]shown
	doubted time.Duration            // since epoch: reports that were taken before may be lost
	cut     map[uint64]time.Duration // until when reports that were cut may be taken, since epoch
	gaps    gaps
}

// shown is the last report of a replica.
type shown struct {
	deadline time.Duration // of its next report, since epoch
	promised uint16        // in seconds
	dead     bool
	sick     bool
	silent   bool // another daemon may have reported since, so the page may show anything
	doubtful bool // the answer may have been another server's than the Status API's
}

// promise returns the time that was promised.
func (s shown) promise() time.Duration { return time.Duration(s.promised) * time.Second }

// takenAt returns when the report was taken, since epoch.
func (s shown) takenAt() time.Duration { return s.deadline - pace.Deadline(s.promise()) }

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
	return page{seed: maphash.MakeSeed(), epoch: time.Now(), reports: make(map[uint64]shown), cut: make(map[uint64]time.Duration)}
}

func (p *page) hash(id probe.ID) uint64 { return maphash.Comparable(p.seed, id) }

// reported notes that the page took a report with a promise.
func (p *page) reported(now time.Time, id probe.ID, health probe.Health, promise time.Duration) {
	hash := p.hash(id)
	if before, ok := p.reports[hash]; ok {
		p.noteGap(now, before, promise)
	}
	p.reports[hash] = shown{
		deadline: now.Sub(p.epoch) + pace.Deadline(promise),
		promised: uint16(promise / time.Second),
		dead:     health == probe.Dead,
		sick:     health == probe.Sick,
	}
}

// doubtReport notes that the last report of a replica may not have reached the page.
func (p *page) doubtReport(id probe.ID) {
	hash := p.hash(id)
	s := p.reports[hash]
	s.doubtful = true
	p.reports[hash] = s
}

// cutFor is how long after its beginning a report that was cut may still be taken, by a server
// that had it all the time: as long as it would have been waited for.
const cutFor = 20 * time.Second

// wasCut notes that a report of a replica, which began then, was cut.
func (p *page) wasCut(id probe.ID, began time.Time) {
	p.cut[p.hash(id)] = began.Sub(p.epoch) + cutFor
}

// doubt notes that the page may have lost what it took until now.
func (p *page) doubt(now time.Time) { p.doubted = now.Sub(p.epoch) }

// has reports whether the page surely shows v, because of a report with this promise
// that is younger than age.
func (p *page) has(now time.Time, v statusapi.Verdict, promise, age time.Duration) bool {
	hash := p.hash(v.ID)
	s, ok := p.reports[hash]
	if !ok || s.doubtful || s.silent || s.promise() != promise || s.healthOf() != v.Health {
		return false
	}
	at := s.takenAt()
	if at < p.cut[hash] {
		return false
	}
	delete(p.cut, hash) // it matters no more
	return at >= p.doubted && now.Sub(p.epoch)-at < age
}

// deadline returns the report deadline of a replica; zero if it was never
// reported.
func (p *page) deadline(id probe.ID) time.Time {
	if s, ok := p.reports[p.hash(id)]; ok {
		return p.epoch.Add(s.deadline)
	}
	return time.Time{}
}

// showsDead reports whether the page shows a replica dead, or may: it was reported
// dead, or its last report is too old, or another daemon may have reported it.
func (p *page) showsDead(now time.Time, id probe.ID) bool {
	s, ok := p.reports[p.hash(id)]
	return !ok || s.dead || s.silent || s.red(now.Sub(p.epoch))
}

// red reports whether the page has turned the replica red for want of a report.
func (s shown) red(now time.Duration) bool { return now > s.deadline+pace.Grace-pace.Deadline(0) }

// shows returns what the page surely shows of a replica; false if that is dead, or unknown.
func (p *page) shows(now time.Time, id probe.ID) (probe.Health, bool) {
	return p.reports[p.hash(id)].healthOf(), !p.showsDead(now, id)
}

// leastReports is how many reports prune keeps, however small the map is.
const leastReports = 1000

// prune forgets reports that are so old that they have no influence; that includes
// replicas that left the map. If others come with each map, a promise of an hour would
// keep hundreds of maps: so it forgets the oldest reports beyond two for a replica. Where
// the page still counts on one of these, the replica is reported as one that is new.
func (p *page) prune(now time.Time, replicas int) {
	for h, s := range p.reports {
		if s.red(now.Sub(p.epoch)) {
			delete(p.reports, h)
		}
	}
	for h, until := range p.cut {
		if s, ok := p.reports[h]; now.Sub(p.epoch) >= until && (!ok || s.takenAt() >= until) {
			delete(p.cut, h)
		}
	}
	excess := len(p.reports) - max(2*replicas, leastReports)
	if excess <= 0 {
		return
	}
	deadlines := make([]time.Duration, 0, len(p.reports))
	for _, s := range p.reports {
		deadlines = append(deadlines, s.deadline)
	}
	slices.Sort(deadlines)
	last := deadlines[excess-1]
	for h, s := range p.reports {
		if s.deadline <= last {
			delete(p.reports, h)
		}
	}
}
