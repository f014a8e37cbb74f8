package report

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/crisp-im/crisp-status-local/v2/internal/pace"
	"github.com/crisp-im/crisp-status-local/v2/internal/probe"
	"github.com/crisp-im/crisp-status-local/v2/internal/statusapi"
)

// redialer is an API that answers in one way over connections that were used, and in
// another over fresh ones. It notes the requests for replica 0.
type redialer struct {
	began       time.Time
	used, fresh reporterFunc // nil takes everything

	mu       sync.Mutex
	requests []string
}

func (r *redialer) Report(ctx context.Context, v statusapi.Verdict, promise time.Duration) error {
	return r.answer(ctx, v, promise, "used", r.used)
}

func (r *redialer) ReportAfresh(ctx context.Context, v statusapi.Verdict, promise time.Duration) error {
	return r.answer(ctx, v, promise, "fresh", r.fresh)
}

func (r *redialer) answer(ctx context.Context, v statusapi.Verdict, promise time.Duration, over string, f reporterFunc) error {
	if f == nil {
		f = always(nil, 0)
	}
	began := time.Since(r.began)
	err := f(ctx, v, promise)
	end := "taken"
	switch {
	case ctx.Err() != nil:
		end = "cut"
	case err != nil:
		end = "failed"
	}
	if isReplica0(v) {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.requests = append(r.requests, fmt.Sprintf("%s from %v to %v: %s", over, began.Round(time.Second/2), time.Since(r.began).Round(time.Second/2), end))
	}
	return err
}

func isReplica0(v statusapi.Verdict) bool { return strings.HasPrefix(v.ID.Replica, "tcp://replica-0:") }

// alone has f answer the reports of replica 0, while those of the others are taken at once.
func alone(f reporterFunc) reporterFunc {
	return func(ctx context.Context, v statusapi.Verdict, promise time.Duration) error {
		if isReplica0(v) {
			return f(ctx, v, promise)
		}
		return nil
	}
}

// TestReportThatHangsAlone is cut after five seconds and sent again over a connection of
// its own, where it has its twenty seconds. If that was in vain, each has five. Whatever hangs
// in between, it is tried five times before the page turns red, at 40 s.
//
// Without others to compare with, it keeps its time.
func TestReportThatHangsAlone(t *testing.T) {
	hangs, slow := always(errUnreachable, 20*time.Second), always(nil, 15*time.Second)
	refuses := always(refusing(503, 0), 15*time.Second)
	others3s := func(ctx context.Context, v statusapi.Verdict, promise time.Duration) error {
		if isReplica0(v) {
			return hangs(ctx, v, promise)
		}
		return always(nil, 3*time.Second)(ctx, v, promise)
	}
	for _, tt := range []struct {
		name        string
		replicas    int
		used, fresh reporterFunc
		want        []string      // from its turn on
		every       time.Duration // of the turns of the others; 0: a second
		promise     time.Duration // 0: the interval
	}{
		{"over a used connection", 20, alone(hangs), nil, []string{
			"used from 0s to 5s: cut", "fresh from 5s to 5s: taken"}, 0, 0},
		{"while the next of the others comes later", 20, alone(hangs), nil, []string{
			"used from 0s to 8s: cut", "fresh from 8s to 8s: taken"}, 8 * time.Second, 0},
		{"while the others are taken after a while", 20, others3s, nil, []string{
			"used from 0s to 20s: failed", "fresh from 20.5s to 20.5s: taken"}, 0, 0},
		{"over any connection, long before the page turns red", 20, alone(hangs), alone(hangs), []string{
			"used from 0s to 5s: cut", "fresh from 5s to 25s: failed", "used from 25.5s to 30.5s: cut",
			"fresh from 30.5s to 35.5s: cut", "used from 35.5s to 40.5s: cut", "fresh from 40.5s to 45.5s: cut",
			"used from 45.5s to 50.5s: cut", "fresh from 50.5s to 55.5s: cut", "used from 55.5s to 1m0.5s: cut"}, 0, time.Hour},
		{"over any connection", 20, alone(hangs), alone(hangs), []string{
			"used from 0s to 5s: cut", "fresh from 5s to 25s: failed", "used from 25.5s to 30.5s: cut",
			"fresh from 30.5s to 35.5s: cut", "used from 35.5s to 40.5s: cut", "fresh from 40.5s to 45.5s: cut",
			"used from 45.5s to 50.5s: cut", "fresh from 50.5s to 55.5s: cut", "used from 55.5s to 1m0.5s: cut",
			"fresh from 1m0.5s to 1m5.5s: cut", "used from 1m5.5s to 1m10.5s: cut", "fresh from 1m10.5s to 1m15.5s: cut"}, 0, 0},
		{"since the API is slow for it", 20, alone(slow), alone(slow), []string{
			"used from 0s to 5s: cut", "fresh from 5s to 20s: taken"}, 0, 0},
		{"in a map of one, that refuses late", 1, refuses, refuses, []string{ // so its connection works, and it needs that time
			"used from 0s to 15s: failed", "used from 15.5s to 30.5s: failed", "used from 31s to 46s: failed",
			"used from 46.5s to 1m1.5s: failed", "used from 1m2s to 1m17s: failed"}, 0, 0},
		{"in a map of one, over a used connection", 1, hangs, nil, []string{
			"used from 0s to 20s: failed", "fresh from 20.5s to 20.5s: taken"}, 0, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				got := strings.Join(reportsOfReplica0(t, tt.replicas, tt.used, tt.fresh, time.Minute,
					cmp.Or(tt.every, time.Second), cmp.Or(tt.promise, 2*time.Minute)), ", ")
				if want := strings.Join(tt.want, ", "); got != want {
					t.Errorf("got the requests %s; want %s", got, want)
				}
			})
		})
	}
}

