package probe

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

var (
	notFound = errNoName
	servfail = &serverError{reason: "SERVFAIL (10.0.0.53)", answered: true}
	refusing = &serverError{reason: "connection refused (10.0.0.53)"}
)

func addresses(texts ...string) (addrs []netip.Addr) {
	for _, text := range texts {
		addrs = append(addrs, netip.MustParseAddr(text))
	}
	return addrs
}

// nameserver answers look-ups in a test.
type nameserver struct {
	asked  atomic.Int32
	takes  time.Duration
	answer []netip.Addr
	err    error
}

func (n *nameserver) lookup(ctx context.Context, _ string, _ time.Duration, _ func(hostAddrs)) (hostAddrs, error) {
	n.asked.Add(1)
	if !sleep(ctx, n.takes) {
		return hostAddrs{}, ctx.Err()
	}
	if n.err != nil {
		return hostAddrs{}, n.err
	}
	return hostAddrs{addrs: n.answer, total: len(n.answer)}, nil
}

// resolverOf returns a resolver that asks n.
func resolverOf(n *nameserver) *resolver {
	r := newResolver()
	r.lookup = n.lookup
	return r
}

// within is an attempt that begins now.
func within(limit time.Duration) attempt { return attempt{began: time.Now(), limit: limit} }

// dbCheck is of a replica whose host is a name.
func dbCheck(t testing.TB, deadAfter time.Duration) Check {
	return Check{Target: mustParse(t, "tcp://db:1"), Rules: &Rules{Retry: 2, DeadAfter: deadAfter}}
}

func TestManyReplicasOfANameShareOneLookUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := &nameserver{takes: 50 * time.Millisecond, answer: addresses("10.0.0.5", "10.0.0.6")}
		r := resolverOf(server)
		for cycle := 1; cycle <= 3; cycle++ {
			r.refresh()
			var wg sync.WaitGroup
			for i := range 1000 {
				target := mustParse(t, fmt.Sprintf("tcp://DB:%d", 1000+i))
				wg.Go(func() {
					if i >= 500 { // half of them when it is known already
						time.Sleep(time.Second)
					}
					addrs, err := r.addrs(t.Context(), target, within(10*time.Second))
					if err != nil || fmt.Sprint(addrs) != "[10.0.0.5 10.0.0.6]" {
						t.Errorf("got %v, %v, want the addresses", addrs, err)
					}
				})
			}
			wg.Wait()
			if got := int(server.asked.Load()); got != cycle {
				t.Errorf("%d look-ups by the end of cycle %d, want one in each", got, cycle)
			}
			time.Sleep(maxAge)
		}
	})
}

func TestAnswerIsForgottenAfterTwoSeconds(t *testing.T) {
	for age, want := range map[time.Duration]int32{0: 1, maxAge: 1, maxAge + 1: 2} {
		synctest.Test(t, func(t *testing.T) {
			server := &nameserver{answer: addresses("10.0.0.5")}
			r := resolverOf(server)
			for range 2 {
				r.addrs(t.Context(), mustParse(t, "tcp://db:1"), within(time.Second))
				time.Sleep(age)
			}
			if got := server.asked.Load(); got != want {
				t.Errorf("%d look-ups, the second %v after the first, want %d", got, age, want)
			}
		})
	}
}

// The name does not exist for a moment: the next attempt asks anew.
func TestFailureIsNeverReused(t *testing.T) {
	for name, err := range map[string]error{"NXDOMAIN": notFound, "SERVFAIL": servfail} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p, _ := scripted(up)
				p.resolver = newResolver()
				start := time.Now()
				p.resolver.lookup = func(context.Context, string, time.Duration, func(hostAddrs)) (hostAddrs, error) {
					if time.Since(start) < 250*time.Millisecond {
						return hostAddrs{}, err
					}
					return hostAddrs{addrs: addresses("10.0.0.5"), total: 1}, nil
				}
				if got := p.probe(t.Context(), dbCheck(t, time.Second), MaxProbe); got.Health != Healthy {
					t.Errorf("got %q because %q, want healthy at the third attempt", got.Health, got.Reason())
				}
			})
		})
	}
}

// Nor does the first attempt at another replica of the name read it.
func TestFailureOfOneReplicaIsNotAnothers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := &nameserver{err: notFound}
		r := resolverOf(server)
		r.addrs(t.Context(), mustParse(t, "tcp://db:1"), within(time.Second))
		server.err, server.answer = nil, addresses("10.0.0.5")
		if _, err := r.addrs(t.Context(), mustParse(t, "tcp://db:2"), within(time.Second)); err != nil {
			t.Errorf("got %v, want the addresses", err)
		}
	})
}

