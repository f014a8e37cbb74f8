package report

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/crisp-im/crisp-status-local/v2/internal/duty"
	"github.com/crisp-im/crisp-status-local/v2/internal/probe"
	"github.com/crisp-im/crisp-status-local/v2/internal/statusapi"
)

// TestNothingGrows in storms of verdicts, answers, maps, reloads and takeovers: the outbox
// holds what it needs for the replicas of the map and the requests in flight, whatever
// keeps changing and for however long.
func TestNothingGrows(t *testing.T) {
	const (
		replicas = 64
		interval = 10 * time.Second
	)
	hangs := func(context.Context, statusapi.Verdict, time.Duration) error { // though it is cancelled
		time.Sleep(20 * time.Second)
		return errUnreachable
	}
	flips := func(answers ...reporterFunc) reporterFunc {
		var asked atomic.Int64
		return func(ctx context.Context, v statusapi.Verdict, promise time.Duration) error {
			return answers[asked.Add(1)%int64(len(answers))](ctx, v, promise)
		}
	}
	takes := always(nil, 20*time.Millisecond)
	moods := flips(takes, always(errUnreachable, 0), always(refusing(401, 0), time.Millisecond), always(refusing(404, 0), 0),
		always(refusing(429, time.Hour), 0), always(refusing(403, 0), 0), always(refusing(503, 0), 6*time.Second), always(statusapi.ErrWebPage, 0), hang)
	for _, tt := range []struct {
		name    string
		answer  reporterFunc
		renamed bool // the replicas of each map are others
		scopes  []duty.Scope
	}{
		{"verdicts", takes, false, nil},
		{"verdicts that wait", hang, false, nil},
		{"answers", moods, false, nil},
		{"other replicas", takes, true, nil},
		{"other replicas, while requests hang", hangs, true, nil},
		{"other replicas and answers", moods, true, nil},
		{"takeovers", moods, false, []duty.Scope{duty.Nothing, duty.Everything, duty.Alive}},
		{"takeovers and other replicas", moods, true, []duty.Scope{duty.Nothing, duty.Everything, duty.Alive}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := newSetDuty(duty.Everything)
				terms := Terms{interval, time.Hour}
				b := newPromise(t, replicas, terms, tt.answer)
				if tt.scopes != nil {
					b.Obey(d)
				}
				most := make(map[string]int)
				for i := range 400 {
					first := 0
					if tt.renamed {
						first = i * replicas
					}
					b.Retain(replicas, func(id probe.ID) bool { return numberOf(id) >= first && numberOf(id) < first+replicas })
					for n := range replicas {
						h := probe.Healthy
						if (i+n)%3 == 0 {
							h = probe.Dead
						}
						b.Put(plain(first+n, h))
					}
					b.Reload(reporterFunc(b.takes), terms)
					if tt.scopes != nil {
						d.turn(tt.scopes[i%len(tt.scopes)])
					}
					time.Sleep(50 * time.Millisecond)
					synctest.Wait()
					for what, count := range b.held() {
						most[what] = max(most[what], count)
					}
				}
				b.answers(nil)
				b.Retain(0, func(probe.ID) bool { return false })
				time.Sleep(time.Minute)
				b.stop()
				for what, want := range map[string]int{
					"entries":   2 * replicas, // some of replicas that are gone, while their requests end
					"in heaps":  replicas,
					"requests":  leastCeiling,
					"reports":   max(2*replicas, leastReports) + replicas,
					"warnings":  int(unavailable) + 1,
					"suspicion": breakerReplicas,
				} {
					if most[what] > want {
						t.Errorf("%s: got %d, want %d at most", what, most[what], want)
					}
				}
			})
		})
	}
}

// numberOf returns the number of a replica of verdict.
func numberOf(id probe.ID) int {
	var n int
	fmt.Sscanf(id.Replica, "tcp://replica-%d:1", &n)
	return n
}

// held returns how much the outbox holds.
func (o *Outbox) held() map[string]int {
	o.mu.Lock()
	defer o.mu.Unlock()
	inFlight := 0
	for e := o.inFlight.first; e != nil; e = e.next {
		inFlight++
	}
	return map[string]int{
		"entries":   len(o.queue.all),
		"in heaps":  o.queue.ready.Len() + o.queue.later.Len(),
		"requests":  inFlight,
		"reports":   len(o.queue.page.reports),
		"warnings":  len(o.warned),
		"suspicion": len(o.breaker.replicas),
	}
}
