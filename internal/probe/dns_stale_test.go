package probe

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"
)

// estate is a prober in a bubble whose names resolve as a test wants.
type estate struct {
	*Prober
	told toldOf
	fail sync.Map // the errors of hosts; none: it resolves
	lag  atomic.Int64
}

// breaks makes the look-up of a host fail, or succeed again.
func (e *estate) breaks(host string, err error) { e.fail.Store(host, &err) }

func newEstate() *estate {
	e := new(estate)
	e.Prober, _ = scripted(up)
	e.resolver = newResolver()
	e.OnNameTrouble(e.told.notify)
	e.resolver.lookup = func(ctx context.Context, host string, _ time.Duration, _ func(hostAddrs)) (hostAddrs, error) {
		var err error
		if set, ok := e.fail.Load(host); ok {
			err = *set.(*error)
		}
		if err == errSilent {
			<-ctx.Done()
			return hostAddrs{}, ctx.Err()
		}
		sleep(ctx, time.Duration(e.lag.Load()))
		return hostAddrs{addrs: addresses("10.0.0.5"), total: 1, local: isLocalhost(host)}, err
	}
	return e
}

// cycle probes a replica of each host once and returns the results.
func (e *estate) cycle(t *testing.T, hosts ...string) []Result {
	e.Refresh()
	var all []Result
	for _, host := range hosts {
		c := Check{Target: mustParse(t, "tcp://"+host+":1"), Rules: &Rules{Retry: 2, DeadAfter: 10 * time.Second, SickAfter: time.Second}}
		all = append(all, e.probe(t.Context(), c, MaxProbe))
	}
	time.Sleep(2 * time.Minute)
	return all
}

// A name that this host knows by itself says nothing of the nameservers.
func TestOldAddressesServeWhileNothingResolves(t *testing.T) {
	for name, trouble := range map[string]error{"silent": errSilent, "SERVFAIL": servfail} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				e := newEstate()
				hosts := []string{"a", "b", "c", "localhost"}
				e.cycle(t, hosts...)
				for _, host := range []string{"a", "b", "c"} {
					e.breaks(host, trouble)
				}
				began := time.Now()
				for time.Since(began) < 5*time.Hour {
					for _, r := range e.cycle(t, hosts...) {
						if r.Health != Healthy {
							t.Fatalf("%v: got %q because %q, want healthy at the old address", r.Check.Target, r.Health, r.Reason())
						}
					}
				}
				if told := e.told.list(); len(told) < 5 || len(told) > 6 {
					t.Errorf("told %d times in five hours, want hourly:\n%s", len(told), strings.Join(told, "\n"))
				}
				time.Sleep(linger)
			})
		})
	}
}

func TestOldAddressesOfOneNameServeForAnHour(t *testing.T) {
	for name, trouble := range map[string]error{"silent": errSilent, "SERVFAIL": servfail} {
		for _, others := range []int{0, 1, 5} {
			if others == 0 && trouble == errSilent {
				continue // then nothing tells it from a resolver that is silent
			}
			t.Run(fmt.Sprintf("%s, %d other names", name, others), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					e := newEstate()
					hosts := []string{"a", "b", "c", "d", "e", "f"}[:others+1]
					e.cycle(t, hosts...)
					e.breaks("a", trouble)
					began, died := time.Now(), time.Duration(0)
					for time.Since(began) < 3*time.Hour {
						results := e.cycle(t, hosts...)
						a := results[0]
						switch {
						case a.Health == Dead && died == 0:
							died = time.Since(began)
						case a.Health == Healthy && died > 0:
							t.Fatalf("healthy again after it was dead")
						case a.Health == Unknown:
							t.Fatalf("got no verdict because %q", a.Reason())
						}
						if a.Health == Dead && (kindOf(a.Err) != KindDNS || !strings.Contains(a.Reason(), "for over 1h0m0s")) {
							t.Fatalf("got dead because %q of kind %s, want the name for the reason", a.Reason(), kindOf(a.Err))
						}
						for _, r := range results[1:] {
							if r.Health != Healthy {
								t.Fatalf("%v: got %q", r.Check.Target, r.Health)
							}
						}
					}
					if died < time.Hour || died > time.Hour+10*time.Minute {
						t.Errorf("dead after %v, want an hour", died)
					}
					about := 0
					for _, text := range e.told.list() {
						if strings.HasPrefix(text, "a: ") {
							about++
						}
					}
					if about != 1 {
						t.Errorf("told %q, want once of it", e.told.list())
					}
					e.breaks("a", nil)
					if r := e.cycle(t, hosts...)[0]; r.Health != Healthy || r.Reason() != "" {
						t.Errorf("got %q because %q once it resolves, want healthy", r.Health, r.Reason())
					}
				})
			})
		}
	}
}

