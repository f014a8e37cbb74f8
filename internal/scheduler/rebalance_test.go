package scheduler

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/crisp-im/crisp-status-local/v2/internal/pace"
	"github.com/crisp-im/crisp-status-local/v2/internal/statusapi"
)

// wantNeverLate checks that no two probes of a replica are more than an interval
// apart, but the given one across a reload.
func (r *rig) wantNeverLate(interval func(at time.Duration) time.Duration) {
	r.t.Helper()
	for replica, began := range r.probes {
		for i := 1; i < len(began); i++ {
			if gap, want := began[i]-began[i-1], interval(began[i-1]); gap > want {
				r.t.Errorf("%s: probed at %v and at %v: a gap of %v, want %v at most", replica, began[i-1], began[i], gap, want)
				break
			}
		}
	}
}

// wantSpread checks that the probes from one time to another never are more in a
// quarter of the spread than twice their share, and a group.
func (r *rig) wantSpread(from, to, interval time.Duration) {
	r.t.Helper()
	var all []time.Duration
	for _, began := range r.probes {
		for _, at := range began {
			if at >= from && at < to {
				all = append(all, at)
			}
		}
	}
	slices.Sort(all)
	window := pace.Spread(interval) / 4
	most, first := 0, 0
	for i, at := range all {
		for at-all[first] > window {
			first++
		}
		most = max(most, i-first+1)
	}
	if limit := len(r.probes)/2 + groupSize; most > limit {
		r.t.Errorf("%d probes of %d replicas start within %v, want at most %d", most, len(r.probes), window, limit)
	}
}

func TestTurnsSpreadOutAfterReloadsOfTheInterval(t *testing.T) {
	for _, n := range []int{130, 400, 2000} {
		for _, intervals := range [][]time.Duration{{120, 2, 60}, {120, 1, 3600}, {10, 120}, {60, 5, 30, 1, 120}} {
			t.Run(fmt.Sprintf("%d replicas, %v s", n, intervals), func(t *testing.T) {
				r := newRig(t, gives(mapOf(t, names(0, n)...)))
				var reloads, values []time.Duration
				var last time.Duration
				r.run(func() {
					for i, interval := range intervals {
						s := r.settings
						s.Interval = interval * time.Second
						if i == 0 {
							s.Interval = 120 * time.Second
						}
						last = r.now()
						reloads, values = append(reloads, last), append(values, s.Interval)
						r.reload(s)
						r.until(last + 5*s.Interval/2)
					}
					r.until(last + 4*r.scheduler.settings.Interval)
				})
				r.wantNeverLate(func(at time.Duration) time.Duration {
					i := len(reloads) - 1
					for reloads[i] > at {
						i--
					}
					return values[i]
				})
				interval := values[len(values)-1]
				r.wantSpread(last+3*interval, last+4*interval, interval)
			})
		}
	}
}

// Replicas come and go at every beat, so the new ones' turns are all at the
// beginning of the cycle.
func TestTurnsStaySpreadOverLongChurn(t *testing.T) {
	for _, n := range []int{40, 400, 1000} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			random := rand.New(rand.NewPCG(1, uint64(n)))
			current, added := names(0, n), n
			r := newRig(t, nil)
			r.settings.Interval = 60 * time.Second
			r.fetch = func(context.Context, *statusapi.Map) (*statusapi.Map, error) {
				for range n / 20 {
					current[random.IntN(n)] = names(added, 1)[0]
					added++
				}
				return mapOf(t, current...), nil
			}
			const cycles = 100
			r.run(func() {
				r.until(cycles*60*time.Second - 1)
				groups := len(r.scheduler.schedule.groups)
				if most := 2*((n+groupSize-1)/groupSize) + spareGroups + n/20; groups > most {
					t.Errorf("got %d groups of %d replicas, want at most %d", groups, n, most)
				}
				if s := &r.scheduler.schedule; s.peak(15*time.Second/4) > n/2+2*groupSize+n/20 {
					t.Errorf("%d of %d turns are within a quarter of the spread, want half", s.peak(15*time.Second/4), n)
				}
			})
			r.wantNeverLate(func(time.Duration) time.Duration { return 60 * time.Second })
			probes := 0
			for _, began := range r.probes {
				probes += len(began)
			}
			if most := cycles * n * 3 / 2; probes > most {
				t.Errorf("got %d probes in %d cycles of %d replicas, want at most %d", probes, cycles, n, most)
			}
			t.Logf("%d probes, %.3f of one each cycle", probes, float64(probes)/cycles/float64(n))
		})
	}
}
