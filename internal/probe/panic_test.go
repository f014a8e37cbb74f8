package probe

import (
	"context"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"
)

// TestPanicIsThatProbesFailure: wherever it happens, also in a goroutine of the
// probe's own, with the stack of where it was.
func TestPanicIsThatProbesFailure(t *testing.T) {
	p := testProber()
	resolvesTo(p, func(host string) []netip.Addr {
		if host == "lookup.lan" {
			panicHere()
		}
		return addrsOf("10.0.0.1", "10.0.0.2")
	})
	p.connectHalfOpen = func(context.Context, netip.AddrPort, attempt) error { panicHere(); return nil }
	p.ping = func(context.Context, netip.Addr, time.Duration) (pong, error) { panicHere(); return pong{}, nil }
	for _, url := range []string{"tcp://10.0.0.1:1", "tcp://two.lan:1", "icmp://10.0.0.1", "icmp://two.lan"} {
		_, err := p.measure(t.Context(), Check{Target: mustParse(t, url)}, within(time.Second))
		e, ok := err.(*Error)
		for ok && e.Stack == "" && e.Err != nil {
			e, ok = e.Err.(*Error)
		}
		if !ok || e.Kind != KindLocal || !strings.Contains(e.Stack, "panicHere") {
			t.Errorf("%s: got %#v, want a local failure with the stack", url, err)
		}
	}
	_, err := p.measure(t.Context(), Check{Target: mustParse(t, "tcp://lookup.lan:1")}, within(time.Second))
	if !isLocal(err) {
		t.Errorf("a panic in a look-up: got %v, want a local failure", err)
	}
}

// TestPanicThatAnotherAttemptMadeUpForIsKept: it is as much a fault of this program.
func TestPanicThatAnotherAttemptMadeUpForIsKept(t *testing.T) {
	for _, url := range []string{"tcp://10.0.0.1:1", "tcp://two.lan:1", "http://two.lan/", "icmp://10.0.0.1", "icmp://two.lan"} {
		for then, want := range map[error]Health{nil: Healthy, noAnswer(time.Second): Dead} {
			synctest.Test(t, func(t *testing.T) {
				p := testProber()
				resolvesTo(p, func(string) []netip.Addr { return addrsOf("10.0.0.1", "10.0.0.2") })
				var once sync.Once
				tried := func() error { once.Do(panicHere); return then }
				p.connectHalfOpen = func(context.Context, netip.AddrPort, attempt) error { return tried() }
				p.connect = func(context.Context, netip.AddrPort, attempt) (net.Conn, error) {
					return canned{answer: strings.NewReader(ok)}, tried()
				}
				p.ping = func(context.Context, netip.Addr, time.Duration) (pong, error) { return pong{}, tried() }
				r := p.Probe(t.Context(), Task{Check: Check{Target: mustParse(t, url)}, Attempts: 1, Budget: time.Minute})
				if r.Health != want || r.Panic == nil || !strings.Contains(r.Panic.Stack, "panicHere") {
					t.Errorf("%s: got %q and the panic %v, want %q, and the stack of the first attempt", url, r.Health, r.Panic, want)
				}
			})
		}
	}
}

// TestStackOfAPanicIsBounded: its end, where the panic was, is kept.
func TestStackOfAPanicIsBounded(t *testing.T) {
	var deep func(n int) *Error
	deep = func(n int) *Error {
		if n > 0 {
			return deep(n - 1)
		}
		return Panicked("index out of range")
	}
	if e := deep(1000); len(e.Stack) != maxStack || !strings.Contains(e.Stack, "TestStackOfAPanicIsBounded") {
		t.Errorf("got a stack of %d bytes, want %d of where it was:\n%s", len(e.Stack), maxStack, e.Stack)
	}
}

// TestPacketThatTripsUpTheReceiverIsLost: the daemon lives, and a replica whose answer
// it may have been is not dead by it.
func TestPacketThatTripsUpTheReceiverIsLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newEchoSocket(unix.AF_INET)
		s.collect = func() {}
		s.send = func(packet []byte, _ netip.Addr) error {
			answer := echoAnswer(packet)
			time.AfterFunc(time.Millisecond, func() {
				s.survive(func() { s.deliver(answer, echoV4, time.Now()); panicHere() })
			})
			return nil
		}
		if _, err := s.ping(t.Context(), echoV4, time.Second); err != nil {
			t.Errorf("got %v, want it up", err)
		}
		// Whatever else is said of the echo: the packet that is lost may be its answer.
		s.send = func(packet []byte, _ netip.Addr) error {
			s.noteError(slices.Clone(packet), echoV4, icmpError{errno: unix.EHOSTUNREACH})
			return nil
		}
		_, err := s.ping(t.Context(), echoV4, time.Second)
		if e, ok := err.(*Error); !ok || e.Kind != KindLocal || !strings.Contains(e.Stack, "panicHere") {
			t.Errorf("got %#v, want a local failure with the stack", err)
		}
		s.send = func([]byte, netip.Addr) error { return nil }
		_, err = s.ping(t.Context(), echoV4, time.Second)
		wantPingError(t, err, KindTimeout, "no answer")
	})
}

func panicHere() { panic("index out of range") }
