package scheduler

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/crisp-im/crisp-status-local/v2/internal/probe"
	"github.com/crisp-im/crisp-status-local/v2/internal/statusapi"
)

// TestNothingGrows in storms of reloads, of maps and of takeovers: each queue has a place
// for every replica of the map at most, whatever keeps changing and for however long.
func TestNothingGrows(t *testing.T) {
	const few, many = 64, 640
	reload := func(r *rig, _ int) { r.reload(r.settings) }
	takeOver := func(r *rig, replicas int) { r.takeStale(true, names(0, replicas)...) }
	renamed := func(replicas int) *statusapi.Map { return mapOf(t, names(replicas, replicas)...) }
	for _, tt := range []struct {
		name     string
		replicas int
		workers  int
		every    time.Duration
		happens  func(r *rig, replicas int)
		other    func(replicas int) *statusapi.Map // every second answer; nil: none
		judge    judge
	}{
		{"reloads", few, 0, time.Millisecond, reload, nil, lasts(0, slow)},
		{"reloads, with deaths that are in doubt", few, 0, 100 * time.Millisecond, reload, nil, func(ctx context.Context, task probe.Task) probe.Result {
			if task.Attempts == 1 { // a confirmation
				return lasts(200*time.Millisecond, slow)(ctx, task)
			}
			return dead
		}},
		{"reloads with other intervals", few, 0, time.Millisecond, func(r *rig, _ int) {
			r.settings.Interval = 3*time.Minute - r.settings.Interval
			r.reload(r.settings)
		}, nil, lasts(0, slow)},
		{"reloads, with few places", many, 4, 30 * time.Second, reload, nil, lasts(100*time.Millisecond, slow)},
		{"maps with other rules", few, 0, time.Millisecond, reload, func(replicas int) *statusapi.Map {
			m, rules := mapOf(t, names(0, replicas)...), &probe.Rules{DeadAfter: time.Second}
			for i := range m.Checks {
				m.Checks[i].Rules = rules
			}
			return m
		}, lasts(0, slow)},
		{"maps with other replicas", few, 0, time.Millisecond, reload, renamed, lasts(0, dead)},
		{"maps with other replicas, whose probes take long", few, 0, 100 * time.Millisecond, reload, renamed, lasts(20*time.Second, dead)},
		{"takeovers without a verdict", few, 0, time.Millisecond, takeOver, nil, lasts(0, local)},
		{"takeovers with other replicas", few, 0, time.Millisecond, func(r *rig, replicas int) {
			takeOver(r, replicas)
			reload(r, replicas)
		}, renamed, lasts(0, local)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			answers := 0
			maps := []*statusapi.Map{mapOf(t, names(0, tt.replicas)...)}
			if tt.other != nil {
				maps = append(maps, tt.other(tt.replicas))
			}
			r := newRig(t, func(context.Context, *statusapi.Map) (*statusapi.Map, error) {
				answers++
				return maps[answers%len(maps)], nil
			})
			r.judge, r.settings.Workers, r.level = tt.judge, tt.workers, logrus.PanicLevel
			most := make(map[string]int)
			r.run(func() {
				r.until(r.settings.Interval * 3 / 2)
				for range 300 {
					tt.happens(r, tt.replicas)
					time.Sleep(tt.every)
					synctest.Wait()
					for what, count := range r.scheduler.held() {
						most[what] = max(most[what], count)
					}
				}
			})
			for what, got := range most {
				want := tt.replicas
				if what == "replicas" {
					want *= 2 // those of the map before stay while their probes run
				}
				if got > want {
					t.Errorf("%s: got %d, want %d at most", what, got, want)
				}
			}
		})
	}
}

// held returns how much the scheduler holds beside the map.
func (s *Scheduler) held() map[string]int {
	members := func(queue []refreshed) int {
		n := 0
		for _, group := range queue {
			n += max(1, len(group.members))
		}
		return n
	}
	return map[string]int{
		"replicas":            len(s.replicas),
		"turns":               s.schedule.size(),
		"refreshes":           members(s.refreshes),
		"rechecks":            members(s.rechecks),
		"confirmations":       len(s.confirmations),
		"waiting probes":      len(s.pool.queue) + len(s.pool.deadQueue),
		"groups of the cycle": len(s.massFailure.cycle.undecided),
	}
}
