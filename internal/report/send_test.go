package report

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/crisp-im/crisp-status-local/v2/internal/probe"
	"github.com/crisp-im/crisp-status-local/v2/internal/statusapi"
)

// TestUnknownReplica: a 404 keeps the verdict, and has the map asked for.
func TestUnknownReplica(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, 20, time.Minute, nil)
		defer b.stop()
		for i := range 20 {
			b.Put(verdict(i, 1, probe.Healthy))
		}
		b.answered()
		b.answers(func(_ context.Context, v statusapi.Verdict, _ time.Duration) error {
			if v.ID == verdict(1, 0, "").ID {
				return refusing(404, 0)
			}
			return nil
		})
		if b.mapOutdated() {
			t.Error("the map is called outdated before anything was unknown")
		}
		began := time.Now()
		b.Put(verdict(1, 2, probe.Healthy))
		time.Sleep(91*time.Second - time.Millisecond)
		var at []time.Duration
		for _, s := range b.answered() {
			at = append(at, s.at.Sub(began)/time.Second)
		}
		// 1, 2, 4, 8, 16, 30 s; the deadline, 90 s after the last one taken,
		// shortens the next.
		if want := []time.Duration{0, 1, 3, 7, 15, 31, 61, 90}; !slices.Equal(at, want) {
			t.Errorf("got requests after %d s, want %d", at, want)
		}
		if n := b.logged("does not know this replica"); n != 2 {
			t.Errorf("it was said %d times, want once an interval", n)
		}
		if !b.mapOutdated() || b.mapOutdated() {
			t.Error("MapOutdated: want true, once")
		}
		b.answers(nil)
		time.Sleep(30 * time.Second)
		if got := b.answered(); len(got) != 1 || b.Waiting() != 0 {
			t.Errorf("got %v and %d waiting, want the verdict taken", got, b.Waiting())
		}
	})
}

// TestUnauthorized: one report at a time, after 1, 2, 4, 5, 5 … s, each of
// another replica; after ten minutes one a minute. A taken one ends it.
func TestUnauthorized(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, 100, 2*time.Minute, always(refusing(401, 0), 0))
		defer b.stop()
		began := time.Now()
		b.Put(verdict(0, 1, probe.Healthy))
		synctest.Wait()
		for i := range 100 {
			b.Put(verdict(i, 1, probe.Healthy))
		}
		time.Sleep(23 * time.Second)
		var at []time.Duration
		replicas := make(map[string]bool)
		for _, s := range b.answered() {
			at = append(at, s.at.Sub(began)/time.Second)
			replicas[s.replica] = true
		}
		if want := []time.Duration{0, 1, 3, 7, 12, 17, 22}; !slices.Equal(at, want) || len(replicas) != len(want) {
			t.Errorf("got requests after %d s for %d replicas, want %d, each for another one", at, len(replicas), want)
		}
		if b.Waiting() != 100 || b.logged("check report.token") != 1 {
			t.Errorf("got %d waiting, said %d times; want all 100, said once", b.Waiting(), b.logged("check report.token"))
		}
		time.Sleep(10 * time.Minute)
		b.answered()
		time.Sleep(10 * time.Minute)
		if got := b.answered(); len(got) != 10 || b.logged("check report.token") != 2 {
			t.Errorf("got %d requests in ten minutes, said %d times; want one a minute, and said again", len(got), b.logged("check report.token"))
		}
		b.answers(nil)
		time.Sleep(time.Minute)
		if got := b.answered(); len(got) != 100 || b.Waiting() != 0 || b.logged("accepts the token again") != 1 {
			t.Errorf("with a token that is accepted: got %d requests and %d waiting, want all 100 taken", len(got), b.Waiting())
		}
	})
}

// TestOddUnauthorized: one passing 401 delays everybody by a second.
func TestOddUnauthorized(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, 100, 2*time.Minute, always(refusing(401, 0), 0))
		defer b.stop()
		b.Put(verdict(0, 1, probe.Healthy))
		b.answered()
		b.answers(nil)
		for i := range 100 {
			b.Put(verdict(i, 1, probe.Healthy))
		}
		time.Sleep(time.Second)
		if got := b.answered(); len(got) != 100 || b.Waiting() != 0 {
			t.Errorf("got %d requests and %d waiting after a second, want all 100 taken", len(got), b.Waiting())
		}
	})
}

// TestTokenRefusedForOneReplica keeps nobody else from the page.
func TestTokenRefusedForOneReplica(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, 100, 2*time.Minute, func(_ context.Context, v statusapi.Verdict, _ time.Duration) error {
			if v.ID == verdict(0, 0, "").ID {
				return refusing(401, 0)
			}
			return nil
		})
		defer b.stop()
		for i := range 100 {
			b.Put(verdict(i, 1, probe.Healthy))
		}
		time.Sleep(5 * time.Second)
		if n := b.Waiting(); n != 1 {
			t.Errorf("got %d waiting, want the refused one alone", n)
		}
	})
}

