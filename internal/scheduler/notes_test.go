package scheduler

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/crisp-im/crisp-status-local/v2/internal/probe"
)

// TestNotesAreLoggedOnce for a replica and a map, ten in a cycle at most, with a
// line that counts the others.
func TestNotesAreLoggedOnce(t *testing.T) {
	const message = "a replica is judged, but there is something to know of it"
	r := newRig(t, gives(mapOf(t, names(0, 25)...)))
	r.judge = func(context.Context, probe.Task) probe.Result {
		return probe.Result{Health: probe.Healthy, Attempts: 1, Notes: []string{"its body is compressed"}}
	}
	r.run(func() {
		for cycle, want := range []struct{ said, left int }{{10, 15}, {20, 5}, {25, 0}, {25, 0}} {
			r.until(time.Duration(cycle+1)*r.settings.Interval + time.Second - 2*time.Second)
			said := r.said(logrus.WarnLevel, message)
			if len(said) != want.said {
				t.Errorf("cycle %d: got %d notes logged, want %d", cycle+1, len(said), want.said)
			}
			r.until(time.Duration(cycle+1) * r.settings.Interval)
			left := r.said(logrus.WarnLevel, "there is something to know of more replicas; the next cycles will say it")
			if want.left > 0 && (len(left) != cycle+1 || left[cycle].entry.Data["notes"] != want.left) {
				t.Errorf("cycle %d: got %d lines of what is left, want one more, of %d notes", cycle+1, len(left), want.left)
			}
		}
		r.answer(gives(mapOf(t, names(0, 1)...)))
		r.until(6 * r.settings.Interval)
		if said := r.said(logrus.WarnLevel, message); len(said) != 26 || said[25].entry.Data["note"] != "its body is compressed" {
			t.Errorf("got %d notes logged, want one more for another map", len(said))
		}
	})
}

// TestNotesThatKeepChanging: a server that has other words in each answer has four lines,
// and as many places in memory.
func TestNotesThatKeepChanging(t *testing.T) {
	r := newRig(t, gives(mapOf(t, names(0, 2)...)))
	r.judge = func(context.Context, probe.Task) probe.Result {
		return probe.Result{Health: probe.Healthy, Attempts: 1, Notes: []string{fmt.Sprint("its body is compressed by ", r.now())}}
	}
	r.run(func() {
		r.until(100*r.settings.Interval - time.Second)
		texts := 0
		for _, said := range r.scheduler.noted {
			texts += len(said)
		}
		if said := r.said(logrus.WarnLevel, "a replica is judged, but there is something to know of it"); len(said) != 2*maxTexts || texts != 2*maxTexts {
			t.Errorf("got %d notes logged and %d kept, want %d of each of 2 replicas", len(said), texts, maxTexts)
		}
	})
}
