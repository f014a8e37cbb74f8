package probe

import (
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

const (
	stallTick  = 100 * time.Millisecond // how often it is looked whether time jumped
	tolerance  = 100 * time.Millisecond // what may pass unnoticed between two looks
	worstStall = time.Second            // an attempt that failed is repeated if this process was late by more
)

// stalls adds up by how much this process was late, because it was stopped,
// starved or suspended with its host: an answer that came meanwhile may not have
// been taken in time. It looks only while attempts are under way.
//
// The clock is that of the time since boot, which goes on while the host is
// suspended, and which nobody sets: the wall clock jumps when NTP steps it.
type stalls struct {
	clock   func() time.Duration // nil: CLOCK_BOOTTIME
	records sync.Pool            // of *record

	mu       sync.Mutex // protects all following fields
	attempts int        // under way
	seen     time.Duration
	late     time.Duration
	timer    *time.Timer
}

// enter begins an attempt that has limit. The caller ends it with leave.
func (s *stalls) enter(limit time.Duration) attempt {
	r, ok := s.records.Get().(*record)
	if !ok {
		r = &record{stalls: s}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.attempts++; s.attempts == 1 {
		s.seen = s.now() // nobody has looked for long
		if s.timer == nil {
			s.timer = time.AfterFunc(stallTick, s.tick)
		} else {
			s.timer.Reset(stallTick)
		}
	}
	r.mark = s.late
	return attempt{began: time.Now(), limit: limit, record: r, lookups: &r.lookups}
}

// leave ends an attempt, which came to err, and reports whether a stall is to
// blame for it, or may be.
func (s *stalls) leave(a attempt, err error) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		s.look()
	}
	s.attempts--
	stalled := err != nil && s.late-a.record.mark > worstStall
	a.record.extra.Store(0)
	a.record.remark, a.record.notes, a.record.wait, a.record.lookups = "", nil, 0, lookups{}
	s.records.Put(a.record)
	return stalled
}

// sum returns by how much this process was late since it began to look.
func (s *stalls) sum() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.look()
	return s.late
}

func (s *stalls) tick() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.look()
	if s.attempts > 0 {
		s.timer.Reset(stallTick)
	}
}

// look adds what has gone by since the last look beyond what should have. The
// caller holds the lock.
func (s *stalls) look() {
	now := s.now()
	if late := now - s.seen - stallTick; late > tolerance {
		s.late += late
	}
	s.seen = now
}

func (s *stalls) now() time.Duration {
	if s.clock != nil {
		return s.clock()
	}
	return sinceBoot()
}

// sinceBoot returns the time since the host was booted, suspensions included.
func sinceBoot() time.Duration {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &t); err != nil {
		return 0 // the kernel is older than 2.6.39: then nothing is noticed
	}
	return time.Duration(t.Nano())
}
