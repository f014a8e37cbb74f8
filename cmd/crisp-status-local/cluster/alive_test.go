//go:build cluster

package cluster

import (
	"slices"
	"testing"
	"time"

	"github.com/crisp-im/crisp-status-local/v2/internal/sandbox"
)

// TestAlive breaks daemons that only say what is alive: nothing is taken over, and
// nobody ever says that something is dead.
func TestAlive(t *testing.T) {
	t.Parallel()
	silentOfDeath := func(l *lab, _ *process, _ int) {
		l.t.Helper()
		for _, r := range l.page.after(l.settled) {
			if r.health == sandbox.Dead || slices.Contains(down, r.replica) {
				l.t.Fatalf("%s reported %s %s, want silence: the page says so by itself", r.from, r.replica, r.health)
			}
		}
	}
	const long = 12 * time.Second
	o := options{engine: "alive", daemons: 2}
	var faults []fault
	for _, f := range []fault{
		{name: "killed", lasts: long, begin: killed},
		{name: "ended", lasts: long, begin: ended},
		{name: "stopped for 12s", lasts: long, begin: stopped},
		{name: "without targets", lasts: long, begin: cutOff(toLAN)},
		{name: "without the Status API", lasts: long, begin: cutOff(toAPI)},
		{name: "unplugged", lasts: long, begin: unplugged},
	} {
		f.options, f.check, f.gap = o, silentOfDeath, interval+2*time.Second
		faults = append(faults, f)
	}
	try(t, faults)
}
