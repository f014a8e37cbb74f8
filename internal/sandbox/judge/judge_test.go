package judge

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/crisp-im/crisp-status-local/v2/internal/sandbox/target"
)

// bubble is a judge of one node, for tests in faked time.
type bubble struct {
	t *testing.T
	j *Judge
}

var node = NodeID{"S", "N"}

func newBubble(t *testing.T, urls ...string) bubble {
	t.Helper()
	b := bubble{t, New(40 * time.Second)}
	b.install(urls...)
	return b
}

// install puts a map of these replicas in force, with the daemon's default limits.
func (b bubble) install(urls ...string) {
	n := Node{ID: node.Node}
	for _, url := range urls {
		n.Replicas = append(n.Replicas, &Replica{URL: url, Shown: url})
	}
	limits := target.Limits{Retry: 2, DeadAfter: 20 * time.Second}
	b.j.Install(&Map{Date: b.j.current.Date + 1, Limits: limits, Services: []Service{{ID: node.Service, Nodes: []Node{n}}}}, time.Now())
}

func (b bubble) fetch() { b.j.MapRequested(0, time.Now()) }

func (b bubble) report(url string, health Health) {
	b.t.Helper()
	if !b.j.Accept(node, url, health, 120*time.Second, time.Now()) {
		b.t.Fatalf("a report of %s is refused, want it accepted", url)
	}
}

func (b bubble) replica(url string) ReplicaState {
	b.t.Helper()
	r, ok := b.j.Replica(node, url, time.Now())
	if !ok {
		b.t.Fatalf("the map has no %s", url)
	}
	return r
}

func (b bubble) summary() Summary { return b.j.Summary(time.Now()) }

// TestALongerPromiseIsJudgedByItself: a report is late by what the one before promised.
func TestALongerPromiseIsJudgedByItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBubble(t, "tcp://h:1")
		b.fetch()
		promise := func(p time.Duration) { b.j.Accept(node, "tcp://h:1", Healthy, p, time.Now()) }
		want := func(status Status, late int) {
			t.Helper()
			if got := b.replica("tcp://h:1"); got.Status != status || got.LateGaps != late {
				t.Errorf("it is %s with %d late gaps, want %s and %d", got.Status, got.LateGaps, status, late)
			}
		}
		promise(600 * time.Second)
		time.Sleep(601 * time.Second)
		want(Status(Healthy), 0)
		promise(120 * time.Second)
		time.Sleep(121 * time.Second)
		want(Status(Healthy), 0)
		time.Sleep(40 * time.Second)
		want(Late, 1) // whatever the one before it promised
		promise(600 * time.Second)
		time.Sleep(640 * time.Second)
		want(Status(Healthy), 2) // later than promised, and the page waits
		time.Sleep(time.Second)
		want(Late, 2)
	})
}

func TestPageCallsAReplicaLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBubble(t, "tcp://h:1", "tcp://h:2")
		want := func(url string, want Status) {
			t.Helper()
			if got := b.replica(url).Status; got != want {
				t.Errorf("%s is %s, want %s", url, got, want)
			}
		}
		time.Sleep(time.Hour)
		want("tcp://h:1", Silent) // no replica is late before the first map request
		b.fetch()
		b.report("tcp://h:1", Healthy)
		time.Sleep(160 * time.Second)
		want("tcp://h:1", Status(Healthy)) // 120 s promised, 40 s of grace
		want("tcp://h:2", Silent)
		time.Sleep(time.Nanosecond)
		want("tcp://h:1", Late)
		want("tcp://h:2", Late)
		b.report("tcp://h:1", Dead)
		b.report("tcp://h:2", Sick)
		want("tcp://h:1", Status(Dead))
		want("tcp://h:2", Status(Sick))
		if got := b.summary().Counts; got.Dead != 1 || got.Sick != 1 || got.Late != 0 {
			t.Errorf("the summary counts %+v, want one dead and one sick", got)
		}
	})
}

