package scheduler_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/crisp-im/crisp-status-local/v2/internal/pace"
	"github.com/crisp-im/crisp-status-local/v2/internal/probe"
	"github.com/crisp-im/crisp-status-local/v2/internal/report"
	"github.com/crisp-im/crisp-status-local/v2/internal/sandbox/judge"
	"github.com/crisp-im/crisp-status-local/v2/internal/sandbox/target"
	"github.com/crisp-im/crisp-status-local/v2/internal/scheduler"
	"github.com/crisp-im/crisp-status-local/v2/internal/statusapi"
)

const roundTrip = 20 * time.Millisecond

// arrival is a report that the page took.
type arrival struct {
	at      time.Duration
	health  probe.Health
	promise time.Duration
}

// watch is a status page, judged by the sandbox, and the daemons that report to it one
// after another: each is a running scheduler and outbox.
type watch struct {
	t        *testing.T
	interval time.Duration
	promise  time.Duration
	m        *statusapi.Map
	start    time.Time

	mu       sync.Mutex // protects all following fields
	judge    *judge.Judge
	arrivals map[string][]arrival // by replica
	probes   map[string]int
	red      []string // replicas that the page has shown dead for want of a report
	sick     map[string]bool
}

// newWatch returns a page with so many replicas that are up. It belongs in a bubble.
func newWatch(t *testing.T, replicas int, interval, promise time.Duration) *watch {
	w := &watch{
		t: t, interval: interval, promise: promise, m: &statusapi.Map{}, start: time.Now(), judge: judge.New(pace.Grace),
		arrivals: make(map[string][]arrival), probes: make(map[string]int), sick: make(map[string]bool),
	}
	node := judge.Node{ID: "node"}
	for i := range replicas {
		url := fmt.Sprintf("tcp://replica-%d:1", i)
		parsed, err := probe.ParseTarget(url)
		if err != nil {
			t.Fatal(err)
		}
		w.m.Checks = append(w.m.Checks, probe.Check{ServiceID: "service", NodeID: "node", Target: parsed, Rules: probe.DefaultRules()})
		node.Replicas = append(node.Replicas, &judge.Replica{URL: url, Shown: url})
	}
	w.judge.Install(&judge.Map{Date: 1, Limits: target.Limits{Retry: 2, DeadAfter: 20 * time.Second},
		Services: []judge.Service{{ID: "service", Nodes: []judge.Node{node}}}}, time.Now())
	return w
}

func (w *watch) now() time.Duration { return time.Since(w.start) }

// until lets time go on until so long after the start.
func (w *watch) until(at time.Duration) {
	time.Sleep(at - w.now())
	synctest.Wait()
}

// late returns the replicas that the page shows dead for want of a report, now or
// ever.
func (w *watch) late() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	red := w.red
	state, _ := w.judge.State(time.Now())
	for _, r := range state.Services[0].Nodes[0].Replicas {
		if r.Status == judge.Late {
			red = append(red, r.Replica)
		}
	}
	return strings.Join(red, " ")
}

// reported returns the reports of a replica.
func (w *watch) reported(replica int) []arrival {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.arrivals[w.m.Checks[replica].ID().Replica]
}

// instance is one daemon.
type instance struct {
	*watch
	outbox    *report.Outbox
	scheduler *scheduler.Scheduler
	stop      func() // as SIGTERM does

	mu     sync.Mutex
	killed bool
}

// run starts a daemon.
func (w *watch) run() *instance {
	log := logrus.New()
	log.SetOutput(io.Discard)
	d := &instance{watch: w}
	d.outbox = report.New(d, report.Terms{Interval: w.interval, Promise: w.promise}, log)
	d.scheduler = scheduler.New(scheduler.Settings{API: d, Interval: w.interval}, d, d.outbox, log)
	scheduling, endScheduling := context.WithCancel(w.t.Context())
	delivering, endDelivering := context.WithCancel(w.t.Context())
	var parts sync.WaitGroup
	parts.Go(func() { d.outbox.Run(delivering) })
	parts.Go(func() {
		d.scheduler.Run(scheduling)
		endDelivering()
	})
	d.stop = func() {
		endScheduling()
		parts.Wait()
	}
	return d
}

// kill ends a daemon: nothing reaches the page from now on. Its goroutines end, too.
func (d *instance) kill() {
	d.mu.Lock()
	d.killed = true
	d.mu.Unlock()
	go d.stop()
	synctest.Wait()
}

func (d *instance) dead() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.killed
}

