package scheduler

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/crisp-im/crisp-status-local/v2/internal/probe"
)

// script judges by one result per probe; the last one holds on.
func script(results ...probe.Result) judge {
	var n atomic.Int64
	return func(context.Context, probe.Task) probe.Result {
		return results[min(int(n.Add(1)), len(results))-1]
	}
}

func TestAChangeOfHealthIsSaidOnce(t *testing.T) {
	sick := probe.Result{Health: probe.Sick, Attempts: 2, Latency: 5 * time.Second}
	for _, tt := range []struct {
		name    string
		results []probe.Result
		want    []string // from → to, by cycle
	}{
		{"healthy from the first", []probe.Result{healthy, healthy}, nil},
		{"dead from the first", []probe.Result{dead, dead, dead}, []string{"new → dead"}},
		{"sick from the first", []probe.Result{sick, sick}, []string{"new → sick"}},
		{"dies and comes back", []probe.Result{healthy, dead, dead, healthy, healthy}, []string{"healthy → dead", "dead → healthy"}},
		{"healthy, sick, dead", []probe.Result{healthy, sick, dead}, []string{"healthy → sick", "sick → dead"}},
		{"without a verdict between", []probe.Result{dead, local, dead}, []string{"new → dead"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := newRig(t, gives(mapOf(t, "tcp://a:1")))
			r.judge = script(tt.results...)
			r.run(func() { r.until(9 * 120 * time.Second) })
			var got []string
			for _, l := range r.said(logrus.WarnLevel, "health changed") {
				got = append(got, fmt.Sprintf("%v → %v", l.entry.Data["from"], l.entry.Data["to"]))
			}
			if !slices.Equal(got, tt.want) {
				t.Errorf("said: got %q, want %q", got, tt.want)
			}
		})
	}
}

func TestAChangeOfHealthSaysWhy(t *testing.T) {
	r := newRig(t, gives(mapOf(t, "tcp://a:1")))
	r.judge = script(healthy, dead)
	r.run(func() { r.until(120 * time.Second) })
	lines := r.said(logrus.WarnLevel, "health changed")
	if len(lines) != 1 {
		t.Fatalf("got %d lines, want one", len(lines))
	}
	want := map[string]string{
		"service": "service", "node": "node", "replica": "tcp://a:1", "from": "healthy", "to": "dead",
		"attempts": "3", "latency": "3ms", "reason": "connection refused", "after": "2m",
	}
	for field, text := range want {
		if got := fmt.Sprint(lines[0].entry.Data[field]); got != text {
			t.Errorf("field %s: got %q, want %q", field, got, text)
		}
	}
	if got := len(lines[0].entry.Data); got != len(want) {
		t.Errorf("got %d fields, want %d: %v", got, len(want), lines[0].entry.Data)
	}
}

func TestNoPasswordIsLogged(t *testing.T) {
	const secret = "hunter2"
	m := mapOf(t, "http://user:"+secret+"@a/", "http://user:"+secret+"@b/", "http://user:"+secret+"@slow/")
	r := newRig(t, gives(m))
	r.level = logrus.TraceLevel
	r.settings.Interval = 10 * time.Second
	r.judge = byReplica(map[string]judge{
		m.Checks[0].Target.ID(): script(healthy, dead, local),
		m.Checks[2].Target.ID(): lasts(25*time.Second, dead),
	})
	r.run(func() { r.until(100 * time.Second) })
	seen := make(map[string]bool)
	for _, l := range r.lines {
		for _, format := range []logrus.Formatter{&logrus.TextFormatter{}, &logrus.JSONFormatter{}} {
			text, err := format.Format(l.entry)
			if err != nil {
				t.Fatal(err)
			}
			if strings.Contains(string(text), secret) {
				t.Errorf("got a password in the log: %s", text)
			}
		}
		seen[l.entry.Message] = true
	}
	for _, message := range []string{"probed", "health changed", "passed over: its last probe is still under way"} {
		if !seen[message] {
			t.Errorf("%q was not said, so nothing was shown of it", message)
		}
	}
	// The verdicts bear the id as the map has it.
	if got := r.putsOf("http://user:" + secret + "@b/"); len(got) == 0 {
		t.Errorf("got no verdict under the id that the map has")
	}
}

