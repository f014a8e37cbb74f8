package report

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/crisp-im/crisp-status-local/v2/internal/probe"
	"github.com/crisp-im/crisp-status-local/v2/internal/statusapi"
)

// TestFailedReportIsSentAgain: with a backoff that doubles, jittered, and never
// above what the interval allows.
func TestFailedReportIsSentAgain(t *testing.T) {
	for _, err := range []error{errUnreachable, refusing(500, 0), refusing(503, 0), refusing(429, 0)} {
		for _, interval := range []time.Duration{2 * time.Minute, 10 * time.Second, time.Second} {
			synctest.Test(t, func(t *testing.T) {
				b := newBench(t, 100, interval, always(err, 0))
				b.Put(verdict(1, 1, probe.Healthy))
				time.Sleep(30 * time.Minute)
				got := b.answered()
				longest := min(max(interval/8, 500*time.Millisecond), 5*time.Second)
				varied := make(map[time.Duration]bool)
				for i := 1; i < len(got); i++ {
					pause := got[i].at.Sub(got[i-1].at)
					most := min(500*time.Millisecond<<min(i-1, 10), longest)
					// After a 429 the rate that 100 replicas need is one report in 0.6 s.
					if pause < max(500*time.Millisecond, most*79/100) || pause > max(most, 600*time.Millisecond) {
						t.Errorf("%v, interval %v: got the pause %v before attempt %d, want %v, at most a fifth less", err, interval, pause, i+1, most)
					}
					varied[pause] = true
				}
				if len(got) < 350 || interval >= 10*time.Second && len(varied) < len(got)/2 {
					t.Errorf("%v, interval %v: got %d attempts in half an hour with %d different pauses, want more and jittered", err, interval, len(got), len(varied))
				}
				b.answers(nil)
				time.Sleep(longest + time.Millisecond)
				if b.Waiting() != 0 {
					t.Errorf("%v, interval %v: got the verdict still waiting %v after the API is back, want it taken", err, interval, longest)
				}
				b.stop()
			})
		}
	}
}

// TestRetryAfterHoldsOneReplica: also when a newer verdict of it comes, and
// nobody else; but for no longer than is between two trials.
func TestRetryAfterHoldsOneReplica(t *testing.T) {
	for _, tt := range []struct{ interval, asked, want time.Duration }{
		{2 * time.Minute, 4 * time.Second, 4 * time.Second},
		{2 * time.Minute, time.Hour, 5 * time.Second},
		{24 * time.Second, time.Hour, 3 * time.Second},
	} {
		for _, code := range []int{429, 503} {
			synctest.Test(t, func(t *testing.T) {
				b := newBench(t, 100, tt.interval, always(refusing(code, tt.asked), 0))
				defer b.stop()
				began := time.Now()
				b.Put(verdict(1, 1, probe.Healthy))
				b.answered()
				b.answers(nil)
				time.Sleep(2 * time.Second)
				b.Put(verdict(1, 2, probe.Dead))
				b.Put(verdict(2, 1, probe.Healthy))
				if got := b.answered(); len(got) != 1 || got[0].replica != "tcp://replica-2:1" {
					t.Errorf("status %d: got %v, want the other replica's verdict alone", code, got)
				}
				time.Sleep(time.Minute)
				got := b.answered()
				if len(got) != 1 || got[0].n != 2 || got[0].at.Sub(began) != tt.want {
					t.Errorf("status %d: got %v, want the newer verdict after %v", code, got, tt.want)
				}
			})
		}
	}
}

