package report

import (
	"context"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/crisp-im/crisp-status-local/v2/internal/duty"
	"github.com/crisp-im/crisp-status-local/v2/internal/pace"
	"github.com/crisp-im/crisp-status-local/v2/internal/probe"
	"github.com/crisp-im/crisp-status-local/v2/internal/status"
	"github.com/crisp-im/crisp-status-local/v2/internal/statusapi"
)

// setDuty is a duty whose scope a test sets.
type setDuty struct {
	scope   atomic.Uint32
	changed chan struct{}
}

func newSetDuty(scope duty.Scope) *setDuty {
	t := &setDuty{changed: make(chan struct{}, 1)}
	t.scope.Store(uint32(scope))
	return t
}

// turn changes the scope, and tells the reader of Changed.
func (t *setDuty) turn(scope duty.Scope) {
	t.scope.Store(uint32(scope))
	select {
	case t.changed <- struct{}{}:
	default:
	}
}

func (t *setDuty) Run(ctx context.Context)  { <-ctx.Done() }
func (t *setDuty) Scope() duty.Scope        { return duty.Scope(t.scope.Load()) }
func (t *setDuty) Changed() <-chan struct{} { return t.changed }
func (t *setDuty) State() duty.State        { return duty.State{Engine: duty.EngineEtcd, Scope: t.Scope()} }

// dutyBench is a bench whose outbox obeys a duty, with plain verdicts.
type dutyBench struct {
	*Outbox
	*setDuty
	bench *bench

	mu   sync.Mutex
	sent []sent
	away error // the API's answer; nil: it takes all
	asks int   // requests that it had
}

func newDutyBench(t *testing.T, replicas int, interval time.Duration, scope duty.Scope) *dutyBench {
	b := &dutyBench{setDuty: newSetDuty(scope)}
	b.bench = newBench(t, replicas, interval, nil)
	b.Outbox = b.bench.Outbox
	b.Reload(reporterFunc(b.report), Terms{interval, interval})
	b.Obey(b.setDuty)
	return b
}

