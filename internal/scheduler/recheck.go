package scheduler

import (
	"context"
	"math"
	"time"

	"github.com/crisp-im/crisp-status-local/v2/internal/pace"
	"github.com/crisp-im/crisp-status-local/v2/internal/probe"
)

// recheck says whether a replica is to be probed beside its turns, since a reload or a
// map may have changed its verdict. A probe that starts, in its turn or not, ends that.
type recheck uint8

const (
	noRecheck recheck = iota
	unlessUp          // when it is idle, unless it is healthy then
	wanted            // when it is idle
	queued            // when its place in Scheduler.rechecks is due
)

// want has r probed beside its turns: by the next queueRechecks, or if it is busy with
// an older probe, when that is over. With unlessUp, only if it is not healthy then.
func (r *replica) want(how recheck) { r.recheck = max(r.recheck, how) }

// wants reports whether r is to be queued, now that it is idle.
func (r *replica) wants() bool {
	return r.recheck == wanted || r.recheck == unlessUp && r.health != probe.Healthy
}

// queueRechecks makes the idle replicas due that are to be probed beside their turns,
// spread as a start is, but for those whose turns come as soon as that. The first is the
// one whose last turn was the longest ago. Busy ones follow by settled.
func (s *Scheduler) queueRechecks(now time.Time) {
	spread := pace.Spread(s.settings.Interval)
	var due []*replica
	s.schedule.sort()
	for _, g := range s.schedule.groups {
		for _, r := range g.members {
			switch {
			case r.phase != idle || r.recheck == queued:
			case r.wants() && g.due.After(now.Add(spread)):
				due = append(due, r)
			default:
				r.recheck = noRecheck
			}
		}
	}
	if len(due) == 0 {
		return
	}
	s.log.WithField("replicas", len(due)).Debug("probing replicas whose verdicts the reload or the map may have changed")
	groups := (len(due) + groupSize - 1) / groupSize
	step := min(confirmStep, spread/time.Duration(groups))
	for i := range groups {
		s.queueRecheck(now.Add(time.Duration(i)*step), due[i*groupSize:min((i+1)*groupSize, len(due))])
	}
}

// queueRecheck makes idle replicas due at a time, or after those that are due by then.
// One that is in the queue already, from before its last turn, keeps that place: the queue
// may stand still while the pool is full, and reloads and maps go on.
func (s *Scheduler) queueRecheck(at time.Time, members []*replica) {
	var added []*replica
	for _, r := range members {
		if r.recheck = queued; !r.inQueue.rechecks {
			r.inQueue.rechecks = true
			added = append(added, r)
		}
	}
	if len(added) > 0 {
		s.rechecks = append(s.rechecks, refreshed{at, added})
	}
}

// settled queues r if that was wanted while it was busy. It is idle, and its health that
// of its last probe.
func (s *Scheduler) settled(r *replica) {
	if r.wants() {
		s.queueRecheck(time.Now(), []*replica{r})
	} else if r.recheck != queued {
		r.recheck = noRecheck
	}
}

// recheckDue starts the rechecks that are due, except those of replicas that have had
// their turn meanwhile, and as far as turns keep their places in the pool. A death that they
// bring is doubted, since their groups may be too small to show a mass failure.
func (s *Scheduler) recheckDue(ctx context.Context, now time.Time) {
	for len(s.rechecks) > 0 && !s.rechecks[0].at.After(now) {
		var starting []*replica
		for _, r := range s.rechecks[0].members {
			if r.phase == idle && r.recheck == queued {
				starting = append(starting, r)
			} else {
				r.inQueue.rechecks = false
			}
		}
		room := min(s.recheckRoom(), len(starting))
		for _, r := range starting[:room] {
			r.inQueue.rechecks = false
		}
		if waiting := starting[room:]; len(waiting) > 0 {
			s.rechecks[0] = refreshed{now.Add(alertness), waiting}
		} else if s.rechecks = s.rechecks[1:]; len(s.rechecks) == 0 {
			s.rechecks = nil // releases the memory of a reload
		}
		if starting = starting[:room]; room > 0 {
			s.massFailure.besides(starting)
			s.startGroup(ctx, starting, now).doubted = true
		}
	}
}

// recheckRoom returns how many rechecks may start: they leave turns the places that those
// may take, or three quarters of the pool where it has fewer.
func (s *Scheduler) recheckRoom() int {
	if s.pool.limit >= len(s.replicas) {
		return math.MaxInt
	}
	return max(0, s.pool.limit-s.pool.load()-min(s.turnPlaces, s.pool.limit*3/4))
}

// comparedRules remembers which rules of two maps are the same: many replicas share
// them, and a match may be long.
type comparedRules map[[2]*probe.Rules]bool

// same reports whether the rules of both checks are the same.
func (c comparedRules) same(before, after *probe.Check) bool {
	pair := [2]*probe.Rules{before.Rules, after.Rules}
	same, known := c[pair]
	if !known {
		same = rulesOf(before).Same(rulesOf(after))
		c[pair] = same
	}
	return same
}
