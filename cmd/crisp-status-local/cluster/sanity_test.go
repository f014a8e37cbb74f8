//go:build cluster

package cluster

import (
	"testing"
	"time"
)

// TestTheJudgeCanFail lets two daemons report that know nothing of each other,
// where a third one is said to be on duty.
func TestTheJudgeCanFail(t *testing.T) {
	t.Parallel()
	if !inside(t) {
		return
	}
	nobody := func(*lab) func() (string, error) { return func() (string, error) { return "host-3", nil } }
	l := newLab(t, options{engine: "none", daemons: 2, watch: nobody})
	time.Sleep(2 * interval)
	l.daemons[0].kill()
	l.daemons[1].kill()
	time.Sleep(2 * interval)
	v := l.judge(l.settled)
	t.Logf("figures: %v", v)
	if len(v.overlaps) == 0 || len(v.strays) == 0 {
		t.Errorf("the judge finds %v, want dead and other reports of those who are not on duty", v)
	}
	if v.worst < 2*interval {
		t.Errorf("the judge finds a silence of %v, want %v at least", v.worst, 2*interval)
	}
}