func TestAddedReplicaIsLateFromWhenItEnteredTheMap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBubble(t, "tcp://h:1")
		b.fetch()
		time.Sleep(time.Hour)
		b.install("tcp://h:1", "tcp://h:2")
		b.fetch()
		time.Sleep(100 * time.Second)
		b.fetch() // as a restarted daemon does
		time.Sleep(60 * time.Second)
		if got := b.replica("tcp://h:2").Status; got != Silent {
			t.Errorf("160 s after it entered the map the replica is %s, want silent", got)
		}
		time.Sleep(time.Second)
		if got := b.replica("tcp://h:2").Status; got != Late {
			t.Errorf("161 s after it entered the map the replica is %s, want late", got)
		}
	})
}

// A gap is late beyond interval + 1 s for a replica that is up at its first
// attempt, beyond interval + 36 s for any other.
func TestLateGaps(t *testing.T) {
	const healthy, dead, external = "tcp", "tcp-blackhole", "external"
	for _, tt := range []struct {
		name, replica string
		first, second Health
		gap           time.Duration
		want          int
	}{
		{"healthy in time", external, Healthy, Healthy, 121 * time.Second, 0},
		{"healthy too late", external, Healthy, Healthy, 121*time.Second + 1, 1},
		{"sick too late", external, Sick, Sick, 122 * time.Second, 1},
		{"turning dead in time", external, Healthy, Dead, 156 * time.Second, 0},
		{"turning dead too late", external, Healthy, Dead, 157 * time.Second, 1},
		{"known to be healthy, reported dead", healthy, Healthy, Dead, 122 * time.Second, 1},
		{"known to be dead, reported healthy", dead, Dead, Healthy, 150 * time.Second, 0},
		{"known to be dead, too late", dead, Dead, Dead, 157 * time.Second, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBubble(t, "tcp://h:1")
				b.know("tcp://h:1", tt.replica)
				b.fetch()
				b.report("tcp://h:1", tt.first)
				time.Sleep(tt.gap)
				b.report("tcp://h:1", tt.second)
				r := b.replica("tcp://h:1")
				if r.LateGaps != tt.want || b.summary().LateGaps != tt.want {
					t.Errorf("after %v there are %d late gaps, %d in all, want %d", tt.gap, r.LateGaps, b.summary().LateGaps, tt.want)
				}
				if got := time.Duration(r.WorstGap * float64(time.Second)); (got - tt.gap).Abs() > time.Microsecond {
					t.Errorf("the worst gap is %v, want %v", got, tt.gap)
				}
			})
		})
	}
}

// know makes a replica one of the sandbox's own targets.
func (b bubble) know(url, what string) {
	b.t.Helper()
	if what == "external" {
		return
	}
	spec, err := target.ParseSpec(target.Prefix + what)
	if err != nil {
		b.t.Fatal(err)
	}
	b.j.current.index[node][url].Expectation = Expectation{Own: true, Up: Expect(&spec, b.j.current.Limits, Rules{})}
}

func TestOpenGapCountsAsLateOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBubble(t, "tcp://h:1", "tcp://h:2")
		b.know("tcp://h:1", "tcp")
		b.know("tcp://h:2", "tcp-blackhole")
		b.fetch()
		b.report("tcp://h:1", Healthy)
		time.Sleep(122 * time.Second)
		if got := b.summary().LateGaps; got != 1 {
			t.Errorf("with one gap open too long %d are late, want 1", got)
		}
		time.Sleep(40 * time.Second)
		if got := b.summary().LateGaps; got != 2 {
			t.Errorf("with a replica that was never reported %d gaps are late, want 2", got)
		}
		b.report("tcp://h:1", Healthy)
		b.report("tcp://h:2", Dead)
		if got := b.summary().LateGaps; got != 2 {
			t.Errorf("when both have ended %d gaps are late, want 2", got)
		}
		b.install("tcp://h:3")
		if got := b.summary().LateGaps; got != 2 {
			t.Errorf("when both replicas have left the map %d gaps are late, want 2 still", got)
		}
	})
}