// TestADeathThatTheAPIIsSlowToTake is taken at the second try, while the reports of others
// are taken at once: of a replica that was never reported, and of one that the page shows dead
// already, since its last report is too old.
func TestADeathThatTheAPIIsSlowToTake(t *testing.T) {
	for _, reported := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			const interval = 10 * time.Second
			b := newPromise(t, 20, Terms{interval, interval}, nil)
			defer b.stop()
			if reported {
				b.Put(plain(0, probe.Healthy))
				time.Sleep(interval + pace.Grace + time.Second)
			}
			b.answers(alone(always(nil, 7*time.Second)))
			began := time.Now()
			b.Put(plain(0, probe.Dead))
			for n := range 30 {
				time.Sleep(time.Second)
				b.Put(plain(1+n%19, probe.Healthy))
			}
			dead := slices.DeleteFunc(b.answered(), func(s sent) bool { return s.health != probe.Dead })
			if last := len(dead) - 1; last != 1 || dead[last].err != nil || dead[last].at.Sub(began) != 12*time.Second {
				t.Errorf("reported before: %v: got the answers %v to its death, want it taken by the second request, after 12s", reported, dead)
			}
		})
	}
}

// TestAReportThatIsTakenThoughItWasCut is set right at the next turn, though the page was
// told to expect no report so soon: the server that had it may go on after a newer verdict was
// taken by another.
func TestAReportThatIsTakenThoughItWasCut(t *testing.T) {
	for _, newer := range []time.Duration{3 * time.Second, 10 * time.Second} { // before it was cut, and after
		synctest.Test(t, func(t *testing.T) {
			const interval, promise = 10 * time.Second, time.Hour
			var shown atomic.Value
			var asked atomic.Int32
			b := newPromise(t, 20, Terms{interval, promise}, alone(func(ctx context.Context, v statusapi.Verdict, _ time.Duration) error {
				took, _, _ := strings.Cut(string(v.Health), "#")
				if asked.Add(1) > 1 {
					shown.Store(took)
					return nil
				}
				time.AfterFunc(12*time.Second, func() { shown.Store(took) }) // whatever the client does
				return hang(ctx, v, 0)
			}))
			defer b.stop()
			b.Put(plain(0, probe.Dead))
			seconds := func(n int) {
				for i := range n {
					time.Sleep(time.Second)
					b.Put(plain(1+i, probe.Healthy))
				}
			}
			seconds(int(newer / time.Second))
			b.Renew(plain(0, probe.Healthy))
			seconds(13 - int(newer/time.Second))
			if got := shown.Load(); got != string(probe.Dead) {
				t.Fatalf("the page shows %v, want the report that was cut to be taken last", got)
			}
			for range 3 {
				b.Renew(plain(0, probe.Healthy)) // its turn
				seconds(10)
			}
			if got := shown.Load(); got != string(probe.Healthy) {
				t.Errorf("newer verdict after %v: got it shown %v two turns later, want healthy", newer, got)
			}
			if got := asked.Load(); got > 5 {
				t.Errorf("got %d reports, want none more once the page surely has it", got)
			}
		})
	}
}

