package probe

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// testProber returns a prober without ICMP sockets.
func testProber() *Prober {
	p := &Prober{userAgent: "crisp-status-local/test", resolver: newResolver(), connector: newConnector(), pinger: new(pinger), costly: make(chan struct{}, 1)}
	p.stalls.clock = func() time.Duration { return 0 } // however slow the machine is
	p.connectHalfOpen, p.connect, p.ping = p.connector.connectHalfOpen, p.connector.connect, p.pinger.ping
	p.way = func(netip.Addr) error { return nil }
	return p
}

// step is what one attempt comes to in a test.
type step struct {
	takes time.Duration // forever: as long as it may
	err   error
}

const forever = time.Hour

// made is an attempt that was made.
type made struct{ at, limit time.Duration }

// scripted returns a prober whose TCP attempts come to the steps, the last one
// again and again, and the attempts that it makes.
func scripted(steps ...step) (*Prober, *[]made) {
	p, attempts, start := testProber(), new([]made), time.Now()
	p.connectHalfOpen = func(ctx context.Context, _ netip.AddrPort, a attempt) error {
		s := steps[min(len(*attempts), len(steps)-1)]
		*attempts = append(*attempts, made{time.Since(start), a.left()})
		if s.takes > a.left() {
			s = step{a.left(), noAnswer(a.limit)}
		}
		if !sleep(ctx, s.takes) {
			return context.Cause(ctx)
		}
		return s.err
	}
	return p, attempts
}

var (
	refused = step{0, &Error{Kind: KindRefused, Reason: "connection refused"}}
	silent  = step{forever, nil}
	up      = step{time.Millisecond, nil}
	lacking = step{0, &Error{Kind: KindLocal, Reason: "this process has too many open files"}}
)

func upAfter(d time.Duration) step { return step{d, nil} }

func tcpCheck(t testing.TB, rules *Rules) Check {
	return Check{ServiceID: "s", NodeID: "n", Target: mustParse(t, "tcp://10.0.0.5:3306"), Rules: rules}
}

func TestAttemptsAndHealth(t *testing.T) {
	ms := func(n ...time.Duration) (all []time.Duration) {
		for _, n := range n {
			all = append(all, n*time.Millisecond)
		}
		return all
	}
	for _, tt := range []struct {
		name    string
		steps   []step
		health  Health
		at      []time.Duration // when the attempts begin
		latency time.Duration
		reason  string
	}{
		{"up at once is healthy", []step{up}, Healthy, ms(0), time.Millisecond, ""},
		{"down on every attempt is dead", []step{refused}, Dead, ms(0, 200, 400), 0, "connection refused"},
		{"silent on every attempt is dead", []step{silent}, Dead, ms(0, 10200, 20400), 10 * time.Second, "no answer within 10s"},
		{"up at the second ends it", []step{refused, up}, Healthy, ms(0, 200), time.Millisecond, ""},
		{"up at the last one counts", []step{refused, refused, up}, Healthy, ms(0, 200, 400), time.Millisecond, ""},
		{"sick ends it too", []step{upAfter(6 * time.Second)}, Sick, ms(0), 6 * time.Second, "answered after 6s, sick from 5s"},
		{"sick after a down one", []step{refused, upAfter(5 * time.Second)}, Sick, ms(0, 200), 5 * time.Second, "answered after 5s, sick from 5s"},
		{"just below delay_sick is healthy", []step{upAfter(5*time.Second - 1)}, Healthy, ms(0), 5*time.Second - 1, ""},
		{"local trouble does not count", []step{lacking, refused, refused, up}, Healthy, ms(0, 200, 400, 600), time.Millisecond, ""},
		{"as many down ones as without it make dead", []step{lacking, lacking, refused}, Dead, ms(0, 200, 600, 800, 1000), 0, "connection refused"},
		{"local trouble between down ones", []step{refused, lacking, refused, refused}, Dead, ms(0, 200, 400, 600), 0, "connection refused"},
		{"nothing but local trouble is no verdict", []step{lacking}, Unknown, ms(0, 200, 600, 1400, 3000, 6200, 11200, 16200, 21200, 26200), 0, "this process has too many open files"},
		{"fewer down ones than it takes is no verdict", []step{refused, refused, lacking}, Unknown, ms(0, 200, 400, 600, 1000, 1800, 3400, 6600, 11600, 16600, 21600, 26600), 0, "this process has too many open files"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p, attempts := scripted(tt.steps...)
				rules := &Rules{Retry: 2, DeadAfter: 10 * time.Second, SickAfter: 5 * time.Second}
				r := p.probe(t.Context(), tcpCheck(t, rules), Budget(2*time.Minute))
				var at []time.Duration
				for _, m := range *attempts {
					at = append(at, m.at)
				}
				if r.Health != tt.health || r.Latency != tt.latency || r.Reason() != tt.reason {
					t.Errorf("got %q after %v because %q, want %q after %v because %q", r.Health, r.Latency, r.Reason(), tt.health, tt.latency, tt.reason)
				}
				if !slices.Equal(at, tt.at) || r.Attempts != len(tt.at) {
					t.Errorf("%d attempts at %v, want %d at %v", r.Attempts, at, len(tt.at), tt.at)
				}
				if (r.Err == nil) != (r.Health == Healthy || r.Health == Sick) {
					t.Errorf("%q with the error %v", r.Health, r.Err)
				}
			})
		})
	}
}

