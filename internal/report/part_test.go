package report

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/crisp-im/crisp-status-local/v2/internal/pace"
	"github.com/crisp-im/crisp-status-local/v2/internal/probe"
	"github.com/crisp-im/crisp-status-local/v2/internal/statusapi"
)

// parted is an API that never takes the reports of a part of the map from a time on, and
// takes all others at once.
type parted struct {
	from    time.Time
	refused func(replica int) bool
	answer  reporterFunc // to the reports of that part

	mu    sync.Mutex
	taken []time.Time   // the last report of each replica
	worst time.Duration // between two reports of one that is not of that part
}

func (a *parted) Report(ctx context.Context, v statusapi.Verdict, promise time.Duration) error {
	i, err := strconv.Atoi(strings.TrimSuffix(strings.TrimPrefix(v.ID.Replica, "tcp://replica-"), ":1"))
	if err != nil {
		return err
	}
	if a.refused(i) && !time.Now().Before(a.from) {
		return a.answer(ctx, v, promise)
	}
	if err := always(nil, 20*time.Millisecond)(ctx, v, promise); err != nil {
		return err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.note(i)
	return nil
}

// note notes a report of a replica, or the end. The caller holds the lock.
func (a *parted) note(i int) {
	if !a.taken[i].IsZero() && !a.refused(i) {
		a.worst = max(a.worst, time.Since(a.taken[i]))
	}
	a.taken[i] = time.Now()
}

// TestAPartThatIsNotTakenHoldsUpNoOther: an API that never takes the reports of a third of
// the map (or of half of a large one), in whatever way, is no reason for the page to turn the
// others red; neither if that part lies together, as a service of the page, nor if it is spread
// over the map.
func TestAPartThatIsNotTakenHoldsUpNoOther(t *testing.T) {
	const cycles = 6
	for _, way := range []struct {
		name   string
		answer reporterFunc
	}{
		{"hangs", always(errUnreachable, 20*time.Second)},
		{"500", always(refusing(500, 0), 20*time.Millisecond)},
		{"500 after 7s", always(refusing(500, 0), 7*time.Second)},
		{"503 with Retry-After", always(refusing(503, time.Hour), 20*time.Millisecond)},
		{"no connection", always(errUnreachable, 20*time.Millisecond)},
		{"401", always(refusing(401, 0), 20*time.Millisecond)},
		{"404", always(refusing(404, 0), 20*time.Millisecond)},
	} {
		for _, size := range []struct {
			replicas int
			interval time.Duration
		}{{20, 10 * time.Second}, {20, 2 * time.Minute}, {200, 10 * time.Second}, {200, 30 * time.Second}, {200, 2 * time.Minute}, {2000, 30 * time.Second}} {
			for _, together := range []bool{false, true} {
				share := 3
				if size.replicas == 2000 {
					if share = 2; !together || way.name != "hangs" && way.name != "500" {
						continue
					}
				}
				name := fmt.Sprintf("%s, %d replicas, together %v, interval %v", way.name, size.replicas, together, size.interval)
				t.Run(name, func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) {
						a := &parted{from: time.Now().Add(2*size.interval + time.Second), answer: way.answer, taken: make([]time.Time, size.replicas),
							refused: func(i int) bool { return i%share == 0 }}
						if together {
							a.refused = func(i int) bool { return i < size.replicas/share }
						}
						b := newBench(t, size.replicas, size.interval, a.Report)
						defer b.stop()
						groups := (size.replicas + 31) / 32
						for n := range cycles {
							turn := time.Now()
							for i := range size.replicas {
								time.Sleep(time.Until(turn.Add(pace.Spread(size.interval) * time.Duration(i/32) / time.Duration(groups))))
								b.Put(verdict(i, n+1, probe.Healthy))
							}
							time.Sleep(time.Until(turn.Add(size.interval)))
						}
						a.mu.Lock()
						defer a.mu.Unlock()
						for i := range size.replicas {
							a.note(i)
						}
						if limit := size.interval + 38*time.Second; a.worst > limit {
							t.Errorf("got another one unreported for %v, want %v at most", a.worst, limit)
						}
					})
				})
			}
		}
	}
}