// What is down at an address that may be no longer the name's says nothing.
func TestOldAddressThatDoesNotAnswerIsNoVerdict(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEstate()
		e.cycle(t, "a")
		e.breaks("a", servfail)
		e.connectHalfOpen = func(context.Context, netip.AddrPort, attempt) error { return refused.err }
		r := e.cycle(t, "a")[0]
		if r.Health != Unknown || r.Reason() != `connection refused ("a" cannot be looked up, its last known addresses are used)` {
			t.Errorf("got %q because %q, want no verdict", r.Health, r.Reason())
		}
	})
}

// A resolver that is slower than a first attempt waits hides no dead replica.
func TestSlowResolverHidesNoDeadReplica(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEstate()
		e.cycle(t, "a")
		e.lag.Store(int64(3 * time.Second))
		e.connectHalfOpen = func(context.Context, netip.AddrPort, attempt) error { return refused.err }
		if r := e.cycle(t, "a")[0]; r.Health != Dead {
			t.Errorf("got %q because %q, want dead", r.Health, r.Reason())
		}
	})
}

func TestLatencyIsWithoutTheLookUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEstate()
		e.lag.Store(int64(1500 * time.Millisecond))
		r := e.cycle(t, "a")[0]
		if r.Health != Healthy || r.Latency != time.Millisecond || r.Reason() != `looking up "a" took 1.5s` {
			t.Errorf("got %q after %v because %q, want healthy after 1ms, with a word on DNS", r.Health, r.Latency, r.Reason())
		}
		e.connectHalfOpen = func(ctx context.Context, _ netip.AddrPort, a attempt) error {
			sleep(ctx, 2*time.Second)
			return nil
		}
		r = e.cycle(t, "a")[0]
		if r.Health != Sick || r.Latency != 2*time.Second || r.Reason() != `answered after 2s, sick from 1s; looking up "a" took 1.5s` {
			t.Errorf("got %q after %v because %q, want sick after 2s, with a word on DNS", r.Health, r.Latency, r.Reason())
		}
		e.connectHalfOpen = func(ctx context.Context, _ netip.AddrPort, a attempt) error {
			sleep(ctx, a.left())
			return noAnswer(a.limit)
		}
		r = e.cycle(t, "a")[0]
		if r.Health != Dead || r.Reason() != `no answer within 10s; looking up "a" took 1.5s` {
			t.Errorf("got %q because %q, want dead with a word on DNS", r.Health, r.Reason())
		}
	})
}

// One family has answered, the other does not come.
func TestWaitForTheOtherFamily(t *testing.T) {
	for _, tt := range []struct {
		url, first string
		want       time.Duration
	}{
		{"tcp://db:1", "10.0.0.5", resolutionDelay},
		{"http://db", "10.0.0.5", resolutionDelay},
		{"icmp://db", "10.0.0.5", lateFamily},
		{"tcp://db:1", "2001:db8::5", lateFamily},
	} {
		synctest.Test(t, func(t *testing.T) {
			r := newResolver()
			looks := atomic.Int32{}
			r.lookup = func(ctx context.Context, _ string, _ time.Duration, partly func(hostAddrs)) (hostAddrs, error) {
				looks.Add(1)
				found := hostAddrs{addrs: addresses(tt.first), total: 1}
				partly(found)
				sleep(ctx, lateFamily)
				return found, nil
			}
			for _, want := range []time.Duration{tt.want, 0} { // the second one shares it
				start := time.Now()
				addrs, err := r.addrs(t.Context(), mustParse(t, tt.url), within(10*time.Second))
				if took := time.Since(start); err != nil || texts(addrs) != tt.first || took != want {
					t.Errorf("%s: got %v, %v after %v, want %s after %v", tt.url, addrs, err, took, tt.first, want)
				}
			}
			if looks.Load() != 1 {
				t.Errorf("%d look-ups, want one", looks.Load())
			}
			time.Sleep(lateFamily)
		})
	}
}

