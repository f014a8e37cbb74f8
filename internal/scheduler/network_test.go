package scheduler_test

import (
	"context"
	"fmt"
	"io"

	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/crisp-im/crisp-status-local/v2/internal/pace"
	"github.com/crisp-im/crisp-status-local/v2/internal/probe"
	"github.com/crisp-im/crisp-status-local/v2/internal/report"
	"github.com/crisp-im/crisp-status-local/v2/internal/scheduler"
	"github.com/crisp-im/crisp-status-local/v2/internal/statusapi"
)

// isolated is a host whose network carries nothing for a while, with replicas of which one in
// four is pinged, and the API behind it.
type isolated struct {
	start     time.Time
	from, to  time.Duration // while the network carries nothing
	m         *statusapi.Map
	pinged    map[probe.ID]bool
	dead      map[probe.ID]bool // in truth, from the start of the fault on
	deadTaken map[probe.ID]time.Duration

	mu      sync.Mutex
	severed chan struct{}
	took    map[probe.ID]time.Duration
	wrong   []string
}

func (h *isolated) now() time.Duration { return time.Since(h.start) }

// carries waits until a packet passes that is sent at once, and again after first, three times
// first, seven times first and so on, as the kernel does; false if none passes within so long.
func (h *isolated) carries(ctx context.Context, first, within time.Duration) bool {
	began := h.now()
	for n := range 10 {
		after := first * (1<<n - 1)
		wait := began + min(after, within) - h.now()
		select {
		case <-ctx.Done():
			return false
		case <-time.After(wait):
		}
		if after > within {
			return false
		}
		if now := h.now(); now < h.from || now >= h.to {
			return true
		}
	}
	<-time.After(began + within - h.now())
	return false
}

func (h *isolated) Refresh() {}

// Probe pings twice, a second each, or connects once, within ten.
func (h *isolated) Probe(ctx context.Context, task probe.Task) probe.Result {
	failed := probe.Result{Health: probe.Dead, Attempts: 1, Latency: 10 * time.Second, Err: errRefused}
	if h.dead[task.Check.ID()] && h.now() >= h.from {
		time.Sleep(5 * time.Millisecond)
		return failed
	}
	if !h.pinged[task.Check.ID()] {
		if !h.carries(ctx, time.Second, 10*time.Second) {
			return failed
		}
		time.Sleep(5 * time.Millisecond)
		return probe.Result{Health: probe.Healthy, Attempts: 1}
	}
	for range 2 {
		if now := h.now(); now < h.from || now >= h.to {
			time.Sleep(5 * time.Millisecond)
			return probe.Result{Health: probe.Healthy, Attempts: 1}
		}
		time.Sleep(time.Second)
	}
	return failed
}

func (h *isolated) FetchMap(ctx context.Context, prev *statusapi.Map) (*statusapi.Map, error) {
	if !h.carries(ctx, time.Second, requestTimeout) {
		return nil, errUnreachable
	}
	return h.m, nil
}

func (h *isolated) Sever() {
	h.mu.Lock()
	defer h.mu.Unlock()
	close(h.severed)
	h.severed = make(chan struct{})
}