// A daemon that stops reporting must not leave the judge with the gaps of better
// days.
func TestOpenGapIsTheWorst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBubble(t, "tcp://h:1", "tcp://h:2")
		b.know("tcp://h:1", "tcp")
		b.know("tcp://h:2", "tcp-blackhole")
		b.fetch()
		for range 2 {
			b.report("tcp://h:1", Healthy)
			b.report("tcp://h:2", Dead)
			time.Sleep(4 * time.Second)
		}
		last := time.Now().Add(-4 * time.Second)
		time.Sleep(356 * time.Second)
		for _, url := range []string{"tcp://h:1", "tcp://h:2"} {
			if got := b.replica(url); got.WorstGap != 360 || got.Age != 360 {
				t.Errorf("six minutes after the last report of %s its worst gap is %v s, want 360 s", url, got.WorstGap)
			}
		}
		want := func(when string) {
			t.Helper()
			if got := b.summary(); got.WorstGapPrompt != 360 || got.WorstGapOther != 360 || got.LateGaps != 2 || !got.LastReport.Equal(last) {
				t.Errorf("%s the worst gaps are %v s and %v s, %d are late, the last report came at %v; want 360 s twice, 2, and %v",
					when, got.WorstGapPrompt, got.WorstGapOther, got.LateGaps, got.LastReport, last)
			}
		}
		want("six minutes after the last report")
		b.install("tcp://h:3")
		time.Sleep(time.Hour)
		want("after the replicas have left the map")
	})
}

func TestOpenGapOfAReplicaWithoutAReportHasNoLength(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBubble(t, "tcp://h:1")
		b.fetch()
		time.Sleep(time.Hour)
		if got := b.replica("tcp://h:1"); got.WorstGap != 0 || got.LateGaps != 1 || got.Status != Late {
			t.Errorf("an hour after it entered the map the replica is %+v, want it late, without a gap between reports", got)
		}
	})
}

func TestWrongVerdicts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBubble(t, "tcp://h:1", "tcp://h:2", "tcp://h:3")
		b.know("tcp://h:1", "tcp")
		b.know("tcp://h:2", "tcp-blackhole")
		b.fetch()
		for _, health := range []Health{Healthy, Sick, Dead} {
			for _, url := range []string{"tcp://h:1", "tcp://h:2", "tcp://h:3"} {
				b.report(url, health)
			}
		}
		for url, want := range map[string]int{"tcp://h:1": 2, "tcp://h:2": 2, "tcp://h:3": 0} {
			if got := b.replica(url).Wrong; got != want {
				t.Errorf("%s has %d wrong verdicts, want %d", url, got, want)
			}
		}
		if got := b.summary().Wrong; got != 4 {
			t.Errorf("the summary has %d wrong verdicts, want 4", got)
		}
	})
}

// stoppedTarget returns a target that has just been stopped.
func stoppedTarget(t *testing.T) *target.Target {
	t.Helper()
	spec, err := target.ParseSpec("target:tcp")
	if err != nil {
		t.Fatal(err)
	}
	ca, err := target.NewAuthority()
	if err != nil {
		t.Fatal(err)
	}
	own, err := target.Open(spec, ca)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(own.Close)
	if err := own.Stop(); err != nil {
		t.Fatal(err)
	}
	return own
}

// After a target was stopped either verdict is right for as long as an honest
// one may take to arrive, and then only dead.
func TestToggledTargetIsNotJudgedWhileItSettles(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBubble(t, "tcp://h:1")
		b.j.current.all[0].Expectation = Expectation{Own: true, Up: Healthy, Target: stoppedTarget(t)}
		b.fetch()
		b.report("tcp://h:1", Healthy)
		b.report("tcp://h:1", Dead)
		if got := b.replica("tcp://h:1"); got.Wrong != 0 || got.Expected != "" {
			t.Errorf("just after the stop %d verdicts are wrong and %q is expected, want none and nothing", got.Wrong, got.Expected)
		}
		// retry 2 and delay_dead 20 s are cut to 35 s; a confirmation takes 3 s
		// and 20 s more, delivery a second, and the interval is 120 s.
		time.Sleep((35 + 3 + 20 + 1 + 120) * time.Second)
		b.report("tcp://h:1", Healthy)
		b.report("tcp://h:1", Dead)
		if got := b.replica("tcp://h:1"); got.Wrong != 1 || got.Expected != Dead {
			t.Errorf("long after the stop %d verdicts are wrong and %q is expected, want 1 and dead", got.Wrong, got.Expected)
		}
	})
}

