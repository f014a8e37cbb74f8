package main

import (
	"testing"
	"time"

	"github.com/crisp-im/crisp-status-local/v2/internal/report"
)

func TestStatusLine(t *testing.T) {
	t.Parallel()
	now := time.Now()
	in := func(d time.Duration) time.Time { return now.Add(d) }
	for _, tt := range []struct {
		summary summary
		promise report.Promise
		want    string
	}{
		{summary{nextCycle: in(time.Minute)}, report.Promise{}, "no map yet; nothing is probed"},
		{
			summary{hasMap: true, replicas: 212, healthy: 209, sick: 2, dead: 1, nextCycle: in(43 * time.Second)},
			report.Promise{WorstGap: 120100 * time.Millisecond},
			"212 replicas: 209 healthy, 2 sick, 1 dead; reports on time (worst gap 120.1 s); next cycle in 43s",
		},
		{
			summary{hasMap: true, replicas: 1, nextCycle: in(-time.Second)}, report.Promise{},
			"1 replica: 0 healthy, 0 sick, 0 dead, 1 without a verdict; reports on time; next cycle in 0s",
		},
		{
			summary{hasMap: true, replicas: 3, healthy: 3, nextCycle: in(2 * time.Minute)},
			report.Promise{WorstGap: 171 * time.Second, Late: 2},
			"3 replicas: 3 healthy, 0 sick, 0 dead; reports were late (worst gap 171.0 s); next cycle in 2m0s",
		},
		{
			summary{hasMap: true, replicas: 3, healthy: 3, nextCycle: in(2 * time.Minute)},
			report.Promise{Overdue: 3},
			"3 replicas: 3 healthy, 0 sick, 0 dead; reports of 3 replicas are overdue; next cycle in 2m0s",
		},
		{summary{duty: "standby: host-b is on duty", standsBy: true}, report.Promise{}, "standby: host-b is on duty; no map yet; nothing is probed"},
		{
			summary{hasMap: true, replicas: 3, healthy: 3, nextCycle: in(2 * time.Minute), duty: "standby: host-b is on duty", standsBy: true},
			report.Promise{Overdue: 3},
			"standby: host-b is on duty; 3 replicas: 3 healthy, 0 sick, 0 dead; next cycle in 2m0s",
		},
		{
			summary{hasMap: true, replicas: 3, healthy: 3, nextCycle: in(2 * time.Minute), duty: "on duty"},
			report.Promise{WorstGap: 120100 * time.Millisecond},
			"on duty; 3 replicas: 3 healthy, 0 sick, 0 dead; reports on time (worst gap 120.1 s); next cycle in 2m0s",
		},
	} {
		tt.summary.promise = tt.promise
		if got := statusLine(now, tt.summary); got != tt.want {
			t.Errorf("got  %q\nwant %q", got, tt.want)
		}
	}
}
