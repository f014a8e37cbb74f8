package scheduler

import (
	"context"
	"testing"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/crisp-im/crisp-status-local/v2/internal/probe"
)

// denied is a result that the policy denied.
var denied = probe.Result{Attempts: 1, Err: &probe.Error{Kind: probe.KindPolicy, Reason: `10.0.0.1 is denied by the entry "10.0.0.0/8" of [probe] deny`}}

const denial = "replica denied by policy: it is neither probed nor reported, so the page will show it dead"

// TestDeniedReplicaHasNoReport: nor is an earlier verdict repeated, and it is said
// once per map.
func TestDeniedReplicaHasNoReport(t *testing.T) {
	const mine, other = "tcp://mine:1", "tcp://other:1"
	m := mapOf(t, mine, other)
	r := newRig(t, gives(m))
	r.run(func() {
		r.until(100 * time.Second)
		r.judgeBy(byReplica(map[string]judge{mine: func(context.Context, probe.Task) probe.Result { return denied }}))
		r.until(500 * time.Second)
		for _, record := range r.snapshot(Replicas).Replicas {
			shown := record.Show()
			if want := map[string]string{mine: "unknown", other: "healthy"}[shown.Replica]; shown.Health != want {
				t.Errorf("%s: got the health %s, want %s, as it is counted", shown.Replica, shown.Health, want)
			}
			if shown.Replica == mine && (len(shown.History) != 0 || shown.Reason != denied.Reason()) {
				t.Errorf("got the reason %q and %d verdicts of a denied replica, want the rule and none", shown.Reason, len(shown.History))
			}
		}
		if got := r.said(logrus.WarnLevel, denial); len(got) != 1 {
			t.Errorf("got the denial %d times in one map, want once", len(got))
		}
		r.answer(gives(mapOf(t, mine, other)))
		r.until(800 * time.Second)
	})
	if got := r.putsOf(mine); len(got) != 1 || got[0].health != probe.Healthy {
		t.Errorf("got the reports %v, want the one before it was denied", got)
	}
	if got := r.putsOf(other); len(got) != 7 {
		t.Errorf("got %d reports of the other replica, want 7", len(got))
	}
	if got := r.said(logrus.WarnLevel, denial); len(got) != 2 {
		t.Errorf("got the denial %d times in two maps, want twice", len(got))
	}
}

// TestDeniedReplicaIsReportedDeadOnRequest: at once, however many there are, since
// the policy is no fault of this host.
func TestDeniedReplicaIsReportedDeadOnRequest(t *testing.T) {
	replicas := names(0, 200)
	r := newRig(t, gives(mapOf(t, replicas...)))
	r.settings.ReportDenied = true
	r.judge = func(context.Context, probe.Task) probe.Result { return denied }
	r.run(func() { r.until(100 * time.Second) })
	for _, id := range replicas {
		if got := r.putsOf(id); len(got) != 1 || got[0].health != probe.Dead {
			t.Fatalf("%s: got the reports %v, want one that it is dead", id, got)
		}
	}
	const message = "replica denied by policy: it is not probed, and reported dead"
	if got := len(r.said(logrus.WarnLevel, message)); got != maxDenied {
		t.Errorf("got %d lines of denials, want %d", got, maxDenied)
	}
}
