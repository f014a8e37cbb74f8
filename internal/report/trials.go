package report

import (
	"time"

	"github.com/crisp-im/crisp-status-local/v2/internal/pace"
)

// hangingTrials bounds the trials in flight: one that hangs must not block the others
// for the 20 s of its timeout.
const hangingTrials = 4

// trials paces single reports while the API takes none.
type trials struct {
	inFlight int
	began    time.Time // when the last one did
	next     time.Time // when another one may begin, if none is in flight
}

// at returns the time at which another trial may begin; false if none may before one has
// ended. A trial without a status line delays the next one by pace.StatusLine at
// most.
func (t *trials) at() (time.Time, bool) {
	switch {
	case t.inFlight == 0:
		return t.next, true
	case t.inFlight < hangingTrials:
		hung := t.began.Add(pace.StatusLine)
		if t.next.After(hung) {
			hung = t.next
		}
		return hung, true
	}
	return time.Time{}, false
}

// begin notes that a trial begins, and that the next one waits from now.
func (t *trials) begin(now time.Time, wait time.Duration) {
	t.inFlight++
	t.began, t.next = now, now.Add(wait)
}

// hasten ends the wait for the next trial, but for pace.Shortest after the last one.
func (t *trials) hasten() {
	if soonest := t.began.Add(pace.Shortest); t.next.After(soonest) {
		t.next = soonest
	}
}