// report takes 20 ms.
func (b *dutyBench) report(ctx context.Context, v statusapi.Verdict, interval time.Duration) error {
	b.mu.Lock()
	away := b.away
	b.asks++
	b.mu.Unlock()
	select {
	case <-time.After(20 * time.Millisecond):
	case <-ctx.Done():
		return ctx.Err()
	}
	if away != nil {
		return away
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.sent = append(b.sent, sent{replica: v.ID.Replica, health: v.Health, interval: interval, at: time.Now()})
	return nil
}

func (b *dutyBench) answers(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.away = err
}

// took returns what the API took since the last call.
func (b *dutyBench) took() []sent {
	synctest.Wait()
	b.mu.Lock()
	defer b.mu.Unlock()
	took := b.sent
	b.sent = nil
	return took
}

// asked returns how many requests the API had since the last call.
func (b *dutyBench) asked() int {
	synctest.Wait()
	b.mu.Lock()
	defer b.mu.Unlock()
	asks := b.asks
	b.asks = 0
	return asks
}

// healths returns what was taken of each replica, in order.
func healths(took []sent) map[string][]probe.Health {
	all := make(map[string][]probe.Health)
	for _, s := range took {
		all[s.replica] = append(all[s.replica], s.health)
	}
	return all
}

// nameOf returns the name of a replica.
func nameOf(replica int) string { return plain(replica, "").ID.Replica }

// TestStandbyTakesOver: a standby sends nothing for an hour; then it sends the newest
// verdict of each replica once, within a second: first replicas that are up, and the
// oldest verdicts before the others. Verdicts older than a minute are probed first.
func TestStandbyTakesOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const replicas = 200
		b := newDutyBench(t, replicas, 2*time.Minute, duty.Nothing)
		defer b.bench.stop()
		b.answers(errUnreachable) // nobody would notice
		for range 30 {
			for i := range replicas {
				b.Put(plain(i, []probe.Health{probe.Healthy, probe.Sick, probe.Dead}[i%3]))
				time.Sleep(30 * time.Second / replicas)
			}
			time.Sleep(90 * time.Second)
		}
		if n := b.asked(); n != 0 {
			t.Errorf("got %d requests of a standby, want none", n)
		}
		if s := b.Snapshot(); s.Waiting != 0 || s.Kept != replicas || s.Promise != (Promise{}) || s.Late != 0 || s.API != status.APIUnknown || !s.NextTry.IsZero() {
			t.Errorf("got %+v of a standby, want that nothing waits and nothing is late", s)
		}
		if text := b.bench.log.String(); text != "" {
			t.Errorf("got the log %q of a standby, want none", text)
		}

		// The first half is fresh, the second half old.
		b.answers(nil)
		for i := range replicas / 2 {
			b.Put(plain(i, []probe.Health{probe.Healthy, probe.Sick, probe.Dead}[i%3]))
		}
		over := time.Now()
		b.turn(duty.Everything)
		time.Sleep(time.Second)
		got := b.took()
		for name, of := range healths(got) {
			if len(of) != 1 {
				t.Errorf("%s: got %v, want one report", name, of)
			}
		}
		if len(got) != replicas/2 {
			t.Errorf("got %d reports within a second, want those %d that are fresh", len(got), replicas/2)
		}
		var firstDead time.Time
		for _, s := range got {
			switch {
			case s.health == probe.Dead && firstDead.IsZero():
				firstDead = s.at
			case s.health != probe.Dead && !firstDead.IsZero() && s.at.After(firstDead):
				t.Errorf("got %s of %s %v after a death, want those that are up first", s.health, s.replica, s.at.Sub(firstDead))
			}
		}
		select {
		case <-b.Stale():
		default:
			t.Error("nothing is said to be too old, want the second half")
		}
		old, takenOver := b.TakeStale()
		var want []probe.ID
		for i := replicas / 2; i < replicas; i++ {
			want = append(want, plain(i, "").ID)
		}
		if !slices.Equal(old, want) || !takenOver {
			t.Errorf("got %d replicas to be probed first, taken over %v, want the second half in its order", len(old), takenOver)
		}
		// Of the old ones, every second one has a verdict after another second, the
		// others never.
		for i := replicas / 2; i < replicas; i += 2 {
			b.Put(plain(i, probe.Dead))
		}
		time.Sleep(time.Second)
		if got := b.took(); len(got) != replicas/4 {
			t.Errorf("got %d reports of those that were probed anew, want all %d", len(got), replicas/4)
		}
		time.Sleep(time.Hour)
		got = b.took()
		for _, s := range got {
			if limit := pace.Repeat + pace.Recovery + time.Second; s.health == probe.Dead || s.at.Sub(over) > limit {
				t.Errorf("got %s of %s %v after the takeover, want no old death, and what was up within %v", s.health, s.replica, s.at.Sub(over), limit)
			}
		}
		if len(got) != 33 { // 101, 103 … 199 but for those dead
			t.Errorf("got %d old reports, want those of the 33 that were up", len(got))
		}
		if s := b.Snapshot(); s.Late != 0 || s.Promise.Overdue != 0 || s.Waiting != 0 {
			t.Errorf("got %+v, want nothing late", s)
		}
		b.bench.settled(t)
	})
}

