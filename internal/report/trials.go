package report

import (
	"time"

	"github.com/crisp-im/crisp-status-local/v2/internal/pace"
)

// hangingTrials is how many trials may be under way together: one that hangs
// must not keep the others from the API for the 20 s of its time-out.
const hangingTrials = 4

// trials paces single reports while the API takes none.
type trials struct {
	inFlight int
	began    time.Time // when the last one did
	next     time.Time // when another one may begin, if none is under way
}

// at returns when another trial may begin; false if the end of one comes first.
// A trial without a status line is waited for no longer than others would be.
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