// This host's own trouble: the last verdict is repeated for two intervals.
func TestWithoutAVerdictTheLastOneIsRepeated(t *testing.T) {
	const h, d = probe.Healthy, probe.Dead
	trouble := lasts(35*time.Second, local) // retried for all its budget
	for _, tt := range []struct {
		name  string
		judge []judge        // by cycle
		want  []probe.Health // reported by cycle; Unknown: nothing
	}{
		{"healthy, then trouble", []judge{script(healthy), trouble, trouble, trouble, trouble}, []probe.Health{h, h, h, "", ""}},
		{"dead, then trouble", []judge{script(dead), trouble, trouble, trouble}, []probe.Health{d, d, d, ""}},
		{"trouble at once", []judge{script(healthy), script(local), script(local), script(local)}, []probe.Health{h, h, h, ""}},
		{"a slow verdict, then trouble", []judge{lasts(30*time.Second, healthy), script(local), script(local), script(local)}, []probe.Health{h, h, h, ""}},
		{"trouble from the first", []judge{trouble, trouble, script(healthy), trouble}, []probe.Health{"", "", h, h}},
		{"over and back", []judge{script(healthy), trouble, trouble, trouble, script(dead), trouble}, []probe.Health{h, h, h, "", d, d}},
		{"off and on", []judge{script(healthy), trouble, script(healthy), trouble, trouble, trouble}, []probe.Health{h, h, h, h, h, ""}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := newRig(t, gives(mapOf(t, "tcp://a:1")))
			n := 0
			r.judge = func(ctx context.Context, task probe.Task) probe.Result {
				n++
				return tt.judge[n-1](ctx, task)
			}
			r.run(func() { r.until(time.Duration(len(tt.judge))*120*time.Second - 1) })
			got := make([]probe.Health, len(tt.want))
			for _, p := range r.puts {
				got[p.at/(120*time.Second)] = p.health
			}
			if !slices.Equal(got, tt.want) {
				t.Errorf("reported by cycle: got %q, want %q", got, tt.want)
			}
		})
	}
}

func TestWithoutAVerdictTheLogSaysWhatIsShort(t *testing.T) {
	r := newRig(t, gives(mapOf(t, names(0, 100)...)))
	r.judge = script(local)
	r.run(func() { r.until(5*120*time.Second - 1) })
	lines := r.said(logrus.ErrorLevel, "this host cannot probe a replica: the page will show it dead, since there is no verdict to repeat")
	if len(lines) != 1 {
		t.Fatalf("got %d lines in five cycles for one reason, want one: nothing has changed since", len(lines))
	}
	if got := lines[0].entry.Data["reason"]; got != errLocal.Error() {
		t.Errorf("field reason: got %q, want %q", got, errLocal)
	}
	totals := r.said(logrus.ErrorLevel, "replicas without a verdict in this cycle; the page will show those dead that are not reported")
	if len(totals) != 1 || totals[0].entry.Data["replicas"] != 100 || totals[0].entry.Data["not_reported"] != 100 {
		t.Errorf("at the end of the cycle: got %v, want one line of 100 replicas without a verdict, none reported, as long as it is so", totals)
	}
}

// A probe of this host's trouble takes longer than the interval, so that cycles pass
// without a result: they are no end of it.
func TestTroubleOfLongProbesIsSaidOnce(t *testing.T) {
	r := newRig(t, gives(mapOf(t, names(0, 100)...)))
	r.settings.Interval = 2 * time.Second
	r.judge = func(ctx context.Context, task probe.Task) probe.Result {
		if r.now() < 10*time.Second || r.now() > 60*time.Second && r.now() < 110*time.Second {
			return healthy
		}
		return lasts(5*time.Second, local)(ctx, task)
	}
	r.run(func() { r.until(160 * time.Second) })
	if n := len(r.matchingAt(logrus.ErrorLevel, "cannot probe a replica: its last verdict is repeated")); n != 2 {
		t.Errorf("got %d lines of trouble that began twice, want two", n)
	}
}

