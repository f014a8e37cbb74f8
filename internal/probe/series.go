package probe

import "time"

// maxRepeats bounds how often attempts are repeated because this process stalled:
// one that stalls again and again shows it by late reports.
const maxRepeats = 3

// maxBackoff bounds the pause after a failure of this host.
const maxBackoff = 5 * time.Second

// series is the attempts of one probe: their bounds, and the failures so far.
type series struct {
	rules    *Rules
	attempts int           // that must fail for a dead verdict
	trace    bool          // the phases of attempts that are up are kept, too
	budget   time.Duration // of all attempts together, from start on
	start    time.Time
	limit    time.Duration // of the next attempt

	downs     int           // attempts that failed at the target
	local     error         // the last failure of this host; nil if there was none
	backoff   time.Duration // after the next failure of this host
	repeats   int           // left
	notBefore time.Time     // an earlier look-up of the name is too old; zero: any will do
}

func newSeries(t Task) series {
	rules := t.Check.rules()
	s := series{
		rules: rules, attempts: t.attempts(), trace: t.Trace, budget: t.Budget, start: time.Now(), limit: rules.DeadAfter,
		backoff: retryPause, repeats: maxRepeats,
	}
	if t.Fresh {
		s.notBefore = s.start
	}
	return s
}

// repeat prepares the repetition of an attempt that failed while this process
// stalled: an answer may have arrived while it did not run. The repetition has its
// time whole, like a first attempt. It returns the pause before it.
func (s *series) repeat() time.Duration {
	s.repeats--
	s.start, s.limit = time.Now().Add(retryPause), s.rules.DeadAfter
	return retryPause
}

// next takes the failure of an attempt. It returns the pause before the next one;
// false if there is none.
func (s *series) next(err error) (time.Duration, bool) {
	wait := retryPause
	switch {
	case isLasting(err):
		s.local = err
		return 0, false
	case isLocal(err):
		s.local = err
		// A shortage seldom ends within 200 ms. However long it lasts, the probe
		// takes no more time than one of a silent target, by which the pool is
		// measured.
		wait, s.backoff = s.backoff, min(2*s.backoff, maxBackoff)
		s.budget = min(s.budget, s.rules.Longest(s.budget))
	default:
		if s.downs++; s.downs >= s.attempts {
			return 0, false
		}
	}
	s.limit = min(s.rules.DeadAfter, s.budget-time.Since(s.start)-wait)
	return wait, s.limit > 0
}

// conclude returns the health after the last attempt, which failed with err, and
// the reason for it. Without enough failures at the target, the replica is dead
// only if its time was up without any trouble of this host.
func (s *series) conclude(err error) (Health, error) {
	if s.local != nil && s.downs < s.attempts {
		return Unknown, s.local
	}
	return Dead, err
}
