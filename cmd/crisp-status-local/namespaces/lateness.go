//go:build faults || cluster

package namespaces

import (
	"context"
	"runtime"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Ahead is by how much the nice value of the daemon is above that of its case.
const Ahead = 10

// A case proves nothing about the daemon if the machine kept the network or the targets
// of the case from running: then it is run again.
const (
	mostRuns  = 3                      // of a case that fails while the machine is late
	tolerable = 500 * time.Millisecond // of lateness in a case, which fails by it
	lateTick  = 50 * time.Millisecond
	leastLate = 100 * time.Millisecond // less than that is usual
	wasLate   = "the machine was late"
)

// Lateness is when the machine kept a process of the daemon's priority from running
// though it should have.
type Lateness struct {
	mu    sync.Mutex     // protects waits
	waits [][2]time.Time // from when it should have run to when it did
}

// Watch measures until ctx is done.
func (l *Lateness) Watch(ctx context.Context) {
	runtime.LockOSThread() // and never unlocked: the thread has a priority of its own
	if above, err := unix.Getpriority(unix.PRIO_PROCESS, 0); err == nil {
		_ = unix.Setpriority(unix.PRIO_PROCESS, 0, 20-above+Ahead) // the system call adds 20, and turns the sign
	}
	for ctx.Err() == nil {
		due := time.Now().Add(lateTick)
		time.Sleep(lateTick)
		if now := time.Now(); now.Sub(due) > leastLate {
			l.mu.Lock()
			l.waits = append(l.waits, [2]time.Time{due, now})
			l.mu.Unlock()
		}
	}
}

// Total returns the lateness so far.
func (l *Lateness) Total() time.Duration { return l.Within(time.Time{}, time.Now()) }

// Within returns the lateness in a time.
func (l *Lateness) Within(from, to time.Time) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	return Overlap(l.waits, from, to)
}

// Overlap returns how much of a time those times cover. They must not overlap each other.
func Overlap(times [][2]time.Time, from, to time.Time) time.Duration {
	var sum time.Duration
	for _, t := range times {
		begin, end := t[0], t[1]
		if begin.Before(from) {
			begin = from
		}
		if end.After(to) {
			end = to
		}
		sum += max(end.Sub(begin), 0)
	}
	return sum
}

// Excuse makes a case that has failed run again, if the machine was late meanwhile.
func (l *Lateness) Excuse(t *testing.T) {
	t.Helper()
	if late := l.Total(); t.Failed() && late > tolerable {
		t.Logf("%s by %v", wasLate, late)
	}
}
