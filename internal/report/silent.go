package report

import (
	"errors"
	"time"

	"github.com/crisp-im/crisp-status-local/v2/internal/pace"
	"github.com/crisp-im/crisp-status-local/v2/internal/statusapi"
)

// reach is what the ends of requests say of the way to the Status API.
type reach struct {
	heard time.Time // when a request last had an answer, if only a refusal
	lost  time.Time // when one last ended without any
	told  bool      // Silent was true since the last answer
}

// Silent reports whether nothing at all answers reports, not even with a refusal: the
// last one that ended had no answer, or one hangs and nothing was answered since it
// began. After it was true, Stale yields a value when an answer comes.
func (o *Outbox) Silent() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	oldest := o.inFlight.first
	hangs := oldest != nil && time.Since(oldest.began) >= pace.StatusLine && oldest.began.After(o.reach.heard)
	silent := hangs || o.reach.lost.After(o.reach.heard)
	o.reach.told = o.reach.told || silent
	return silent
}

// hear notes the end of a request with err.
func (o *Outbox) hear(now time.Time, err error) {
	_, refused := errors.AsType[*statusapi.UnavailableError](err)
	switch meaning := outcomeOf(err); {
	case meaning == cut:
	case meaning == unavailable && !refused:
		o.reach.lost = now
	default:
		o.reach.heard = now
		if o.reach.told {
			o.reach.told = false
			o.signalStale()
		}
	}
}