// FetchMap makes an instance its own API.
func (d *instance) FetchMap(ctx context.Context, _ *statusapi.Map) (*statusapi.Map, error) {
	return d.m, pause(ctx, roundTrip)
}

// Report has the page take a report half a round trip later, unless it has turned the
// replica red before.
func (d *instance) Report(ctx context.Context, v statusapi.Verdict, promise time.Duration) error {
	if d.dead() {
		return errors.New("killed")
	}
	if err := pause(ctx, roundTrip/2); err != nil {
		return err
	}
	now, id := time.Now(), judge.NodeID{Service: v.ID.Service, Node: v.ID.Node}
	w := d.watch
	if d.dead() {
		return errors.New("killed")
	}
	w.mu.Lock()
	if state, ok := w.judge.Replica(id, v.ID.Replica, now); ok && state.Status == judge.Late {
		w.red = append(w.red, v.ID.Replica)
	}
	w.judge.Accept(id, v.ID.Replica, judge.Health(v.Health), promise, now)
	w.arrivals[v.ID.Replica] = append(w.arrivals[v.ID.Replica], arrival{w.now(), v.Health, promise})
	w.mu.Unlock()
	return pause(ctx, roundTrip/2)
}

// Refresh and Probe make an instance its own Prober.
func (d *instance) Refresh() {}

func (d *instance) Probe(ctx context.Context, task probe.Task) probe.Result {
	w, id := d.watch, task.Check.ID().Replica
	w.mu.Lock()
	defer w.mu.Unlock()
	w.probes[id]++
	result := probe.Result{Check: task.Check, Health: probe.Healthy, Attempts: 1}
	if w.sick[id] {
		result.Health = probe.Sick
	}
	return result
}

// TestUnchangedVerdictsAreRenewed: with an interval of two minutes and a promise of ten, an
// unchanged verdict is reported every six minutes; a change is reported at its turn.
func TestUnchangedVerdictsAreRenewed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWatch(t, 96, 2*time.Minute, 10*time.Minute)
		d := w.run()
		w.until(61 * time.Minute)
		for i := range w.m.Checks {
			got := w.reported(i)
			for n, a := range got {
				if n > 0 && (a.at-got[n-1].at).Round(time.Second) != 6*time.Minute || a.promise != 10*time.Minute {
					t.Errorf("replica %d: got %v, want a report every six minutes, each with the promise of ten", i, got)
				}
			}
			if id := w.m.Checks[i].ID().Replica; len(got) != 11 || w.probes[id] != 31 {
				t.Errorf("replica %d: got %d reports of %d verdicts, want 11 of 31", i, len(got), w.probes[id])
			}
		}
		if got := d.outbox.Snapshot(); got.Promise.WorstGap.Round(time.Second) != 6*time.Minute || got.Late != 0 || got.Promise.Overdue != 0 {
			t.Errorf("got %+v, want a worst gap of six minutes and none late", got.Promise)
		}

		w.mu.Lock()
		w.sick[w.m.Checks[0].ID().Replica] = true
		w.mu.Unlock()
		w.until(63 * time.Minute)
		got := w.reported(0)
		if last := got[len(got)-1]; last.health != probe.Sick || last.at > 62*time.Minute+time.Second {
			t.Errorf("got %+v, want that it is sick, at its turn after 62 minutes", last)
		}
		d.stop()
	})
}

// TestPlannedAbsence: wherever in the cycle the daemon is told to end, it may be away for as
// long as it promised, from then to its next start; if it is killed instead, it may not.
func TestPlannedAbsence(t *testing.T) {
	for _, tt := range []struct{ interval, promise time.Duration }{
		{2 * time.Minute, 10 * time.Minute},
		{2 * time.Minute, 2 * time.Minute},
		{time.Minute, 100 * time.Second},
	} {
		killed := 0
		for at := 3 * tt.promise; at < 5*tt.promise; at += 37 * time.Second {
			absent := func(absence time.Duration, end func(*instance)) string {
				late := ""
				synctest.Test(t, func(t *testing.T) {
					w := newWatch(t, 96, tt.interval, tt.promise)
					first := w.run()
					w.until(at)
					end(first)
					w.until(at + absence)
					second := w.run()
					w.until(at + absence + tt.interval)
					late = w.late()
					second.stop()
				})
				return late
			}
			if late := absent(tt.promise, func(d *instance) { d.stop() }); late != "" {
				t.Errorf("interval %v, promise %v, told to end after %v: got the page red for %s, want no replica red", tt.interval, tt.promise, at, late)
			}
			if absent(tt.promise, (*instance).kill) != "" {
				killed++
			}
		}
		if killed == 0 {
			t.Errorf("interval %v, promise %v: a daemon that is killed and away for as long turned nothing red: this test cannot fail", tt.interval, tt.promise)
		}
	}
}

