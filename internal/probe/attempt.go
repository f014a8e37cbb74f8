package probe

import (
	"cmp"
	"sync/atomic"
	"time"
)

// attempt is the time that one attempt has, and what is noted of it.
type attempt struct {
	began   time.Time
	limit   time.Duration
	record  *record  // nil where nobody asks for it
	lookups *lookups // of names, a part of record; nil without one
}

// record is what is noted of an attempt while it is under way.
type record struct {
	stalls *stalls
	mark   time.Duration // stalls.late when the attempt began
	extra  atomic.Int64  // nanoseconds that the attempt has beyond its limit
	remark string        // what is odd about its answer, though it may be up
	notes  []string      // what an operator should know of the replica beside
	wait   time.Duration // for its turn among others in this process

	lookups lookups
}

func (a attempt) deadline() time.Time {
	if a.record == nil {
		return a.began.Add(a.limit)
	}
	return a.began.Add(a.limit + time.Duration(a.record.extra.Load()))
}

// left returns how much of the time is left; it may be negative.
func (a attempt) left() time.Duration { return time.Until(a.deadline()) }

// late returns for how long this process did not run during the attempt though
// it should have.
func (a attempt) late() time.Duration {
	if a.record == nil || time.Since(a.began) <= tolerance {
		return 0
	}
	return a.record.stalls.sum() - a.record.mark
}

// latency returns how long the target has taken so far: what this process was
// late by is not the target's.
func (a attempt) latency() time.Duration { return max(0, time.Since(a.began)-a.late()) }

// prolong reports whether there is time left, after it has given the attempt more
// if this process was late: as much as that, once, and no more than its limit
// again. It is for those who find, when the time is up, that the target has done
// its part.
func (a attempt) prolong() bool {
	if a.left() > 0 {
		return true // another wait of it was here before
	}
	late := a.late()
	if late <= 0 {
		return false
	}
	extra := time.Since(a.began) - a.limit + min(late, a.limit)
	return a.record.extra.CompareAndSwap(0, int64(extra)) || a.left() > 0
}

// remark notes what is odd about the attempt.
func (a attempt) remark(note string) {
	if a.record != nil {
		a.record.remark = note
	}
}

// note says something that an operator should know of a replica. Like remark, it
// is not for goroutines that outlive the attempt.
func (a attempt) note(text string) {
	if a.record != nil {
		a.record.notes = append(a.record.notes, text)
	}
}

// queued says that the attempt waited so long for its turn in this process.
func (a attempt) queued(d time.Duration) {
	if a.record != nil {
		a.record.wait += d
	}
}

// waited returns for how long it did, which is not the target's.
func (a attempt) waited() time.Duration {
	if a.record == nil {
		return 0
	}
	return a.record.wait
}

// odd returns what was odd about the attempt, or "".
func (a attempt) odd() string { return cmp.Or(a.record.remark, a.lookups.note()) }