// TestRefusedVerdictWaitsAlone: any other 4xx, and a redirect, is one
// verdict's trouble.
func TestRefusedVerdictWaitsAlone(t *testing.T) {
	for _, code := range []int{302, 400, 403, 413, 422} {
		synctest.Test(t, func(t *testing.T) {
			b := newBench(t, 100, time.Minute, func(_ context.Context, r statusapi.Verdict, _ time.Duration) error {
				if strings.HasPrefix(r.ID.Replica, "tcp://replica-1:") {
					return refusing(code, 0)
				}
				return nil
			})
			defer b.stop()
			for range 5 {
				for i := range 100 {
					b.Put(verdict(i, 1, probe.Healthy))
				}
				got := b.answered()
				if len(got) != 100 || b.Waiting() != 1 {
					t.Errorf("status %d: got %d requests at once and %d waiting, want 100 and the refused one", code, len(got), b.Waiting())
				}
				time.Sleep(time.Minute)
				if again := len(b.answered()); again < 1 || again > 8 {
					t.Errorf("status %d: got %d more requests in a minute, want the refused one now and then", code, again)
				}
			}
			if n := b.logged("does not take this verdict"); n < 1 || n > 6 {
				t.Errorf("status %d: it was said %d times in five minutes, want once in each", code, n)
			}
			b.answers(nil)
			time.Sleep(time.Minute)
			if b.Waiting() != 0 {
				t.Errorf("status %d: got %d waiting after the API takes it, want none", code, b.Waiting())
			}
		})
	}
}

// TestHangingRequestHoldsUpOnlyItself, and even many do.
func TestHangingRequestHoldsUpOnlyItself(t *testing.T) {
	for _, hanging := range []int{1, 7, 8, 40} {
		synctest.Test(t, func(t *testing.T) {
			hangs := make(map[string]bool)
			for i := range hanging {
				hangs[verdict(i, 0, "").ID.Replica] = true
			}
			b := newBench(t, 100, 2*time.Minute, func(ctx context.Context, r statusapi.Verdict, _ time.Duration) error {
				if hangs[r.ID.Replica] {
					return always(errors.New("no answer within 20s"), 20*time.Second)(ctx, r, 0)
				}
				return nil
			})
			defer b.stop()
			began := time.Now()
			for i := range 100 {
				b.Put(verdict(i, 1, probe.Healthy))
			}
			time.Sleep(19 * time.Second)
			got := slices.DeleteFunc(b.answered(), func(s sent) bool { return s.err != nil })
			if len(got) != 100-hanging {
				t.Fatalf("%d hang: got %d of the others taken, want all %d", hanging, len(got), 100-hanging)
			}
			longest := time.Duration(hanging/fewestInFlight) * promptly
			if longest >= 5*time.Second { // five have no status line: the others wait for a trial
				longest += 500 * time.Millisecond
			}
			if last := got[len(got)-1].at.Sub(began); last > longest {
				t.Errorf("%d hang: got the last of the others after %v, want at most %v", hanging, last, longest)
			}
		})
	}
}

// TestRequestsUnderWayAreBounded: as many as the round trip and the beat ask
// for; with an API that hangs, not more and more of them.
func TestRequestsUnderWayAreBounded(t *testing.T) {
	for _, tt := range []struct {
		name     string
		replicas int
		answer   reporterFunc
		most     int32
		longest  time.Duration // until all are taken; 0: never
	}{
		{"ten replicas", 10, always(nil, 50*time.Millisecond), fewestInFlight, time.Second},
		{"ten thousand at once", 10_000, always(nil, 50*time.Millisecond), 80, 35 * time.Second},
		{"twenty thousand over a slow line", 20_000, always(nil, 250*time.Millisecond), 256, 35 * time.Second},
		{"an API that hangs", 10_000, hang, 4 * 80, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var now, most atomic.Int32
				b := newBench(t, tt.replicas, 2*time.Minute, func(ctx context.Context, r statusapi.Verdict, interval time.Duration) error {
					if n := now.Add(1); n > most.Load() {
						most.Store(n)
					}
					defer now.Add(-1)
					return tt.answer(ctx, r, interval)
				})
				defer b.stop()
				r := verdict(0, 1, probe.Healthy)
				for i := range tt.replicas {
					r.ID.Node = strconv.Itoa(i)
					b.Put(r)
				}
				if tt.longest == 0 {
					time.Sleep(time.Minute)
				} else {
					time.Sleep(tt.longest)
					got := b.answered()
					if b.Waiting() != 0 || len(got) != tt.replicas {
						t.Errorf("got %d taken and %d waiting after %v, want all", len(got), b.Waiting(), tt.longest)
					}
				}
				if most.Load() > tt.most {
					t.Errorf("got %d under way at a time, want at most %d", most.Load(), tt.most)
				}
			})
		})
	}
}

