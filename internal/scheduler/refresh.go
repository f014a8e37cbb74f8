package scheduler

import (
	"context"
	"slices"
	"time"

	"github.com/crisp-im/crisp-status-local/v2/internal/probe"
)

// refreshWithin is the time over which the starts of a refresh are spread. It is short,
// since the page waits for these verdicts.
const refreshWithin = time.Second

// refreshed is a group of replicas that is due beside its turns.
type refreshed struct {
	at      time.Time
	members []*replica // of these alone, so that withoutGone may change it
}

// withoutGone removes the replicas that the map lost.
func withoutGone(queue []refreshed) []refreshed {
	for i := range queue {
		queue[i].members = slices.DeleteFunc(queue[i].members, isGone)
	}
	queue = slices.DeleteFunc(queue, func(group refreshed) bool { return len(group.members) == 0 })
	if len(queue) == 0 {
		return nil // releases the memory
	}
	return queue
}

// refresh makes the replicas due at once whose verdicts are too old for the outbox to
// send, and those whose deaths were not believed while the Status API was silent; if this
// daemon has just taken the duty over, those without a verdict, too.
// They start in groups, as in a cycle. Their turns do not move.
func (s *Scheduler) refresh(now time.Time) {
	s.takeBack(s.outbox.TakeRecalled())
	stale, takenOver := s.outbox.TakeStale()
	var due []*replica
	refresh := func(r *replica) {
		if r.phase != idle {
			return
		}
		if r.cutOff = false; !r.inQueue.refreshes { // else from a takeover a moment ago
			r.inQueue.refreshes = true
			due = append(due, r)
		}
	}
	for _, id := range stale {
		if r := s.replicas[id]; r != nil {
			refresh(r)
		}
	}
	if takenOver {
		for _, r := range s.ordered {
			if r.health == probe.Unknown {
				refresh(r)
			}
		}
	}
	if began, _ := s.outbox.Silence(); began.IsZero() {
		for _, r := range s.ordered {
			if r.cutOff {
				refresh(r)
			}
			r.cutOff = false
		}
	}
	if len(due) == 0 {
		return
	}
	s.log.WithField("replicas", len(due)).Debug("probing replicas whose verdicts are too old to be reported, or were not believed")
	groups := (len(due) + groupSize - 1) / groupSize
	step := min(confirmStep, refreshWithin/time.Duration(groups))
	if n := len(s.refreshes); n > 0 && s.refreshes[n-1].at.After(now) {
		now = s.refreshes[n-1].at
	}
	for i := range groups {
		members := due[i*groupSize : min((i+1)*groupSize, len(due))]
		s.refreshes = append(s.refreshes, refreshed{now.Add(time.Duration(i) * step), members})
	}
}

// refreshDue starts the probes of a refresh that are due, except those of replicas that
// have had their turn meanwhile.
func (s *Scheduler) refreshDue(ctx context.Context, now time.Time) {
	for len(s.refreshes) > 0 && !s.refreshes[0].at.After(now) {
		members := s.refreshes[0].members
		if s.refreshes = s.refreshes[1:]; len(s.refreshes) == 0 {
			s.refreshes = nil // releases the memory of a takeover
		}
		starting := make([]*replica, 0, len(members))
		for _, r := range members {
			r.inQueue.refreshes = false
			if r.phase == idle {
				starting = append(starting, r)
			}
		}
		s.massFailure.besides(starting)
		s.startGroup(ctx, starting, now)
	}
}
