package report

import (
	"container/heap"
	"errors"
	"time"

	"github.com/crisp-im/crisp-status-local/v2/internal/pace"
	"github.com/crisp-im/crisp-status-local/v2/internal/probe"
	"github.com/crisp-im/crisp-status-local/v2/internal/statusapi"
)

// Severer is a Reporter that can close its connections over which no answer has come to
// what was sent, so that the kernel does not deliver it later. The requests on them fail.
type Severer interface {
	Reporter
	Sever()
}

// reach is what the ends of requests say of the way to the Status API.
type reach struct {
	heard time.Time // when a request last had an answer, if only a refusal or a disconnect
	lost  time.Time // when one last ended without any
	began time.Time // when it was noticed that nothing at all answers; zero while it does
	ended time.Time // when that last was over

	searched bool   // for deaths to be recalled, in this silence
	ups      uint32 // counts the verdicts that were measured and are not dead
	recalled uint32 // ups when deaths were last recalled
	recalls  []statusapi.Verdict
}

// Silence returns when it was noticed that nothing at all answers reports, not even with a
// refusal or a disconnect, zero if something does; and when the last silence that is over
// ended, zero if there was none. The Status API is silent if the last request that ended had no answer, or
// one hangs and nothing was answered since it began; but not while nothing waits to be sent,
// since nothing would end the silence then. At its end, Stale yields a value.
func (o *Outbox) Silence() (began, ended time.Time) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.noteSilence(time.Now())
	if o.queue.Len() == 0 {
		return time.Time{}, o.reach.ended
	}
	return o.reach.began, o.reach.ended
}

// TakeRecalled returns the verdicts that the page has of the replicas whose deaths were
// recalled since the last call. A death is recalled if it was not taken when the Status API
// became silent, and no replica was up since it was measured: this host's network may have
// failed before the death was seen. It could not be reported now, and may be wrong by the
// time that it could; so the page's verdict waits in its place.
func (o *Outbox) TakeRecalled() []statusapi.Verdict {
	o.mu.Lock()
	defer o.mu.Unlock()
	recalled := o.reach.recalls
	o.reach.recalls = nil
	return recalled
}

// hear notes the end of a request with err.
func (o *Outbox) hear(now time.Time, err error) {
	_, disconnected := errors.AsType[*statusapi.DisconnectedError](err)
	switch meaning := outcomeOf(err); {
	case meaning == cut:
	case unanswered(meaning, err) && !disconnected:
		o.reach.lost = now
		o.noteSilence(now)
	default:
		o.reach.heard = now
		if !o.reach.began.IsZero() {
			o.reach.began, o.reach.ended, o.reach.searched = time.Time{}, now, false
			o.signalStale()
		}
	}
}

// noteSilence notes whether the Status API is silent, and recalls deaths once it has been so
// for pace.StatusLine.
func (o *Outbox) noteSilence(now time.Time) {
	oldest := o.inFlight.first
	hangs := oldest != nil && now.Sub(oldest.began) >= pace.StatusLine && oldest.began.After(o.reach.heard)
	if !hangs && !o.reach.lost.After(o.reach.heard) {
		return
	}
	if o.reach.began.IsZero() {
		o.reach.began = now
	}
	if o.reach.searched || !hangs && now.Sub(o.reach.began) < pace.StatusLine {
		return
	}
	o.reach.searched = true
	// Once for all that were seen in a row: if every replica is dead and the API answers
	// slowly, no death would ever be taken.
	if o.reach.recalled != o.reach.ups {
		o.recall(now)
	}
}

// recall puts the verdicts that the page has in the place of deaths that it does not have,
// where no replica was up since they were measured.
func (o *Outbox) recall(now time.Time) {
	for id, e := range o.queue.all {
		if e.phase == gone || e.phase == kept || e.verdict.Health != probe.Dead || e.ups != o.reach.ups {
			continue
		}
		shown, ok := o.queue.page.shows(now, id)
		if !ok {
			continue
		}
		o.reach.recalls = append(o.reach.recalls, statusapi.Verdict{ID: id, Health: shown})
		e.verdict.Health, e.measured = shown, never
		if e.phase == waiting {
			o.queue.rank(now, e)
			heap.Fix(e.in, e.index)
		} else {
			e.phase = dirty
		}
	}
	sent := false
	for e := o.inFlight.first; e != nil; e = e.next {
		if e.phase == dirty && e.sent.Health == probe.Dead && e.verdict.Health != probe.Dead {
			e.cancel()
			sent = true
		}
	}
	if s, ok := o.reporter.(Severer); ok && sent {
		s.Sever()
	}
	if len(o.reach.recalls) > 0 {
		o.reach.recalled = o.reach.ups
		o.signalStale()
	}
}
