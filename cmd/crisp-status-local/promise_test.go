package main

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/crisp-im/crisp-status-local/v2/internal/sandbox"
)

// promise adds a promise to the configuration.
func (w *world) promise(seconds int) {
	w.t.Helper()
	text, err := os.ReadFile(w.config)
	if err != nil {
		w.t.Fatal(err)
	}
	with := strings.Replace(string(text), "[report]\n", fmt.Sprintf("[report]\npromise = %d\n", seconds), 1)
	if err := os.WriteFile(w.config, []byte(with), 0o600); err != nil {
		w.t.Fatal(err)
	}
}

// probed returns how many probes the daemon has logged.
func (w *world) probed() int { return strings.Count(w.out.String(), "msg=probed") }

// TestAbsenceWithinThePromise: with an interval of 1 s and a promise of 10 s, few of the
// verdicts are reported, but a change is; told to end, the daemon renews every report,
// and is away for 8 s without one that is late.
func TestAbsenceWithinThePromise(t *testing.T) {
	t.Parallel()
	const promise, away = 10, 8 * time.Second
	replicas := estate(20)
	w := newWorld(t, sandbox.Options{}, replicas...)
	w.configure(w.Token(), 1)
	w.promise(promise)
	w.launch()
	w.allReported(replicas, 3)
	s := w.Summary()
	if s.Interval != promise {
		t.Errorf("got the promise %v s, want %d", s.Interval, promise)
	}
	if probed := w.probed(); s.Reports > probed/3 {
		t.Errorf("got %d reports of %d verdicts, want a third at most", s.Reports, probed)
	}
	w.wantNoneRed()

	target, _ := w.Target(replicas[0])
	target.Stop()
	w.becomes(replicas[0], sandbox.Dead)
	if err := target.Start(); err != nil {
		t.Fatal(err)
	}
	w.becomes(replicas[0], sandbox.Healthy)

	// The last reports of those that did not change are old enough to be renewed, and none
	// is renewed by itself, 5 s after it, before the daemon is told to end.
	steady := replicas[1:]
	before := make(map[string]sandbox.ReplicaState)
	var told time.Time
	w.eventually("reports of 3 s ago", func() bool {
		began := time.Now()
		for _, replica := range steady {
			before[replica] = w.replica(w.url(replica))
		}
		told = time.Now()
		young := func(replica string) bool { return before[replica].Age <= 3 }
		return !slices.ContainsFunc(steady, young) && told.Sub(began) < 500*time.Millisecond
	})
	w.stop()
	for _, replica := range steady {
		if got := w.replica(w.url(replica)).Reports; got == before[replica].Reports {
			t.Errorf("%s: got no report when the daemon was told to end", replica)
		}
	}
	time.Sleep(time.Until(told.Add(away)))
	w.launch()
	w.allReported(replicas, 1)
	if took := time.Since(told); took < promise*time.Second {
		for _, replica := range steady {
			if late := w.replica(w.url(replica)).LateGaps - before[replica].LateGaps; late != 0 {
				t.Errorf("%s: got a late report after an absence of %v, want none", replica, took)
			}
		}
	} else {
		t.Logf("this machine took %v for an absence of %v: what is late by that is not judged", took, away)
	}
	w.wantNoneRed()
}

// TestPromiseBelowTheInterval: the complaint names file, key, value and what is wanted.
func TestPromiseBelowTheInterval(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sandbox.Options{}, "target:tcp")
	w.configure(w.Token(), 60)
	w.promise(30)
	w.launch()
	<-w.ended
	w.cmd = nil
	if want := w.config + ": report.promise: 30 is out of range, want 60 to 3600 seconds, no less than probe.interval"; !strings.Contains(w.out.String(), want) {
		t.Errorf("got %q, want in it %q", w.out, want)
	}
}

// TestPromiseOfAReload: it is told within an interval.
func TestPromiseOfAReload(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sandbox.Options{}, "target:tcp")
	w.start(1)
	w.becomes("target:tcp", sandbox.Healthy)
	w.promise(3600)
	w.cmd.Process.Signal(syscall.SIGHUP)
	url := w.url("target:tcp")
	w.eventually("the new promise is told", func() bool { return w.replica(url).Interval == 3600 })
	w.configure(w.Token(), 1)
	w.cmd.Process.Signal(syscall.SIGHUP)
	w.eventually("the interval is promised again", func() bool { return w.replica(url).Interval == 1 })
	w.reports(url, 3)
	w.wantNoneRed()
}