// TestRetryAfterHoldsTheTrials: a down API is left alone as long as it wants,
// up to the longest pause between two trials.
func TestRetryAfterHoldsTheTrials(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, 100, 2*time.Minute, always(refusing(503, 50*time.Second), 0))
		defer b.stop()
		for i := range 100 {
			b.Put(verdict(i, 1, probe.Healthy))
		}
		time.Sleep(time.Minute)
		got := b.answered()
		if len(got) < 11 || len(got) > 12+2*fewestInFlight {
			t.Errorf("got %d requests in a minute, want a trial every 5s", len(got))
		}
		for i := len(got) - 5; i < len(got); i++ {
			if pause := got[i].at.Sub(got[i-1].at); pause != 5*time.Second {
				t.Errorf("got the pause %v between two trials, want 5s", pause)
			}
		}
	})
}

// TestRetryAfterOutlastsAnOutage: neither its beginning, nor its trials, nor
// its end cut short what the API wants for one replica.
func TestRetryAfterOutlastsAnOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, 100, 2*time.Minute, always(refusing(503, 50*time.Second), 0))
		defer b.stop()
		began := time.Now()
		b.Put(verdict(0, 1, probe.Healthy))
		b.answered()
		b.answers(always(errUnreachable, 0))
		for i := range 5 {
			b.Put(verdict(1+i, 1, probe.Healthy))
			synctest.Wait()
		}
		if b.logged("is down") != 1 {
			t.Fatal("the API is not called down after six failures in a row")
		}
		time.Sleep(2 * time.Second)
		b.answers(nil)
		time.Sleep(2900 * time.Millisecond)
		if b.logged("answers again") != 1 {
			t.Error("the API is not called back after a report that it took")
		}
		for _, s := range b.answered() {
			if s.replica == "tcp://replica-0:1" {
				t.Errorf("got a request for the replica that is held after %v, want none before 5s", s.at.Sub(began))
			}
		}
		time.Sleep(time.Second)
		if got := b.answered(); len(got) != 1 || got[0].at.Sub(began) != 5*time.Second {
			t.Errorf("got %v, want the replica's verdict when the 5s are over", got)
		}
	})
}

// TestOutageEndsEveryBackoff: once the API is down, its trials alone are waited
// for. Who was not tried for the longest time comes first.
func TestOutageEndsEveryBackoff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, 100, 2*time.Minute, always(errUnreachable, 0))
		defer b.stop()
		b.Put(verdict(0, 1, probe.Healthy))
		time.Sleep(2 * time.Minute) // its own backoff is 20s and more by now
		b.answered()
		for len(b.answered()) == 0 {
			time.Sleep(time.Second)
		}
		b.Put(verdict(1, 1, probe.Healthy))
		b.Put(verdict(2, 1, probe.Healthy))
		b.answered()
		b.answers(nil)
		time.Sleep(time.Second)
		if got := b.answered(); len(got) != 3 || got[0].replica != "tcp://replica-0:1" {
			t.Errorf("got %v within a second, want all three, first the one that was tried first", got)
		}
	})
}

// TestTakenVerdictForgetsItsFailures: the backoff of the next one begins anew.
func TestTakenVerdictForgetsItsFailures(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, 100, 2*time.Minute, always(errUnreachable, 0))
		defer b.stop()
		b.Put(verdict(0, 1, probe.Healthy))
		time.Sleep(2 * time.Minute)
		b.answers(always(nil, 40*time.Second))
		time.Sleep(31 * time.Second) // it is under way again
		b.answered()
		b.answers(always(errUnreachable, 0))
		b.Put(verdict(0, 2, probe.Dead))
		time.Sleep(42 * time.Second)
		got := b.answered()
		if len(got) < 3 || got[0].err != nil || got[2].at.Sub(got[1].at) > 600*time.Millisecond {
			t.Errorf("got %v, want it taken, and the newer one tried twice within 600ms", got)
		}
	})
}

