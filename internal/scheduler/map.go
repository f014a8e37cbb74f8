package scheduler

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/crisp-im/crisp-status-local/v2/internal/pace"
	"github.com/crisp-im/crisp-status-local/v2/internal/probe"
	"github.com/crisp-im/crisp-status-local/v2/internal/statusapi"
)

// mapPause is the least time after a whole map until a 404 has the next one requested: if
// each map has other replicas that the API does not know, each brings a 404 at once.
const mapPause = time.Second

// mapRequests is the state of the requests for the map.
type mapRequests struct {
	running       *fetch    // nil unless a request is under way
	nextFetch     time.Time //
	fetchFailures int       // in a row: all while there is no map, else the 401s
	fullFetch     bool      // the next request is for the whole map

	// While the API answers 404 to reports:
	lastFull      time.Time // answer to the last request for the whole map
	unchangedMaps int       // whole maps in a row that brought no other replicas
}

// fetch is a map request and its result.
type fetch struct {
	full   bool
	began  time.Time
	cancel context.CancelFunc
	m      *statusapi.Map
	err    error
}

// restart cancels the request under way and makes the next one due.
func (m *mapRequests) restart(page Page) {
	if m.running != nil {
		m.running.cancel()
		m.running = nil
	}
	m.nextFetch, m.fetchFailures = time.Time{}, 0
	m.fullFetch = m.fullFetch || page == OtherPage
}

// outdated has the whole map requested: the API does not know a replica of the
// current one. While it comes back unchanged, the waits double, since a proxy
// may be what answers 404.
func (m *mapRequests) outdated(now time.Time, interval time.Duration) {
	m.fullFetch = true
	wait := mapPause
	if m.unchangedMaps > 0 {
		wait = pace.MapRefused(interval, m.unchangedMaps)
	}
	if m.nextFetch = m.lastFull.Add(wait); m.nextFetch.Before(now) {
		m.nextFetch = now
	}
}

// answered takes note of an answer that brought other replicas, or none.
func (m *mapRequests) answered(full, changed bool) {
	if full {
		m.lastFull = time.Now()
	}
	if m.unchangedMaps++; changed || !full {
		m.unchangedMaps = 0
	}
}

// fetchDue requests the map if that is due.
func (s *Scheduler) fetchDue(ctx context.Context, now time.Time) {
	m := &s.nextMap
	if m.running != nil || now.Before(m.nextFetch) {
		return
	}
	api, prev := s.settings.API, s.currentMap
	if m.fullFetch {
		prev = nil
	}
	ctx, cancel := context.WithCancel(ctx)
	f := &fetch{full: m.fullFetch, began: time.Now(), cancel: cancel}
	m.running = f
	s.fetches.Go(func() {
		defer cancel()
		defer func() { s.fetched <- f }()
		defer func() {
			if fault := recover(); fault != nil {
				f.m, f.err = nil, probe.Panicked(fault)
			}
		}()
		f.m, f.err = api.FetchMap(ctx, prev)
	})
}

// mapFetched takes the result of a map request.
func (s *Scheduler) mapFetched(ctx context.Context, f *fetch) {
	m := &s.nextMap
	if f != m.running || ctx.Err() != nil {
		return // a reload has requested it again, or the daemon ends
	}
	m.running = nil
	if m.fullFetch == f.full { // else a 404 has come meanwhile, and set the time
		m.nextFetch = s.cycleStart.Add(s.settings.Interval)
	}
	if f.err != nil {
		s.observed.mapAnswered(f, false)
		s.fetchFailed(f)
		return
	}
	m.fetchFailures = 0
	if !s.silentSince(time.Now()) { // or what answers is not what takes reports
		s.hear()
	}
	changed := false
	if f.m != s.currentMap {
		changed = s.apply(ctx, f.m)
	}
	s.observed.mapAnswered(f, changed)
	m.answered(f.full, changed)
	if f.full {
		m.fullFetch = false
	}
}

