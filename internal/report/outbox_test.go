package report

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/crisp-im/crisp-status-local/v2/internal/probe"
	"github.com/crisp-im/crisp-status-local/v2/internal/statusapi"
)

// reporterFunc is a Status API.
type reporterFunc func(ctx context.Context, r statusapi.Verdict, interval time.Duration) error

func (f reporterFunc) Report(ctx context.Context, r statusapi.Verdict, interval time.Duration) error {
	return f(ctx, r, interval)
}

// refusing returns the error of an answer that does not take a verdict.
func refusing(code int, retryAfter time.Duration) error {
	switch {
	case code == 401:
		return statusapi.ErrUnauthorized
	case code == 404:
		return statusapi.ErrUnknownReplica
	case code == 429 || code >= 500:
		return &statusapi.UnavailableError{RetryAfter: retryAfter, Throttled: code == 429}
	}
	return &statusapi.RejectedError{}
}

var errUnreachable = errors.New("connection refused")

// hang is an API that takes a request and never answers.
func hang(ctx context.Context, _ statusapi.Verdict, _ time.Duration) error {
	<-ctx.Done()
	return ctx.Err()
}

// verdict returns the verdict that a replica has this health. n tells verdicts
// of one replica apart; it is written behind the health.
func verdict(replica, n int, health probe.Health) statusapi.Verdict {
	id := probe.ID{Service: "s", Node: "n", Replica: fmt.Sprintf("tcp://replica-%d:1", replica)}
	return statusapi.Verdict{ID: id, Health: health + probe.Health("#"+strconv.Itoa(n))}
}

// number returns the n of a verdict.
func number(v statusapi.Verdict) int {
	_, text, _ := strings.Cut(string(v.Health), "#")
	n, err := strconv.Atoi(text)
	if err != nil {
		panic(err)
	}
	return n
}

// health returns the health of a verdict.
func health(v statusapi.Verdict) probe.Health {
	text, _, _ := strings.Cut(string(v.Health), "#")
	return probe.Health(text)
}

// sent is a request that reached the API.
type sent struct {
	replica  string
	n        int
	health   probe.Health
	interval time.Duration
	at       time.Time
	err      error
}

// bench is an outbox at work, with an API whose answers the test decides.
type bench struct {
	*Outbox
	log strings.Builder

	mu     sync.Mutex
	answer reporterFunc // nil takes everything
	sent   []sent       // in the order of their answers

	stop func() // ends Run and waits for it
}

// newBench starts an outbox for a map of so many replicas. It must be stopped.
func newBench(t *testing.T, replicas int, interval time.Duration, answer reporterFunc) *bench {
	t.Helper()
	b := &bench{answer: answer}
	log := logrus.New()
	log.SetOutput(&b.log)
	log.SetFormatter(&logrus.TextFormatter{DisableTimestamp: true})
	b.Outbox = New(reporterFunc(b.report), Terms{interval, interval}, log)
	b.Retain(replicas, func(probe.ID) bool { return true })
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		b.Run(ctx)
	}()
	b.stop = func() { cancel(); <-done }
	return b
}

// mapOutdated reports, once, whether the map in hand is outdated.
func (b *bench) mapOutdated() bool {
	select {
	case <-b.MapOutdated():
		return true
	default:
		return false
	}
}

func (b *bench) report(ctx context.Context, r statusapi.Verdict, interval time.Duration) error {
	b.mu.Lock()
	answer := b.answer
	b.mu.Unlock()
	var err error
	if answer != nil {
		err = answer(ctx, r, interval)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.sent = append(b.sent, sent{r.ID.Replica, number(r), health(r), interval, time.Now(), err})
	return err
}

// answers makes the API answer so from now on.
func (b *bench) answers(answer reporterFunc) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.answer = answer
}

// answered returns what was answered since the last call.
func (b *bench) answered() []sent {
	synctest.Wait()
	b.mu.Lock()
	defer b.mu.Unlock()
	answered := b.sent
	b.sent = nil
	return answered
}

// logged returns how many lines of the log hold text.
func (b *bench) logged(text string) int {
	synctest.Wait()
	b.Outbox.mu.Lock() // under which it logs
	defer b.Outbox.mu.Unlock()
	return strings.Count(b.log.String(), text)
}

