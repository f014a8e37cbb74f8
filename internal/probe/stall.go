package probe

import (
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

const (
	stallTick  = 100 * time.Millisecond // the period at which jumps of time are looked for
	tolerance  = 100 * time.Millisecond // a shorter lateness between two looks is ignored
	worstStall = time.Second            // a failed attempt is repeated after a longer lateness of this process
)

// stalls measures the lateness of this process: the time for which it was stopped,
// starved or suspended with its host. An answer that arrived meanwhile may not have
// been read in time. It measures only while attempts are in flight.
//
// The clock is CLOCK_BOOTTIME, which continues while the host is suspended and is
// never set: the wall clock jumps when NTP steps it.
type stalls struct {
	clock   func() time.Duration // nil: CLOCK_BOOTTIME
	records sync.Pool            // of *record

	mu       sync.Mutex // protects all following fields
	attempts int        // in flight
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
		s.seen = s.now() // the last look is old
		if s.timer == nil {
			s.timer = time.AfterFunc(stallTick, s.tick)
		} else {
			s.timer.Reset(stallTick)
		}
	}
	r.mark = s.late
	return attempt{began: time.Now(), limit: limit, record: r, lookups: &r.lookups}
}

// leave ends an attempt that returned err, and reports whether a stall may be the
// cause of that error.
func (s *stalls) leave(a attempt, err error) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		s.look()
	}
	s.attempts--
	stalled := err != nil && s.late-a.record.mark > worstStall
	a.record.extra.Store(0)
	a.record.anomaly, a.record.notes, a.record.wait, a.record.lookups = "", nil, 0, lookups{}
	a.record.phases = Attempt{}
	s.records.Put(a.record)
	return stalled
}

// sum returns the lateness of this process since the start of the measurement.
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

// look adds the time since the last look beyond the tick. The caller holds the
// lock.
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
		return 0 // the kernel is older than 2.6.39: no lateness is noticed
	}
	return time.Duration(t.Nano())
}
