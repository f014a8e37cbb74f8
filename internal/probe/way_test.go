package probe

import (
	"context"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"
)

// A target that does not answer is dead; one to which this host has lost its route has no
// verdict, though the kernel reports no error to a connection under way.
func TestSilenceWithoutAWayIsNoVerdict(t *testing.T) {
	noRoute := fromSyscall("connecting", unix.ENETUNREACH)
	for _, tt := range []struct {
		name string
		url  string
		lost []string // the addresses without a way
		want Health
	}{
		{"the way is there", "tcp://10.0.0.1:1", nil, Dead},
		{"the way is gone", "tcp://10.0.0.1:1", []string{"10.0.0.1"}, Unknown},
		{"one of two is gone", "tcp://two.lan:1", []string{"10.0.0.1"}, Dead},
		{"both are gone", "tcp://two.lan:1", []string{"10.0.0.1", "10.0.0.2"}, Unknown},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := testProber()
				p.connectHalfOpen = func(ctx context.Context, _ netip.AddrPort, a attempt) error {
					sleep(ctx, a.left())
					return noAnswer(a.limit)
				}
				resolvesTo(p, func(string) []netip.Addr { return addrsOf("10.0.0.1", "10.0.0.2") })
				p.way = func(addr netip.Addr) error {
					for _, lost := range tt.lost {
						if addr.String() == lost {
							return noRoute
						}
					}
					return nil
				}
				r := p.probe(t.Context(), Check{Target: mustParse(t, tt.url), Rules: &Rules{DeadAfter: 5 * time.Second}}, 5*time.Second)
				if r.Health != tt.want || tt.want == Unknown && !strings.Contains(r.Reason(), "no route") {
					t.Errorf("got %q because %q, want %q", r.Health, r.Reason(), tt.want)
				}
			})
		})
	}
}

func TestWayToLoopback(t *testing.T) {
	if err := wayTo(netip.MustParseAddr("127.0.0.1")); err != nil {
		t.Errorf("got %v, want a way", err)
	}
}