// settled fails the test unless nothing is under way and the counters say so.
func (b *bench) settled(t *testing.T) {
	t.Helper()
	synctest.Wait()
	b.Outbox.mu.Lock()
	defer b.Outbox.mu.Unlock()
	if b.limiter.fast != 0 || b.limiter.slow != 0 || b.inFlight.first != nil || b.breaker.trials.inFlight != 0 || b.gate.trials.inFlight != 0 || b.queue.gone != 0 {
		t.Errorf("counters: got %d fast, %d slow, one under way: %v, %d and %d trials, %d gone; want none",
			b.limiter.fast, b.limiter.slow, b.inFlight.first != nil, b.breaker.trials.inFlight, b.gate.trials.inFlight, b.queue.gone)
	}
}

// always is an API that answers so after a while.
func always(err error, after time.Duration) reporterFunc {
	return func(ctx context.Context, _ statusapi.Verdict, _ time.Duration) error {
		select {
		case <-time.After(after):
			return err
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func TestVerdictIsDeliveredAtOnceWithThePromise(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, 3, 2*time.Minute, nil)
		defer b.stop()
		b.Put(verdict(1, 1, probe.Sick))
		want := sent{"tcp://replica-1:1", 1, probe.Sick, 2 * time.Minute, time.Now(), nil}
		if got := b.answered(); len(got) != 1 || got[0] != want {
			t.Errorf("got %v, want %v", got, want)
		}
		if b.Waiting() != 0 {
			t.Errorf("got %d verdicts waiting, want none", b.Waiting())
		}
		b.settled(t)
	})
}

// TestNewestVerdictWins: one entry for each replica, one request at a time, an
// older verdict never after a newer one.
func TestNewestVerdictWins(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, 1, time.Minute, always(nil, 10*time.Second))
		defer b.stop()
		for n, health := range []probe.Health{probe.Healthy, probe.Sick, probe.Dead} {
			b.Put(verdict(1, n, health))
			time.Sleep(time.Second)
			if b.Waiting() != 1 {
				t.Errorf("after %d verdicts of a replica: got %d waiting, want 1", n+1, b.Waiting())
			}
		}
		time.Sleep(time.Minute)
		got := b.answered()
		if len(got) != 2 || got[0].health != probe.Healthy || got[1].health != probe.Dead {
			t.Fatalf("got %v, want the one that was under way, and then the newest", got)
		}
		if gap := got[1].at.Sub(got[0].at); gap != 10*time.Second {
			t.Errorf("the second was answered %v after the first, want the 10s of its own request", gap)
		}
		b.settled(t)
	})
}

func TestNewerVerdictReplacesOneThatFailed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, 9, time.Minute, always(errUnreachable, 0))
		defer b.stop()
		b.Put(verdict(1, 1, probe.Healthy))
		b.answered()
		b.answers(nil)
		b.Put(verdict(1, 2, probe.Dead))
		if got := b.answered(); len(got) != 1 || got[0].n != 2 {
			t.Errorf("got %v, want the newer verdict alone, at once", got)
		}
		time.Sleep(time.Minute)
		if got := b.answered(); len(got) != 0 {
			t.Errorf("got %v, want nothing more", got)
		}
	})
}

// TestVerdictsInDisorder puts, drops, fails in every way, hangs and reloads at
// random. At
// any time there is one request for a replica, and what the page holds in the
// end is the newest verdict of each.
func TestVerdictsInDisorder(t *testing.T) {
	for seed := range uint64(20) {
		synctest.Test(t, func(t *testing.T) {
			const replicas = 12
			random := rand.New(rand.NewPCG(seed, 0))
			var mu sync.Mutex
			underway := make(map[string]bool)
			page := make(map[string]int)
			draw := func(n int) int {
				mu.Lock()
				defer mu.Unlock()
				return random.IntN(n)
			}
			b := newBench(t, replicas, 10*time.Second, func(ctx context.Context, r statusapi.Verdict, _ time.Duration) error {
				id := r.ID.Replica
				mu.Lock()
				if underway[id] {
					t.Errorf("seed %d: got a second request for %s at a time, want one", seed, id)
				}
				underway[id] = true
				mu.Unlock()
				takes := draw(3000)
				if takes%20 == 0 {
					takes = 20_000 // it hangs
				}
				time.Sleep(time.Duration(takes) * time.Millisecond) // it does not hear that it is cut
				mu.Lock()
				defer mu.Unlock()
				underway[id] = false
				switch n := random.IntN(16); {
				case n < 2 || takes == 20_000:
					return errUnreachable
				case n < 4:
					return refusing(500, 0)
				case n == 4:
					return refusing(429, 2*time.Second)
				case n == 5:
					return refusing(400, 0)
				case n == 6:
					return refusing(401, 0)
				case n == 7:
					return refusing(404, 0)
				case n == 8:
					return refusing(503, time.Hour)
				}
				if page[id] > number(r) {
					t.Errorf("seed %d: %s: got verdict %d after %d, want none that is older", seed, id, number(r), page[id])
				}
				page[id] = number(r)
				return nil
			})
			defer b.stop()
			newest := make(map[string]int)
			for n := range 600 {
				r := verdict(draw(replicas), n+1, probe.Healthy)
				switch draw(20) {
				case 0:
					interval := time.Duration(1+draw(20)) * time.Second
					b.Reload(reporterFunc(b.report), Terms{interval, interval * time.Duration(1+draw(3))})
				case 1:
					b.mapOutdated()
				case 2, 3:
					b.Retain(replicas, func(id probe.ID) bool { return id != r.ID })
				}
				b.Put(r)
				newest[r.ID.Replica] = n + 1
				time.Sleep(time.Duration(draw(200)) * time.Millisecond)
			}
			time.Sleep(5 * time.Minute)
			if b.Waiting() != 0 || !maps.Equal(page, newest) {
				t.Errorf("seed %d: the page holds %v, want the newest of each, %v; %d wait", seed, page, newest, b.Waiting())
			}
			b.settled(t)
		})
	}
}