// TestOrderOfATakeover: by the deadlines of the last own term, and those that are up
// first.
func TestOrderOfATakeover(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newDutyBench(t, 6, 2*time.Minute, duty.Everything)
		defer b.bench.stop()
		for _, i := range []int{3, 1, 4, 0, 2, 5} {
			b.Put(plain(i, probe.Healthy))
			time.Sleep(time.Second)
		}
		b.took()
		b.turn(duty.Nothing)
		synctest.Wait()
		for i := range 6 {
			h := probe.Healthy
			if i < 2 {
				h = probe.Dead
			}
			b.Put(plain(i, h))
		}
		var order []string
		b.Outbox.mu.Lock()
		b.scope.Store(uint32(duty.Everything))
		b.heed(time.Now())
		for b.queue.ready.Len() > 0 {
			order = append(order, b.queue.ready.list[0].verdict.ID.Replica)
			e := b.queue.take()
			b.queue.done(time.Now(), e)
		}
		b.Outbox.mu.Unlock()
		want := []string{nameOf(3), nameOf(4), nameOf(2), nameOf(5), nameOf(1), nameOf(0)}
		if !slices.Equal(order, want) {
			t.Errorf("got the order %v, want %v", order, want)
		}
	})
}

// TestAliveReportsNoDeath: healthy and sick go at once, a death does not, and what was
// dead is reported when it is up again, though the page may have been told that before.
func TestAliveReportsNoDeath(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newDutyBench(t, 3, 2*time.Minute, duty.Alive)
		defer b.bench.stop()
		want := func(what string, h ...probe.Health) {
			t.Helper()
			time.Sleep(time.Second)
			if got := healths(b.took())[nameOf(0)]; !slices.Equal(got, h) {
				t.Errorf("%s: got the reports %v, want %v", what, got, h)
			}
		}
		b.Put(plain(0, probe.Healthy))
		want("healthy", probe.Healthy)
		b.Put(plain(0, probe.Dead))
		want("dead")
		b.Put(plain(0, probe.Healthy))
		want("healthy again", probe.Healthy)
		b.Put(plain(0, probe.Sick))
		want("sick", probe.Sick)
		b.Put(plain(0, probe.Dead))
		time.Sleep(10 * time.Minute)
		want("dead for ten minutes")
		if s := b.Snapshot(); s.Waiting != 0 || s.Kept != 1 || s.Promise.Overdue != 0 {
			t.Errorf("got %+v, want one verdict kept, and none that waits or is overdue", s)
		}
		b.Put(plain(0, probe.Healthy))
		want("healthy at last", probe.Healthy)
		if s := b.Snapshot(); s.Late != 0 || s.Promise.Late != 0 {
			t.Errorf("got %+v, want no report late: it was dead meanwhile", s)
		}
		// A takeover sends a fresh death, and not an old one.
		b.Put(plain(0, probe.Dead))
		b.Put(plain(1, probe.Dead))
		time.Sleep(61 * time.Second)
		b.Put(plain(1, probe.Dead))
		b.turn(duty.Everything)
		time.Sleep(time.Second)
		if got := b.took(); len(got) != 1 || got[0].replica != nameOf(1) {
			t.Errorf("got %v, want the death that was seen within a minute", got)
		}
		if old, takenOver := b.TakeStale(); len(old) != 1 || old[0] != plain(0, "").ID || takenOver {
			t.Errorf("got %v, %v to be probed first, want the other one", old, takenOver)
		}
		b.Put(plain(0, probe.Dead))
		want("dead, seen once more", probe.Dead)
		b.bench.settled(t)
	})
}

// TestDutyIsLostWithRequestsInFlight: requests that are no longer permitted are
// cancelled, and their verdicts are sent when they are permitted again.
func TestDutyIsLostWithRequestsInFlight(t *testing.T) {
	for _, tt := range []struct {
		to   duty.Scope
		want []string // taken by the request that was under way
	}{
		{duty.Nothing, nil},
		{duty.Alive, []string{nameOf(0)}},
		{duty.Everything, []string{nameOf(0), nameOf(1)}},
	} {
		synctest.Test(t, func(t *testing.T) {
			b := newDutyBench(t, 2, 2*time.Minute, duty.Everything)
			defer b.bench.stop()
			b.Put(plain(0, probe.Healthy))
			b.Put(plain(1, probe.Dead))
			time.Sleep(10 * time.Millisecond)
			b.turn(tt.to)
			time.Sleep(30 * time.Second)
			var got []string
			for _, s := range b.took() {
				got = append(got, s.replica)
			}
			if slices.Sort(got); !slices.Equal(got, tt.want) {
				t.Errorf("%s: got %v, want %v", tt.to, got, tt.want)
			}
			b.turn(duty.Everything)
			time.Sleep(time.Second)
			if rest := b.took(); len(rest) != 2-len(tt.want) {
				t.Errorf("%s: got %v on duty again, want the %d that were broken off", tt.to, rest, 2-len(tt.want))
			}
			b.bench.settled(t)
		})
	}
}

