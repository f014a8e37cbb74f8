package probe

import (
	"cmp"
	"sync/atomic"
	"time"
)

// attempt is the deadline of one attempt, and the record of its course.
type attempt struct {
	began   time.Time
	limit   time.Duration
	record  *record  // nil for a dial of its own, which keeps none
	lookups *lookups // of names, a part of record; nil without one
}

// record is the course of an attempt in flight.
type record struct {
	stalls  *stalls
	mark    time.Duration // stalls.late when the attempt began
	extra   atomic.Int64  // nanoseconds that the attempt has beyond its limit
	anomaly string        // an oddity of its answer, though it may be up
	notes   []string      // hints for the operator, beside the reason
	wait    time.Duration // for its turn among others of this process

	panicked atomic.Pointer[Error] // the first panic; nil if there was none

	phases  Attempt
	lookups lookups
}

func (a attempt) deadline() time.Time {
	if a.record == nil {
		return a.began.Add(a.limit)
	}
	return a.began.Add(a.limit + time.Duration(a.record.extra.Load()))
}

// left returns the time until the deadline; it may be negative.
func (a attempt) left() time.Duration { return time.Until(a.deadline()) }

// late returns how long this process did not run during the attempt though it
// should have.
func (a attempt) late() time.Duration {
	if a.record == nil || time.Since(a.began) <= tolerance {
		return 0
	}
	return a.record.stalls.sum() - a.record.mark
}

// latency returns the time of the attempt so far, less the lateness of this
// process, which is not the target's.
func (a attempt) latency() time.Duration { return max(0, time.Since(a.began)-a.late()) }

// targetTime returns the part of latency that the target took: all but the
// look-ups of names and the waits for a turn in this process.
func (a attempt) targetTime() time.Duration {
	return max(0, a.latency()-a.lookups.time()-a.waited())
}

// prolong reports whether there is time left. It first extends an expired attempt by
// the lateness of this process, once, by the limit at most. It is called when the
// deadline has passed although the target has answered.
func (a attempt) prolong() bool {
	if a.left() > 0 {
		return true // another wait has extended it already
	}
	late := a.late()
	if late <= 0 {
		return false
	}
	extra := time.Since(a.began) - a.limit + min(late, a.limit)
	return a.record.extra.CompareAndSwap(0, int64(extra)) || a.left() > 0
}

// setAnomaly notes an oddity of the attempt, for the reason of its result.
func (a attempt) setAnomaly(text string) {
	if a.record != nil {
		a.record.anomaly = text
	}
}

// note adds a hint for the operator. Like setAnomaly, it must not be called by a
// goroutine that outlives the attempt.
func (a attempt) note(text string) {
	if a.record != nil {
		a.record.notes = append(a.record.notes, text)
	}
}

// addWait notes that the attempt waited for d for its turn in this process.
func (a attempt) addWait(d time.Duration) {
	if a.record != nil {
		a.record.wait += d
	}
}

// waited returns the sum of those waits, which are not the target's.
func (a attempt) waited() time.Duration {
	if a.record == nil {
		return 0
	}
	return a.record.wait
}

// anomaly returns the oddity of the attempt, of its answer or its look-ups; "" if
// there was none.
func (a attempt) anomaly() string { return cmp.Or(a.record.anomaly, a.lookups.anomaly()) }