// TestWhenTheAPIIsDown: after five failures in a row, over at least three
// replicas or all there are.
func TestWhenTheAPIIsDown(t *testing.T) {
	for _, tt := range []struct {
		name     string
		replicas int // in the map
		failing  int // of them
		failures int // of each, in turn
		err      error
		down     bool
	}{
		{"five over five", 10, 5, 1, errUnreachable, true},
		{"four", 10, 4, 1, errUnreachable, false},
		{"six over three", 10, 3, 2, errUnreachable, true},
		{"ten over two of ten", 10, 2, 5, errUnreachable, false},
		{"six over two of two", 2, 2, 3, errUnreachable, true},
		{"five of the one", 1, 1, 5, errUnreachable, true},
		{"status 500", 10, 5, 1, refusing(500, 0), true},
		{"status 503", 10, 5, 1, refusing(503, 0), true},
		{"status 429", 10, 5, 1, refusing(429, 0), true},
		{"status 400", 10, 5, 1, refusing(400, 0), true},
		{"status 404", 10, 5, 1, refusing(404, 0), true},
		{"status 302", 10, 5, 1, refusing(302, 0), true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBench(t, tt.replicas, time.Hour, always(tt.err, 0))
				defer b.stop()
				for n := range tt.failures {
					for i := range tt.failing {
						b.Put(verdict(i, n, probe.Healthy)) // a newer verdict is sent at once
						synctest.Wait()
						if strings.HasSuffix(tt.name, "429") {
							time.Sleep(10 * time.Minute) // its own tries are over, and they are slow
						}
					}
				}
				if got := b.logged("the Status API is down") == 1; got != tt.down {
					t.Errorf("called down: got %v, want %v", got, tt.down)
				}
			})
		})
	}
	t.Run("an answer in between", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			b := newBench(t, 20, time.Hour, nil)
			defer b.stop()
			for i := range 16 {
				b.answers(always(errUnreachable, 0))
				if i%4 == 3 {
					b.answers(nil)
				}
				b.Put(verdict(i, 1, probe.Healthy))
				synctest.Wait()
			}
			if b.logged("is down") != 0 {
				t.Error("the API is called down, want it not, with an answer after every third failure")
			}
		})
	})
}

// down returns an outbox whose API is down, with 20 verdicts in it.
func down(t *testing.T, answer reporterFunc) *bench {
	b := newBench(t, 20, 2*time.Minute, answer)
	for i := range 20 {
		b.Put(verdict(i, 1, probe.Healthy))
	}
	synctest.Wait()
	for b.logged("the Status API is down") == 0 {
		time.Sleep(time.Second)
	}
	time.Sleep(time.Second)
	b.answered()
	return b
}

// TestTrials: one at a time, each with another replica, those first that were
// not tried yet.
func TestTrials(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var now, most atomic.Int32
		b := newBench(t, 20, 2*time.Minute, func(ctx context.Context, _ statusapi.Verdict, _ time.Duration) error {
			if n := now.Add(1); n > most.Load() {
				most.Store(n)
			}
			defer now.Add(-1)
			time.Sleep(3 * time.Second)
			return errUnreachable
		})
		defer b.stop()
		for i := range 20 {
			b.Put(verdict(i, 1, probe.Healthy))
		}
		time.Sleep(10 * time.Second) // what was under way when it went down is over
		tried := make(map[string]bool)
		for _, s := range b.answered() {
			tried[s.replica] = true
		}
		most.Store(0)
		time.Sleep(12 * time.Minute)
		got := b.answered()
		if most.Load() != 1 {
			t.Errorf("got %d trials at a time, want 1", most.Load())
		}
		if len(got) < 144 || len(got) > 181 {
			t.Fatalf("got %d trials in 12 minutes, want one every 4s to 5s", len(got))
		}
		fresh := 20 - len(tried)
		for _, s := range got[:fresh] {
			if tried[s.replica] {
				t.Errorf("got a trial with %s again, want those first that were not tried", s.replica)
			}
			tried[s.replica] = true
		}
		for i := range got[:len(got)-19] {
			round := make(map[string]bool)
			for _, s := range got[i : i+20] {
				round[s.replica] = true
			}
			if len(round) != 20 {
				t.Fatalf("got %d replicas in 20 trials in a row, want each with another", len(round))
			}
		}
		if n := b.logged("the Status API is down"); n != 1 {
			t.Errorf("it was said %d times, want once", n)
		}
	})
}