// TestLossOfDutyEndsAnOutage: a breaker that was open in one term does not slow the next
// one, and the state of the API is unknown while nothing is sent.
func TestLossOfDutyEndsAnOutage(t *testing.T) {
	for _, err := range []error{errUnreachable, refusing(401, 0), refusing(429, time.Second)} {
		synctest.Test(t, func(t *testing.T) {
			b := newDutyBench(t, 30, 2*time.Minute, duty.Everything)
			defer b.bench.stop()
			b.answers(err)
			for i := range 30 {
				b.Put(plain(i, probe.Healthy))
			}
			time.Sleep(20 * time.Second)
			b.turn(duty.Nothing)
			synctest.Wait()
			b.asked()
			time.Sleep(20 * time.Second)
			if s := b.Snapshot(); b.asked() != 0 || s.API != status.APIUnknown || s.Waiting != 0 || s.Kept != 30 || !s.NextTry.IsZero() {
				t.Errorf("%v: got %+v off duty, want no request and nothing known", err, s)
			}
			b.answers(nil)
			b.turn(duty.Everything)
			time.Sleep(time.Second)
			if got := b.took(); len(got) != 30 {
				t.Errorf("%v: got %d reports within a second of the takeover, want all 30", err, len(got))
			}
			b.bench.settled(t)
		})
	}
}

// TestOldDeathIsNotSent, from any queue: after an outage on duty, a death that was
// seen a minute ago is probed again first, and one that was not measured in its turn is not
// sent at all.
func TestOldDeathIsNotSent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newDutyBench(t, 30, 2*time.Minute, duty.Everything)
		defer b.bench.stop()
		b.answers(errUnreachable)
		for i := range 30 {
			b.Put(plain(i, []probe.Health{probe.Healthy, probe.Dead}[i%2]))
		}
		time.Sleep(61 * time.Second)
		b.took()
		b.answers(nil)
		b.Repeat(plain(1, probe.Dead))
		b.Repeat(plain(0, probe.Sick))
		time.Sleep(10 * time.Second)
		got := b.took()
		for _, s := range got {
			if s.health == probe.Dead {
				t.Errorf("got %s dead, want no death that is a minute old", s.replica)
			}
		}
		if of := healths(got); len(of) != 15 || !slices.Equal(of[nameOf(0)], []probe.Health{probe.Sick}) {
			t.Errorf("got %v, want the 15 that are up", of)
		}
		if old, takenOver := b.TakeStale(); len(old) != 14 || takenOver || slices.Contains(old, plain(1, "").ID) {
			t.Errorf("got %v, %v to be probed, want the 14 that are dead but the repeated one", old, takenOver)
		}
		for i := 1; i < 30; i += 2 {
			b.Put(plain(i, probe.Dead))
		}
		time.Sleep(time.Second)
		if got := b.took(); len(got) != 15 {
			t.Errorf("got %d deaths that were seen once more, want 15", len(got))
		}
		b.bench.settled(t)
	})
}

