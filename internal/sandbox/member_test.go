package sandbox

import (
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func TestSeveralDaemonsAreToldApartByTheirEndpoints(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var taken []Report
		b := newBubble(t, Options{Map: mapOf("tcp://h:1", "tcp://h:2"), Members: []string{"host-a", "host-b"}, Taken: func(r Report) { taken = append(taken, r) }})
		report := func(member, replica string, health Health) {
			t.Helper()
			if got := b.requestTo("/m/"+member, "POST", "/report/S/N", reportOf(replica, health, 120)); got != 200 {
				t.Fatalf("a report of %s is answered %d, want 200", member, got)
			}
		}
		if got := b.requestTo("/m/host-b", "GET", "/probes/local", ""); got != 200 {
			t.Errorf("the map request of host-b is answered %d, want 200", got)
		}
		asked := time.Now()
		time.Sleep(time.Second)
		report("host-a", "tcp://h:1", Healthy)
		report("host-b", "tcp://h:1", Sick)
		report("host-a", "tcp://h:2", Dead)
		last := time.Now()

		for replica, want := range map[string]string{"tcp://h:1": "host-b", "tcp://h:2": "host-a"} {
			if got, _ := b.s.Replica("S", "N", replica); got.By != want {
				t.Errorf("%s was reported by %q last, want %s", replica, got.By, want)
			}
		}
		if want := (Report{last, "host-b", "tcp://h:1", Sick}); len(taken) != 3 || taken[1] != want {
			t.Errorf("taken were %+v, want three reports, the second %+v", taken, want)
		}
		members := b.s.State().Members
		if len(members) != 2 || members[0].Name != "host-a" || members[1].Name != "host-b" {
			t.Fatalf("the members are %+v, want host-a and host-b", members)
		}
		one, two := members[0], members[1]
		if one.Reports != 2 || one.ByHealth[Healthy] != 1 || one.ByHealth[Dead] != 1 || !one.LastReport.Equal(last) || !one.LastAsked.IsZero() {
			t.Errorf("host-a is %+v, want two reports, one healthy and one dead, and no map request", one)
		}
		if two.Reports != 1 || two.ByHealth[Sick] != 1 || !two.LastAsked.Equal(asked) || two.Requests != 2 {
			t.Errorf("host-b is %+v, want one report and one map request", two)
		}
		if got := b.s.Summary().Violations; len(got) > 0 {
			t.Errorf("the daemons broke %+v, want no rule", got)
		}
		for _, endpoint := range []string{"/m/host-c", "/m", "/m/", "/m/host-a/v1"} {
			if got := b.requestTo(endpoint, "GET", "/probes/local", ""); got != 404 {
				t.Errorf("a request to %s is answered %d, want 404", endpoint, got)
			}
		}
	})
}

func TestSeveralDaemonsMayReportOneReplicaAtATime(t *testing.T) {
	for members, want := range map[string]int{"host-a host-b": 0, "host-a host-a": 1} {
		synctest.Test(t, func(t *testing.T) {
			b := newBubble(t, Options{Map: mapOf("tcp://h:1"), Members: []string{"host-a", "host-b"}, APIDelay: time.Second})
			var reports sync.WaitGroup
			for member := range strings.FieldsSeq(members) {
				reports.Go(func() {
					if got := b.requestTo("/m/"+member, "POST", "/report/S/N", reportOf("tcp://h:1", Healthy, 120)); got != 200 {
						t.Errorf("the report of %s is answered %d, want 200", member, got)
					}
				})
				time.Sleep(time.Millisecond)
			}
			reports.Wait()
			if got := b.s.Summary().Violations; len(got) != want {
				t.Errorf("two reports at a time by %s break %+v, want %d rules", members, got, want)
			}
		})
	}
}

func TestAFaultCanBeAimedAtOneOfSeveralDaemons(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBubble(t, Options{Map: mapOf("tcp://h:1"), Members: []string{"host-a", "host-b"}})
		b.s.Break(From("host-a"), Refuse(503, ""))
		for endpoint, want := range map[string]int{"/m/host-a": 503, "/m/host-b": 200, "": 200} {
			if got := b.requestTo(endpoint, "GET", "/probes/local", ""); got != want {
				t.Errorf("the map request to %q is answered %d, want %d", endpoint, got, want)
			}
			if got := b.requestTo(endpoint, "POST", "/report/S/N", reportOf("tcp://h:1", Healthy, 120)); got != want {
				t.Errorf("the report to %q is answered %d, want %d", endpoint, got, want)
			}
		}
		b.s.Break(Maps, Refuse(500, ""))
		if got := b.requestTo("/m/host-b", "GET", "/probes/local", ""); got != 500 {
			t.Errorf("with a fault of all map requests that of host-b is answered %d, want 500", got)
		}
	})
}

func TestADaemonThatTakesOverIsNotLateWhileItMayTakeOver(t *testing.T) {
	for _, tt := range []struct {
		gap  time.Duration
		late int
	}{{128 * time.Second, 0}, {129 * time.Second, 1}} {
		synctest.Test(t, func(t *testing.T) {
			b := newBubble(t, Options{Map: mapOf("tcp://h:1"), Members: []string{"host-a", "host-b"}, Takeover: 7 * time.Second})
			b.requestTo("/m/host-a", "GET", "/probes/local", "")
			b.requestTo("/m/host-a", "POST", "/report/S/N", reportOf("tcp://h:1", Healthy, 120))
			time.Sleep(tt.gap)
			b.requestTo("/m/host-b", "POST", "/report/S/N", reportOf("tcp://h:1", Healthy, 120))
			if got := b.s.Summary().LateGaps; got != tt.late {
				t.Errorf("after %v %d reports are late, want %d: 120 s are promised, 7 s are for the other to take over, 1 s is slack", tt.gap, got, tt.late)
			}
		})
	}
}
