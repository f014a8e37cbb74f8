package scheduler

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/crisp-im/crisp-status-local/v2/internal/probe"
	"github.com/crisp-im/crisp-status-local/v2/internal/statusapi"
)

// How long after an answer the map is asked for again while none is held; at
// most the interval, in any case.
const (
	firstPause   = time.Second // then twice as long each time
	longestPause = 30 * time.Second
	deniedPause  = time.Minute // after a 401: only an operator can help
)

// fetch is a map request and what came of it.
type fetch struct {
	cancel context.CancelFunc
	m      *statusapi.Map
	err    error
}

// fetch asks for the map.
func (l *Loop) fetch(ctx context.Context) {
	if l.outbox.Stale() {
		l.whole = true
	}
	api, prev := l.settings.API, l.held
	if l.whole {
		prev = nil
	}
	ctx, cancel := context.WithCancel(ctx)
	f := &fetch{cancel: cancel}
	l.fetching = f
	l.fetches.Go(func() {
		defer cancel()
		f.m, f.err = api.FetchMap(ctx, prev)
		l.fetched <- f
	})
}

// took takes what came of a map request.
func (l *Loop) took(ctx context.Context, f *fetch) {
	if f != l.fetching || ctx.Err() != nil {
		return // a reload has had it asked for anew, or the daemon ends
	}
	l.fetching = nil
	l.ask = l.beat.Add(l.settings.Interval)
	if !errors.Is(f.err, statusapi.ErrUnauthorized) {
		l.outbox.Resume()
	}
	if f.err != nil {
		l.missed(f.err)
		return
	}
	l.asked, l.whole = 0, false
	if f.m != l.held {
		l.apply(f.m)
	}
}

// missed says why there is no new map. While there is none at all, it is asked
// for before the next beat.
func (l *Loop) missed(err error) {
	pause := min(firstPause<<min(l.asked, 5), longestPause)
	l.asked++
	log := l.log.WithError(err)
	switch {
	case errors.Is(err, statusapi.ErrUnauthorized):
		pause = deniedPause
		if !l.cycle.denied {
			log.Error("check report.token: get your reporter token from the Crisp dashboard, under Status")
		}
		l.cycle.denied = true
	case l.held == nil:
		log.Error("there is no map yet, so nothing is probed")
	default:
		log.Warn("the last map stays in force")
	}
	if l.held == nil {
		l.ask = time.Now().Add(min(pause, l.settings.Interval))
	}
}

// apply puts a new map in force: replicas that came are due at once, those that
// went leave the pool and the outbox, the others keep their turn.
func (l *Loop) apply(m *statusapi.Map) {
	replicas := make(map[probe.ID]*replica, len(m.Checks))
	var added []*replica
	for i := range m.Checks {
		c := &m.Checks[i]
		id := c.ID()
		r := l.replicas[id]
		if r == nil {
			r = &replica{busy: l.leaving[id]}
			added = append(added, r)
		}
		delete(l.replicas, id)
		delete(l.leaving, id)
		r.check = c
		replicas[id] = r
	}
	removed, old := l.replicas, l.held
	l.held, l.replicas = m, replicas
	l.outbox.Retain(len(replicas), func(id probe.ID) bool { return replicas[id] != nil })
	l.remove(removed)
	if old == nil || len(added)+len(removed) > 0 {
		l.log.WithFields(logrus.Fields{"replicas": len(replicas), "added": len(added), "removed": len(removed)}).Info("map changed")
	}
	if old == nil || !slices.Equal(m.Problems, old.Problems) {
		for _, problem := range m.Problems {
			l.log.WithField("problem", problem).Warn("the map holds what cannot be used as it is")
		}
	}
	if l.settings.Sized != nil {
		l.settings.Sized(len(replicas))
	}
	l.schedule.add(time.Now(), added)
	l.limitPool()
	l.decideAll()
}

// remove takes replicas out of the schedule and the pool. A probe under way is
// let go on, its result means nothing any more; but should the replica come
// back meanwhile, there must be no second one beside it.
func (l *Loop) remove(removed map[probe.ID]*replica) {
	if len(removed) == 0 {
		return
	}
	for id, r := range removed {
		r.gone = true
		l.ended(r)
		if r.health == probe.Dead {
			l.dead--
		}
		if r.busy && (r.suspicion == nil || r.suspicion.trying) {
			l.leaving[id] = true
		}
	}
	l.schedule.prune()
	l.pool.Retain(func(id probe.ID) bool {
		if l.replicas[id] != nil {
			return true
		}
		delete(l.leaving, id) // its probe had not begun
		return false
	})
}