func TestShutdown(t *testing.T) {
	// put fills the outbox with n verdicts.
	put := func(b *bench, n int) {
		for i := range n {
			b.Put(verdict(i, 1, probe.Healthy))
		}
	}
	for _, tt := range []struct {
		name   string
		api    reporterFunc // until the shutdown
		ending reporterFunc // from then on
		taken  int          // of 100
		took   [2]time.Duration
	}{
		{"nothing waits", nil, nil, 100, [2]time.Duration{0, 0}},
		{"what is under way and what waits is delivered", always(nil, 100*time.Millisecond), always(nil, 100*time.Millisecond), 100, [2]time.Duration{100 * time.Millisecond, 2 * time.Second}},
		{"what waits after a failure is tried at once", always(refusing(400, 0), 0), always(nil, 0), 100, [2]time.Duration{0, 0}},
		{"the API comes back", always(errUnreachable, 0), always(nil, 0), 100, [2]time.Duration{0, 0}},
		{"the API stays away", always(errUnreachable, 0), always(errUnreachable, 0), 0, [2]time.Duration{drainTime, drainTime}},
		{"the API hangs", hang, hang, 0, [2]time.Duration{drainTime, drainTime}},
		{"the token is not accepted", always(refusing(401, 0), 0), always(refusing(401, 0), 0), 0, [2]time.Duration{0, 0}},
		{"the token is not accepted any more", always(refusing(500, 0), 0), always(refusing(401, 0), 0), 0, [2]time.Duration{0, 0}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBench(t, 100, 2*time.Minute, tt.api)
				put(b, 100)
				if tt.name != "what is under way and what waits is delivered" {
					time.Sleep(3 * time.Minute) // the pauses between two trials are the longest by now
				}
				b.answers(tt.ending)
				began := time.Now()
				b.stop()
				if took := time.Since(began); took < tt.took[0] || took > tt.took[1] {
					t.Errorf("it took %v, want %v to %v", took, tt.took[0], tt.took[1])
				}
				taken := 0
				for _, s := range b.answered() {
					if s.err == nil {
						taken++
					}
				}
				if taken != tt.taken || b.Waiting() != 100-tt.taken {
					t.Errorf("got %d taken and %d waiting, want %d taken", taken, b.Waiting(), tt.taken)
				}
				if said := b.logged("before the Status API has taken every verdict"); (said == 1) != (tt.taken < 100) {
					t.Errorf("that verdicts are lost was said %d times, with %d of 100 taken", said, taken)
				}
				b.settled(t)
			})
		})
	}
}

// TestShutdownRetriesWithinItsTime: a server error, or an API that is down, a
// second before the end is not the end.
func TestShutdownRetriesWithinItsTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, 100, 2*time.Minute, always(refusing(500, 0), 0))
		for i := range 100 {
			b.Put(verdict(i, 1, probe.Healthy))
		}
		time.Sleep(3 * time.Minute)
		time.AfterFunc(4*time.Second, func() { b.answers(nil) })
		b.stop()
		if b.Waiting() != 0 {
			t.Errorf("got %d waiting, want all taken when the API is back 4s into the shutdown", b.Waiting())
		}
	})
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		failures := make(map[string]int)
		b := newBench(t, 3, 2*time.Minute, nil)
		b.answers(func(_ context.Context, r statusapi.Verdict, _ time.Duration) error {
			mu.Lock()
			defer mu.Unlock()
			if failures[r.ID.Replica]++; failures[r.ID.Replica] < 3 {
				return refusing(500, 0)
			}
			return nil
		})
		b.Put(verdict(1, 1, probe.Healthy))
		b.stop()
		if b.Waiting() != 0 {
			t.Errorf("got %d waiting, want the verdict taken at the third attempt", b.Waiting())
		}
	})
}

// TestCutRequestsAreNoOutage: what the outbox cuts itself says nothing of the
// API.
func TestCutRequestsAreNoOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, 20, 2*time.Minute, hang)
		defer b.stop()
		for i := range 20 {
			b.Put(verdict(i, 1, probe.Healthy))
		}
		time.Sleep(time.Second)
		b.Forget()
		if b.logged("is down") != 0 || b.Waiting() != 0 {
			t.Errorf("got %d waiting, called down %d times; want nothing, for requests that were cut", b.Waiting(), b.logged("is down"))
		}
		b.settled(t)
	})
}
