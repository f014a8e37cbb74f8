package scheduler

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/crisp-im/crisp-status-local/v2/internal/probe"
)

const (
	watching   = "watching the replicas of the map"
	keepsLine  = "health keeps changing: it is said once an hour from now on, until it has stayed the same for one"
	cycleOfRig = 120 * time.Second
)

// matching returns the lines at warn whose message matches.
func (r *rig) matching(pattern string) []line {
	r.mu.Lock()
	defer r.mu.Unlock()
	var found []line
	for _, l := range r.lines {
		if l.entry.Level == logrus.WarnLevel && regexp.MustCompile(pattern).MatchString(l.entry.Message) {
			found = append(found, l)
		}
	}
	return found
}

// downFrom is a prober that finds the first n of names(0, …) dead in the cycles
// from first to last.
func (r *rig) downFrom(n int, first, last time.Duration, result func(i int) probe.Result) judge {
	return func(_ context.Context, task probe.Task) probe.Result {
		var i int
		fmt.Sscanf(task.Check.Target.ID(), "tcp://r%d:1", &i)
		if cycle := r.now() / cycleOfRig; i < n && cycle >= first && cycle <= last {
			return result(i)
		}
		return healthy
	}
}

func refused(int) probe.Result { return dead }

func TestTheStartSaysThatItWatches(t *testing.T) {
	r := newRig(t, gives(mapOf(t, names(0, 212)...)))
	r.run(func() { r.until(20 * time.Minute) })
	lines := r.said(logrus.WarnLevel, watching)
	if len(lines) != 1 || lines[0].entry.Data["replicas"] != 212 {
		t.Errorf("got %d lines, want one at warn that says that 212 replicas are watched", len(lines))
	}
}

func TestUpToTwentyChangesHaveALineEach(t *testing.T) {
	r := newRig(t, gives(mapOf(t, names(0, 200)...)))
	r.judge = r.downFrom(20, 1, 1, refused)
	r.run(func() { r.until(4 * cycleOfRig) })
	if got := len(r.said(logrus.WarnLevel, "health changed")); got != 40 {
		t.Errorf("got %d lines about 20 deaths and 20 recoveries, want one each", got)
	}
	if got := r.matching("^[0-9]+ more "); len(got) != 0 {
		t.Errorf("got the digest %q of 20 changes, want none", got[0].entry.Message)
	}
}

func TestMoreThanTwentyChangesAreSummedUp(t *testing.T) {
	r := newRig(t, gives(mapOf(t, names(0, 200)...)))
	r.judge = r.downFrom(57, 2, 3, func(i int) probe.Result {
		reason := fmt.Sprintf("no answer of 10.0.0.%d:%d within 10s", i, 1000+i)
		if i%10 == 0 {
			reason = "host unreachable"
		}
		return probe.Result{Health: probe.Dead, Attempts: 3, Err: &probe.Error{Kind: probe.KindTimeout, Reason: reason}}
	})
	r.run(func() { r.until(6 * cycleOfRig) })
	if got := len(r.said(logrus.WarnLevel, "health changed")); got != 40 {
		t.Errorf("got %d lines of their own, want the first 20 deaths and the first 20 recoveries", got)
	}
	deaths := r.matching("^37 more replicas turned dead in this cycle$")
	if len(deaths) != 1 {
		t.Fatalf("got %d digests of 37 deaths, want one", len(deaths))
	}
	data := deaths[0].entry.Data
	reasons := fmt.Sprint(data["reasons"])
	if !regexp.MustCompile(`^no answer of 10\.0\.0\.\d+:\d+ within 10s \(\d+\), host unreachable \(\d\)$`).MatchString(reasons) {
		t.Errorf("field reasons: got %q, want two with their counts", reasons)
	}
	if data["replicas"] != 37 || !strings.HasPrefix(fmt.Sprint(data["first"]), "tcp://r0000") || !strings.HasPrefix(fmt.Sprint(data["after_most"]), "4m") {
		t.Errorf("got the fields %v, want 37 replicas, the first one, and how long they were healthy", data)
	}
	if at := deaths[0].at; at > 4*cycleOfRig {
		t.Errorf("it was said at %v, want within the cycle or at its end", at)
	}
	if got := r.matching("^37 more replicas are healthy again in this cycle$"); len(got) != 1 || !strings.HasPrefix(fmt.Sprint(got[0].entry.Data["after_least"]), "3m") {
		t.Errorf("got %d digests of the recoveries, want one that says after how long", len(got))
	}
}

func TestALineSaysTheKindAndHowLongTheOldStateLasted(t *testing.T) {
	r := newRig(t, gives(mapOf(t, "tcp://a:1")))
	died := probe.Result{Health: probe.Dead, Attempts: 3, Err: &probe.Error{Kind: probe.KindRefused, Reason: "connection refused"}}
	r.judge = func(context.Context, probe.Task) probe.Result {
		if r.now() >= 220*time.Hour {
			return died
		}
		return healthy
	}
	r.settings.Interval = time.Hour
	r.run(func() { r.until(220 * time.Hour) })
	lines := r.said(logrus.WarnLevel, "health changed")
	if len(lines) != 1 {
		t.Fatalf("got %d lines, want one", len(lines))
	}
	data := lines[0].entry.Data
	if fmt.Sprint(data["after"]) != "9d4h" || data["kind"] != probe.KindRefused {
		t.Errorf("got after=%v kind=%v, want 9d4h and refused", data["after"], data["kind"])
	}
}

