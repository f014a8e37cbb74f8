package probe

import (
	"context"
	"net/netip"
	"strings"
	"testing"
	"time"
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

func panicHere() { panic("index out of range") }