func TestSickAndHealthy(t *testing.T) {
	const s = time.Second
	for _, tt := range []struct {
		name                    string
		latency, sickAfter, end time.Duration
		want                    Health
	}{
		{"below delay_sick", 5*s - 1, 5 * s, 10 * s, Healthy},
		{"at delay_sick", 5 * s, 5 * s, 10 * s, Sick},
		{"above delay_sick", 6 * s, 5 * s, 10 * s, Sick},
		{"delay_sick 0 is never", 9 * s, 0, 10 * s, Healthy},
		{"delay_sick at delay_dead is never", 10 * s, 10 * s, 10 * s, Healthy},
		{"delay_sick above delay_dead is never", 12 * s, 11 * s, 10 * s, Healthy},
		{"delay_sick just below delay_dead", 10 * s, 10*s - 1, 10 * s, Sick},
	} {
		rules := &Rules{SickAfter: tt.sickAfter, DeadAfter: tt.end}
		if got := rules.classify(tt.latency); got != tt.want {
			t.Errorf("%s: got %s, want %s", tt.name, got, tt.want)
		}
	}
}

func TestDefaultRules(t *testing.T) {
	want := Rules{Retry: 2, DeadAfter: 20 * time.Second, HealthyAbove: 200, HealthyBelow: 400}
	if got := *(Check{}).rules(); got != want {
		t.Errorf("without rules %+v hold, want %+v", got, want)
	}
	rules := &Rules{Retry: 1}
	if got := (Check{Rules: rules}).rules(); got != rules {
		t.Errorf("rules %+v hold, want those of the check", got)
	}
}

func TestTheSameURLInTwoNodesIsTwoReplicas(t *testing.T) {
	a, b := tcpCheck(t, nil), tcpCheck(t, nil)
	b.NodeID = "other"
	if a.ID() == b.ID() {
		t.Errorf("both are %v", a.ID())
	}
}

func TestCutAttempts(t *testing.T) {
	const s = time.Second
	ms := func(n int) time.Duration { return time.Duration(n) * time.Millisecond }
	for _, tt := range []struct {
		name     string
		step     step
		retry    int
		dead     time.Duration
		interval time.Duration
		want     []made
		takes    time.Duration
	}{
		{"all fit", silent, 2, 10 * s, 120 * s, []made{{0, 10 * s}, {ms(10200), 10 * s}, {ms(20400), 10 * s}}, ms(30400)},
		{"the further ones share what is left of 35 s", silent, 2, 20 * s, 120 * s, []made{{0, 20 * s}, {ms(20200), ms(14800)}}, 35 * s},
		{"the last one is cut short", silent, 5, 10 * s, 3600 * s, []made{{0, 10 * s}, {ms(10200), 10 * s}, {ms(20400), 10 * s}, {ms(30600), ms(4400)}}, 35 * s},
		{"the first one has all of 35 s", silent, 2, 35 * s, 120 * s, []made{{0, 35 * s}}, 35 * s},
		{"half the interval", silent, 2, 3 * s, 10 * s, []made{{0, 3 * s}, {ms(3200), ms(1800)}}, 5 * s},
		{"the first one has delay_dead even beyond it", silent, 2, 10 * s, 10 * s, []made{{0, 10 * s}}, 10 * s},
		{"refused, at the shortest interval", refused, 5, s, s, []made{{0, s}, {ms(200), ms(300)}, {ms(400), ms(100)}}, ms(400)},
		{"no retry", silent, 0, 10 * s, 120 * s, []made{{0, 10 * s}}, 10 * s},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p, attempts := scripted(tt.step)
				rules := &Rules{Retry: tt.retry, DeadAfter: tt.dead}
				start := time.Now()
				r := p.probe(t.Context(), tcpCheck(t, rules), Budget(tt.interval))
				if r.Health != Dead {
					t.Errorf("got %q, want dead", r.Health)
				}
				if !slices.Equal(*attempts, tt.want) {
					t.Errorf("attempts %v, want %v", *attempts, tt.want)
				}
				if took := time.Since(start); took != tt.takes {
					t.Errorf("the probe took %v, want %v", took, tt.takes)
				}
			})
		})
	}
}

