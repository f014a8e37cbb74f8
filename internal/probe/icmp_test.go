package probe

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"
)

func TestICMPIsUpWhenEveryAddressAnswers(t *testing.T) {
	noRoute := fromSyscall("sending", unix.ENETUNREACH)
	noAddress := fromSyscall("sending", unix.EADDRNOTAVAIL)
	noFamily := fromSyscall("sending", unix.EAFNOSUPPORT)
	noSocket := notPermitted(unix.EPERM)
	silent := noAnswer(time.Second)
	type outcome struct {
		after time.Duration
		err   error
	}
	up := func(rtt time.Duration) outcome { return outcome{rtt, nil} }
	down := func(err error) outcome { return outcome{0, err} }

	for _, tt := range []struct {
		name       string
		of         []outcome
		want       time.Duration
		wantKind   Kind
		wantReason string
	}{
		{"one answers", []outcome{up(20 * time.Millisecond)}, 20 * time.Millisecond, "", ""},
		{"the slowest decides", []outcome{up(20 * time.Millisecond), up(300 * time.Millisecond), up(0)}, 300 * time.Millisecond, "", ""},
		{"one silent is enough", []outcome{up(0), {time.Second, silent}, up(0)}, 0, KindTimeout, "10.0.0.2: no answer within 1s"},
		{"a single one needs no name", []outcome{{time.Second, silent}}, 0, KindTimeout, "no answer within 1s"},
		{"the first one down is named", []outcome{{time.Second, silent}, down(failure(KindUnreachable, "host unreachable"))}, 0, KindTimeout, "10.0.0.1: no answer within 1s"},
		{"no route does not count", []outcome{up(time.Millisecond), down(noRoute)}, time.Millisecond, "", ""},
		{"no address does not count", []outcome{down(noAddress), up(time.Millisecond)}, time.Millisecond, "", ""},
		{"no such family does not count", []outcome{down(noFamily), up(time.Millisecond)}, time.Millisecond, "", ""},
		{"no route does not hide one that is down", []outcome{down(noRoute), {time.Second, silent}}, 0, KindTimeout, "10.0.0.2: no answer within 1s"},
		{"unless none is left", []outcome{down(noRoute), down(noAddress)}, 0, KindLocal, "10.0.0.1: this host has no route"},
		{"no route to the only one", []outcome{down(noRoute)}, 0, KindLocal, "this host has no route"},
		{"local trouble is no verdict", []outcome{up(0), down(noSocket)}, 0, KindLocal, "10.0.0.2: this process may not"},
		{"local trouble counts, no route does not", []outcome{down(noRoute), down(noSocket)}, 0, KindLocal, "10.0.0.2: this process may not"},
		{"down outweighs local trouble", []outcome{down(noSocket), {time.Second, silent}}, 0, KindTimeout, "10.0.0.2: no answer within 1s"},
		{"a network unreachable that a router said is down", []outcome{up(0), down(fromNetwork(unix.ENETUNREACH))}, 0, KindUnreachable, "10.0.0.2: network unreachable"},
		{"no address at all", nil, 0, KindDNS, "no address"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var addrs []netip.Addr
				outcomes := map[netip.Addr]outcome{}
				var longest time.Duration
				for i, o := range tt.of {
					addr := netip.AddrFrom4([4]byte{10, 0, 0, byte(i + 1)})
					addrs, outcomes[addr] = append(addrs, addr), o
					longest = max(longest, o.after)
				}
				began := time.Now()
				answer, err := pingAll(t.Context(), addrs, time.Second,
					func(_ context.Context, addr netip.Addr, limit time.Duration) (pong, error) {
						if limit != time.Second {
							t.Errorf("%v had %v, want 1s", addr, limit)
						}
						o := outcomes[addr]
						time.Sleep(o.after)
						return pong{rtt: o.after}, o.err
					})
				if got := time.Since(began); got != longest {
					t.Errorf("took %v, want %v: all at the same time", got, longest)
				}
				if tt.wantKind != "" {
					wantPingError(t, err, tt.wantKind, tt.wantReason)
					if len(tt.of) == 1 && strings.Contains(err.Error(), "10.0.0.1") {
						t.Errorf("got %q, want no address in it: there is but one", err)
					}
					return
				}
				if answer.rtt != tt.want || err != nil {
					t.Errorf("got %v, %v, want %v", answer.rtt, err, tt.want)
				}
			})
		})
	}
}

func TestICMPAttemptEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(10*time.Millisecond, cancel)
		addrs := []netip.Addr{echoV4, echoV6}
		_, err := pingAll(ctx, addrs, time.Second, func(ctx context.Context, addr netip.Addr, _ time.Duration) (pong, error) {
			if addr == echoV4 {
				return pong{}, failure(KindUnreachable, "host unreachable")
			}
			<-ctx.Done()
			return pong{}, context.Cause(ctx)
		})
		if err != context.Canceled {
			t.Errorf("got %v, want %v", err, context.Canceled)
		}
	})
}