func TestFaultInALookUpIsNoVerdict(t *testing.T) {
	s := nameservers{exchange: func(context.Context, netip.AddrPort, dnsQuestion, exchangeTiming) (dnsReply, error) {
		panic("index out of range")
	}}
	_, err := s.ask(t.Context(), parseResolvConf("", "", 53), dnsQuestion{}, time.Second)
	if err == nil || !strings.Contains(err.Error(), "internal error, please report it: index out of range") {
		t.Errorf("got %v, want a plea to report it", err)
	}
}

// The name moves to another server while a replica of it is probed, and another
// replica keeps its answer fresh.
func TestFurtherAttemptAsksAnew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, _ := scripted()
		p.resolver = resolverOf(&nameserver{answer: addresses("10.0.0.5")})
		p.connectHalfOpen = func(_ context.Context, addr netip.AddrPort, _ attempt) error {
			if addr.Addr() == addresses("10.0.0.5")[0] {
				return refused.err
			}
			return nil
		}
		p.resolver.addrs(t.Context(), mustParse(t, "tcp://db:2"), within(time.Second))
		p.resolver.lookup = (&nameserver{answer: addresses("10.0.0.6")}).lookup
		r := p.probe(t.Context(), dbCheck(t, time.Second), MaxProbe)
		if r.Health != Healthy || r.Attempts != 2 {
			t.Errorf("got %q after %d attempts because %q, want healthy after 2", r.Health, r.Attempts, r.Reason())
		}
	})
}

func TestAnAddressIsNotLookedUp(t *testing.T) {
	server := &nameserver{err: servfail}
	for _, raw := range []string{"tcp://10.0.0.5:1", "tcp://[2001:db8::1]:1"} {
		target := mustParse(t, raw)
		addrs, err := resolverOf(server).addrs(t.Context(), target, within(time.Second))
		if err != nil || len(addrs) != 1 || addrs[0] != target.addr {
			t.Errorf("%s: got %v, %v", raw, addrs, err)
		}
	}
	if n := server.asked.Load(); n != 0 {
		t.Errorf("%d look-ups, want none", n)
	}
}

func TestNameThatDoesNotExistIsDead(t *testing.T) {
	for name, server := range map[string]*nameserver{
		"no such host": {err: notFound},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p, attempts := scripted(up)
				p.resolver = resolverOf(server)
				r := p.probe(t.Context(), Check{Target: mustParse(t, "tcp://db:1")}, MaxProbe)
				if r.Health != Dead || r.Attempts != 3 || r.Reason() != `looking up "db": no such host` {
					t.Errorf("got %q after %d attempts because %q, want dead after 3 because there is no such host", r.Health, r.Attempts, r.Reason())
				}
				if e := r.Err.(*Error); e.Kind != KindDNS {
					t.Errorf("kind %s, want dns", e.Kind)
				}
				if len(*attempts) != 0 || server.asked.Load() != 3 {
					t.Errorf("%d dials and %d look-ups, want none and one for each attempt", len(*attempts), server.asked.Load())
				}
			})
		})
	}
}

func TestNameThatIsGoneDoesNotFallBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := &nameserver{answer: addresses("10.0.0.5")}
		r := resolverOf(server)
		target := mustParse(t, "tcp://db:1")
		r.addrs(t.Context(), target, within(time.Second))
		time.Sleep(maxAge + 1)
		server.answer, server.err = nil, notFound
		if addrs, err := r.addrs(t.Context(), target, within(time.Second)); err == nil {
			t.Errorf("got %v, want no such host", addrs)
		}
	})
}