// TestVerdictsAgeInSuspend: by a clock that stops while the host is suspended, a death of
// last night would be fresh.
func TestVerdictsAgeInSuspend(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newDutyBench(t, 1, 2*time.Minute, duty.Nothing)
		defer b.bench.stop()
		var away time.Duration
		b.Outbox.mu.Lock()
		b.on.suspended = func() time.Duration { return away }
		b.Outbox.mu.Unlock()
		b.Put(plain(0, probe.Dead))
		b.Outbox.mu.Lock()
		away = time.Hour
		b.Outbox.mu.Unlock()
		b.turn(duty.Everything)
		time.Sleep(time.Minute)
		if got := b.took(); len(got) != 0 {
			t.Errorf("got %v, want no death from before the suspension", got)
		}
		if old, _ := b.TakeStale(); len(old) != 1 {
			t.Errorf("got %v to be probed first, want the replica", old)
		}
	})
}

// TestAloneNothingIsTooOld: without another daemon, a death waits as long as it takes.
func TestAloneNothingIsTooOld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newDutyBench(t, 1, 2*time.Minute, duty.Everything)
		defer b.bench.stop()
		b.Obey(duty.Always())
		b.answers(errUnreachable)
		b.Put(plain(0, probe.Dead))
		time.Sleep(time.Hour)
		b.answers(nil)
		time.Sleep(10 * time.Second)
		if got := b.took(); len(got) != 1 || got[0].health != probe.Dead {
			t.Errorf("got %v, want the death", got)
		}
	})
}

// TestStandbyEnds: it ends at once, and logs nothing about kept verdicts.
func TestStandbyEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newDutyBench(t, 9, 2*time.Minute, duty.Nothing)
		for i := range 9 {
			b.Put(plain(i, probe.Dead))
		}
		began := time.Now()
		b.bench.stop()
		if took := time.Since(began); took != 0 || b.bench.log.String() != "" || b.asked() != 0 {
			t.Errorf("got an end after %v with the log %q and %d requests, want it at once, without either", took, b.bench.log.String(), b.asks)
		}
	})
}

// TestForgettingAndLeaving: a kept verdict is dropped with its replica, or its page.
func TestForgettingAndLeaving(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newDutyBench(t, 9, 2*time.Minute, duty.Nothing)
		defer b.bench.stop()
		for i := range 9 {
			b.Put(plain(i, probe.Healthy))
		}
		b.Retain(3, func(id probe.ID) bool { return id == plain(0, "").ID || id == plain(1, "").ID || id == plain(2, "").ID })
		if s := b.Snapshot(); s.Kept != 3 || s.Waiting != 0 {
			t.Errorf("got %d kept, %d waiting, want those of the 3 of the map", s.Kept, s.Waiting)
		}
		b.Forget()
		if s := b.Snapshot(); s.Kept != 0 || s.Waiting != 0 {
			t.Errorf("got %d kept, %d waiting of another page, want none", s.Kept, s.Waiting)
		}
		b.turn(duty.Everything)
		time.Sleep(time.Minute)
		if got := b.took(); len(got) != 0 {
			t.Errorf("got %v, want nothing", got)
		}
	})
}