// TestWhatEndsAnOutage: a report that is taken.
func TestWhatEndsAnOutage(t *testing.T) {
	for _, tt := range []struct {
		err error
		end bool
	}{
		{nil, true},
		{statusapi.ErrWebPage, true},
		{refusing(302, 0), false},
		{refusing(400, 0), false},
		{refusing(401, 0), false},
		{refusing(404, 0), false},
		{refusing(429, 0), false},
		{refusing(500, 0), false},
		{refusing(503, 0), false},
		{errUnreachable, false},
	} {
		synctest.Test(t, func(t *testing.T) {
			b := down(t, always(errUnreachable, 0))
			defer b.stop()
			b.answers(always(tt.err, 0))
			time.Sleep(40 * time.Second)
			if got := b.logged("the Status API answers again") == 1; got != tt.end {
				t.Errorf("a trial that is answered with %v ends the outage: got %v, want %v", tt.err, got, tt.end)
			}
		})
	}
}

// TestTenThousandVerdictsInAnOutage: they cost few requests while it lasts; one
// backoff step after its end the newest of each is there, and no other.
func TestTenThousandVerdictsInAnOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const replicas, cycles = 10_000, 5
		b := newBench(t, replicas, 2*time.Minute, always(errUnreachable, 10*time.Millisecond))
		defer b.stop()
		for n := range cycles {
			for i := range replicas {
				b.Put(verdict(i, n, probe.Healthy))
			}
			time.Sleep(2 * time.Minute)
		}
		if b.Waiting() != replicas {
			t.Errorf("got %d waiting, want one for each of %d replicas", b.Waiting(), replicas)
		}
		if got := len(b.answered()); got > 200 {
			t.Errorf("got %d requests in an outage of 10 minutes, want one every 4s to 5s", got)
		}
		b.answers(always(nil, 50*time.Millisecond))
		time.Sleep(30*time.Second + 35*time.Second) // the backoff step, and the time that so many take
		got := b.answered()
		page := make(map[string]int)
		for _, s := range got {
			page[s.replica] = s.n
			if s.err == nil && s.n != cycles-1 {
				t.Fatalf("got the verdict of cycle %d of %s, want the newest alone", s.n, s.replica)
			}
		}
		if len(page) != replicas || b.Waiting() != 0 || len(got) > replicas+1 {
			t.Errorf("got %d replicas in %d requests and %d waiting, want each of %d, once", len(page), len(got), b.Waiting(), replicas)
		}
		b.settled(t)
	})
}

// TestAllThatIsDueFollowsTheEndOfAnOutage, at once.
func TestAllThatIsDueFollowsTheEndOfAnOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := down(t, always(refusing(500, 0), 0))
		defer b.stop()
		time.Sleep(5 * time.Minute)
		b.answered()
		b.answers(nil)
		time.Sleep(30 * time.Second)
		got := b.answered()
		if len(got) != 20 || got[19].at != got[0].at {
			t.Errorf("got %d taken within 30s, want all 20, at one time", len(got))
		}
	})
}

// TestRefusedTrialsBlockNobody: three replicas whose reports always fail are
// called an outage; the verdict of another replica ends it at the next trial.
func TestRefusedTrialsBlockNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		poison := make(map[string]bool)
		for i := range 3 {
			poison[verdict(i, 0, "").ID.Replica] = true
		}
		b := newBench(t, 100, 2*time.Minute, func(_ context.Context, r statusapi.Verdict, _ time.Duration) error {
			if poison[r.ID.Replica] {
				return refusing(500, 0)
			}
			return nil
		})
		defer b.stop()
		for i := range 3 {
			b.Put(verdict(i, 1, probe.Healthy))
		}
		time.Sleep(10 * time.Minute)
		b.answered()
		for i := range 97 {
			b.Put(verdict(3+i, 1, probe.Healthy))
		}
		time.Sleep(30 * time.Second)
		taken := 0
		for _, s := range b.answered() {
			if s.err == nil {
				taken++
			}
		}
		if taken != 97 {
			t.Errorf("got %d of the others taken within one backoff step, want all 97", taken)
		}
	})
}

