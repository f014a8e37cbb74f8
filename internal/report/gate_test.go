package report

import (
	"slices"
	"testing"
	"time"
)

// TestGate: after 1, 2, 4, 5, 5 … s, then a minute; an answer to a report that
// began before says nothing new.
func TestGate(t *testing.T) {
	now := time.Now()
	var g gate
	if at, ok := g.next(now); !ok || !at.Equal(now) {
		t.Fatalf("open: got the next report at %v, want at once", at)
	}
	before := &entry{}
	g.begin(now, before)
	if !g.unauthorized(now, &entry{}) || g.unauthorized(now, before) {
		t.Error("want it said when the gate closes, and not for a report that began before")
	}
	g.end(before)
	var waits []time.Duration
	said := 0
	for range 150 {
		at, ok := g.next(now)
		if !ok {
			t.Fatal("got the gate shut for good")
		}
		waits = append(waits, at.Sub(now)/time.Second)
		now = at
		e := &entry{}
		g.begin(now, e)
		g.end(e)
		if g.unauthorized(now, e) {
			said++
		}
	}
	if want := []time.Duration{1, 2, 4, 5, 5, 5}; !slices.Equal(waits[:6], want) {
		t.Errorf("got the waits %d, want %d", waits[:6], want)
	}
	if waits[149] != 60 || said != 1 {
		t.Errorf("after ten minutes: got the wait %d s, said %d times more; want a minute, said once", waits[149], said)
	}
	if !g.open() || g.closed || g.open() {
		t.Error("want a taken report to open it, once")
	}
}

// TestHangingTrials: another one begins five seconds after one that hangs, up to
// four of them.
func TestHangingTrials(t *testing.T) {
	now := time.Now()
	var trials trials
	for i := range hangingTrials {
		at, ok := trials.at()
		if want := now.Add(5 * time.Second); !ok || i > 0 && !at.Equal(want) {
			t.Fatalf("trial %d: got %v, want %v", i, at, want)
		}
		if i > 0 {
			now = at
		}
		trials.begin(now, time.Second)
	}
	if _, ok := trials.at(); ok {
		t.Error("got a fifth trial beside four that hang")
	}
}
