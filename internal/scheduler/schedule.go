package scheduler

import (
	"cmp"
	"container/heap"
	"slices"
	"time"
)

// groupSize is how many replicas are probed at a time: one by one costs six
// times the CPU, all at once inflates latencies and hits the API like a hammer.
const groupSize = 32

// spread returns over how much of an interval the probes of a cycle begin.
func spread(interval time.Duration) time.Duration { return min(interval/4, 30*time.Second) }

// schedule says when which replicas are probed: groups of them, each due once
// per interval. A replica keeps its group, so the time between two of its
// probes is the interval, whatever comes and goes around it.
type schedule struct {
	interval time.Duration
	groups   groups // a heap
}

type group struct {
	due     time.Time
	members []*replica // at least one
}

// add makes replicas due in groups: the first now, the others over the spread.
func (s *schedule) add(now time.Time, added []*replica) {
	n := (len(added) + groupSize - 1) / groupSize
	step := spread(s.interval) / time.Duration(max(1, n))
	for i := range n {
		members := added[i*groupSize : min((i+1)*groupSize, len(added))]
		heap.Push(&s.groups, &group{due: now.Add(time.Duration(i) * step), members: slices.Clone(members)})
	}
}

// next returns when the next group is due; false if there is none.
func (s *schedule) next() (time.Time, bool) {
	if len(s.groups) == 0 {
		return time.Time{}, false
	}
	return s.groups[0].due, true
}

// take returns the members of the group that is due first and makes it due
// again an interval later, or as many intervals as it takes to lie ahead of now.
func (s *schedule) take(now time.Time) []*replica {
	g := s.groups[0]
	g.due = g.due.Add(s.interval)
	if late := now.Sub(g.due); late >= 0 {
		g.due = g.due.Add((late/s.interval + 1) * s.interval)
	}
	heap.Fix(&s.groups, 0)
	return g.members
}

// shift makes every group due so much later.
func (s *schedule) shift(d time.Duration) {
	for _, g := range s.groups {
		g.due = g.due.Add(d)
	}
}

// prune takes out the replicas that are gone.
func (s *schedule) prune() {
	for _, g := range s.groups {
		g.members = slices.DeleteFunc(g.members, func(r *replica) bool { return r.gone })
	}
	s.groups = slices.DeleteFunc(s.groups, func(g *group) bool { return len(g.members) == 0 })
	heap.Init(&s.groups)
}

// peak returns how many turns come within w of one another, at the most.
func (s *schedule) peak(w time.Duration) int {
	type turn struct {
		at      time.Duration
		members int
	}
	turns, all := make([]turn, 0, 2*len(s.groups)), 0
	for _, g := range s.groups {
		turns = append(turns, turn{g.due.Sub(s.groups[0].due) % s.interval, len(g.members)})
		all += len(g.members)
	}
	slices.SortFunc(turns, func(a, b turn) int { return cmp.Compare(a.at, b.at) })
	for _, t := range turns { // and those of the next cycle
		turns = append(turns, turn{t.at + s.interval, t.members})
	}
	most, within, first := 0, 0, 0
	for _, t := range turns {
		within += t.members
		for ; t.at-turns[first].at > w; first++ {
			within -= turns[first].members
		}
		most = max(most, within)
	}
	return min(most, all)
}

// change makes interval the new one. Every group is due at its place in the
// new spread, but never later than it was: the page was promised that.
func (s *schedule) change(now time.Time, interval time.Duration) {
	s.interval = interval
	slices.SortFunc(s.groups, func(a, b *group) int { return a.due.Compare(b.due) })
	step := spread(interval) / time.Duration(max(1, len(s.groups)))
	for i, g := range s.groups {
		if place := now.Add(time.Duration(i) * step); place.Before(g.due) {
			g.due = place
		}
	}
	heap.Init(&s.groups)
}

// groups is a heap of groups, the one that is due first on top.
type groups []*group

func (g groups) Len() int           { return len(g) }
func (g groups) Less(i, j int) bool { return g[i].due.Before(g[j].due) }
func (g groups) Swap(i, j int)      { g[i], g[j] = g[j], g[i] }
func (g *groups) Push(x any)        { *g = append(*g, x.(*group)) }

func (g *groups) Pop() any {
	old := *g
	last := old[len(old)-1]
	old[len(old)-1] = nil
	*g = old[:len(old)-1]
	return last
}