// A replica that changes in every cycle for six hours.
func TestAReplicaThatFlapsIsSaidOnceAnHour(t *testing.T) {
	r := newRig(t, gives(mapOf(t, "tcp://a:1")))
	r.judge = func(context.Context, probe.Task) probe.Result {
		if now := r.now(); now < 6*time.Hour && now/cycleOfRig%2 == 1 {
			return dead
		}
		return healthy
	}
	r.run(func() { r.until(9 * time.Hour) })
	if got := len(r.said(logrus.WarnLevel, "health changed")); got != flapChanges {
		t.Errorf("got %d lines of single changes, want the first %d", got, flapChanges)
	}
	lines := r.said(logrus.WarnLevel, keepsLine)
	if len(lines) < 6 || len(lines) > 7 {
		t.Fatalf("got %d lines in six hours, want one an hour", len(lines))
	}
	for i, l := range lines[1:] {
		if gap := l.at - lines[i].at; gap < time.Hour {
			t.Errorf("two lines lie %v apart, want an hour", gap)
		}
	}
	full := lines[1].entry.Data
	if full["changes"].(int) < 29 || full["reason"] != "connection refused" || fmt.Sprint(full["within"]) != "1h" {
		t.Errorf("got the fields %v, want some 30 changes within 1h, and the reason", full)
	}
	if last := lines[len(lines)-1].entry.Data["health"]; last != probe.Healthy {
		t.Errorf("the last line says that it is %v, want what holds from then on", last)
	}
	if n := len(r.scheduler.changes.flaps); n != 0 {
		t.Errorf("%d replicas are remembered as flapping after hours of calm, want none", n)
	}
}

func TestAHundredReplicasThatFlapAreSummedUp(t *testing.T) {
	r := newRig(t, gives(mapOf(t, names(0, 300)...)))
	r.judge = func(ctx context.Context, task probe.Task) probe.Result {
		if r.now()/cycleOfRig%2 == 1 {
			return r.downFrom(100, 0, 1<<40, refused)(ctx, task)
		}
		return healthy
	}
	const hours = 4
	r.run(func() { r.until(hours * time.Hour) })
	perHour := make(map[time.Duration]int)
	for _, l := range r.matching("chang") {
		perHour[l.at/time.Hour]++
	}
	for hour := time.Duration(1); hour < hours; hour++ {
		if n := perHour[hour]; n == 0 || n > maxChanges+2 {
			t.Errorf("hour %d: got %d lines, want %d and a digest", hour, n, maxChanges)
		}
	}
}

// The reasons differ by a port in every cycle, and are one trouble.
func TestTroubleWhoseReasonsChangeByThemselvesIsSaidOnceAnHour(t *testing.T) {
	r := newRig(t, gives(mapOf(t, names(0, 200)...)))
	port := 30000
	r.judge = func(_ context.Context, task probe.Task) probe.Result {
		r.mu.Lock()
		defer r.mu.Unlock()
		port++
		return probe.Result{Attempts: 1, Err: fmt.Errorf("looking up %q: read udp 10.0.0.9:%d->10.0.0.53:53: connection refused", task.Check.Target.ID(), port)}
	}
	r.run(func() { r.until(3*time.Hour - time.Second) })
	if got := len(r.matchingAt(logrus.ErrorLevel, "cannot probe a replica")); got != 3 {
		t.Errorf("got %d lines in three hours, want one an hour", got)
	}
}

func TestCountsOfTroubleThatChangeInEveryCycleBackOff(t *testing.T) {
	r := newRig(t, gives(mapOf(t, names(0, 50)...)))
	r.judge = func(_ context.Context, task probe.Task) probe.Result {
		var i int
		fmt.Sscanf(task.Check.Target.ID(), "tcp://r%d:1", &i)
		if i <= 5+int(r.now()/cycleOfRig)%20 {
			return probe.Result{Attempts: 1, Err: errors.New("no way")}
		}
		return healthy
	}
	r.run(func() { r.until(10 * time.Hour) })
	got := len(r.matchingAt(logrus.ErrorLevel, "replicas without a verdict in this cycle"))
	if got < 5 || got > 16 {
		t.Errorf("got %d lines in 300 cycles, want some five in the first hour and one an hour then", got)
	}
}

// matchingAt returns the lines of a level whose message holds text.
func (r *rig) matchingAt(level logrus.Level, text string) []line {
	r.mu.Lock()
	defer r.mu.Unlock()
	var found []line
	for _, l := range r.lines {
		if l.entry.Level == level && strings.Contains(l.entry.Message, text) {
			found = append(found, l)
		}
	}
	return found
}

func TestAgesAreReadable(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "0s", 400 * time.Millisecond: "0s", 12 * time.Second: "12s", 14 * time.Minute: "14m", 90 * time.Second: "1m30s",
		9*24*time.Hour + 4*time.Hour + 59*time.Minute: "9d4h", 24 * time.Hour: "1d", 3601 * time.Second: "1h",
	} {
		if got := age(d).String(); got != want {
			t.Errorf("%v: got %q, want %q", d, got, want)
		}
	}
}
