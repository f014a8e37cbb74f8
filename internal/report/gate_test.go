package report

import (
	"slices"
	"testing"
	"time"

	"github.com/crisp-im/crisp-status-local/v2/internal/pace"
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
	if !g.open(now) || g.closed || g.open(now) {
		t.Error("want a taken report to open it, once")
	}
}

// TestOddRefusals: once a report was taken, some replicas may be refused without a wait for the
// others, but not five in a row, nor after ten minutes.
func TestOddRefusals(t *testing.T) {
	now := time.Now()
	e := &entry{}
	refuse := func(g *gate, times int) {
		for range times {
			if !g.tolerates(now) {
				g.begin(now, e)
				g.unauthorized(now, e)
			}
		}
	}
	var g gate
	if refuse(&g, 1); !g.closed {
		t.Error("the first refusal of all does not close it")
	}
	g.open(now)
	for range 10 {
		if refuse(&g, oddRefusals-1); g.closed {
			t.Fatal("four refusals close it, though a report was taken before them, want it open")
		}
		g.open(now)
	}
	if refuse(&g, oddRefusals); !g.closed {
		t.Error("five refusals in a row do not close it")
	}
	g.open(now)
	now = now.Add(pace.UnauthorizedGrace)
	if refuse(&g, 1); !g.closed {
		t.Error("a refusal ten minutes after it was opened does not close it")
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