// TestScopesInDisorder puts, repeats, drops, fails, reloads and changes the scope at
// random. No report begins that the scope does not permit, or of a death that is too
// old; there is one request for a replica at a time; and when all is quiet, the page
// holds the newest verdict of each replica that the scope permits.
func TestScopesInDisorder(t *testing.T) {
	for seed := range uint64(30) {
		synctest.Test(t, func(t *testing.T) {
			const replicas, interval = 12, 10 * time.Second
			random := rand.New(rand.NewPCG(seed, 7))
			var mu sync.Mutex
			draw := func(n int) int {
				mu.Lock()
				defer mu.Unlock()
				return random.IntN(n)
			}
			d := newSetDuty(duty.Nothing)
			underway := make(map[string]bool)
			page := make(map[string]probe.Health)
			measured := make(map[string]time.Time)
			calm := false
			b := newBench(t, replicas, interval, nil)
			defer b.stop()
			b.Reload(reporterFunc(func(ctx context.Context, v statusapi.Verdict, _ time.Duration) error {
				id := v.ID.Replica
				mu.Lock()
				if underway[id] {
					t.Errorf("seed %d: got a second request for %s at a time, want one", seed, id)
				}
				underway[id] = true
				if !d.Scope().Permits(v.Health == probe.Dead) {
					t.Errorf("seed %d: got a report of %s %s with the scope %s", seed, id, v.Health, d.Scope())
				}
				if age := time.Since(measured[id]); v.Health == probe.Dead && age > interval {
					t.Errorf("seed %d: got a death of %s that is %v old", seed, id, age)
				}
				takes, fails := random.IntN(2000), random.IntN(3) == 0 && !calm
				deaf := random.IntN(2) == 0
				mu.Unlock()
				err := error(nil)
				if deaf {
					time.Sleep(time.Duration(takes) * time.Millisecond)
				} else {
					select {
					case <-time.After(time.Duration(takes) * time.Millisecond):
					case <-ctx.Done():
						err = ctx.Err()
					}
				}
				mu.Lock()
				defer mu.Unlock()
				underway[id] = false
				if err != nil {
					return err
				}
				if fails {
					return refusing([]int{500, 401, 404, 429, 400}[random.IntN(5)], 0)
				}
				page[id] = v.Health
				return nil
			}), Terms{interval, interval})
			b.Obey(d)
			newest := make(map[string]probe.Health)
			put := func(i int) {
				v := plain(i, []probe.Health{probe.Healthy, probe.Sick, probe.Dead}[draw(3)])
				mu.Lock()
				measured[v.ID.Replica] = time.Now()
				mu.Unlock()
				newest[v.ID.Replica] = v.Health
				b.Put(v)
			}
			scopes := []duty.Scope{duty.Nothing, duty.Alive, duty.Everything}
			for range 500 {
				switch i := draw(replicas); draw(20) {
				case 0, 1:
					d.turn(scopes[draw(3)])
				case 2:
					d.scope.Store(uint32(scopes[draw(3)])) // Changed yields nothing
				case 3:
					id := plain(i, "").ID
					b.Retain(replicas, func(other probe.ID) bool { return other != id })
					delete(newest, id.Replica)
					mu.Lock()
					delete(page, id.Replica)
					mu.Unlock()
				case 4:
					if h, ok := newest[nameOf(i)]; ok {
						b.Repeat(plain(i, h))
					}
				case 5:
					b.Snapshot()
				default:
					put(i)
				}
				time.Sleep(time.Duration(draw(200)) * time.Millisecond)
				synctest.Wait() // a request that is about to begin has asked for the scope
			}
			mu.Lock()
			calm = true
			mu.Unlock()
			last := scopes[seed%3]
			d.turn(last)
			time.Sleep(2 * time.Minute)
			mu.Lock()
			clear(page)
			mu.Unlock()
			// A cycle, and then an end on duty.
			for _, scope := range []duty.Scope{last, duty.Everything} {
				for i := range replicas {
					put(i)
				}
				d.turn(scope)
				time.Sleep(time.Minute)
				mu.Lock()
				for id, h := range newest {
					if want := h; scope.Permits(h == probe.Dead) && page[id] != want {
						t.Errorf("seed %d, scope %s: the page has %s %q, want %q", seed, scope, id, page[id], want)
					}
				}
				mu.Unlock()
			}
			if s := b.Snapshot(); s.Waiting != 0 || s.Kept != 0 {
				t.Errorf("seed %d: got %d waiting and %d kept at the end, want none", seed, s.Waiting, s.Kept)
			}
			b.settled(t)
		})
	}
}

// TestMemoryOfAStandby: each replica has one entry, however many verdicts come.
func TestMemoryOfAStandby(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newDutyBench(t, 100, 2*time.Minute, duty.Nothing)
		defer b.bench.stop()
		for range 100 {
			for i := range 100 {
				b.Put(plain(i, probe.Healthy))
			}
		}
		b.Outbox.mu.Lock()
		defer b.Outbox.mu.Unlock()
		if len(b.queue.all) != 100 || b.queue.ready.Len()+b.queue.later.Len() != 0 {
			t.Errorf("got %d entries, %d and %d queued, want 100 and none", len(b.queue.all), b.queue.ready.Len(), b.queue.later.Len())
		}
	})
}

