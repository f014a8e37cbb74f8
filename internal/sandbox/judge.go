package sandbox

import (
	"sync"
	"time"
)

// What the protocol allows between two reports, over and above the interval
// that the first of them promised.
const (
	promptSlack = time.Second      // of a replica that is up at its first attempt
	otherSlack  = 36 * time.Second // of any other
)

// judge keeps what the page would know of every replica, and what it would hold
// against the daemon. All of it is safe for concurrent use.
type judge struct {
	grace time.Duration // after the promised interval, before the page says dead

	mu          sync.Mutex // protects all following fields, and every replica of the roster
	roster      *roster
	firstMap    time.Time     // when the first map request came; zero: none yet
	firstReport time.Time     // when the first report was accepted; zero: none yet
	interval    time.Duration // promised last, by whichever report
	accepted    int
	late        int           // gaps that were late, of replicas that have left the map
	wrong       int           // verdicts that were wrong, of replicas that have left the map
	worstPrompt time.Duration // the longest gap of replicas up at their first attempt
	worstOther  time.Duration // the longest gap of all others

	cycle    int       // the number of cycles that have begun
	begun    time.Time // the first report of the running one
	reported int       // replicas reported in the running one
	offsets  map[Health]*histogram
}

func newJudge(grace time.Duration) *judge {
	return &judge{
		grace:   grace,
		roster:  &roster{},
		offsets: map[Health]*histogram{Healthy: {}, Sick: {}, Dead: {}},
	}
}

// install puts a roster in force and returns the one before. Replicas that are
// in both keep their history.
func (j *judge) install(next *roster) *roster {
	j.mu.Lock()
	defer j.mu.Unlock()
	prev := j.roster
	j.reported = 0
	for at, replicas := range next.index {
		for url, r := range replicas {
			if old := prev.index[at][url]; old != nil {
				*r = old.renewed(*r)
			}
			if r.cycle == j.cycle && j.cycle > 0 {
				j.reported++
			}
		}
	}
	for at, replicas := range prev.index {
		for url, r := range replicas {
			if next.index[at][url] == nil {
				j.late += r.late
				j.wrong += r.wrong
			}
		}
	}
	j.roster = next
	return prev
}

// renewed is the replica with what a newer map says of it.
func (r *replica) renewed(next replica) replica {
	renewed := *r
	renewed.note, renewed.truth, renewed.target = next.note, next.truth, next.target
	return renewed
}

// handOut notes that the map in force was asked for, and returns it. Unless the
// client has it already, this is when its new replicas become known.
func (j *judge) handOut(since int64, now time.Time) (*roster, bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.firstMap.IsZero() {
		j.firstMap = now
	}
	if since == j.roster.date {
		return j.roster, false
	}
	for _, r := range j.roster.all {
		if r.entered.IsZero() {
			r.entered = now
		}
	}
	return j.roster, true
}

// claim marks that it is a request's turn to be about the replica. It returns the
// request before, nil if that has ended, and whether the map in force has the
// replica at all.
func (j *judge) claim(at place, url string, own *inFlight) (*inFlight, bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	r := j.roster.index[at][url]
	if r == nil {
		return nil, false
	}
	before := r.busy
	r.busy = own
	if before.ended() {
		return nil, true
	}
	return before, true
}

// accept takes one report, and says whether the map in force has its replica.
func (j *judge) accept(at place, url string, health Health, interval time.Duration, now time.Time) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	r := j.roster.index[at][url]
	if r == nil {
		return false
	}
	j.accepted++
	j.interval = interval
	if j.firstReport.IsZero() {
		j.firstReport = now
	}
	want := r.truth.at(now, j.settleLocked())
	if want != "" && want != health {
		r.wrong++
	}
	prompt := r.prompt(want, health)
	if r.first.IsZero() {
		r.first = now
		if !r.entered.IsZero() && now.Sub(r.entered) > interval+slack(prompt) {
			r.late++
		}
	} else {
		j.closeGapLocked(r, now, prompt)
	}
	r.last, r.health, r.interval = now, health, interval
	r.reports++
	j.offsets[health].add(j.beatLocked(r, health, interval, now))
	return true
}

// closeGapLocked measures the gap that a report ends. What counts is the
// interval that the report before promised.
func (j *judge) closeGapLocked(r *replica, now time.Time, prompt bool) {
	gap := now.Sub(r.last)
	r.worst = max(r.worst, gap)
	if prompt {
		j.worstPrompt = max(j.worstPrompt, gap)
	} else {
		j.worstOther = max(j.worstOther, gap)
	}
	if gap > r.interval+slack(prompt) {
		r.late++
	}
}

// prompt says whether the replica is one that is up at its first attempt: by
// what its target is where that is known, else by what was reported.
func (r *replica) prompt(want, health Health) bool {
	switch {
	case want != "":
		return want != Dead
	case r.truth.own: // it just changed, or is at its limit: a second attempt may have been needed
		return false
	}
	return health != Dead
}

func slack(prompt bool) time.Duration {
	if prompt {
		return promptSlack
	}
	return otherSlack
}

// beatLocked counts cycles, and returns how far into its cycle a report came.
//
// A cycle begins with the first report of all. The next begins with the first
// report that is not dead and comes at least three quarters of the interval
// later: those that are up are reported in the first quarter of a beat, while a
// dead one can take long enough to reach into the next. Without any that is up,
// a cycle ends after five quarters.
func (j *judge) beatLocked(r *replica, health Health, interval time.Duration, now time.Time) time.Duration {
	into := now.Sub(j.begun)
	if j.cycle == 0 || into >= interval*5/4 || health != Dead && into >= interval*3/4 {
		j.cycle++
		j.begun = now
		j.reported = 0
		into = 0
	}
	if r.cycle != j.cycle {
		r.cycle = j.cycle
		j.reported++
	}
	return into
}

// settleLocked is how old the truth behind an honest verdict may be: measured at
// the end of the longest judgement, confirmed once more, and held up by an API
// that would not take it until the next beat brought a newer one.
func (j *judge) settleLocked() time.Duration {
	l := j.roster.limits
	const confirmation, delivery = 3 * time.Second, time.Second
	return l.worst() + confirmation + l.deadAfter + delivery + j.interval
}

// openGapLocked says for how long the replica has had no report by now, and
// whether that is late already. A replica whose truth is not known may be on its
// way to dead, which takes longer.
func (j *judge) openGapLocked(r *replica, now time.Time) (time.Duration, bool) {
	since, promised := r.last, r.interval
	if r.reports == 0 {
		since, promised = r.entered, j.promisedLocked()
	}
	if since.IsZero() {
		return 0, false
	}
	want := r.truth.at(now, j.settleLocked())
	gap := now.Sub(since)
	return gap, gap > promised+slack(want != "" && want != Dead)
}

// promisedLocked is the interval to expect of a replica that was never reported.
func (j *judge) promisedLocked() time.Duration {
	if j.interval > 0 {
		return j.interval
	}
	return 120 * time.Second // the default of the daemon
}

// progress says how many cycles have begun, and whether every replica of the
// map was reported in the last of them.
func (j *judge) progress() (int, bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.cycle, j.cycle > 0 && j.reported >= len(j.roster.all)
}

// current is the roster in force. Its replicas belong to the judge.
func (j *judge) current() *roster {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.roster
}