func TestWithoutAVerdictItIsSaidThatTheLastIsRepeated(t *testing.T) {
	r := newRig(t, gives(mapOf(t, "tcp://a:1")))
	r.judge = script(healthy, local)
	r.run(func() { r.until(599 * time.Second) })
	lines := r.said(logrus.ErrorLevel, "this host cannot probe a replica: its last verdict is repeated")
	if len(lines) != 1 {
		t.Fatalf("got %d lines that the verdict is repeated, want one", len(lines))
	}
	if got := lines[0].entry.Data["for_at_most"]; got != 240*time.Second {
		t.Errorf("field for_at_most: got %v, want two intervals", got)
	}
	if got := len(r.said(logrus.ErrorLevel, "this host cannot probe a replica: the page will show it dead, since there is no verdict to repeat")); got != 1 {
		t.Errorf("got %d lines that the page will show it dead, want one, when it begins to", got)
	}
}

func TestAThousandReasonsDoNotFillTheLog(t *testing.T) {
	r := newRig(t, gives(mapOf(t, names(0, 1000)...)))
	r.judge = func(_ context.Context, task probe.Task) probe.Result {
		return probe.Result{Attempts: 1, Err: errors.New("no way to " + task.Check.Target.ID())}
	}
	const cycles = 5
	r.run(func() { r.until(cycles*120*time.Second - 1) })
	perCycle := make(map[time.Duration]int)
	for _, l := range r.lines {
		if l.entry.Level <= logrus.WarnLevel {
			perCycle[l.at/(120*time.Second)]++
		}
	}
	if perCycle[0] == 0 {
		t.Error("got no line in the first cycle, want some that say why")
	}
	for cycle := range time.Duration(cycles) {
		if n := perCycle[cycle]; n > maxReasons+1 {
			t.Errorf("cycle %d: got %d lines, want at most %d", cycle, n, maxReasons+1)
		}
	}
}

func TestTheEndOfACycleIsSummedUp(t *testing.T) {
	r := newRig(t, gives(mapOf(t, "tcp://a:1", "tcp://b:1", "tcp://c:1")))
	r.judge = byReplica(map[string]judge{
		"tcp://a:1": script(dead),
		"tcp://b:1": script(probe.Result{Health: probe.Sick, Latency: 6 * time.Second, Attempts: 1}),
	})
	r.run(func() { r.until(361 * time.Second) })
	lines := r.said(logrus.InfoLevel, "cycle over")
	if len(lines) != 3 {
		t.Fatalf("got %d lines in three cycles, want 3", len(lines))
	}
	for i, l := range lines {
		want := map[string]any{"replicas": 3, "healthy": 1, "sick": 1, "dead": 1, "slowest": 6 * time.Second, "waiting": 0}
		for field, value := range want {
			if got := l.entry.Data[field]; got != value {
				t.Errorf("cycle %d: field %s: got %v, want %v", i, field, got, value)
			}
		}
	}
}

// TestAttemptsKeptOfAFailure: of a large map the last one alone, since all may fail.
func TestAttemptsKeptOfAFailure(t *testing.T) {
	attempts := []probe.Attempt{{Status: 500}, {Status: 501}, {Status: 502}}
	for _, tt := range []struct {
		attempts []probe.Attempt
		replicas int
		want     int
	}{{attempts, mostTraced, 3}, {attempts, mostTraced + 1, 1}, {attempts[:1], mostTraced + 1, 1}, {nil, mostTraced + 1, 0}} {
		got := kept(tt.attempts, tt.replicas)
		if len(got) != tt.want || len(got) == 1 && len(tt.attempts) == 3 && (got[0].Status != 502 || cap(got) > 1) {
			t.Errorf("got %v of %v of a map of %d replicas, want the last %d, and nothing behind them", got, tt.attempts, tt.replicas, tt.want)
		}
	}
}
