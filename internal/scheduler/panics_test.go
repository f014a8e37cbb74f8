package scheduler

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/crisp-im/crisp-status-local/v2/internal/probe"
	"github.com/crisp-im/crisp-status-local/v2/internal/statusapi"
)

// TestPanicIsThatProbesFailure: the others are probed on, and the stack is said
// once.
func TestPanicIsThatProbesFailure(t *testing.T) {
	const mine, other = "tcp://mine:1", "tcp://other:1"
	r := newRig(t, gives(mapOf(t, mine, other)))
	r.judge = byReplica(map[string]judge{mine: func(context.Context, probe.Task) probe.Result {
		r.mu.Lock()
		delete(r.underway, mine) // the rig does not see it end
		r.mu.Unlock()
		panic("index out of range")
	}})
	r.run(func() { r.until(500 * time.Second) })
	if got := len(r.putsOf(other)); got != 5 {
		t.Errorf("got %d reports of the other replica, want 5", got)
	}
	if got := r.putsOf(mine); len(got) != 0 {
		t.Errorf("got the reports %v of what was never measured, want none", got)
	}
	said := r.said(logrus.ErrorLevel, "internal error: the daemon lives on, please report it with the stack")
	if len(said) != 1 || !strings.Contains(said[0].entry.Data["stack"].(string), "panics_test.go") {
		t.Errorf("got %d lines %v, want the stack once", len(said), said)
	}
}

// TestStacksInTheLogAreFew, however many reasons there are, and though another attempt
// was up.
func TestStacksInTheLogAreFew(t *testing.T) {
	replicas := names(0, 3*maxPanics)
	r := newRig(t, gives(mapOf(t, replicas...)))
	r.judge = func(_ context.Context, task probe.Task) probe.Result {
		return probe.Result{Health: probe.Healthy, Panic: probe.Panicked(task.Check.Target.ID())}
	}
	r.run(func() { r.until(300 * time.Second) })
	if got := len(r.said(logrus.ErrorLevel, "internal error: the daemon lives on, please report it with the stack")); got != maxPanics {
		t.Errorf("got %d stacks, want %d", got, maxPanics)
	}
}

// TestPanicIsThatMapRequestsFailure: the last map stays in force.
func TestPanicIsThatMapRequestsFailure(t *testing.T) {
	const mine = "tcp://mine:1"
	m, asked := mapOf(t, mine), 0
	r := newRig(t, func(context.Context, *statusapi.Map) (*statusapi.Map, error) {
		if asked++; asked > 1 {
			panic("index out of range")
		}
		return m, nil
	})
	r.run(func() { r.until(500 * time.Second) })
	if got := len(r.putsOf(mine)); got != 5 {
		t.Errorf("got %d reports, want 5", got)
	}
}