// TestDroppedAndPutAgain: a replica that left the map and is back has one
// request at a time all the same.
func TestDroppedAndPutAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		// An API that does not hear that the request is cut.
		b := newBench(t, 1, time.Minute, func(context.Context, statusapi.Verdict, time.Duration) error {
			time.Sleep(10 * time.Second)
			return nil
		})
		defer b.stop()
		b.Put(verdict(1, 1, probe.Healthy))
		synctest.Wait()
		b.Retain(0, func(probe.ID) bool { return false })
		b.Put(verdict(1, 2, probe.Dead))
		time.Sleep(time.Minute)
		got := b.answered()
		if len(got) != 2 || got[0].n != 1 || got[1].n != 2 || got[1].at.Sub(got[0].at) != 10*time.Second {
			t.Errorf("got %v, want the newer one after the older one is over", got)
		}
		b.settled(t)
	})
}

func TestReplicasThatLeftTheMapLeaveTheOutbox(t *testing.T) {
	for name, err := range map[string]error{"failed": errUnreachable, "taken": nil, "unauthorized": refusing(401, 0), "unknown": refusing(404, 0)} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBench(t, 20, time.Minute, func(context.Context, statusapi.Verdict, time.Duration) error {
					time.Sleep(10 * time.Second)
					return err
				})
				defer b.stop()
				b.Put(verdict(1, 1, probe.Healthy))
				synctest.Wait() // it is under way
				b.Put(verdict(1, 2, probe.Healthy))
				b.Retain(0, func(probe.ID) bool { return false })
				if b.Waiting() != 0 {
					t.Errorf("got %d waiting, want none", b.Waiting())
				}
				time.Sleep(5 * time.Minute)
				if got := b.answered(); len(got) != 1 || got[0].n != 1 {
					t.Errorf("got %v, want only what was under way", got)
				}
				if b.mapOutdated() {
					t.Error("the map is called stale for a replica that left it")
				}
				b.settled(t)
				b.answers(nil)
				b.Put(verdict(2, 1, probe.Healthy))
				if got := b.answered(); len(got) != 1 {
					t.Errorf("got %v, want the next verdict delivered at once", got)
				}
			})
		})
	}
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, 20, time.Minute, always(errUnreachable, 0))
		defer b.stop()
		for i := range 20 {
			b.Put(verdict(i, 1, probe.Healthy))
		}
		b.answered()
		keep := verdict(7, 0, "").ID
		b.Retain(1, func(id probe.ID) bool { return id == keep })
		b.answers(nil)
		time.Sleep(time.Minute)
		if got := b.answered(); len(got) != 1 || got[0].replica != keep.Replica {
			t.Errorf("got %v, want the verdict of the replica that stayed", got)
		}
	})
}