// A resolver that is in trouble is not the replica's trouble.
func TestResolverInTrouble(t *testing.T) {
	for _, tt := range []struct {
		name   string
		server *nameserver
		reason string // where no earlier address is known
	}{
		{"SERVFAIL", &nameserver{err: servfail}, `looking up "db": SERVFAIL (10.0.0.53): look at this host's /etc/resolv.conf`},
		{"out of reach", &nameserver{err: refusing}, `looking up "db": connection refused (10.0.0.53): look at this host's /etc/resolv.conf`},
		{"silent", &nameserver{takes: forever}, `looking up "db": the resolver gave no answer within `},
	} {
		for _, known := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s, earlier address known: %v", tt.name, known), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					server := &nameserver{answer: addresses("10.0.0.5")}
					p, attempts := scripted(up)
					p.resolver = resolverOf(server)
					c := Check{Target: mustParse(t, "tcp://db:1"), Rules: &Rules{Retry: 2, DeadAfter: 10 * time.Second}}
					if known {
						if r := p.probe(t.Context(), c, MaxProbe); r.Health != Healthy {
							t.Fatalf("got %q because %q at first, want healthy", r.Health, r.Reason())
						}
					}
					time.Sleep(maxAge + 1)
					server.takes, server.answer, server.err = tt.server.takes, nil, tt.server.err
					for range 20 { // however long it lasts
						p.Refresh()
						*attempts = nil
						r := p.probe(t.Context(), c, MaxProbe)
						switch {
						case known && (r.Health != Healthy || r.Latency != time.Millisecond || r.Reason() != `"db" cannot be looked up, its last known addresses are used`):
							t.Errorf("got %q after %v because %q, want healthy at the address that worked, without the look-up", r.Health, r.Latency, r.Reason())
						case !known && (r.Health != Unknown || !isLocal(r.Err)):
							t.Errorf("got %q because %q, want no verdict", r.Health, r.Reason())
						case !known && !strings.HasPrefix(r.Reason(), tt.reason):
							t.Errorf("got the reason %q, want %q", r.Reason(), tt.reason)
						case !known && len(*attempts) > 0:
							t.Errorf("%d dials, want none", len(*attempts))
						}
						time.Sleep(2 * time.Second)
					}
					time.Sleep(linger) // the last look-up ends
				})
			})
		}
	}
}

// A resolver slower than half of the attempt leaves the target its half: the
// attempt is this host's trouble, and the next one waits for the same answer.
func TestSlowResolverIsNotASlowTarget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := &nameserver{takes: 900 * time.Millisecond, answer: addresses("10.0.0.5")}
		p, attempts := scripted(upAfter(300 * time.Millisecond))
		p.resolver = resolverOf(server)
		c := Check{Target: mustParse(t, "tcp://db:1"), Rules: &Rules{Retry: 2, DeadAfter: time.Second}}
		r := p.probe(t.Context(), c, MaxProbe)
		if r.Health != Healthy || len(*attempts) != 1 || server.asked.Load() != 1 {
			t.Errorf("got %q because %q after %d dials and %d look-ups, want healthy after one of each",
				r.Health, r.Reason(), len(*attempts), server.asked.Load())
		}
	})
}

func TestWhoeverWaitsForALookUpCanGo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := resolverOf(&nameserver{takes: 2 * time.Second, answer: addresses("10.0.0.5")})
		target := mustParse(t, "tcp://db:1")
		ctx, cancel := context.WithCancelCause(t.Context())
		cause := errors.New("shutting down")
		time.AfterFunc(time.Second, func() { cancel(cause) })
		var wg sync.WaitGroup
		wg.Go(func() {
			if _, err := r.addrs(ctx, target, within(10*time.Second)); err != cause {
				t.Errorf("got %v, want %v", err, cause)
			}
		})
		synctest.Wait()
		// The look-up that the first one began serves the second all the same.
		if addrs, err := r.addrs(t.Context(), target, within(10*time.Second)); err != nil || len(addrs) != 1 {
			t.Errorf("the other one got %v, %v, want the address", addrs, err)
		}
		wg.Wait()
	})
}

func TestResolverInTroubleIsNotStormed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := &nameserver{err: servfail}
		r := resolverOf(server)
		var wg sync.WaitGroup
		for i := range 1000 {
			wg.Go(func() {
				time.Sleep(time.Duration(i) * 10 * time.Millisecond)
				r.addrs(t.Context(), mustParse(t, "tcp://db:1"), within(time.Second))
			})
		}
		wg.Wait()
		if got := server.asked.Load(); got < 10 || got > 101 {
			t.Errorf("%d look-ups of one name in 10 s, want at most ten in each second", got)
		}
	})
}

func TestForgottenNamesArePruned(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := resolverOf(&nameserver{answer: addresses("10.0.0.5")})
		for i := range 1000 {
			r.addrs(t.Context(), mustParse(t, fmt.Sprintf("tcp://db%d:1", i)), within(time.Second))
		}
		for range 4 {
			r.refresh()
			time.Sleep(time.Second)
		}
		if got := len(r.names); got != 1000 {
			t.Errorf("%d names known after four short cycles, want all 1000: a probe may take longer", got)
		}
		time.Sleep(time.Minute)
		r.addrs(t.Context(), mustParse(t, "tcp://db7:1"), within(time.Second))
		r.refresh()
		if got := len(r.names); got != 1 {
			t.Errorf("%d names known, want the one that is still needed", got)
		}
	})
}
