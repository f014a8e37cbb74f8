package report

import (
	"container/heap"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/crisp-im/crisp-status-local/v2/internal/duty"
	"github.com/crisp-im/crisp-status-local/v2/internal/probe"
	"github.com/crisp-im/crisp-status-local/v2/internal/statusapi"
)

// entry is the newest verdict of one replica, and the request that delivers it
// or an older one:
//
//	waiting ──► processing ──► taken, or waiting again
//	                │  ▲
//	    newer ones  ▼  │
//	              dirty ──► waiting
//
//	waiting ◄──► kept: the duty does not permit it, or it is too old
//
// A replica that left the map while its request is in flight is gone: it keeps its
// entry until the request is over, so that it has one at a time.
type entry struct {
	verdict statusapi.Verdict
	phase   phase
	stale   bool   // TakeStale is to return its replica, since the verdict is too old
	renewal bool   // added by Leave: the page has the verdict by an older report
	ups     uint32 // reach.ups when it was put

	measured time.Duration // by Outbox.clock

	// While it is waiting.
	in       *entries // ready or later
	index    int      // in it
	order    int      // of insertion, which breaks ties
	lot      uint32   // its place in trials, see byLot
	recovery bool     // the page shows the replica dead, though it is up
	last     bool     // it failed, and beyond its deadline or another one was taken since
	hung     bool     // its last request ended without a status line, after pace.StatusLine or more
	deadline time.Time
	due      time.Time

	failures  int       // of its reports, in a row
	tried     time.Time // when the last one ended; zero if there was none
	notBefore time.Time // by Retry-After
	rejected  bool      // the last one was rejected alone, by an API that takes others

	request
}

// phase is the state of an entry.
type phase int

const (
	idle       phase = iota
	waiting          // to be sent
	processing       // its verdict is in flight
	dirty            // an older verdict is in flight
	gone             // a verdict is in flight, of a replica that left the map
	kept             // not to be sent for now
)

// entries is a heap.
type entries struct {
	list   []*entry
	before func(a, b *entry) bool
}

func (h *entries) Len() int           { return len(h.list) }
func (h *entries) Less(i, j int) bool { return h.before(h.list[i], h.list[j]) }

func (h *entries) Swap(i, j int) {
	h.list[i], h.list[j] = h.list[j], h.list[i]
	h.list[i].index, h.list[j].index = i, j
}

func (h *entries) Push(x any) {
	e := x.(*entry)
	e.in, e.index = h, len(h.list)
	h.list = append(h.list, e)
}

func (h *entries) Pop() any {
	last := len(h.list) - 1
	e := h.list[last]
	h.list[last] = nil
	if h.list = h.list[:last]; last == 0 && cap(h.list) > 1<<10 {
		h.list = nil // releases the memory of an outage
	}
	e.in = nil
	return e
}

// byDeadline puts recoveries first, then the earliest report deadline. What failed
// may never be taken, so it comes last: were it first, because the page shows it
// dead by now, it would hold up those that are.
func byDeadline(a, b *entry) bool {
	switch {
	case a.last != b.last:
		return b.last
	case a.recovery != b.recovery:
		return a.recovery
	case !a.deadline.Equal(b.deadline):
		return a.deadline.Before(b.deadline)
	}
	return a.order < b.order
}

// mixed returns byDeadline with deadlines that are later by lot, by up to spread. An API that
// takes a part of the reports may not take replicas that lie together, and so have their
// deadlines together: they would be the first each time, and no other would be sent.
func mixed(spread time.Duration) func(a, b *entry) bool {
	deadline := func(e *entry) time.Time {
		return e.deadline.Add(time.Duration(float64(spread) * float64(e.lot) / (1 << 32)))
	}
	return func(a, b *entry) bool {
		switch {
		case a.last != b.last:
			return b.last
		case a.recovery != b.recovery:
			return a.recovery
		}
		return deadline(a).Before(deadline(b))
	}
}

// byLot puts the replica first that was not tried for the longest time, so that trials rotate
// through the replicas, and takes those that were never tried by lot: the API may not take a
// part of the map that lies together, and so has its deadlines together. One trial after
// another would be of that part, and no other replica reported. Lots are not random: see
// nextLot.
func byLot(a, b *entry) bool {
	if !a.tried.Equal(b.tried) {
		return a.tried.Before(b.tried)
	}
	return a.lot < b.lot
}

func byDue(a, b *entry) bool {
	if !a.due.Equal(b.due) {
		return a.due.Before(b.due)
	}
	return a.order < b.order
}

// queue has one entry for each replica whose verdict was not taken yet.
type queue struct {
	all   map[probe.ID]*entry
	gone  int        // entries in the phase gone
	kept  int        // entries in the phase kept
	scope duty.Scope // a verdict that it does not permit is neither ready nor due later
	ready entries    // due
	later entries    // due later
	order int
	lots  uint32 // the last one
	page  page
	taken time.Time // when the last report was
}

func newQueue() queue {
	return queue{
		all:   make(map[probe.ID]*entry),
		scope: duty.Everything,
		ready: entries{before: byDeadline},
		later: entries{before: byDue},
		page:  newPage(),
	}
}

// Len returns the number of verdicts that were not taken yet, but for those that are
// kept.
func (q *queue) Len() int { return len(q.all) - q.gone - q.kept }