func TestCyclesAndTimeToReport(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBubble(t, "tcp://h:1", "tcp://h:2", "tcp://h:3")
		if began := b.summary().Began; !began.IsZero() {
			t.Errorf("it began at %v, want not before the first map request", began)
		}
		began := time.Now()
		b.fetch()
		time.Sleep(time.Second)
		for cycle := range 4 {
			start := time.Now()
			b.report("tcp://h:1", Healthy)
			if begun, complete := b.j.Progress(); begun != cycle+1 || complete {
				t.Errorf("at the first report %d cycles have begun, complete %v, want %d and not", begun, complete, cycle+1)
			}
			time.Sleep(5 * time.Second)
			b.report("tcp://h:2", Sick)
			time.Sleep(95 * time.Second) // a dead one that is slow to judge begins no cycle
			b.report("tcp://h:3", Dead)
			if begun, complete := b.j.Progress(); begun != cycle+1 || !complete {
				t.Errorf("at the last report %d cycles have begun, complete %v, want %d, complete", begun, complete, cycle+1)
			}
			time.Sleep(time.Until(start.Add(120*time.Second - time.Duration(cycle)*time.Millisecond)))
		}
		s := b.summary()
		if !s.Began.Equal(began) {
			t.Errorf("it began at %v, want %v, the first map request", s.Began, began)
		}
		if s.Cycles != 4 || s.FirstReport != 1 {
			t.Errorf("there were %d cycles, the first report after %v s, want 4 and 1 s", s.Cycles, s.FirstReport)
		}
		for health, want := range map[Health]float64{Healthy: 0, Sick: 5, Dead: 100} {
			if got := s.TimeToReport[health]; got.Reports != 4 || got.Max != want || got.P50 < want*0.97 || got.P99 > want {
				t.Errorf("the time to report %s is %+v, want %v s in each of 4 cycles", health, got, want)
			}
		}
		if got := s.Cycle; got.Reports != 12 || got.P50 < 5 || got.P50 > 5.1 || got.Max != 100 {
			t.Errorf("the cycles are %+v, want 12 reports, half of them within some 5 s, the last after 100 s", got)
		}
	})
}

func TestCyclesWithoutAnythingUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBubble(t, "tcp://h:1", "tcp://h:2")
		b.fetch()
		for range 3 {
			b.report("tcp://h:1", Dead)
			time.Sleep(31 * time.Second)
			b.report("tcp://h:2", Dead)
			time.Sleep(119 * time.Second)
		}
		if got := b.summary().Cycles; got != 3 {
			t.Errorf("%d cycles were counted, want 3", got)
		}
	})
}

func TestQuantiles(t *testing.T) {
	var none durations
	if got := none.quantiles(); got != (Quantiles{}) {
		t.Errorf("the quantiles of nothing are %+v, want zeros", got)
	}
	var d durations
	for i := range 1000 {
		d.add(time.Duration(1000-i) * time.Millisecond)
	}
	if got, want := d.quantiles(), (Quantiles{1000, 0.5, 0.99, 1}); got != want {
		t.Errorf("the quantiles of 1 ms to 1 s are %+v, want %+v", got, want)
	}
	var all, dead durations
	all.merge(d)
	dead.add(2 * time.Second)
	all.merge(dead)
	if got, want := all.quantiles(), (Quantiles{1001, 0.501, 0.991, 2}); got != want {
		t.Errorf("the quantiles of both are %+v, want %+v", got, want)
	}
	d.add(24 * time.Hour)
	if got := d.quantiles().Max; got != 24*3600 {
		t.Errorf("the longest is %v s, want a day", got)
	}
}

func TestDurationsAreBounded(t *testing.T) {
	var d durations
	for range mostDurations {
		d.add(time.Hour)
	}
	for range mostDurations {
		d.add(time.Second)
	}
	got := d.quantiles()
	if want := (Quantiles{2 * mostDurations, 1, 1, 3600}); got != want || len(d.newest) != mostDurations {
		t.Errorf("the quantiles are %+v of %d kept, want %+v of %d: the newest, and the maximum of all", got, len(d.newest), want, mostDurations)
	}
}
