package main

import (
	"testing"
	"time"

	"github.com/crisp-im/crisp-status-local/v2/internal/report"
	"github.com/crisp-im/crisp-status-local/v2/internal/scheduler"
)

func TestStatusLine(t *testing.T) {
	t.Parallel()
	now := time.Now()
	in := func(d time.Duration) time.Time { return now.Add(d) }
	for _, tt := range []struct {
		summary scheduler.Summary
		promise report.Promise
		want    string
	}{
		{scheduler.Summary{NextCycle: in(time.Minute)}, report.Promise{}, "no map yet; nothing is probed"},
		{
			scheduler.Summary{HasMap: true, Replicas: 212, Healthy: 209, Sick: 2, Dead: 1, NextCycle: in(43 * time.Second)},
			report.Promise{WorstGap: 120100 * time.Millisecond},
			"212 replicas: 209 healthy, 2 sick, 1 dead; reports on time (worst gap 120.1 s); next cycle in 43s",
		},
		{
			scheduler.Summary{HasMap: true, Replicas: 1, NextCycle: in(-time.Second)}, report.Promise{},
			"1 replica: 0 healthy, 0 sick, 0 dead, 1 without a verdict; reports on time; next cycle in 0s",
		},
		{
			scheduler.Summary{HasMap: true, Replicas: 3, Healthy: 3, NextCycle: in(2 * time.Minute)},
			report.Promise{WorstGap: 171 * time.Second, Late: 2},
			"3 replicas: 3 healthy, 0 sick, 0 dead; reports were late (worst gap 171.0 s); next cycle in 2m0s",
		},
		{
			scheduler.Summary{HasMap: true, Replicas: 3, Healthy: 3, NextCycle: in(2 * time.Minute)},
			report.Promise{Overdue: 3},
			"3 replicas: 3 healthy, 0 sick, 0 dead; reports of 3 replicas are overdue; next cycle in 2m0s",
		},
	} {
		if got := statusLine(now, tt.summary, tt.promise); got != tt.want {
			t.Errorf("got  %q\nwant %q", got, tt.want)
		}
	}
}