// TestScopeThatChangesDoubtsThePage: whenever the scope changes, another daemon may
// have been on duty, and have said otherwise. So the next verdict is delivered,
// though the page had it a short time ago.
func TestScopeThatChangesDoubtsThePage(t *testing.T) {
	for _, scopes := range [][2]duty.Scope{
		{duty.Alive, duty.Everything}, {duty.Everything, duty.Alive}, {duty.Nothing, duty.Everything}, {duty.Nothing, duty.Alive},
	} {
		synctest.Test(t, func(t *testing.T) {
			const interval, promise = 2 * time.Minute, 10 * time.Minute
			b := newDutyBench(t, 1, interval, duty.Alive)
			defer b.bench.stop()
			b.Reload(reporterFunc(b.report), Terms{interval, promise})
			b.Renew(plain(0, probe.Healthy))
			b.took()
			b.turn(scopes[0])
			time.Sleep(time.Second)
			b.Renew(plain(0, probe.Healthy))
			time.Sleep(time.Second)
			b.took()
			b.turn(scopes[1])
			time.Sleep(time.Second)
			b.Renew(plain(0, probe.Healthy))
			time.Sleep(time.Second)
			if got := len(b.took()); got == 0 {
				t.Errorf("%v: got no report after the change, want one", scopes)
			}
		})
	}
}

// TestStaleIsTakenOnce: TakeStale returns each replica once.
func TestStaleIsTakenOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newDutyBench(t, 3, 2*time.Minute, duty.Nothing)
		defer b.bench.stop()
		for i := range 3 {
			b.Put(plain(i, []probe.Health{probe.Healthy, probe.Sick, probe.Dead}[i]))
		}
		time.Sleep(100 * time.Second)
		b.turn(duty.Everything)
		synctest.Wait()
		first, _ := b.TakeStale()
		again, takenOver := b.TakeStale()
		if len(first) != 3 || len(again) != 0 || takenOver {
			t.Errorf("got %d replicas and then %d, taken over %v, want all 3 once", len(first), len(again), takenOver)
		}
	})
}

// TestReportsThatHangAreInVain: if packets to the API are dropped, inVain is set after
// two tries of five seconds, and stays set between two requests.
func TestReportsThatHangAreInVain(t *testing.T) {
	for _, replicas := range []int{1, 2, 10} {
		synctest.Test(t, func(t *testing.T) {
			const interval = 2 * time.Minute
			b := newDutyBench(t, replicas, interval, duty.Everything)
			defer b.bench.stop()
			put := func() {
				for i := range replicas {
					b.Put(plain(i, probe.Healthy))
				}
			}
			put()
			time.Sleep(interval)
			if _, inVain := b.Answered(); inVain {
				t.Error("got in vain of an API that answers")
			}
			b.Reload(reporterFunc(func(ctx context.Context, v statusapi.Verdict, _ time.Duration) error {
				select {
				case <-time.After(20 * time.Second):
					return errUnreachable
				case <-ctx.Done():
					return ctx.Err()
				}
			}), Terms{interval, interval})
			put()
			for s := range 90 {
				if _, inVain := b.Answered(); s < 5 && inVain || s > 10 && !inVain {
					t.Fatalf("%d replicas: got in vain %v after %d s, want it after two tries", replicas, inVain, s)
				}
				time.Sleep(time.Second)
			}
			b.Reload(reporterFunc(b.report), Terms{interval, interval})
			time.Sleep(interval)
			if _, inVain := b.Answered(); inVain || len(b.took()) < replicas {
				t.Errorf("%d replicas: got in vain %v of an API that answers again", replicas, inVain)
			}
		})
	}
}
