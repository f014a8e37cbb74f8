package probe

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

var (
	notFound = &net.DNSError{Err: "no such host", Name: "db", IsNotFound: true}
	servfail = &net.DNSError{Err: "server misbehaving", Name: "db", Server: "10.0.0.53:53", IsTemporary: true}
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

func (n *nameserver) lookup(ctx context.Context, _ string) ([]netip.Addr, error) {
	n.asked.Add(1)
	if !sleep(ctx, n.takes) {
		return nil, ctx.Err()
	}
	return append([]netip.Addr(nil), n.answer...), n.err
}

// resolverOf returns a resolver that asks n.
func resolverOf(n *nameserver) *resolver {
	r := newResolver()
	r.lookup = n.lookup
	return r
}

// within is an attempt that begins now.
func within(limit time.Duration) attempt { return attempt{time.Now(), limit} }

func TestOneLookUpPerCycle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := &nameserver{takes: 50 * time.Millisecond, answer: addresses("10.0.0.5", "::ffff:10.0.0.6")}
		r := resolverOf(server)
		for cycle := 1; cycle <= 3; cycle++ {
			r.refresh()
			var wg sync.WaitGroup
			for i := range 100 {
				target := mustParse(t, fmt.Sprintf("tcp://DB:%d", 1000+i))
				wg.Go(func() {
					if i >= 50 { // half of them when it is known already
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
				t.Errorf("%d look-ups after %d cycles, want one in each", got, cycle)
			}
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
		"no address":   {},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p, attempts := scripted(up)
				p.resolver = resolverOf(server)
				r := p.Probe(t.Context(), Check{Target: mustParse(t, "tcp://db:1")}, MaxProbe)
				if r.Health != Dead || r.Attempts != 3 || r.Reason() != `looking up "db": no such host` {
					t.Errorf("got %q after %d attempts because %q, want dead after 3 because there is no such host", r.Health, r.Attempts, r.Reason())
				}
				if e := r.Err.(*Error); e.Kind != KindDNS {
					t.Errorf("kind %s, want dns", e.Kind)
				}
				if len(*attempts) != 0 || server.asked.Load() != 1 {
					t.Errorf("%d dials and %d look-ups, want none and one", len(*attempts), server.asked.Load())
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
		r.refresh()
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
		{"SERVFAIL", &nameserver{err: servfail}, `looking up "db": server misbehaving (10.0.0.53:53): look at this host's /etc/resolv.conf`},
		{"out of reach", &nameserver{err: errors.New("connection refused")}, `looking up "db": connection refused: look at this host's /etc/resolv.conf`},
		{"silent", &nameserver{takes: forever}, `looking up "db": the resolver gave no answer`},
		{"its time-out", &nameserver{err: &net.DNSError{Err: "i/o timeout", Server: "10.0.0.53:53", IsTimeout: true}}, `looking up "db": the resolver gave no answer (10.0.0.53:53): look at this host's /etc/resolv.conf`},
	} {
		for _, known := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s, earlier address known: %v", tt.name, known), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					server := &nameserver{answer: addresses("10.0.0.5")}
					p, attempts := scripted(up)
					p.resolver = resolverOf(server)
					c := Check{Target: mustParse(t, "tcp://db:1"), Rules: &Rules{Retry: 2, DeadAfter: 10 * time.Second}}
					if known {
						if r := p.Probe(t.Context(), c, MaxProbe); r.Health != Healthy {
							t.Fatalf("got %q because %q at first, want healthy", r.Health, r.Reason())
						}
					}
					server.takes, server.answer, server.err = tt.server.takes, nil, tt.server.err
					for range 20 { // however long it lasts
						p.Refresh()
						*attempts = nil
						r := p.Probe(t.Context(), c, MaxProbe)
						switch {
						case known && (r.Health != Healthy || r.Latency > 2*time.Second):
							t.Errorf("got %q after %v because %q, want healthy at the address that worked", r.Health, r.Latency, r.Reason())
						case !known && (r.Health != Unknown || !isLocal(r.Err)):
							t.Errorf("got %q because %q, want no verdict", r.Health, r.Reason())
						case !known && !strings.HasPrefix(r.Reason(), tt.reason):
							t.Errorf("got the reason %q, want %q", r.Reason(), tt.reason)
						case !known && len(*attempts) > 0:
							t.Errorf("%d dials, want none", len(*attempts))
						}
						time.Sleep(2 * time.Second)
					}
					time.Sleep(maxLookup) // the last look-up ends by its own bound
				})
			})
		}
	}
}

// A resolver slower than half of the attempt leaves the target its half: the
// attempt is this host's trouble, and the next one has the answer.
func TestSlowResolverIsNotASlowTarget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := &nameserver{takes: 900 * time.Millisecond, answer: addresses("10.0.0.5")}
		p, attempts := scripted(upAfter(300 * time.Millisecond))
		p.resolver = resolverOf(server)
		c := Check{Target: mustParse(t, "tcp://db:1"), Rules: &Rules{Retry: 2, DeadAfter: time.Second}}
		r := p.Probe(t.Context(), c, MaxProbe)
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
		if got := server.asked.Load(); got != 10 {
			t.Errorf("%d look-ups in 10 s, want one in each second", got)
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