// Report delivers what the network carries, be it given up or not, unless its connection is
// severed before.
func (h *isolated) Report(ctx context.Context, v statusapi.Verdict, _ time.Duration) error {
	h.mu.Lock()
	severed := h.severed
	h.mu.Unlock()
	sending, stop := context.WithCancel(context.Background())
	answer := make(chan error, 1)
	go func() {
		defer stop()
		if !h.carries(sending, 200*time.Millisecond, requestTimeout) {
			answer <- errUnreachable
			return
		}
		h.take(v)
		time.Sleep(20 * time.Millisecond)
		answer <- nil
	}()
	go func() {
		select {
		case <-severed:
			stop()
		case <-sending.Done():
		}
	}()
	select {
	case err := <-answer:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (h *isolated) take(v statusapi.Verdict) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.took[v.ID] = h.now()
	if v.Health == probe.Dead {
		if _, before := h.deadTaken[v.ID]; h.dead[v.ID] && h.now() > h.to && !before {
			h.deadTaken[v.ID] = h.now()
		} else if !h.dead[v.ID] {
			h.wrong = append(h.wrong, fmt.Sprintf("%s is up and was reported dead at %v", v.ID.Replica, h.now()))
		}
	}
}

// isolate runs a daemon with replicas of its own kinds, on a host whose network is gone for so
// long. It returns the promises that were broken, and whether the API was known to be silent
// before the network was back.
func isolate(t *testing.T, seed uint64, lasts func(*rand.Rand) time.Duration) (broken []string, noticed bool) {
	t.Helper()
	random := rand.New(rand.NewPCG(seed, 7))
	interval := []time.Duration{10 * time.Second, 20 * time.Second, 2 * time.Minute}[seed%3]
	promise := interval * time.Duration(1+seed%2*2) // with the longer one, an old verdict is not always repeated before a death
	replicas := []int{1, 2, 4, 9, 40}[random.IntN(5)]
	from := 2*interval + time.Duration(random.Int64N(int64(interval)))
	h := &isolated{
		from: from, to: from + lasts(random), m: &statusapi.Map{},
		pinged: make(map[probe.ID]bool), dead: make(map[probe.ID]bool), deadTaken: make(map[probe.ID]time.Duration), took: make(map[probe.ID]time.Duration),
	}
	rules := probe.DefaultRules()
	rules.DeadAfter = 10 * time.Second
	for i := range replicas {
		target, err := probe.ParseTarget(fmt.Sprintf("tcp://replica-%d:1", i))
		if err != nil {
			t.Fatal(err)
		}
		check := probe.Check{ServiceID: "service", NodeID: "node", Target: target, Rules: rules}
		h.m.Checks = append(h.m.Checks, check)
		h.pinged[check.ID()], h.dead[check.ID()] = i%4 == 0, random.IntN(10) == 0
	}
	const after = 30 * time.Second // all is well again
	synctest.Test(t, func(t *testing.T) {
		log := logrus.New()
		log.SetOutput(io.Discard)
		h.start, h.severed = time.Now(), make(chan struct{})
		outbox := report.New(h, report.Terms{Interval: interval, Promise: promise}, log)
		s := scheduler.New(scheduler.Settings{API: h, Interval: interval}, h, outbox, log)
		ctx, end := context.WithCancel(t.Context())
		delivering, endDelivering := context.WithCancel(t.Context())
		var parts sync.WaitGroup
		parts.Go(func() { outbox.Run(delivering) })
		parts.Go(func() { s.Run(ctx) })
		time.Sleep(h.to - time.Second)
		began, _ := outbox.Silence()
		noticed = !began.IsZero()
		time.Sleep(time.Second + after)
		h.mu.Lock()
		for id, at := range h.took {
			if ago := h.now() - at; ago > interval+pace.Repeat+time.Second && promise == interval && interval < time.Minute {
				h.wrong = append(h.wrong, fmt.Sprintf("%s was reported %v ago, want it reported since", id.Replica, ago))
			}
		}
		h.mu.Unlock()
		time.Sleep(interval)
		end()
		time.Sleep(time.Minute)
		endDelivering()
		parts.Wait()
		time.Sleep(time.Minute)
	})
	for id, dead := range h.dead {
		if at, ok := h.deadTaken[id]; dead && (!ok || at > h.to+after+interval) {
			h.wrong = append(h.wrong, fmt.Sprintf("%s is dead, and reported so at %v", id.Replica, at))
		}
	}
	for _, text := range h.wrong {
		broken = append(broken, fmt.Sprintf("seed %d, %d replicas, interval %v, promise %v, no network from %v to %v: %s", seed, replicas, interval, promise, h.from, h.to, text))
	}
	return broken, noticed
}

// TestNetworkOfThisHostIsGone: whenever that begins and ends, if the API is known to be silent before
// its end, no replica that is up is ever reported dead. Those that died meanwhile are, soon
// after.
func TestNetworkOfThisHostIsGone(t *testing.T) {
	const runs = 150
	silences := 0
	for seed := range uint64(runs) {
		broken, noticed := isolate(t, seed, func(random *rand.Rand) time.Duration {
			return 8*time.Second + time.Duration(random.Int64N(int64([]time.Duration{20 * time.Second, 2 * time.Minute}[random.IntN(2)])))
		})
		if !noticed {
			continue // no report was to be sent meanwhile
		}
		silences++
		for _, text := range broken {
			t.Error(text)
		}
		if t.Failed() {
			return
		}
	}
	if silences < runs/2 {
		t.Errorf("the API was known to be silent in %d of %d runs, want most", silences, runs)
	}
}

// TestNetworkOfThisHostIsGoneForSeconds: that is enough for two echoes to fail, and too short for
// the API to be known to be silent. Where others are up in the same second, the network is
// taken to work: that is left.
func TestNetworkOfThisHostIsGoneForSeconds(t *testing.T) {
	const runs = 150
	var wrong []string
	failed := 0
	for seed := range uint64(runs) {
		broken, _ := isolate(t, seed, func(random *rand.Rand) time.Duration {
			return 1500*time.Millisecond + time.Duration(random.Int64N(int64(5*time.Second)))
		})
		if len(broken) > 0 {
			failed++
		}
		wrong = append(wrong, broken...)
	}
	if failed > runs/100 {
		t.Errorf("a promise was broken in %d of %d runs, want one in a hundred at most: %q", failed, runs, wrong)
	}
}