// TestDeathsThatHangHoldUpNoOther: their deadlines come first, since they were never reported,
// and each takes a place for a second with each try.
func TestDeathsThatHangHoldUpNoOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const replicas, dead, interval = 200, 120, 30 * time.Second
		b := newPromise(t, replicas, Terms{interval, interval}, func(ctx context.Context, v statusapi.Verdict, promise time.Duration) error {
			if health(v) == probe.Dead {
				return always(errUnreachable, 20*time.Second)(ctx, v, promise)
			}
			return always(nil, 20*time.Millisecond)(ctx, v, promise)
		})
		defer b.stop()
		for range 10 {
			for i := range replicas {
				v := plain(i, probe.Healthy)
				if i < dead {
					v.Health = probe.Dead
				}
				b.Put(v)
				time.Sleep(interval / replicas)
			}
		}
		taken := make(map[string]time.Time)
		longest := time.Duration(0)
		for _, s := range b.answered() {
			if s.err != nil {
				continue
			}
			if last, ok := taken[s.replica]; ok {
				longest = max(longest, s.at.Sub(last))
			}
			taken[s.replica] = s.at
		}
		if len(taken) != replicas-dead || longest > interval+5*time.Second {
			t.Errorf("got %d replicas reported, one of them not for %v, want the %d that are up, each interval", len(taken), longest, replicas-dead)
		}
	})
}

// TestAnAPIThatIsSlowForAPart of the map, as one with a server that is overloaded, has no more
// requests for that, beyond the first ones; nor are its reports later.
func TestAnAPIThatIsSlowForAPart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const replicas, slow, cycles, interval = 200, 120, 6, 30 * time.Second
		b := newPromise(t, replicas, Terms{interval, interval}, nil)
		defer b.stop()
		cycle := func() {
			for i := range replicas {
				b.Put(plain(i, probe.Healthy))
				time.Sleep(interval / replicas)
			}
		}
		cycle()
		var requests atomic.Int32
		b.answers(func(ctx context.Context, v statusapi.Verdict, promise time.Duration) error {
			if numberOf(v.ID) < slow {
				requests.Add(1)
				return always(nil, 7*time.Second)(ctx, v, promise)
			}
			return nil
		})
		for range cycles {
			cycle()
		}
		longest := time.Duration(0)
		last := make(map[string]time.Time)
		for _, s := range b.answered() {
			if s.err != nil {
				continue
			}
			if at, ok := last[s.replica]; ok {
				longest = max(longest, s.at.Sub(at))
			}
			last[s.replica] = s.at
		}
		if got := requests.Load(); got > slow*cycles*5/4 || longest > interval+10*time.Second {
			t.Errorf("got %d requests for %d slow reports, and a replica unreported for %v; want few more, and little more than %v", got, slow*cycles, longest, interval)
		}
	})
}

// TestOneReplicaAfterALongHang: nobody else shows that the API is there again, so requests
// are short once the deadline is over; but not if the API has become slow.
func TestOneReplicaAfterALongHang(t *testing.T) {
	for _, takes := range []time.Duration{0, 12 * time.Second} {
		for _, interval := range []time.Duration{10 * time.Second, 2 * time.Minute} {
			for phase := range 20 {
				synctest.Test(t, func(t *testing.T) {
					b := newBench(t, 1, interval, nil)
					defer b.stop()
					b.Put(verdict(0, 1, probe.Healthy))
					time.Sleep(interval)
					b.answers(hang20s)
					b.Put(verdict(0, 2, probe.Healthy))
					time.Sleep(time.Minute + time.Duration(phase)*time.Second)
					b.answers(always(nil, takes))
					within := 6 * time.Second
					if takes > 0 {
						within = uselessFor + 20*time.Second + takes // when one has its time again
					}
					time.Sleep(within)
					if b.Waiting() != 0 {
						t.Errorf("interval %v: an API that takes %v is not answered %v after it hung for %v", interval, takes, within, time.Minute+time.Duration(phase)*time.Second)
					}
				})
			}
		}
	}
}

// TestReportsOfAnAPIThatIsSlowForAllAreNotCut: neither when the first of them is taken, nor at
// their deadline.
func TestReportsOfAnAPIThatIsSlowForAllAreNotCut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const replicas, interval = 20, 10 * time.Second
		b := newBench(t, replicas, interval, nil)
		defer b.stop()
		for n := range 12 {
			for i := range replicas {
				b.Put(verdict(i, n+1, probe.Healthy))
				time.Sleep(100 * time.Millisecond)
			}
			time.Sleep(interval - replicas*100*time.Millisecond)
			if n == 1 {
				b.answers(func(ctx context.Context, v statusapi.Verdict, promise time.Duration) error {
					// The later ones are answered first.
					first, _ := strings.CutPrefix(v.ID.Replica, "tcp://replica-")
					i, err := strconv.Atoi(strings.TrimSuffix(first, ":1"))
					if err != nil {
						return err
					}
					return always(nil, 18*time.Second-time.Duration(i)*300*time.Millisecond)(ctx, v, promise)
				})
				b.answered()
			}
		}
		for _, s := range b.answered() {
			if s.err != nil {
				t.Errorf("got the request for %s cut at %v, want all taken", s.replica, s.at)
			}
		}
	})
}