func TestManyAddresses(t *testing.T) {
	var records []string
	for i := range 3900 {
		records = append(records, fmt.Sprintf("big.test. 10.1.%d.%d", i/250, i%250))
	}
	all := zone(append(records, "both.test. 10.0.0.1", "both.test. 2001:db8::1")...)
	stream := framed(all)
	server := listenDNS(t, "127.0.0.1:0", truncated(), stream)
	r, s, told := resolverAt(t, server.port(), nameserverLines(1), "")
	results := make(chan string)
	for range 30 {
		go func() {
			addrs, err := r.addrs(t.Context(), mustParse(t, "icmp://big.test"), within(20*time.Second))
			results <- fmt.Sprint(len(addrs), err)
		}()
	}
	for range 30 {
		if got := <-results; got != "64 <nil>" {
			t.Errorf("got %s, want 64 addresses", got)
		}
	}
	wantIdle(t, s)
	if asked := server.questions(); len(asked) > 8 {
		t.Errorf("the nameserver was asked %q, want one look-up for all", asked)
	}
	if got := told.want(t); len(got) != 1 || got[0] != "big.test: 3900 addresses: 64 of them are used" {
		t.Errorf("told %q, want one word that some are left out", got)
	}
}

func TestFamiliesShareTheMostAddresses(t *testing.T) {
	many := func(format string, n int) (r dnsReply) {
		for i := range n {
			r.addrs = append(r.addrs, netip.MustParseAddr(fmt.Sprintf(format, i)))
		}
		r.total = n
		return r
	}
	s := &stub{preferIPv6: func(netip.Addr) bool { return true }}
	for _, tt := range []struct{ v4, v6, want4, want6 int }{
		{1, 1, 1, 1}, {64, 0, 64, 0}, {0, 64, 0, 64}, {64, 64, 32, 32}, {64, 10, 54, 10}, {10, 64, 10, 54}, {0, 0, 0, 0},
	} {
		got := s.merge([2]dnsReply{many("10.0.0.%d", tt.v4), many("2001:db8::%x", tt.v6)})
		n := map[bool]int{}
		for _, addr := range got.addrs {
			n[addr.Is4()]++
		}
		if n[true] != tt.want4 || n[false] != tt.want6 || got.total != tt.v4+tt.v6 {
			t.Errorf("of %d and %d: got %d and %d of %d, want %d and %d", tt.v4, tt.v6, n[true], n[false], got.total, tt.want4, tt.want6)
		}
	}
}

func TestSilentNameserverIsToldOnceAnHour(t *testing.T) {
	port := serveAll(t, []func(asked) []byte{mute, good}, nil, false)
	r, _, told := resolverAt(t, port, nameserverLines(2), "")
	p := testProber()
	p.resolver = r
	p.connectHalfOpen = func(context.Context, netip.AddrPort, attempt) error { return nil }
	for range 2 {
		c := Check{Target: mustParse(t, "tcp://web.test:1"), Rules: &Rules{DeadAfter: 20 * time.Second, SickAfter: time.Second}}
		got := p.probe(t.Context(), c, MaxProbe)
		if got.Health != Healthy || !strings.HasPrefix(got.Reason(), `looking up "web.test" took `) {
			t.Errorf("got %q because %q, want healthy with a word on DNS", got.Health, got.Reason())
		}
		r.names = make(map[string]*name)
	}
	if got := told.want(t); len(got) != 1 || !strings.Contains(got[0], "gave no answer in time: the next one in /etc/resolv.conf was asked") {
		t.Errorf("told %q, want one word on the first nameserver", got)
	}
}

// A host without files cannot ask: that is no matter of its resolv.conf.
func TestLookUpSaysWhatIsShort(t *testing.T) {
	servers := []netip.AddrPort{netip.MustParseAddrPort("10.0.0.53:53"), netip.MustParseAddrPort("10.0.0.54:53")}
	for _, tt := range []struct {
		name     string
		failures []error
		want     string
	}{
		{"no file", []error{unix.ENFILE, unix.ENFILE}, `looking up "db.lan": this host has too many open files (raise the sysctl fs.file-max)`},
		{"refused", []error{unix.ECONNREFUSED, nil}, `looking up "db.lan": connection refused (10.0.0.53): look at this host's /etc/resolv.conf`},
		{"an answer, and no file", []error{answerError("SERVFAIL"), unix.ENFILE}, `looking up "db.lan": SERVFAIL (10.0.0.53), too many open files in system (10.0.0.54): look at this host's /etc/resolv.conf`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := fromLookup("db.lan", new(nameservers).joinFailures(t.Context(), servers, tt.failures), time.Second)
			if got.Kind != KindLocal || got.Reason != tt.want {
				t.Errorf("got %s, %q, want %s, %q", got.Kind, got.Reason, KindLocal, tt.want)
			}
		})
	}
}
