// Package judge measures what a status page would show of a daemon's reports.
//
// A Judge is given the map in force and every accepted report. It keeps for each
// replica the health, the gaps between its reports, and the verdicts that its
// target contradicts, and counts cycles. It knows no wire format and no socket,
// and takes the time from its caller.
package judge

import (
	"sync"
	"time"
)

// The slack that the protocol allows between two reports, over the interval that
// the first of them promised.
const (
	promptSlack = time.Second      // of a replica that is up at its first attempt
	otherSlack  = 36 * time.Second // of any other
)

// Judge keeps the page's view of every replica, and the daemon's mistakes. All
// of it is safe for concurrent use.
type Judge struct {
	grace    time.Duration // after the promised interval, before the page says dead
	takeover time.Duration // allowed for one daemon to take over from another

	mu          sync.Mutex // protects all following fields, and every replica of the map
	current     *Map
	firstMap    time.Time     // when the first map request came; zero: none yet
	firstReport time.Time     // when the first report was accepted; zero: none yet
	lastReport  time.Time     // when the newest report was accepted; zero: none yet
	interval    time.Duration // that the newest report promised, of any replica: the daemon's interval, or longer
	accepted    int
	late        int       // late gaps of replicas that have left the map
	wrong       int       // wrong verdicts on replicas that have left the map
	worst       worstGaps // of all gaps that a report, or the end of a replica, has closed

	cycle      int       // the number of cycles that have begun
	cycleStart time.Time // the first report of the newest cycle
	reported   int       // replicas reported in the newest cycle
	offsets    map[Health]*durations
}

// New returns a judge of an empty map. The page calls a replica dead when its
// next report is overdue by more than grace.
func New(grace time.Duration) *Judge {
	return &Judge{
		grace:   grace,
		current: &Map{},
		offsets: map[Health]*durations{Healthy: {}, Sick: {}, Dead: {}},
	}
}

// AllowTakeover lets reports be later by the time that one daemon needs to take over
// from another. It must be called before the first report.
func (j *Judge) AllowTakeover(d time.Duration) { j.takeover = d }

// Install puts a map in force. A replica that the map before has too keeps its
// record; the gap of one that leaves ends now.
func (j *Judge) Install(next *Map, now time.Time) {
	next.fill()
	j.mu.Lock()
	defer j.mu.Unlock()
	prev := j.current
	j.reported = 0
	for id, replicas := range next.index {
		for url, r := range replicas {
			if old := prev.index[id][url]; old != nil {
				*r = old.renewed(*r)
			}
			if r.cycle == j.cycle && j.cycle > 0 {
				j.reported++
			}
		}
	}
	for id, replicas := range prev.index {
		for url, r := range replicas {
			if next.index[id][url] == nil {
				open := j.openGapLocked(r, now)
				j.worst.add(open)
				j.late += r.late + open.count()
				j.wrong += r.wrong
			}
		}
	}
	j.current = next
}

// MapRequested records a map request, and reports whether the map in force is
// newer than the client's. If so the client is about to know its replicas.
func (j *Judge) MapRequested(since int64, now time.Time) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.firstMap.IsZero() {
		j.firstMap = now
	}
	if since == j.current.Date {
		return false
	}
	for _, r := range j.current.all {
		if r.entered.IsZero() {
			r.entered = now
		}
	}
	return true
}

// Has reports whether the map in force has the replica.
func (j *Judge) Has(id NodeID, url string) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.current.index[id][url] != nil
}

// Accept takes one report, and reports whether the map in force has its replica.
func (j *Judge) Accept(id NodeID, url string, health Health, interval time.Duration, now time.Time) bool {
	return j.AcceptFrom("", id, url, health, interval, now)
}

// AcceptFrom is Accept for one of several daemons, by its name.
func (j *Judge) AcceptFrom(member string, id NodeID, url string, health Health, interval time.Duration, now time.Time) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	r := j.current.index[id][url]
	if r == nil {
		return false
	}
	j.accepted++
	j.lastReport = now
	j.interval = interval
	if j.firstReport.IsZero() {
		j.firstReport = now
	}
	want := r.Expectation.at(now, j.settleLocked())
	if want != "" && want != health {
		r.wrong++
	}
	prompt := r.prompt(want, health)
	if r.first.IsZero() {
		r.first = now
		if !r.entered.IsZero() && now.Sub(r.entered) > interval+j.slack(prompt) {
			r.late++
		}
	} else {
		closed := gap{length: now.Sub(r.last), prompt: prompt}
		closed.late = closed.length > r.interval+j.slack(prompt) // as the report before promised
		r.worst = max(r.worst, closed.length)
		r.late += closed.count()
		j.worst.add(closed)
	}
	r.last, r.health, r.interval, r.by = now, health, interval, member
	r.reports++
	j.offsets[health].add(j.recordCycleLocked(r, now))
	return true
}

// recordCycleLocked counts cycles, and returns the time from the start of the
// replica's cycle to its report.
//
// A cycle starts with the first report of all. The next one starts with the
// first report of a healthy or sick replica at least three quarters of the
// interval later: replicas that are up are reported in the first quarter of a
// cycle, while a dead one can take long enough to reach into the next. If
// nothing is up, a cycle ends after five quarters. A daemon that promises more than
// its interval has as many cycles here as it keeps promises: verdicts that have not
// changed are not reported in each of its own.
func (j *Judge) recordCycleLocked(r *Replica, now time.Time) time.Duration {
	offset := now.Sub(j.cycleStart)
	if j.cycle == 0 || offset >= r.interval*5/4 || r.health != Dead && offset >= r.interval*3/4 {
		j.cycle++
		j.cycleStart = now
		j.reported = 0
		offset = 0
	}
	if r.cycle != j.cycle {
		r.cycle = j.cycle
		j.reported++
	}
	return offset
}

// settleLocked returns the maximum age of an honest verdict when it arrives: the
// longest probe, plus the confirmation delay and attempt, plus one interval for
// which the API may have refused it.
func (j *Judge) settleLocked() time.Duration {
	l := j.current.Limits
	const confirmation, delivery = 3 * time.Second, time.Second
	return worstProbe(l) + confirmation + l.DeadAfter + delivery + j.interval
}

// promisedLocked returns the interval to expect of a replica without a report.
func (j *Judge) promisedLocked() time.Duration {
	if j.interval > 0 {
		return j.interval
	}
	return 120 * time.Second // the default of the daemon
}

// Progress returns the number of cycles that have begun, and whether every
// replica of the map is reported in the newest. It costs next to nothing.
func (j *Judge) Progress() (int, bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.cycle, j.cycle > 0 && j.reported >= len(j.current.all)
}