// fetchFailed says why there is no new map, and sets the time of the next
// request where that is not the next cycle.
func (s *Scheduler) fetchFailed(f *fetch) {
	m := &s.nextMap
	unauthorized := errors.Is(f.err, statusapi.ErrUnauthorized)
	m.answered(f.full, false)
	if m.fetchFailures++; s.currentMap != nil && !unauthorized {
		m.fetchFailures = 0
	}
	s.sayPanic(probe.PanicOf(f.err))
	log := s.log.WithError(f.err)
	switch {
	case unauthorized:
		if !s.stats.unauthorized {
			log.Error("check report.token: get your reporter token from the Crisp dashboard, under Status")
		}
		s.stats.unauthorized = true
	case s.currentMap == nil:
		log.Error("there is no map yet, so nothing is probed")
	default:
		log.Warn("the last map stays in force")
	}
	switch {
	case s.currentMap == nil:
		m.nextFetch = time.Now().Add(pace.MapMissing(m.fetchFailures))
	case unauthorized: // of one 401 a proxy may be the cause
		m.nextFetch = time.Now().Add(pace.MapRefused(s.settings.Interval, m.fetchFailures))
	}
}

// apply puts a new map in force and reports whether it has other replicas: new
// ones are due at once, old ones leave the pool and the outbox, the rest keep
// their turn. Those with other rules are probed beside it, and so are all if the
// page is another one, which was told nothing of them yet.
func (s *Scheduler) apply(ctx context.Context, m *statusapi.Map) bool {
	old, replicas := s.replicas, make(map[probe.ID]*replica, len(m.Checks))
	ordered, added := make([]*replica, len(m.Checks)), []*replica(nil)
	compared := make(comparedRules)
	for i := range m.Checks {
		c := &m.Checks[i]
		id := c.ID()
		r := old[id]
		delete(old, id)
		switch {
		case r == nil:
			r = new(replica)
			added = append(added, r)
		case r.phase == gone:
			r.comeBack()
			added = append(added, r)
		}
		if r.check != nil && (s.newToPage || !compared.same(r.check, c)) {
			r.want(wanted)
		}
		r.check = c
		replicas[id], ordered[i] = r, r
	}
	first, problems := s.currentMap == nil, []string(nil)
	if !first {
		problems = s.currentMap.Problems
	}
	before := s.currentMap
	s.currentMap, s.ordered, s.replicas, s.newToPage = m, ordered, replicas, false
	s.noted, s.denials = make(notes), denials{}
	removed := s.remove(old)
	if !first && m.Edited(before) {
		s.outbox.Doubt() // of a replica that was removed and added again, say
	}
	s.outbox.Retain(len(m.Checks), func(id probe.ID) bool { r := replicas[id]; return r != nil && r.phase != gone })
	changed := len(added)+removed > 0
	if first || changed {
		s.log.WithFields(logrus.Fields{"replicas": len(m.Checks), "added": len(added), "removed": removed}).Info("map changed")
	}
	if first { // at warn: a daemon that says nothing looks like one that hangs
		s.log.WithFields(logrus.Fields{"replicas": len(m.Checks), "interval": s.settings.Interval}).
			Warn("watching the replicas of the map")
	}
	if first || !slices.Equal(m.Problems, problems) {
		for _, problem := range m.Problems {
			s.log.WithField("problem", problem).Warn("ignored invalid map entry")
		}
	}
	s.schedule.add(time.Now(), added)
	s.queueRechecks(time.Now())
	s.limitPool(ctx)
	s.decide(s.massFailure.mapChanged(len(m.Checks), len(added)))
	return changed
}

// remove takes replicas out of the schedule and the pool, and returns how many
// it removed. A probe that runs is left alone and its result ignored; the
// replica stays known until then, as gone.
func (s *Scheduler) remove(replicas map[probe.ID]*replica) int {
	removed := 0
	for id, r := range replicas {
		if r.phase != gone {
			removed++
			s.massFailure.left(r)
			if r.health == probe.Dead {
				s.dead--
			}
			if !r.phase.inPool() {
				r.phase = gone
				continue
			}
			r.phase = gone
		}
		s.replicas[id] = r
	}
	if removed == 0 {
		return 0
	}
	s.schedule.prune()
	s.refreshes, s.rechecks = withoutGone(s.refreshes), withoutGone(s.rechecks)
	s.confirmations = slices.DeleteFunc(s.confirmations, isGone)
	for _, j := range s.pool.prune() {
		delete(s.replicas, j.replica.check.ID())
	}
	return removed
}
