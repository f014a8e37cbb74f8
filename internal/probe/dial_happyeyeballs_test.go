package probe

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"
)

// dialed is what a race did in a test.
type dialed struct {
	order     []string
	at        []time.Duration
	discarded []string
}

// raceOf races dials that come to the steps, by address.
func raceOf(ctx context.Context, addrs []netip.Addr, outcomes map[string]step) (string, dialed, error) {
	var log dialed
	var mu sync.Mutex
	start := time.Now()
	won, err := race(ctx, nil, addrs, 443, func(ctx context.Context, addr netip.AddrPort) (string, error) {
		name := addr.Addr().String()
		mu.Lock()
		log.order = append(log.order, name)
		log.at = append(log.at, time.Since(start))
		mu.Unlock()
		s := outcomes[name]
		if s.takes == forever {
			s = step{10 * time.Second, noAnswer(10 * time.Second)}
		}
		if s.err == nil {
			time.Sleep(s.takes) // a connection that comes too late to be called off
			return name, nil
		}
		if !sleep(ctx, s.takes) {
			return "", context.Cause(ctx)
		}
		return "", s.err
	}, func(name string) { log.discarded = append(log.discarded, name) })
	return won, log, err
}

func TestAnyAddressWillDo(t *testing.T) {
	const ms = time.Millisecond
	noRoute := step{0, fromSyscall("connecting", unix.ENETUNREACH)}
	late := step{100 * ms, &Error{Kind: KindRefused, Reason: "connection refused"}}
	for _, tt := range []struct {
		name     string
		addrs    []netip.Addr
		outcomes map[string]step
		won      string
		order    string
		at       []time.Duration
	}{
		{"the families alternate, 250 ms apart", addresses("fd00::1", "fd00::2", "10.0.0.1", "10.0.0.2", "fd00::3"),
			map[string]step{"fd00::1": silent, "fd00::2": silent, "10.0.0.1": silent, "10.0.0.2": silent, "fd00::3": upAfter(ms)},
			"fd00::3", "fd00::1 10.0.0.1 fd00::2 10.0.0.2 fd00::3", []time.Duration{0, 250 * ms, 500 * ms, 750 * ms, 1000 * ms}},
		{"the family of the first address first", addresses("10.0.0.1", "10.0.0.2", "fd00::1"),
			map[string]step{"10.0.0.1": silent, "fd00::1": silent, "10.0.0.2": upAfter(ms)},
			"10.0.0.2", "10.0.0.1 fd00::1 10.0.0.2", []time.Duration{0, 250 * ms, 500 * ms}},
		{"one that fails early starts the next at once", addresses("fd00::1", "10.0.0.1"),
			map[string]step{"fd00::1": late, "10.0.0.1": upAfter(ms)},
			"10.0.0.1", "fd00::1 10.0.0.1", []time.Duration{0, 100 * ms}},
		{"no route to one does not matter", addresses("fd00::1", "10.0.0.1"),
			map[string]step{"fd00::1": noRoute, "10.0.0.1": upAfter(ms)},
			"10.0.0.1", "fd00::1 10.0.0.1", []time.Duration{0, 0}},
		{"the first one wins while it is quick", addresses("fd00::1", "10.0.0.1"),
			map[string]step{"fd00::1": upAfter(249 * ms)},
			"fd00::1", "fd00::1", []time.Duration{0}},
		{"a slow first one still wins", addresses("fd00::1", "10.0.0.1"),
			map[string]step{"fd00::1": upAfter(time.Second), "10.0.0.1": silent},
			"fd00::1", "fd00::1 10.0.0.1", []time.Duration{0, 250 * ms}},
		{"a refused second one leaves the first its time", addresses("fd00::1", "10.0.0.1"),
			map[string]step{"fd00::1": upAfter(5 * time.Second), "10.0.0.1": late},
			"fd00::1", "fd00::1 10.0.0.1", []time.Duration{0, 250 * ms}},
		{"a single address", addresses("10.0.0.1"),
			map[string]step{"10.0.0.1": upAfter(ms)},
			"10.0.0.1", "10.0.0.1", []time.Duration{0}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				won, log, err := raceOf(t.Context(), tt.addrs, tt.outcomes)
				if err != nil || won != tt.won {
					t.Errorf("won %q, %v, want %q", won, err, tt.won)
				}
				if got := strings.Join(log.order, " "); got != tt.order || !slices.Equal(log.at, tt.at) {
					t.Errorf("dialled %s at %v, want %s at %v", got, log.at, tt.order, tt.at)
				}
			})
		})
	}
}

func TestLosersAreDiscarded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		won, log, err := raceOf(t.Context(), addresses("fd00::1", "10.0.0.1", "10.0.0.2"), map[string]step{
			"fd00::1": upAfter(2 * time.Second), "10.0.0.1": upAfter(time.Second), "10.0.0.2": silent,
		})
		if err != nil || won != "10.0.0.1" {
			t.Errorf("won %q, %v, want 10.0.0.1", won, err)
		}
		if fmt.Sprint(log.discarded) != "[fd00::1]" {
			t.Errorf("discarded %v, want the connection that came too late", log.discarded)
		}
	})
}

func TestWhyNoAddressWasUp(t *testing.T) {
	noRoute := step{0, fromSyscall("connecting", unix.ENETUNREACH)}
	two := addresses("fd00::1", "10.0.0.1")
	for _, tt := range []struct {
		name     string
		outcomes map[string]step
		kind     Kind
		reason   string
	}{
		{"all for the same reason", map[string]step{"fd00::1": refused, "10.0.0.1": refused}, KindRefused, "connection refused"},
		{"each for its own", map[string]step{"fd00::1": refused, "10.0.0.1": silent}, KindRefused, "fd00::1: connection refused; 10.0.0.1: no answer within 10s"},
		{"local if all are local", map[string]step{"fd00::1": noRoute, "10.0.0.1": lacking}, KindLocal, "this host has no route to it (network is unreachable)"},
		{"not local if one could be asked", map[string]step{"fd00::1": noRoute, "10.0.0.1": refused}, KindRefused, "connection refused"},
		{"nor if it was the first", map[string]step{"fd00::1": silent, "10.0.0.1": lacking}, KindTimeout, "no answer within 10s"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				_, _, err := raceOf(t.Context(), two, tt.outcomes)
				e, ok := errors.AsType[*Error](err)
				if !ok || e.Kind != tt.kind {
					t.Fatalf("got %#v, want the kind %s", err, tt.kind)
				}
				if e.Reason != tt.reason {
					t.Errorf("got the reason %q, want %q", e.Reason, tt.reason)
				}
			})
		})
	}
}

func TestRaceEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cause := errors.New("shutting down")
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(600*time.Millisecond, func() { cancel(cause) })
		start := time.Now()
		_, log, err := raceOf(ctx, addresses("10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.4"), map[string]step{
			"10.0.0.1": silent, "10.0.0.2": silent, "10.0.0.3": silent, "10.0.0.4": silent,
		})
		if err != cause || time.Since(start) != 600*time.Millisecond || len(log.order) != 3 {
			t.Errorf("got %v after %v and %d dials, want %v after 600ms and 3", err, time.Since(start), len(log.order), cause)
		}
	})
}
