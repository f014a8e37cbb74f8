package probe

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// A resolver that denies every name that was known before is this host's trouble: for an
// hour, it makes no replica dead.
func TestDenialOfEveryNameIsNotBelieved(t *testing.T) {
	for name, hosts := range map[string][]string{
		"all there are": {"a.lan", "b.lan", "c.lan"},
		"two":           {"a.lan", "b.lan"},
		"two, beside a name that this host knows by itself": {"a.lan", "b.lan", "localhost"},
		"a private zone, while public names resolve":        {"a.lan", "b.lan", "c.lan", "www.example.org", "example.com", "x.example.net"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				e := newEstate()
				e.cycle(t, hosts...)
				for _, host := range hosts {
					if strings.HasSuffix(host, ".lan") {
						e.breaks(host, errNoName)
					}
				}
				began, died := time.Now(), time.Duration(0)
				for time.Since(began) < 2*time.Hour {
					for _, r := range e.cycle(t, hosts...) {
						if r.Health == Dead && died == 0 {
							died = time.Since(began)
						}
						if r.Health == Unknown || strings.Contains(r.Check.Target.String(), "example") && r.Health != Healthy {
							t.Fatalf("%v: got %q because %q", r.Check.Target, r.Health, r.Reason())
						}
					}
				}
				if died < time.Hour || died > time.Hour+10*time.Minute {
					t.Errorf("dead after %v, want an hour", died)
				}
				if told := e.told.list(); len(told) == 0 || !strings.Contains(told[0], "nor of") || !strings.Contains(told[0], "resolv.conf") {
					t.Errorf("told %q, want that names are denied, and what to look at", told)
				}
				for _, host := range hosts {
					e.breaks(host, nil)
				}
				for _, r := range e.cycle(t, hosts...) {
					if r.Health != Healthy || r.Reason() != "" {
						t.Errorf("%v: got %q because %q once it resolves, want healthy", r.Check.Target, r.Health, r.Reason())
					}
				}
			})
		})
	}
}

// A name that is removed is dead at once, as long as one near it resolves.
func TestDenialOfOneNameIsBelieved(t *testing.T) {
	for name, hosts := range map[string][]string{
		"alone":           {"a.lan"},
		"beside others":   {"a.lan", "b.lan", "c.lan", "d.lan"},
		"beside a public": {"a.lan", "example.org"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				e := newEstate()
				e.cycle(t, hosts...)
				e.breaks("a.lan", errNoName)
				r := e.cycle(t, hosts...)[0]
				if r.Health != Dead || kindOf(r.Err) != KindDNS || !strings.Contains(r.Reason(), "no such host") {
					t.Errorf("got %q because %q, want dead: no such host", r.Health, r.Reason())
				}
				e.breaks("a.lan", servfail)
				if r := e.cycle(t, hosts...)[0]; r.Health != Unknown {
					t.Errorf("got %q because %q after that, want no verdict: nothing is known any more", r.Health, r.Reason())
				}
			})
		})
	}
}

func TestNearestNamesTellWhetherADenialIsBelieved(t *testing.T) {
	for _, tt := range []struct {
		a, b string
		want int
	}{
		{"a.db.lan", "b.db.lan", 2}, {"a.db.lan.", "B.DB.lan", 2}, {"a.lan", "a.db.lan", 1}, {"lan", "a.lan", 1},
		{"a.lan", "a.lan", 2}, {"a.lan", "a.org", 0}, {"a", "b", 0}, {"", "a", 0}, {"xlan", "lan", 0},
	} {
		if got := sharedLabels(tt.a, tt.b); got != tt.want {
			t.Errorf("%q and %q share %d labels, want %d", tt.a, tt.b, got, tt.want)
		}
		if got := sharedLabels(tt.b, tt.a); got != tt.want {
			t.Errorf("%q and %q share %d labels, want %d", tt.b, tt.a, got, tt.want)
		}
	}
}
