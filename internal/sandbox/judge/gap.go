package judge

import "time"

// gap is the time between two reports of a replica. An open gap ends at the moment
// of the question instead.
type gap struct {
	length time.Duration
	prompt bool // of a replica that is up at its first attempt
	late   bool
}

// count returns the number of late gaps that g is: 1 or 0.
func (g gap) count() int {
	if g.late {
		return 1
	}
	return 0
}

// worstGaps are the longest gaps, of replicas that are up at their first attempt,
// and of all others.
type worstGaps struct{ prompt, other time.Duration }

func (w *worstGaps) add(g gap) {
	if g.prompt {
		w.prompt = max(w.prompt, g.length)
	} else {
		w.other = max(w.other, g.length)
	}
}

// slack returns the time by which a gap may exceed the promised interval.
func (j *Judge) slack(prompt bool) time.Duration {
	if prompt {
		return j.takeover + promptSlack
	}
	return j.takeover + otherSlack
}

// openGapLocked returns the gap since the newest report of the replica. A replica
// of unknown health may be about to be judged dead, so its gap is late only after
// the time that this takes. Without a report there is no gap, its length is 0, but
// the first report is late after the same time from the entry into the map.
func (j *Judge) openGapLocked(r *Replica, now time.Time) gap {
	want := r.Expectation.at(now, j.settleLocked())
	allowed := j.slack(want != "" && want != Dead)
	if r.reports == 0 {
		return gap{late: !r.entered.IsZero() && now.Sub(r.entered) > j.promisedLocked()+allowed}
	}
	open := gap{length: now.Sub(r.last), prompt: r.prompt(want, r.health)}
	open.late = open.length > r.interval+allowed
	return open
}
