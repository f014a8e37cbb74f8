package report

import (
	"testing"
	"time"

	"github.com/crisp-im/crisp-status-local/v2/internal/probe"
)

// TestStatesOfTheBreaker goes once round, and then shows it what began before.
func TestStatesOfTheBreaker(t *testing.T) {
	now := time.Now()
	var b breaker
	begin := func(replica int) *entry {
		e := &entry{verdict: verdict(replica, 0, "")}
		b.begin(now, e, func(n int) time.Duration { return time.Duration(n) * time.Second })
		return e
	}
	want := func(what string, s state) {
		t.Helper()
		if b.state() != s {
			t.Errorf("%s: got the state %d, want %d", what, b.state(), s)
		}
	}
	old := begin(9)
	for i := range 5 {
		want("before the fifth failure", closed)
		if opened := b.failure(now, begin(i), 100); opened != (i == 4) {
			t.Errorf("failure %d: opened: %v", i+1, opened)
		}
	}
	want("five failures", open)
	if at, ok := b.next(now); !ok || at.Sub(now) != 500*time.Millisecond {
		t.Errorf("got the first trial after %v, want half a second", at.Sub(now))
	}
	trial := begin(1)
	want("a trial begins", halfOpen)
	b.failure(now, trial, 100)
	b.end(trial)
	want("a trial fails", open)
	if at, _ := b.next(now); at.Sub(now) != 2*time.Second {
		t.Errorf("got the second trial after %v, want what it was told", at.Sub(now))
	}
	if b.postpone(now.Add(time.Hour)); b.trials.next.Sub(now) != 5*time.Second {
		t.Errorf("got a trial held for %v, want 5s at most", b.trials.next.Sub(now))
	}
	late := begin(2)
	if !b.success(&entry{}) || b.success(&entry{}) {
		t.Error("want a taken report to close it, once")
	}
	want("a report is taken", closed)
	b.end(late)
	for range 9 {
		b.failure(now, old, 1)
		b.failure(now, late, 1)
	}
	want("failures of what began before", closed)
	if b.trials.inFlight != 0 {
		t.Errorf("got %d trials under way, want none", b.trials.inFlight)
	}
}

// TestWhatHangsAmongOthersIsNoOutage: failures in a row are counted by the
// beginnings of the reports.
func TestWhatHangsAmongOthersIsNoOutage(t *testing.T) {
	var b breaker
	now := time.Now()
	report := func(i int, began time.Duration) *entry {
		return &entry{verdict: verdict(i, 1, probe.Healthy), request: request{began: now.Add(began)}}
	}
	b.success(report(0, time.Second))
	for i := range 10 {
		if b.failure(now.Add(5*time.Second), report(i, 0), 20) {
			t.Fatal("it opens, want it closed: a report that began later was taken")
		}
	}
	for i := range breakerFailures {
		opens := b.failure(now.Add(7*time.Second), report(i, 2*time.Second), 20)
		if want := i == breakerFailures-1; opens != want {
			t.Errorf("failure %d of those that began later opens it: got %v, want %v", i+1, opens, want)
		}
	}
}