// TestReloadWithAnotherPage: what waits or is under way may belong to the old
// one. Not even a hanging request of it is in the way.
func TestReloadWithAnotherPage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, 10, time.Minute, func(ctx context.Context, r statusapi.Verdict, _ time.Duration) error {
			if r.ID.Replica == "tcp://replica-0:1" {
				return hang(ctx, r, 0)
			}
			return refusing(401, 0)
		})
		defer b.stop()
		for i := range 10 {
			b.Put(verdict(i, 1, probe.Healthy))
			synctest.Wait()
		}
		b.answered()
		var page []sent
		b.Forget()
		b.Reload(reporterFunc(func(_ context.Context, r statusapi.Verdict, interval time.Duration) error {
			page = append(page, sent{replica: r.ID.Replica, n: number(r), interval: interval})
			return nil
		}), Terms{30 * time.Second, 30 * time.Second})
		time.Sleep(time.Minute)
		if b.Waiting() != 0 || len(page) != 0 {
			t.Errorf("got %d waiting and %v sent, want all verdicts of the other page dropped", b.Waiting(), page)
		}
		if got := b.answered(); len(got) != 1 || !errors.Is(got[0].err, context.Canceled) {
			t.Errorf("got %v, want the request that hangs cut", got)
		}
		b.Put(verdict(0, 2, probe.Healthy))
		synctest.Wait()
		want := sent{replica: "tcp://replica-0:1", n: 2, interval: 30 * time.Second}
		if len(page) != 1 || page[0] != want {
			t.Errorf("got %v, want %v", page, want)
		}
		b.settled(t)
	})
}

// TestReloadOfTheSamePage: nothing is lost, and the promise is the one in force
// when the report is sent.
func TestReloadOfTheSamePage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, 10, time.Minute, always(errUnreachable, 0))
		defer b.stop()
		b.Put(verdict(1, 1, probe.Healthy))
		b.answered()
		b.answers(nil)
		b.Reload(reporterFunc(b.report), Terms{5 * time.Second, 5 * time.Second})
		time.Sleep(5 * time.Second)
		if got := b.answered(); len(got) != 1 || got[0].interval != 5*time.Second {
			t.Errorf("got %v, want the verdict, with the promise of 5s", got)
		}
	})
}

// TestReloadTriesAtOnce: the operator may have mended what the API refused. Otherwise a
// verdict that is rejected alone waits for half an hour at an interval of an hour, and
// one that the token is refused for a minute. Many reloads are no more than two tries a
// second.
func TestReloadTriesAtOnce(t *testing.T) {
	for _, code := range []int{400, 404, 401} {
		synctest.Test(t, func(t *testing.T) {
			b := newBench(t, 10, time.Hour, always(refusing(code, 0), 0))
			defer b.stop()
			b.Put(verdict(1, 1, probe.Healthy))
			time.Sleep(69 * time.Minute) // between two tries
			b.answered()
			for range 1000 {
				b.Reload(reporterFunc(b.report), Terms{time.Hour, time.Hour})
				time.Sleep(5 * time.Millisecond)
			}
			if got := len(b.answered()); got < 9 || got > 11 {
				t.Errorf("status %d: got %d tries in five seconds of reloads, want two a second", code, got)
			}
			b.answers(nil)
			time.Sleep(time.Second)
			b.answered()
			b.Reload(reporterFunc(b.report), Terms{time.Hour, time.Hour})
			synctest.Wait()
			if got := b.answered(); len(got) != 1 || b.Waiting() != 0 {
				t.Errorf("status %d: got %v with the reload, want the verdict taken", code, got)
			}
		})
	}
}

// TestReloadObeysRetryAfter: a reload is no reason to ask an API that wants to be left
// alone.
func TestReloadObeysRetryAfter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, 10, time.Hour, always(refusing(503, 5*time.Second), 0))
		defer b.stop()
		b.Put(verdict(1, 1, probe.Healthy))
		time.Sleep(time.Second)
		b.answered()
		b.Reload(reporterFunc(b.report), Terms{time.Hour, time.Hour})
		time.Sleep(3 * time.Second)
		if got := b.answered(); len(got) != 0 {
			t.Errorf("got %v after a reload, want none before the 5 s are over", got)
		}
	})
}

// TestNobodyStarves: where verdicts come faster than they are taken, each
// replica gets its turn.
func TestNobodyStarves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const replicas, seconds = 600, 40
		b := newBench(t, replicas, time.Second, always(nil, 900*time.Millisecond)) // takes 284 a second at most
		defer b.stop()
		for range seconds {
			for i := range replicas {
				b.Put(verdict(i, 1, probe.Healthy))
				time.Sleep(time.Second / replicas)
			}
		}
		count := make(map[string]int)
		for _, s := range b.answered() {
			count[s.replica]++
		}
		least, most := slices.Min(slices.Collect(maps.Values(count))), slices.Max(slices.Collect(maps.Values(count)))
		if len(count) != replicas || least < most-2 {
			t.Errorf("got from %d to %d reports of each of %d replicas, want all %d about as often", least, most, len(count), replicas)
		}
	})
}
