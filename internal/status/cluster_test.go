package status

import (
	"testing"
	"time"
)

func TestTheWordAboutADuty(t *testing.T) {
	for want, c := range map[string]*Cluster{
		"":                                   nil,
		"on duty":                            {Scope: ReportsEverything, Why: "this daemon holds the lease"},
		"standby: host-b is on duty":         {Scope: ReportsNothing, Why: "host-b is on duty", Holder: "host-b"},
		"standby":                            {Scope: ReportsNothing},
		"only healthy and sick are reported": {Scope: ReportsAlive, Why: "the engine does not answer"},
		"only healthy and sick are reported: another host has 10.0.0.100, too": {Scope: ReportsAlive, Why: "another host has 10.0.0.100, too", Conflict: true},
	} {
		if got := c.Word(); got != want {
			t.Errorf("got %q of %+v, want %q", got, c, want)
		}
	}
}

func TestTheNoteAboutADuty(t *testing.T) {
	since := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	for want, c := range map[string]*Cluster{
		"":                           nil,
		"standby: host-b is on duty": {Scope: ReportsNothing, Why: "host-b is on duty"},
		"only healthy and sick are reported; the engine cannot be asked since 2026-05-01T12:00:00Z: connection refused": {
			Scope: ReportsAlive, Trouble: "connection refused", TroubleKind: Unreachable, TroubleSince: since,
		},
		"standby; the engine answers, but this daemon cannot take part since 2026-05-01T12:00:00Z: correct user": {
			Scope: ReportsNothing, Why: "correct user", Trouble: "correct user", TroubleKind: Excluded, TroubleSince: since,
		},
		"on duty; the engine answers, but nobody is on duty since 2026-05-01T12:00:00Z: delete the key; name it; leave out user": {
			Scope: ReportsEverything, Trouble: "delete the key", TroubleKind: Undecided, TroubleSince: since, Warnings: []string{"name it", "leave out user"},
		},
	} {
		if got := c.Note(); got != want {
			t.Errorf("got  %q\nwant %q", got, want)
		}
	}
}

func TestADaemonByItselfNeitherStandsByNorLacksAnEngine(t *testing.T) {
	var none *Cluster
	if none.StandsBy() || none.HasTrouble() {
		t.Errorf("got %v and %v, want neither", none.StandsBy(), none.HasTrouble())
	}
}