// put makes v the newest verdict of its replica, due at once. An entry that is ready
// already keeps its place: re-queueing it on every verdict would starve replicas that
// are judged faster than they can be sent.
func (q *queue) put(now time.Time, v statusapi.Verdict) *entry {
	e := q.all[v.ID]
	if e == nil {
		e = &entry{lot: q.nextLot()}
		q.all[v.ID] = e
	}
	e.verdict, e.renewal = v, false
	switch e.phase {
	case processing:
		e.phase = dirty
	case gone:
		e.phase = dirty
		q.gone--
	case dirty:
	default:
		if e.in == &q.ready && q.permits(e) {
			q.rank(now, e)
			heap.Fix(&q.ready, e.index)
			break
		}
		q.wait(now, e, now)
	}
	return e
}

// nextLot returns the lot of a new entry. Lots are multiples of the golden ratio, of which
// any number in a row divides the whole evenly: so the trials come from all over the map,
// and no run of bad luck takes them through a part of it.
func (q *queue) nextLot() uint32 {
	q.lots += 0x9e3779b9 // of 1<<32
	return q.lots
}

// wait schedules e for due, but never before its notBefore; or keeps it.
func (q *queue) wait(now time.Time, e *entry, due time.Time) {
	if e.in != nil {
		heap.Remove(e.in, e.index)
	}
	if due.Before(e.notBefore) {
		due = e.notBefore
	}
	q.order++
	if e.order, e.due = q.order, due; !q.permits(e) {
		q.keep(e)
		return
	}
	if e.phase == kept {
		q.kept--
	}
	e.phase = waiting
	q.rank(now, e)
	if due.After(now) {
		heap.Push(&q.later, e)
	} else {
		heap.Push(&q.ready, e)
	}
}

// lastFor is for how long a verdict comes last after it failed once. A queue that is never
// empty would keep it for good.
const lastFor = 5 * time.Second

// rank computes the deadline and recovery of e, by which entries are ordered.
func (q *queue) rank(now time.Time, e *entry) {
	e.deadline = q.page.deadline(e.verdict.ID)
	e.recovery = e.verdict.Health != probe.Dead && q.page.showsDead(now, e.verdict.ID)
	e.last = e.failures > 0 && (e.failures > 1 || now.Sub(e.tried) < lastFor) && (!e.tried.After(q.taken) || e.tried.After(e.deadline))
}

// advance makes due entries ready.
func (q *queue) advance(now time.Time) {
	for len(q.later.list) > 0 && !q.later.list[0].due.After(now) {
		e := heap.Pop(&q.later).(*entry)
		q.rank(now, e)
		heap.Push(&q.ready, e)
	}
}

// nextDue returns when the next entry becomes ready; zero if none will.
func (q *queue) nextDue() time.Time {
	if q.later.Len() == 0 {
		return time.Time{}
	}
	return q.later.list[0].due
}

// flush makes the waiting entries ready for which want is true, but for those with a
// notBefore ahead.
func (q *queue) flush(now time.Time, want func(*entry) bool) {
	for _, e := range q.later.list {
		if want(e) {
			e.due = e.notBefore
		}
	}
	heap.Init(&q.later)
	q.advance(now)
}

// reorder makes before the order of the ready entries.
func (q *queue) reorder(now time.Time, before func(a, b *entry) bool) {
	for _, e := range q.ready.list {
		q.rank(now, e)
	}
	q.ready.before = before
	heap.Init(&q.ready)
}

// left returns the time until the first report deadline of the ready entries.
func (q *queue) left(now time.Time) time.Duration {
	left := time.Hour
	for _, e := range q.ready.list {
		left = min(left, e.deadline.Sub(now))
	}
	return left
}

// take removes the first ready entry, for processing.
func (q *queue) take() *entry {
	e := heap.Pop(&q.ready).(*entry)
	e.phase = processing
	return e
}

// done removes e, whose verdict was taken or dropped, unless a newer verdict came
// meanwhile.
func (q *queue) done(now time.Time, e *entry) {
	e.failures, e.tried, e.notBefore, e.rejected = 0, time.Time{}, time.Time{}, false
	if e.phase == dirty {
		q.wait(now, e, now)
		return
	}
	q.drop(e)
	if e.phase == gone {
		e.phase = idle
		q.gone--
		q.delete(e)
	}
}

// drop forgets the verdict of e; a request in flight leaves it gone.
func (q *queue) drop(e *entry) {
	switch e.phase {
	case waiting:
		heap.Remove(e.in, e.index)
		e.phase = idle
		q.delete(e)
	case kept:
		e.phase = idle
		q.kept--
		q.delete(e)
	case processing, dirty:
		e.phase = gone
		q.gone++
	}
}

func (q *queue) delete(e *entry) {
	delete(q.all, e.verdict.ID)
	if len(q.all) == 0 && q.order > 1<<12 {
		q.all, q.order = make(map[probe.ID]*entry), 0 // releases the memory of an outage
	}
}

// logTo returns log with the fields of the replica and its verdict.
func (e *entry) logTo(log logrus.FieldLogger) logrus.FieldLogger {
	id := e.verdict.ID
	return log.WithFields(logrus.Fields{"service": id.Service, "node": id.Node, "replica": probe.Redact(id.Replica), "health": e.verdict.Health})
}