// hang20s is an API that hangs, until the client has waited for as long as it does.
func hang20s(ctx context.Context, v statusapi.Verdict, promise time.Duration) error {
	return always(errUnreachable, 20*time.Second)(ctx, v, promise)
}

// TestReportOfASlowAPIKeepsItsTime: it is slow for all, so none hangs alone.
func TestReportOfASlowAPIKeepsItsTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slow := always(nil, 15*time.Second)
		got := reportsOfReplica0(t, 20, slow, slow, 2*time.Minute, time.Second, 2*time.Minute)
		if got[0] != "used from 0s to 15s: taken" || strings.Contains(strings.Join(got, ", "), "cut") {
			t.Errorf("got the requests %v, want the first taken after its 15 s and none cut", got)
		}
	})
}

// TestWhatHungInAnOutageAndHangsAlone after it, over a connection that is still dead, is cut
// after five seconds as if it had not hung before.
func TestWhatHungInAnOutageAndHangsAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const replicas, interval = 200, 2 * time.Minute
		b := newBench(t, replicas, interval, nil)
		defer b.stop()
		for i := range replicas {
			b.Put(verdict(i, 1, probe.Healthy))
		}
		time.Sleep(interval)
		var over atomic.Bool
		hangs := always(errUnreachable, 20*time.Second)
		api := &redialer{began: time.Now(), fresh: func(context.Context, statusapi.Verdict, time.Duration) error {
			over.Store(true)
			return nil
		}}
		api.used = func(ctx context.Context, v statusapi.Verdict, promise time.Duration) error {
			if over.Load() && !isReplica0(v) {
				return always(nil, 50*time.Millisecond)(ctx, v, promise)
			}
			return hangs(ctx, v, promise)
		}
		b.Reload(api, Terms{interval, interval})
		for i := range replicas { // so many that it is sent while others wait
			b.Put(verdict(i, 2, probe.Healthy))
		}
		for n := range 30 {
			time.Sleep(time.Second)
			b.Put(verdict(1+n, 3, probe.Healthy))
		}
		api.mu.Lock()
		defer api.mu.Unlock()
		want := "used from 0s to 5.5s: cut, used from 6.5s to 11.5s: cut, fresh from 11.5s to 11.5s: taken"
		if got := strings.Join(api.requests, ", "); got != want {
			t.Errorf("got the requests %s; want %s", got, want)
		}
	})
}

// TestTrialsAreOverFreshConnections: those in use may be the reason why nothing is taken.
func TestTrialsAreOverFreshConnections(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := down(t, always(errUnreachable, 0))
		defer b.stop()
		b.Reload(&redialer{began: time.Now(), used: always(errUnreachable, 0)}, Terms{2 * time.Minute, 2 * time.Minute})
		time.Sleep(5100 * time.Millisecond)
		if b.logged("answers again") == 0 {
			t.Error("no trial was taken, want one: over a connection that was used none is")
		}
	})
}

// TestTrialsOfTheTokenAreOverFreshConnections: those in use may lead to the one server that
// refuses it.
func TestTrialsOfTheTokenAreOverFreshConnections(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, 20, 2*time.Minute, nil)
		defer b.stop()
		b.Reload(&redialer{began: time.Now(), used: always(refusing(401, 0), 0)}, Terms{2 * time.Minute, 2 * time.Minute})
		b.Put(verdict(0, 1, probe.Healthy))
		time.Sleep(1100 * time.Millisecond)
		if b.Waiting() != 0 {
			t.Error("got the verdict waiting, want it taken by a trial: over a connection that was used none is")
		}
	})
}

// reportsOfReplica0 returns the requests for it in a time that begins with its second turn,
// by an API that answers so from then on. One of the others has its turn each time.
func reportsOfReplica0(t *testing.T, replicas int, used, fresh reporterFunc, lasts, each, promise time.Duration) []string {
	const interval = 2 * time.Minute
	b := newBench(t, replicas, interval, nil)
	defer b.stop()
	b.Reload(reporterFunc(b.report), Terms{interval, promise})
	for i := range replicas {
		b.Put(verdict(i, 1, probe.Healthy))
	}
	time.Sleep(interval)
	api := &redialer{began: time.Now(), used: used, fresh: fresh}
	b.Reload(api, Terms{interval, promise})
	b.Put(verdict(0, 2, probe.Healthy))
	for n := range int(lasts / each) {
		time.Sleep(each)
		if replicas > 1 {
			b.Put(verdict(1+n%(replicas-1), 2+n, probe.Healthy))
		}
	}
	time.Sleep(20 * time.Second)
	api.mu.Lock()
	defer api.mu.Unlock()
	return api.requests
}
