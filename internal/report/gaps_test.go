package report

import (
	"testing"
	"time"

	"github.com/crisp-im/crisp-status-local/v2/internal/pace"
	"github.com/crisp-im/crisp-status-local/v2/internal/probe"
)

// Reports of two replicas at an interval of two minutes, one of which comes late
// once, and a third one that ceases.
func TestThePromiseIsMeasured(t *testing.T) {
	const interval = 2 * time.Minute
	q := newQueue()
	p := &q.page
	start := p.epoch
	for replica := range 3 {
		q.put(start, verdict(replica, 0, "")) // whatever comes next waits
	}
	take := func(replica int, at time.Duration, h probe.Health) {
		p.reported(start.Add(at), verdict(replica, 0, "").ID, h, interval)
	}
	promise := func(at time.Duration) Promise {
		p.gaps.advance(start.Add(at), interval)
		return Promise{max(p.gaps.current.worst, p.gaps.last.worst), p.gaps.current.late + p.gaps.last.late, q.overdue(start.Add(at))}
	}
	want := func(at time.Duration, w Promise) {
		t.Helper()
		if got := promise(at); got != w {
			t.Errorf("after %v: got %+v, want %+v", at, got, w)
		}
	}
	take(1, 0, probe.Healthy)
	take(2, 0, probe.Healthy)
	want(0, Promise{})
	take(1, interval+time.Second, probe.Healthy)
	want(interval+time.Second, Promise{WorstGap: interval + time.Second})
	want(interval+pace.Grace+time.Second, Promise{WorstGap: interval + time.Second, Overdue: 1})
	take(2, interval+50*time.Second, probe.Dead)
	want(interval+50*time.Second, Promise{WorstGap: interval + 50*time.Second, Late: 1})
	// That one is dead now: when it is reported again has no promise.
	take(1, 2*interval, probe.Healthy)
	take(2, 5*interval, probe.Healthy)
	want(5*interval, Promise{Overdue: 1})
	take(1, 5*interval, probe.Healthy)
	want(9*interval, Promise{Overdue: 2})
	q.drop(q.all[verdict(2, 0, "").ID]) // it left the map
	want(9*interval, Promise{Overdue: 1})
	// Another interval: a gap across the change says nothing.
	p.reported(start.Add(10*interval), verdict(3, 0, "").ID, probe.Healthy, interval)
	p.reported(start.Add(11*interval), verdict(3, 0, "").ID, probe.Healthy, 2*interval)
	if got := promise(11 * interval).WorstGap; got != 0 {
		t.Errorf("got a gap of %v across a change of the interval, want none", got)
	}
}
