package report

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/crisp-im/crisp-status-local/v2/internal/pace"
	"github.com/crisp-im/crisp-status-local/v2/internal/probe"
	"github.com/crisp-im/crisp-status-local/v2/internal/statusapi"
)

// steady returns the verdict of a replica, as it comes again and again.
func steady(replica int, h probe.Health) statusapi.Verdict {
	return statusapi.Verdict{ID: verdict(replica, 0, "").ID, Health: h}
}

// newPromise starts an outbox for a map of so many replicas, on terms.
func newPromise(t *testing.T, replicas int, terms Terms, answer reporterFunc) *bench {
	b := newBench(t, replicas, terms.Interval, answer)
	b.Reload(reporterFunc(b.takes), terms)
	return b
}

// takes is the API of a bench for verdicts that have no number.
func (b *bench) takes(ctx context.Context, v statusapi.Verdict, promise time.Duration) error {
	v.Health += "#0"
	return b.report(ctx, v, promise)
}

// TestRenewIsForAPageThatNeedsIt: a verdict is delivered unless the page surely has it by a
// report younger than half the promise.
func TestRenewIsForAPageThatNeedsIt(t *testing.T) {
	const interval, promise = 2 * time.Minute, 10 * time.Minute
	for _, tt := range []struct {
		name   string
		first  probe.Health
		again  probe.Health
		after  time.Duration
		happen func(*bench) // in between
		want   bool
	}{
		{name: "a turn later", after: interval},
		{name: "just too young", after: promise/2 - time.Millisecond},
		{name: "half the promise later", after: promise / 2, want: true},
		{name: "red on the page", after: promise + pace.Grace + time.Second, want: true},
		{name: "dead, a turn later", first: probe.Dead, again: probe.Dead, after: interval},
		{name: "dead, half the promise later", first: probe.Dead, again: probe.Dead, after: promise / 2, want: true},
		{name: "dead by now", again: probe.Dead, after: interval, want: true},
		{name: "sick by now", again: probe.Sick, after: interval, want: true},
		{name: "up again", first: probe.Dead, after: interval, want: true},
		{name: "the page is doubted", after: interval, happen: func(b *bench) { b.Doubt() }, want: true},
		{name: "another page", after: interval, happen: func(b *bench) { b.Forget() }, want: true},
		{name: "a longer promise", after: interval, want: true,
			happen: func(b *bench) { b.Reload(reporterFunc(b.takes), Terms{interval, time.Hour}) }},
		{name: "a shorter promise", after: interval, want: true,
			happen: func(b *bench) { b.Reload(reporterFunc(b.takes), Terms{interval, 5 * time.Minute}) }},
		{name: "the promise is the interval", after: time.Second, want: true,
			happen: func(b *bench) {
				b.Reload(reporterFunc(b.takes), Terms{interval, interval})
				b.Renew(steady(0, probe.Healthy))
				b.answered()
			}},
		{name: "a longer interval", after: interval, want: true, // a turn later it would be too late
			happen: func(b *bench) { b.Reload(reporterFunc(b.takes), Terms{9 * time.Minute, promise}) }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newPromise(t, 1, Terms{interval, promise}, nil)
				defer b.stop()
				first, again := cmp.Or(tt.first, probe.Healthy), cmp.Or(tt.again, probe.Healthy)
				b.Put(steady(0, first))
				if got := b.answered(); len(got) != 1 || got[0].interval != promise {
					t.Fatalf("got %v, want one report with the promise of %v", got, promise)
				}
				if tt.happen != nil {
					time.Sleep(time.Millisecond)
					tt.happen(b)
				}
				time.Sleep(tt.after)
				b.Renew(steady(0, again))
				if got := b.answered(); (len(got) == 1) != tt.want || tt.want && got[0].health != again {
					t.Errorf("got %v, want a report: %v", got, tt.want)
				}
			})
		})
	}
}

// TestRenewAfterAnAnswerThatProvesLittle: a web page may be a proxy's answer, and an API
// that was down may have lost reports.
func TestRenewAfterAnAnswerThatProvesLittle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newPromise(t, 1, Terms{time.Minute, time.Hour}, always(statusapi.ErrWebPage, 0))
		defer b.stop()
		b.Put(steady(0, probe.Healthy))
		b.answered()
		b.answers(nil)
		for turn, want := range []int{1, 0} {
			time.Sleep(time.Minute)
			b.Renew(steady(0, probe.Healthy))
			if got := b.answered(); len(got) != want {
				t.Errorf("turn %d after a web page: got %v, want %d reports", turn+1, got, want)
			}
		}
	})
	synctest.Test(t, func(t *testing.T) {
		b := newPromise(t, 10, Terms{time.Minute, time.Hour}, nil)
		defer b.stop()
		for i := range 10 {
			b.Put(steady(i, probe.Healthy))
		}
		b.answered()
		b.answers(always(errUnreachable, 0))
		for i := range 5 {
			b.Put(steady(i, probe.Sick))
		}
		time.Sleep(2 * time.Second)
		b.answers(nil)
		time.Sleep(30 * time.Second)
		b.answered()
		if b.logged("answers again") != 1 {
			t.Fatal("the API was not called down, and up again")
		}
		b.Renew(steady(9, probe.Healthy))
		if got := b.answered(); len(got) != 1 {
			t.Errorf("after an outage: got %v, want that the verdict is reported again", got)
		}
	})
}