// TestARejectedPartOfTheMapBlocksNobody: replicas that lie together are rejected, such as
// those of a service that was removed while the map cannot be fetched. Trials find the others
// before each of them was tried.
func TestARejectedPartOfTheMapBlocksNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const replicas, rejected = 48, 32
		b := newBench(t, replicas, 2*time.Minute, nil)
		defer b.stop()
		put := func(n int) {
			for i := range replicas {
				b.Put(verdict(i, n, probe.Healthy))
			}
			time.Sleep(2 * time.Minute)
		}
		put(1)
		b.answered()
		isRejected := make(map[string]bool)
		for i := range rejected {
			isRejected[verdict(i, 0, "").ID.Replica] = true
		}
		b.answers(func(_ context.Context, v statusapi.Verdict, _ time.Duration) error {
			if isRejected[v.ID.Replica] {
				return refusing(404, 0)
			}
			return nil
		})
		put(2)
		tried, taken := make(map[string]bool), 0
		for _, s := range b.answered() {
			if s.err == nil {
				taken++
			} else if taken == 0 {
				tried[s.replica] = true
			}
		}
		if len(tried) >= rejected || taken != replicas-rejected {
			t.Errorf("got %d of the rejected replicas tried before another was taken, and %d taken in an interval, want fewer than %d, and %d",
				len(tried), taken, rejected, replicas-rejected)
		}
	})
}

// TestTrialThatHangs holds up the others no longer than five seconds.
func TestTrialThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := down(t, always(errUnreachable, 0))
		defer b.stop()
		var hung atomic.Bool
		b.answers(func(ctx context.Context, r statusapi.Verdict, i time.Duration) error {
			if hung.CompareAndSwap(false, true) {
				return always(errors.New("no answer within 20s"), 20*time.Second)(ctx, r, i)
			}
			return nil
		})
		for !hung.Load() {
			time.Sleep(10 * time.Millisecond)
		}
		time.Sleep(5100 * time.Millisecond)
		if b.Waiting() != 0 {
			t.Errorf("got %d waiting, want all taken at the trial after the one that hangs, 5s later", b.Waiting())
		}
		b.settled(t)
	})
}

// TestVerdictThatAloneFailsIsToldOf: once an interval, and not after a first
// passing failure.
func TestVerdictThatAloneFailsIsToldOf(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const told = "the Status API does not take this verdict"
		b := newBench(t, 20, time.Minute, func(_ context.Context, r statusapi.Verdict, _ time.Duration) error {
			if strings.Contains(r.ID.Replica, "replica-0:") {
				return refusing(500, 0)
			}
			return nil
		})
		defer b.stop()
		b.Put(verdict(0, 1, probe.Healthy))
		if b.logged(told) != 0 {
			t.Error("it is told of after one failure, want it to have passed first")
		}
		time.Sleep(59 * time.Second)
		if n := b.logged(told); n != 1 {
			t.Errorf("told %d times in an interval, want once", n)
		}
		time.Sleep(time.Minute)
		if n := b.logged(told); n != 2 {
			t.Errorf("told %d times in two intervals, want once more", n)
		}
	})
}

