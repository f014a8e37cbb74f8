package scheduler_test

import (
	"context"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/crisp-im/crisp-status-local/v2/internal/report"
	"github.com/crisp-im/crisp-status-local/v2/internal/scheduler"
	"github.com/crisp-im/crisp-status-local/v2/internal/statusapi"
)

// wait returns how long nothing happens.
func (s *simulation) wait() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	return time.Duration(s.random.Int64N(int64(40 * time.Second)))
}

// TestWhateverHappensToAll: while the map changes, the interval and the page are
// others by a reload, and the API has a fault now and then, no replica that is up
// and in the map is late, and no verdict is lost. What is left running fails it.
func TestWhateverHappensToAll(t *testing.T) {
	for seed := range uint64(6) {
		s := &simulation{replicas: 96, interval: 2 * time.Minute, deadAfter: 10 * time.Second, rtt: 20 * time.Millisecond,
			delays: []time.Duration{0, 0, 5 * time.Second, 9 * time.Second, 30400 * time.Millisecond}, seed: seed, faultAt: -time.Hour}
		random := rand.New(rand.NewPCG(seed, 3))
		const lasts = 40 * time.Minute
		s.happens = func() {
			synctest.Wait()
			if s.now() > lasts-8*time.Minute {
				return
			}
			switch random.IntN(6) {
			case 0, 1:
				s.changeMap(random)
			case 2, 3:
				s.fail(random)
			case 4:
				s.reload([]time.Duration{10 * time.Second, time.Minute, 2 * time.Minute}[random.IntN(3)], scheduler.SamePage)
			case 5:
				s.reload(s.interval, scheduler.Page(random.IntN(2)))
			}
		}
		s.run(t, lasts)
		t.Logf("seed %d: %d reports", seed, len(s.requests))
	}
}

// changeMap removes some replicas from the map, and has others return. One that
// returns is new.
func (s *simulation) changeMap(random *rand.Rand) {
	s.mu.Lock()
	defer s.mu.Unlock()
	first, last := random.IntN(s.replicas), random.IntN(s.replicas)
	m := &statusapi.Map{}
	for i, check := range s.all {
		at := s.sites[check.ID()]
		if at.absent = first <= i && i < last; at.absent {
			at.taken = time.Time{}
		} else {
			m.Checks = append(m.Checks, check)
		}
	}
	s.m = m
}

// fail has the API fail before long, unless it has just done so.
func (s *simulation) fail(random *rand.Rand) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.now() < s.faultAt+s.fault.lasts+5*time.Minute {
		return
	}
	all := faults(random)
	s.fault, s.once = all[random.IntN(len(all))], false
	s.faultAt = s.now() + time.Duration(random.Int64N(int64(10*time.Second)))
}

// reload takes up an interval, as the daemon does, and forgets another page.
func (s *simulation) reload(interval time.Duration, page scheduler.Page) {
	s.mu.Lock()
	s.interval, s.promise = interval, interval*time.Duration(1+s.random.IntN(3))
	if page == scheduler.OtherPage {
		for _, at := range s.sites {
			at.taken = time.Time{}
		}
	}
	s.mu.Unlock()
	if page == scheduler.OtherPage {
		s.outbox.Forget()
	}
	s.outbox.Reload(s, report.Terms{Interval: interval, Promise: s.promise})
	s.scheduler.Reload(context.Background(), scheduler.Settings{API: s, Interval: interval}, page)
	synctest.Wait()
}