// Whatever the attempts come to, no probe takes longer than Longest says.
func TestNoProbeTakesLongerThanLongest(t *testing.T) {
	for name, steps := range map[string][]step{
		"silent":                {silent},
		"refused":               {refused},
		"lacking":               {lacking},
		"lacking, then silent":  {lacking, silent},
		"silent, then lacking":  {silent, lacking},
		"lacking every other":   {lacking, silent, lacking, silent, lacking, silent, lacking, silent},
		"up at the last moment": {silent, silent, upAfter(999 * time.Millisecond)},
	} {
		for _, retry := range []int{0, 1, 2, 7, 100} {
			for _, dead := range []time.Duration{time.Second, 10 * time.Second, 35 * time.Second} {
				for _, interval := range []time.Duration{time.Second, 10 * time.Second, 120 * time.Second, time.Hour} {
					synctest.Test(t, func(t *testing.T) {
						p, _ := scripted(steps...)
						rules, budget := &Rules{Retry: retry, DeadAfter: dead}, Budget(interval)
						start := time.Now()
						p.probe(t.Context(), tcpCheck(t, rules), budget)
						if took := time.Since(start); took > rules.Longest(budget) || took > MaxProbe {
							t.Errorf("%s, retry %d, delay_dead %v, interval %v: took %v, want at most %v",
								name, retry, dead, interval, took, rules.Longest(budget))
						}
					})
				}
			}
		}
	}
}

func TestCancelledProbeHasNoVerdict(t *testing.T) {
	for _, tt := range []struct {
		name  string
		step  step
		after time.Duration
	}{
		{"in an attempt", silent, 5 * time.Second},
		{"between two", refused, 100 * time.Millisecond},
		{"before the first", silent, 0},
		{"while this host lacks something", lacking, 500 * time.Millisecond},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p, _ := scripted(tt.step)
				cause := errors.New("shutting down")
				ctx, cancel := context.WithCancelCause(t.Context())
				if tt.after == 0 {
					cancel(cause)
				} else {
					time.AfterFunc(tt.after, func() { cancel(cause) })
				}
				start := time.Now()
				r := p.probe(ctx, tcpCheck(t, nil), MaxProbe)
				if r.Health != Unknown || r.Err != cause {
					t.Errorf("got %q with the error %v, want no verdict with %v", r.Health, r.Err, cause)
				}
				if took := time.Since(start); took != tt.after {
					t.Errorf("it went on for %v, want %v", took, tt.after)
				}
			})
		})
	}
}

func TestFaultInAnAttemptIsNoVerdict(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := testProber()
		p.connectHalfOpen = func(context.Context, netip.AddrPort, attempt) error { panic("index out of range") }
		r := p.probe(t.Context(), tcpCheck(t, nil), MaxProbe)
		if r.Health != Unknown || !strings.Contains(r.Reason(), "internal error, please report it: index out of range") {
			t.Errorf("got %q because %q, want no verdict and a plea to report it", r.Health, r.Reason())
		}
	})
}

// A slow resolver takes nothing from the second that an echo has.
func TestEchoHasItsSecondAfterTheLookUp(t *testing.T) {
	for _, tt := range []struct{ dead, want time.Duration }{
		{10 * time.Second, time.Second},
		{time.Second, 600 * time.Millisecond},
	} {
		synctest.Test(t, func(t *testing.T) {
			p := testProber()
			p.resolver = resolverOf(&nameserver{takes: 400 * time.Millisecond, answer: addresses("10.0.0.1")})
			var limit time.Duration
			p.ping = func(_ context.Context, _ netip.Addr, given time.Duration) (pong, error) {
				limit = given
				return pong{rtt: 20 * time.Millisecond}, nil
			}
			c := Check{Target: mustParse(t, "icmp://router"), Rules: &Rules{DeadAfter: tt.dead}}
			r := p.probe(t.Context(), c, MaxProbe)
			if limit != tt.want {
				t.Errorf("delay_dead %v: the echo has %v, want %v", tt.dead, limit, tt.want)
			}
			if r.Health != Healthy || r.Latency != 20*time.Millisecond {
				t.Errorf("got %q after %v, want healthy after the round trip", r.Health, r.Latency)
			}
		})
	}
}

func TestTroubleThatOnlyARestartEndsIsNotTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, attempts := scripted(step{0, &Error{Kind: KindLocal, Reason: "no ICMP socket", lasting: true}})
		r := p.probe(t.Context(), tcpCheck(t, &Rules{Retry: 2, DeadAfter: time.Second}), 35*time.Second)
		if r.Health != Unknown || len(*attempts) != 1 {
			t.Errorf("got %q after %d attempts, want no verdict after one", r.Health, len(*attempts))
		}
	})
}