// TestWhatHungIsBegunAnewWhenTheAPIAnswers: its end would come late, and would
// count as failures of an API that is there.
func TestWhatHungIsBegunAnewWhenTheAPIAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const replicas = 200
		hangs := func(ctx context.Context, _ statusapi.Verdict, _ time.Duration) error {
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-time.After(20 * time.Second): // as long as the client waits
				return errUnreachable
			}
		}
		b := newBench(t, replicas, 2*time.Minute, hangs)
		defer b.stop()
		for i := range replicas {
			b.Put(verdict(i, 1, probe.Healthy))
			time.Sleep(50 * time.Millisecond) // so that they do not end together
		}
		for b.logged("the Status API is down") == 0 { // five have hung to their end
			time.Sleep(50 * time.Millisecond)
		}
		b.answers(nil)
		time.Sleep(2 * time.Second) // a backoff step, and the trial
		if n := b.Waiting(); n != 0 {
			t.Errorf("got %d verdicts waiting 2 s after the API is there again, want all taken", n)
		}
		if n := b.logged("the Status API is down"); n != 1 {
			t.Errorf("it was down %d times, want once", n)
		}
	})
}

// TestRequestsThatHangLeaveATrial: when every replica has one that began in an
// outage, the first whose deadline has passed makes place for a trial.
func TestRequestsThatHangLeaveATrial(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const replicas = 7
		b := newBench(t, replicas, 10*time.Second, nil)
		defer b.stop()
		put := func(n int) {
			for i := range replicas {
				b.Put(verdict(i, n, probe.Healthy))
			}
		}
		put(1)
		time.Sleep(36 * time.Second)
		b.answers(always(errUnreachable, 20*time.Second))
		put(2)
		time.Sleep(2 * time.Second)
		b.answers(nil)
		time.Sleep(4 * time.Second) // a status line is waited for until 41s, and the deadline was at 40s
		if n := b.Waiting(); n != 0 {
			t.Errorf("got %d verdicts waiting 2s after their deadline, want all taken", n)
		}
	})
}

// TestReplicasThatAreNeverTakenHoldUpNoOther: they come behind what is taken,
// though the page shows them dead, and their failures are no outage while
// reports that began later are taken.
func TestReplicasThatAreNeverTakenHoldUpNoOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const replicas = 1000
		b := newBench(t, replicas, 2*time.Minute, nil)
		defer b.stop()
		hangs := func(v statusapi.Verdict) bool { return strings.HasSuffix(v.ID.Replica, "7:1") }
		cycle := func(n int) {
			for i := range replicas {
				b.Put(verdict(i, n, probe.Healthy))
				if i%32 == 31 {
					time.Sleep(time.Second)
				}
			}
			time.Sleep(15 * time.Second)
			if got := b.Waiting(); got > replicas/10 {
				t.Errorf("cycle %d: got %d verdicts waiting, want those %d that hang", n, got, replicas/10)
			}
			time.Sleep(2*time.Minute - 46*time.Second)
		}
		cycle(1)
		b.answers(func(ctx context.Context, v statusapi.Verdict, i time.Duration) error {
			if hangs(v) {
				return always(errUnreachable, 20*time.Second)(ctx, v, i)
			}
			return always(nil, 20*time.Millisecond)(ctx, v, i)
		})
		for n := range 4 {
			cycle(2 + n)
		}
	})
}

// TestBacklogGoesOutInTwoSeconds: the last of it as fast as the first.
func TestBacklogGoesOutInTwoSeconds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const replicas = 2000
		b := newBench(t, replicas, time.Hour, always(refusing(500, 0), 0))
		defer b.stop()
		for i := range replicas {
			b.Put(verdict(i, 1, probe.Healthy))
		}
		time.Sleep(30 * time.Second)
		b.answers(always(nil, 20*time.Millisecond))
		for b.Waiting() == replicas {
			time.Sleep(20 * time.Millisecond)
		}
		began := time.Now()
		for b.Waiting() > 0 {
			time.Sleep(20 * time.Millisecond)
		}
		if took := time.Since(began); took > drainIn+500*time.Millisecond {
			t.Errorf("it took %v, want 2s", took)
		}
	})
}
