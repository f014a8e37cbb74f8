package probe

import (
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

const (
	stallTick  = 250 * time.Millisecond // how often it is looked whether time jumped
	worstStall = time.Second            // what may pass unnoticed between two looks
)

// stalls notices when this process did not run for more than a second, because
// it was stopped, starved or suspended with its host: an answer that came
// meanwhile may not have been taken in time. It looks only while attempts are
// under way.
//
// The clock is that of the time since boot, which goes on while the host is
// suspended, and which nobody sets: the wall clock jumps when NTP steps it.
type stalls struct {
	clock func() time.Duration // nil: CLOCK_BOOTTIME

	mu       sync.Mutex // protects all following fields
	attempts int        // under way
	seen     time.Duration
	count    int
	timer    *time.Timer
}

// enter notes that an attempt begins and returns the mark for leave.
func (s *stalls) enter() (mark int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.look()
	if s.attempts++; s.attempts == 1 {
		if s.timer == nil {
			s.timer = time.AfterFunc(stallTick, s.tick)
		} else {
			s.timer.Reset(stallTick)
		}
	}
	return s.count
}

// leave notes that the attempt is over and reports whether a stall fell into it.
func (s *stalls) leave(mark int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.look()
	s.attempts--
	return s.count != mark
}

func (s *stalls) tick() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.look()
	if s.attempts > 0 {
		s.timer.Reset(stallTick)
	}
}

// look counts a stall if more time has gone by since the last look than can
// have while this process ran. The caller holds the lock.
func (s *stalls) look() {
	clock := s.clock
	if clock == nil {
		clock = sinceBoot
	}
	now := clock()
	if s.attempts > 0 && now-s.seen > stallTick+worstStall {
		s.count++
	}
	s.seen = now
}

// sinceBoot returns the time since the host was booted, suspensions included.
func sinceBoot() time.Duration {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &t); err != nil {
		return 0 // the kernel is older than 2.6.39: then nothing is noticed
	}
	return time.Duration(t.Nano())
}
