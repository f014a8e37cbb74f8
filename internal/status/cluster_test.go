package status

import "testing"

func TestTheWordAboutADuty(t *testing.T) {
	for want, c := range map[string]*Cluster{
		"":                                    nil,
		"on duty":                             {Scope: ReportsEverything, Why: "this daemon holds the lease"},
		"standby: host-b is on duty":          {Scope: ReportsNothing, Why: "host-b is on duty", Holder: "host-b"},
		"standby":                             {Scope: ReportsNothing},
		"healthy and sick alone are reported": {Scope: ReportsAlive, Why: "the engine does not answer"},
	} {
		if got := c.Word(); got != want {
			t.Errorf("got %q of %+v, want %q", got, c, want)
		}
	}
}

func TestADaemonByItselfNeitherStandsByNorLacksAnEngine(t *testing.T) {
	var none *Cluster
	if none.StandsBy() || none.Alone() {
		t.Errorf("got %v and %v, want neither", none.StandsBy(), none.Alone())
	}
}
