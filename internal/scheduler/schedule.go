package scheduler

import (
	"cmp"
	"container/heap"
	"slices"
	"time"

	"github.com/crisp-im/crisp-status-local/v2/internal/pace"
)

// groupSize is how many replicas are probed at a time: one by one costs six
// times the CPU, all at once inflates latencies and hits the API like a hammer.
const groupSize = 32

// schedule holds the turns of all replicas, in groups that are due once per
// interval each. A replica keeps its group, so its probes are an interval
// apart, whatever is added or removed around it.
type schedule struct {
	interval time.Duration
	groups   groups // a heap
}

// group is replicas that have their turn together. Its members are replaced,
// never changed in place: a repeatCheck may share them.
type group struct {
	due     time.Time
	advance time.Duration // by which the turn after the next one comes earlier
	members []*replica    // at least one
}

// add makes replicas due in groups: the first now, the others over the spread.
func (s *schedule) add(now time.Time, added []*replica) {
	n := (len(added) + groupSize - 1) / groupSize
	step := pace.Spread(s.interval) / time.Duration(max(1, n))
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

// take returns the members of the group that is due first, and makes it due
// again an interval later, or as many intervals as it takes to lie ahead of now.
func (s *schedule) take(now time.Time) []*replica {
	g := s.groups[0]
	g.due = g.due.Add(s.interval - g.advance)
	g.advance = 0
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

// prune removes the replicas that are gone.
func (s *schedule) prune() {
	for _, g := range s.groups {
		if slices.ContainsFunc(g.members, isGone) {
			g.members = slices.DeleteFunc(slices.Clone(g.members), isGone)
		}
	}
	s.groups = slices.DeleteFunc(s.groups, func(g *group) bool { return len(g.members) == 0 })
	heap.Init(&s.groups)
}

// size returns how many replicas have a turn.
func (s *schedule) size() int {
	n := 0
	for _, g := range s.groups {
		n += len(g.members)
	}
	return n
}

// peak returns the maximum number of turns within any window of length w.
func (s *schedule) peak(w time.Duration) int {
	type turn struct {
		at      time.Duration
		members int
	}
	turns, all := make([]turn, 0, 2*len(s.groups)), s.size()
	for _, g := range s.groups {
		turns = append(turns, turn{g.due.Sub(s.groups[0].due) % s.interval, len(g.members)})
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
	s.sort()
	step := pace.Spread(interval) / time.Duration(max(1, len(s.groups)))
	for i, g := range s.groups {
		if place := now.Add(time.Duration(i) * step); place.Before(g.due) {
			g.due = place
		}
	}
	heap.Init(&s.groups)
}

// sort orders the groups by their turns. That leaves them a heap.
func (s *schedule) sort() {
	slices.SortStableFunc(s.groups, func(a, b *group) int { return a.due.Compare(b.due) })
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
