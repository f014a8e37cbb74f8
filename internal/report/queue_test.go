package report

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/crisp-im/crisp-status-local/v2/internal/probe"
	"github.com/crisp-im/crisp-status-local/v2/internal/statusapi"
)

// plain returns a verdict whose health is nothing but that.
func plain(replica int, h probe.Health) statusapi.Verdict {
	v := verdict(replica, 0, "")
	v.Health = h
	return v
}

// names returns the replicas that a queue gives up, in their order.
func names(q *queue) []string {
	var all []string
	for q.ready.Len() > 0 {
		all = append(all, q.take().verdict.ID.Replica)
	}
	return all
}

// TestOrderOfTheQueue: what the page shows dead though it is up, then the
// earliest report deadline, then who came first.
func TestOrderOfTheQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newQueue()
		for replica, at := range []time.Duration{3 * time.Second, time.Second, 2 * time.Second} {
			q.page.reported(time.Now().Add(at), plain(replica, "").ID, probe.Healthy, time.Minute)
		}
		q.page.reported(time.Now().Add(time.Second), plain(3, "").ID, probe.Dead, time.Minute)
		q.page.reported(time.Now().Add(9*time.Second), plain(4, "").ID, probe.Dead, time.Minute)
		time.Sleep(30 * time.Second)
		now := time.Now()
		for replica := range 3 {
			q.put(now, plain(replica, probe.Healthy))
		}
		q.put(now, plain(3, probe.Dead))
		q.put(now, plain(4, probe.Sick))
		q.put(now, plain(5, probe.Dead)) // never reported
		var want []string
		for _, replica := range []int{4, 5, 1, 3, 2, 0} {
			want = append(want, plain(replica, "").ID.Replica)
		}
		if got := names(&q); !slices.Equal(got, want) {
			t.Errorf("got the order %v, want %v", got, want)
		}
	})
}

// TestReplicaWhoseReportsCeasedIsARecovery, since the page shows it dead.
func TestReplicaWhoseReportsCeasedIsARecovery(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPage()
		id := plain(1, "").ID
		if !p.showsDead(time.Now(), id) || !p.deadline(id).IsZero() {
			t.Error("got a replica that was never reported shown alive, or with a deadline ahead")
		}
		p.reported(time.Now(), id, probe.Sick, time.Minute)
		if want := time.Now().Add(90 * time.Second); !p.deadline(id).Equal(want) {
			t.Errorf("got the deadline %v, want %v", p.deadline(id), want)
		}
		time.Sleep(100 * time.Second)
		p.prune(time.Now(), 1)
		if p.showsDead(time.Now(), id) {
			t.Error("got it shown dead after interval and grace, want after more than that")
		}
		time.Sleep(time.Second)
		if !p.showsDead(time.Now(), id) {
			t.Error("got it shown alive after more than interval and grace")
		}
		if p.prune(time.Now(), 1); len(p.reports) != 0 || !p.showsDead(time.Now(), id) {
			t.Errorf("got %d reports after pruning, want none, and it shown dead", len(p.reports))
		}
	})
}

func TestPhasesOfAnEntry(t *testing.T) {
	now := time.Now()
	q := newQueue()
	q.put(now, plain(1, probe.Healthy))
	e := q.take()
	q.put(now, plain(1, probe.Sick))
	if e.phase != dirty || q.ready.Len() != 0 || q.Len() != 1 {
		t.Errorf("a newer verdict while one is under way: got phase %d and %d ready, want dirty and none", e.phase, q.ready.Len())
	}
	q.done(now, e)
	if e.phase != waiting || q.ready.Len() != 1 {
		t.Errorf("the older one was taken: got phase %d and %d ready, want the newer one waiting", e.phase, q.ready.Len())
	}
	q.take()
	q.drop(e)
	if e.phase != gone || q.Len() != 0 {
		t.Errorf("dropped while under way: got phase %d and %d verdicts, want it gone", e.phase, q.Len())
	}
	q.put(now, plain(1, probe.Dead))
	if e.phase != dirty || q.Len() != 1 || q.ready.Len() != 0 {
		t.Errorf("back while under way: got phase %d, %d verdicts, %d ready; want it to wait for that end", e.phase, q.Len(), q.ready.Len())
	}
	q.drop(e)
	q.done(now, e)
	if q.Len() != 0 || len(q.all) != 0 {
		t.Errorf("over: got %d verdicts and %d entries, want none", q.Len(), len(q.all))
	}
}

func TestNewerVerdictWaitsAsLongAsTheAPIWants(t *testing.T) {
	now := time.Now()
	q := newQueue()
	q.put(now, plain(1, probe.Healthy))
	e := q.take()
	e.notBefore = now.Add(3 * time.Second)
	q.wait(now, e, now)
	q.put(now, plain(1, probe.Dead))
	if q.flush(now, func(*entry) bool { return true }); q.ready.Len() != 0 || !q.nextDue().Equal(e.notBefore) {
		t.Errorf("got %d ready, the next due at %v; want it held until %v", q.ready.Len(), q.nextDue(), e.notBefore)
	}
	if q.advance(e.notBefore); q.ready.Len() != 1 {
		t.Error("got none ready at the end of the wait")
	}
}

// TestThePageForgetsTheOldestReports: those of replicas that left the map some maps ago.
func TestThePageForgetsTheOldestReports(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const reported, replicas = 3000, 600
		p := newPage()
		for i := range reported {
			p.reported(time.Now(), plain(i, "").ID, probe.Healthy, time.Hour)
			time.Sleep(time.Millisecond)
		}
		p.prune(time.Now(), reported/2)
		if got := len(p.reports); got != reported {
			t.Errorf("got %d reports, want all %d: two for a replica", got, reported)
		}
		p.prune(time.Now(), replicas)
		for i := range reported {
			if has, want := !p.deadline(plain(i, "").ID).IsZero(), i >= reported-2*replicas; has != want {
				t.Fatalf("report %d of %d is known: %v, want %v", i, reported, has, want)
			}
		}
	})
}