func TestTroubleSaysWhatToDo(t *testing.T) {
	refused, noFamily := notPermitted(unix.EPERM), fromSyscall("opening", unix.EAFNOSUPPORT)
	full := fromSyscall("opening", unix.EMFILE)
	advice := fmt.Sprintf("this process may not open an ICMP socket (make the sysctl net.ipv4.ping_group_range include group %d, "+
		"or grant CAP_NET_RAW: AmbientCapabilities=CAP_NET_RAW with systemd, --cap-add NET_RAW and root in a container; then restart)", os.Getegid())
	for _, tt := range []struct {
		name   string
		v4, v6 *Error
		want   []string
	}{
		{"both sockets", nil, nil, nil},
		{"both refused", refused, refused, []string{"probing icmp:// replicas: " + advice}},
		{"one refused", nil, refused, []string{"probing icmp:// replicas over IPv6: " + advice}},
		{"a family that the kernel lacks", nil, noFamily, nil},
		{"one refused, one that the kernel lacks", refused, noFamily, []string{"probing icmp:// replicas over IPv4: " + advice}},
		{"each its own", full, refused, []string{
			"probing icmp:// replicas over IPv4: " + full.Reason,
			"probing icmp:// replicas over IPv6: " + advice,
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := &pinger{errV4: tt.v4, errV6: tt.v6}
			got := p.trouble()
			if len(got) != len(tt.want) {
				t.Fatalf("got %q, want %q", got, tt.want)
			}
			for i, err := range got {
				if err.Error() != tt.want[i] {
					t.Errorf("got %q, want %q", err, tt.want[i])
				}
			}
		})
	}
}

func TestPingWithoutSocketIsLocal(t *testing.T) {
	p := &pinger{errV4: notPermitted(unix.EPERM), errV6: fromSyscall("opening", unix.EAFNOSUPPORT)}
	_, err := p.ping(t.Context(), echoV4, time.Second)
	wantPingError(t, err, KindLocal, "ping_group_range")
	_, err = p.ping(t.Context(), netip.MustParseAddr("::ffff:192.0.2.1"), time.Second)
	wantPingError(t, err, KindLocal, "ping_group_range")
	_, err = p.ping(t.Context(), echoV6, time.Second)
	wantPingError(t, err, KindLocal, "address family")
	if err := p.close(); err != nil {
		t.Errorf("closing no socket: got %v", err)
	}
}

// loopbackPinger opens a pinger, or skips the test if addr cannot be pinged.
func loopbackPinger(t *testing.T, addr netip.Addr) *pinger {
	t.Helper()
	p := openPinger()
	t.Cleanup(func() { p.close() })
	if _, err := p.ping(t.Context(), addr, 10*time.Second); isLocal(err) {
		t.Skipf("%v cannot be pinged here: %v", addr, err)
	}
	return p
}

func TestPingLoopback(t *testing.T) {
	for _, addr := range []string{"127.0.0.1", "::1", "::ffff:127.0.0.1"} {
		t.Run(addr, func(t *testing.T) {
			addr := netip.MustParseAddr(addr)
			p := loopbackPinger(t, addr)
			answer, err := p.ping(t.Context(), addr, 10*time.Second)
			if answer.rtt <= 0 || answer.anomaly != "" || err != nil {
				t.Errorf("got %v, %v, want a round trip", answer, err)
			}
			if err := p.close(); err != nil {
				t.Errorf("closing: got %v", err)
			}
			_, err = p.ping(t.Context(), addr, time.Second)
			wantPingError(t, err, KindLocal, "closed")
		})
	}
}

// A thousand at once is more than the receive buffer holds by default. Two
// pingers on raw sockets see each other's answers.
func TestPingLosesNoAnswer(t *testing.T) {
	pingers := []*pinger{
		loopbackPinger(t, netip.MustParseAddr("127.0.0.1")),
		loopbackPinger(t, netip.MustParseAddr("127.0.0.1")),
	}
	var wg sync.WaitGroup
	for i := range 1000 {
		addr := netip.AddrFrom4([4]byte{127, 1, byte(i / 250), byte(i%250 + 1)})
		for _, p := range pingers {
			wg.Go(func() {
				if _, err := p.ping(t.Context(), addr, 10*time.Second); err != nil {
					t.Errorf("%v: got %v, want it up", addr, err)
				}
			})
		}
	}
	wg.Wait()
	for _, p := range pingers {
		if n := len(p.v4.waiting); n != 0 {
			t.Errorf("%d echoes still wait, want none", n)
		}
	}
}

func TestAtMost64AddressesOfANameAreAsked(t *testing.T) {
	var addrs []netip.Addr
	for i := range 3900 {
		addrs = append(addrs, netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}))
	}
	var asked atomic.Int32
	answer, err := pingAll(t.Context(), addrs, time.Second, func(context.Context, netip.Addr, time.Duration) (pong, error) {
		asked.Add(1)
		return pong{}, nil
	})
	if asked.Load() != 64 || err != nil || answer.anomaly != "the name has 3900 addresses, 64 of them were asked" {
		t.Errorf("%d were asked, got %q, %v, want 64, and that said", asked.Load(), answer.anomaly, err)
	}
}

func TestReasonNamesTheAddressThatAnswered(t *testing.T) {
	p := testProber()
	p.resolver = resolverOf(&nameserver{answer: addresses("192.0.2.1", "192.0.2.2")})
	p.ping = func(_ context.Context, addr netip.Addr, _ time.Duration) (pong, error) {
		if addr == echoV4 {
			return pong{anomaly: "answered from another address, 192.0.2.9"}, nil
		}
		return pong{}, nil
	}
	check := func(url string) Check { return Check{Target: mustParse(t, url), Rules: DefaultRules()} }
	for url, want := range map[string]string{
		"icmp://192.0.2.1": "answered from another address, 192.0.2.9",
		"icmp://router":    "192.0.2.1: answered from another address, 192.0.2.9",
		"icmp://192.0.2.2": "",
	} {
		r := p.probe(t.Context(), check(url), MaxProbe)
		if r.Health != Healthy || r.Reason() != want {
			t.Errorf("%s: got %q because %q, want healthy because %q", url, r.Health, r.Reason(), want)
		}
	}
}