// TestRenewReplacesWhatWaits: Renew replaces an older verdict that waits or is under way,
// even if the page has the new one.
func TestRenewReplacesWhatWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newPromise(t, 1, Terms{time.Minute, time.Hour}, nil)
		defer b.stop()
		b.Put(steady(0, probe.Healthy))
		b.answered()
		b.answers(always(nil, 10*time.Second))
		b.Put(steady(0, probe.Sick)) // under way
		time.Sleep(time.Second)
		b.Renew(steady(0, probe.Healthy))
		time.Sleep(time.Minute)
		if got := b.answered(); len(got) != 2 || got[1].health != probe.Healthy {
			t.Errorf("got %v, want healthy after sick", got)
		}
	})
}

// TestLeave: reports older than pace.Parting are renewed once, the earliest deadline
// first, except of replicas that the page shows dead; a verdict that waits stays.
func TestLeave(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const replicas = 40
		b := newPromise(t, replicas, Terms{time.Minute, time.Hour}, nil)
		for i := range replicas {
			b.Put(steady(i, probe.Healthy))
			time.Sleep(time.Second)
		}
		b.Put(steady(7, probe.Dead))
		time.Sleep(pace.Parting)
		b.Put(steady(8, probe.Sick))
		b.answered()
		b.answers(always(nil, 10*time.Millisecond))
		all := make([]statusapi.Verdict, replicas)
		for i := range all {
			all[replicas-1-i] = steady(i, probe.Healthy)
		}
		all[replicas-1-7], all[replicas-1-8] = steady(7, probe.Dead), steady(8, probe.Sick)
		b.Leave(slices.Values(all))
		b.stop()
		got := b.answered()
		if len(got) != replicas-2 {
			t.Errorf("got %d reports, want one of each replica but that of the dead and of the young report", len(got))
		}
		for i := 1; i < len(got); i++ { // those of one moment are in any order
			if got[i-1].at.Before(got[i].at) && replicaNumber(got[i-1]) > replicaNumber(got[i]) {
				t.Errorf("got replica %d before %d, want the earliest deadline first", replicaNumber(got[i-1]), replicaNumber(got[i]))
			}
		}
		for _, s := range got {
			if n := replicaNumber(s); n == 7 || n == 8 {
				t.Errorf("got a report of replica %d, want none", n)
			}
		}
	})
}

func replicaNumber(s sent) int {
	n := 0
	fmt.Sscanf(s.replica, "tcp://replica-%d:1", &n)
	return n
}

// TestLeaveInTheTimeOfTheDrain: ten thousand replicas at a round trip of 50 ms are renewed
// before the drain is over; of an API that is too slow for all, those are left whose
// reports are the youngest, and the log says how many.
func TestLeaveInTheTimeOfTheDrain(t *testing.T) {
	for _, tt := range []struct {
		replicas int
		rtt      time.Duration
		all      bool
	}{
		{10_000, 50 * time.Millisecond, true},
		{2_000, 900 * time.Millisecond, false},
	} {
		synctest.Test(t, func(t *testing.T) {
			b := newPromise(t, tt.replicas, Terms{2 * time.Minute, 10 * time.Minute}, always(nil, tt.rtt))
			all := make([]statusapi.Verdict, tt.replicas)
			for i := range all {
				all[i] = steady(i, probe.Healthy)
				b.Put(all[i])
				if i%32 == 31 {
					time.Sleep(pace.Spread(2*time.Minute) * 32 / time.Duration(tt.replicas))
				}
			}
			time.Sleep(time.Minute)
			b.answered()
			told := time.Now()
			b.Leave(slices.Values(all))
			b.stop()
			got := b.answered()
			if took := time.Since(told); took > drainTime+tt.rtt || (len(got) == tt.replicas) != tt.all {
				t.Errorf("%d replicas, rtt %v: got %d renewed within %v, want all within %v: %v", tt.replicas, tt.rtt, len(got), took, drainTime, tt.all)
			}
			if said := b.logged("before every report could be renewed"); (said == 1) == tt.all {
				t.Errorf("%d replicas, rtt %v: got %d lines about those that were left", tt.replicas, tt.rtt, said)
			}
			if b.logged("taken every verdict") != 0 {
				t.Error("got a line about verdicts that were not taken, want none: the page has them")
			}
			t.Logf("%d replicas, rtt %v: %d renewed in %v", tt.replicas, tt.rtt, len(got), time.Since(told))
		})
	}
}

// TestAnAnswerThatWaited does not make its report younger: the daemon was stopped meanwhile,
// or the API is slow. The page counts from when it took the report.
func TestAnAnswerThatWaited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const interval, promise = time.Minute, 4 * time.Minute
		b := newPromise(t, 20, Terms{interval, promise}, always(nil, 18*time.Second))
		defer b.stop()
		v := steady(0, probe.Healthy)
		b.Put(v)
		time.Sleep(18 * time.Second)
		b.answers(nil)
		time.Sleep(promise/2 - 18*time.Second)
		b.Renew(v)
		if got := b.answered(); len(got) != 2 {
			t.Errorf("got %d reports in half of the promise from the first one's beginning on, want another one", len(got))
		}
	})
}