// TestUnplannedAbsence: whenever the daemon is killed, nothing turns red if its replicas
// are reported again within pace.Absence; and not much later something does.
func TestUnplannedAbsence(t *testing.T) {
	for _, tt := range []struct {
		interval, promise time.Duration
		more              time.Duration // that the page shows
	}{
		// Ages of reports at a turn are multiples of the interval: with half the promise
		// a second above one of them, the bound is met but for that second.
		{2 * time.Minute, 482 * time.Second, time.Second + roundTrip},
		{2 * time.Minute, 10 * time.Minute, 61 * time.Second},
		{2 * time.Minute, 3 * time.Minute, 61 * time.Second},
		{2 * time.Minute, 2 * time.Minute, time.Second + roundTrip},
	} {
		shown := 0
		longest := pace.Absence(tt.interval, tt.promise)
		var moments []time.Duration
		for at := 2 * tt.promise; at < 4*tt.promise; at += 47 * time.Second {
			moments = append(moments, at)
		}
		for turn := 2 * tt.promise / tt.interval * tt.interval; turn < 4*tt.promise; turn += tt.interval {
			moments = append(moments, turn-time.Millisecond, turn+roundTrip/4, turn+roundTrip)
		}
		for _, at := range moments {
			away := func(absence time.Duration) string {
				late := ""
				synctest.Test(t, func(t *testing.T) {
					w := newWatch(t, 8, tt.interval, tt.promise) // reported as soon as the map is there
					w.run().killAt(at)
					w.until(at + absence - 3*roundTrip/2)
					again := w.run()
					w.until(at + absence + time.Minute)
					late = w.late()
					again.stop()
				})
				return late
			}
			if late := away(longest); late != "" {
				t.Errorf("interval %v, promise %v, killed after %v for %v: got the page red for %s, want no replica red", tt.interval, tt.promise, at, longest, late)
			}
			if away(longest+tt.more) != "" {
				shown++
			}
		}
		if shown == 0 {
			t.Errorf("interval %v, promise %v: an absence of %v turned nothing red: this test cannot fail", tt.interval, tt.promise, longest+tt.more)
		}
	}
}

// killAt kills a daemon so long after the start.
func (d *instance) killAt(at time.Duration) {
	d.until(at)
	d.kill()
}

// TestPromiseChangedByAReload: the page gets the new promise at the next turn, longer or
// shorter, and nothing turns red meanwhile.
func TestPromiseChangedByAReload(t *testing.T) {
	const interval = 2 * time.Minute
	for _, tt := range []struct{ before, after time.Duration }{
		{interval, 10 * time.Minute},
		{interval, time.Hour},
		{10 * time.Minute, interval},
		{time.Hour, interval},
		{time.Hour, 10 * time.Minute},
		{5 * time.Minute, time.Hour},
	} {
		for at := tt.before; at < tt.before+8*time.Minute; at += 59 * time.Second {
			synctest.Test(t, func(t *testing.T) {
				w := newWatch(t, 96, interval, tt.before)
				d := w.run()
				w.until(at)
				d.outbox.Reload(d, report.Terms{Interval: interval, Promise: tt.after})
				d.scheduler.Reload(t.Context(), scheduler.Settings{API: d, Interval: interval}, scheduler.SamePage)
				w.until(at + interval + time.Second)
				for i := range w.m.Checks {
					got := w.reported(i)
					if last := got[len(got)-1]; last.promise != tt.after {
						t.Errorf("from %v to %v after %v: got the promise %v of replica %d a turn later, want the new one", tt.before, tt.after, at, last.promise, i)
					}
				}
				w.until(at + 2*max(tt.before, tt.after))
				if late := w.late(); late != "" {
					t.Errorf("from %v to %v after %v: got the page red for %s, want no replica red", tt.before, tt.after, at, late)
				}
				if got := d.outbox.Snapshot(); got.Late != 0 || got.Promise.Overdue != 0 {
					t.Errorf("from %v to %v after %v: got %+v, %d late, want none", tt.before, tt.after, at, got.Promise, got.Late)
				}
				d.stop()
			})
		}
	}
}
