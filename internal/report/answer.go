package report

import (
	"errors"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/crisp-im/crisp-status-local/v2/internal/pace"
	"github.com/crisp-im/crisp-status-local/v2/internal/status"
	"github.com/crisp-im/crisp-status-local/v2/internal/statusapi"
)

// warnFailures is the number of failures of one verdict, by an API that takes others,
// after which it is logged.
const warnFailures = 3

var (
	errNoStatusLine = errors.New("no status line within " + pace.StatusLine.String())
	errCut          = errors.New("the request was cut")
)

// outcome is the meaning of an answer for the outbox.
type outcome int

const (
	taken outcome = iota
	webPage
	cut
	unauthorized
	unknown
	rejected
	throttled
	unavailable
)

// outcomeOf returns the meaning of an error of a Reporter.
func outcomeOf(err error) outcome {
	if away, ok := errors.AsType[*statusapi.UnavailableError](err); ok && away.Throttled {
		return throttled
	}
	_, isRejected := errors.AsType[*statusapi.RejectedError](err)
	switch {
	case err == nil:
		return taken
	case err == errCut:
		return cut
	case isRejected:
		return rejected
	case errors.Is(err, statusapi.ErrWebPage):
		return webPage
	case errors.Is(err, statusapi.ErrUnauthorized):
		return unauthorized
	case errors.Is(err, statusapi.ErrUnknownReplica):
		return unknown
	}
	return unavailable
}

// unanswered reports whether a request that ended so had no status line.
func unanswered(meaning outcome, err error) bool {
	_, refused := errors.AsType[*statusapi.UnavailableError](err)
	return meaning == cut || meaning == unavailable && !refused
}

// answer applies the answer to the report of e:
//
//	outcome       verdict                          breaker  gate            limiter  log
//	taken         done                             closes   opens           rtt      if it had been closed
//	web page      done                             closes   opens           rtt      once
//	cut           at once, in its old place        –        –               –        –
//	unauthorized  when the gate lets it            –        closes          –        once, and after ten minutes
//	– of others   as rejected                      –        closes at five  –        once an interval
//	unknown       1, 2, 4 … s to i/2, deadline     failure  map outdated    –        once an interval
//	rejected      1, 2, 4 … s to i/2, deadline     failure  –               –        once an interval
//	throttled     0.5, 1 … s to Trial, Retry-After failure  –               halves   third one, once an interval
//	unavailable   0.5, 1 … s to Trial, Retry-After failure  –               –        third one, once an interval
//
// Deadline: a report deadline that is still ahead shortens the wait. What was cut since it
// hung alone, or since an outage, loses its place, as after a failure. The answer to an entry
// that is gone is ignored.
func (o *Outbox) answer(now time.Time, e *entry, err error) {
	o.hear(now, err)
	if e.phase == gone {
		o.queue.done(now, e)
		return
	}
	meaning := outcomeOf(err)
	e.hung, e.patient = e.age == hung && unanswered(meaning, err), e.patient || meaning != cut
	if e.age == hung && meaning != cut {
		o.noteHang(now, e, !e.hung)
	}
	o.observed.answered(now, e.began, meaning)
	switch meaning {
	case taken, webPage:
		if meaning == webPage {
			o.warn(now, e, meaning, err, "the answer to a report is a web page; the report counts as taken")
		}
		o.limiter.taken(now, now.Sub(e.began))
		o.queue.taken = now
		at := now
		if now.Sub(e.began) >= pace.StatusLine {
			at = e.began // this host may have been stopped, and the answer have waited
		}
		o.queue.page.reported(at, e.sent.ID, e.sent.Health, e.promise)
		if meaning == webPage {
			o.queue.page.doubtReport(e.sent.ID)
		}
		o.observed.is(now, status.APIAnswers, nil)
		o.success(now, e)
		o.queue.done(now, e)
		o.notePrompt(now, e)
	case cut:
		if pace.Renewal(o.limiter.interval, e.promise) > 0 {
			o.queue.page.wasCut(e.sent.ID, e.began)
		}
		if e.alone || e.anew {
			e.failures++
			e.tried = now
		}
		o.queue.wait(now, e, now)
	case unauthorized:
		if o.gate.tolerates(now) {
			o.warn(now, e, meaning, err, "the Status API does not accept the token for this report, but for others; it will be sent again")
			o.retry(now, e, err)
			break
		}
		o.unauthorized(now, e)
		e.tried = now
		o.queue.wait(now, e, now) // another verdict would have had the same answer
	case unknown:
		o.warn(now, e, meaning, err, "the Status API does not know this replica; the map will be fetched again")
		select {
		case o.outdated <- struct{}{}:
		default:
		}
		o.failure(now, e, err)
		o.retry(now, e, err)
	case rejected:
		o.failure(now, e, err)
		o.warn(now, e, meaning, err, notTaken)
		o.retry(now, e, err)
	case throttled, unavailable:
		if meaning == throttled {
			o.limiter.throttle(now, e.began)
		}
		o.failure(now, e, err)
		if e.failures+1 >= warnFailures && o.breaker.state() == closed {
			o.warn(now, e, meaning, err, notTaken)
		}
		o.retry(now, e, err)
	}
}

const notTaken = "the Status API does not take this verdict; those that wait will be sent again"

// warn logs a message about e, once an interval for each meaning, since it may be the
// same for all replicas.
func (o *Outbox) warn(now time.Time, e *entry, meaning outcome, err error, message string) {
	if last, ok := o.warned[meaning]; ok && now.Sub(last) < o.limiter.interval {
		return
	}
	o.warned[meaning] = now
	e.logTo(o.log).WithError(err).WithField("verdicts", o.queue.Len()).Warn(message)
}

// success notes that a report was taken, which closes the breaker and opens the gate.
func (o *Outbox) success(now time.Time, e *entry) {
	o.running.tokenRefused = false
	o.on.inVain = time.Time{}
	opened, closed := o.gate.open(now), o.breaker.success(e)
	switch {
	case closed:
		o.queue.page.doubt(now) // whatever was restarted meanwhile
		o.log.WithField("verdicts", o.queue.Len()).Warn("the Status API answers again; sending what waits")
	case opened:
		o.log.WithField("verdicts", o.queue.Len()).Warn("the Status API accepts the token again; sending what waits")
	default:
		return
	}
	o.queue.flush(now, func(*entry) bool { return true })
	o.flowed = now
	if o.partly {
		o.queue.reorder(now, mixed(pace.Spread(o.limiter.interval)))
	} else {
		o.queue.reorder(now, byDeadline)
	}
	o.limiter.catchUp(now, o.queue.ready.Len(), o.queue.left(now))
	if now.Sub(e.began) >= promptly {
		return // the others may be answered as slowly
	}
	// Slow requests that began before this one hang since the outage.
	for other := o.inFlight.first; other != nil && other.began.Before(e.began); other = other.next {
		if other.age != fresh {
			other.anew = true
			other.cancel()
		}
	}
}

// failure notes that the report of e was not taken, once for each request.
func (o *Outbox) failure(now time.Time, e *entry, err error) {
	if e.failed {
		return
	}
	e.failed = true
	if !o.breaker.failure(now, e, o.limiter.replicas) {
		return
	}
	o.log.WithError(err).WithField("verdicts", o.queue.Len()).
		Error("the Status API is down; verdicts wait, and one at a time is tried")
	o.observed.is(now, status.APIDown, err)
	o.startTrials(now)
	o.queue.flush(now, func(e *entry) bool { return !e.rejected }) // ready for trials, which alone decide when to send
}

// unauthorized notes that the token was not accepted for the report of e.
func (o *Outbox) unauthorized(now time.Time, e *entry) {
	o.running.tokenRefused = o.running.draining
	o.observed.is(now, status.APIUnauthorized, statusapi.ErrUnauthorized)
	news := o.gate.unauthorized(now, e)
	o.failed(now, e)
	if !news {
		return
	}
	o.log.WithField("verdicts", o.queue.Len()).
		Error("the Status API does not accept the token for reports: check report.token; verdicts wait, and one at a time is tried")
	o.startTrials(now)
}

// startTrials orders the ready entries for trials.
func (o *Outbox) startTrials(now time.Time) {
	o.catchUp = true
	o.partly = !o.flowed.IsZero() && now.Sub(o.flowed) < slowFor
	o.queue.reorder(now, byLot)
}

// retry schedules e to be sent again. A newer verdict that has come meanwhile waits as
// long, since its answer would be the same.
func (o *Outbox) retry(now time.Time, e *entry, err error) {
	if log, ok := o.log.(*logrus.Logger); !ok || log.IsLevelEnabled(logrus.DebugLevel) {
		e.logTo(o.log).WithError(err).Debug("report failed; it will be sent again")
	}
	e.failures++
	e.tried, e.notBefore = now, time.Time{}
	meaning := outcomeOf(err)
	e.rejected = meaning == unknown || meaning == rejected || meaning == unauthorized
	o.failed(now, e)
	due := now.Add(o.retryWait(e))
	if away, ok := errors.AsType[*statusapi.UnavailableError](err); ok && away.RetryAfter > 0 {
		due = now.Add(min(away.RetryAfter, pace.Trial(o.limiter.interval)))
		o.breaker.postpone(due)
		e.notBefore = due
	} else if deadline := o.queue.page.deadline(e.verdict.ID); deadline.After(now) && deadline.Before(due) {
		due = deadline
	}
	// Two tries begin no further apart, whatever the first one took.
	if latest := e.began.Add(pace.StatusLine); !e.rejected && latest.Before(due) {
		due = latest
	}
	if soonest := now.Add(pace.Shortest); due.Before(soonest) {
		due = soonest
	}
	if !e.notBefore.IsZero() {
		e.notBefore = due
	}
	if o.breaker.state() != closed && !e.rejected {
		due = now // trials alone decide when to send
	}
	o.queue.wait(now, e, due)
}

// retryWait returns the wait after the failures of e.
func (o *Outbox) retryWait(e *entry) time.Duration {
	switch {
	case o.running.draining:
		return pace.Shortest
	case e.rejected:
		return pace.RejectedWait(o.limiter.interval, e.failures)
	default:
		return pace.TrialWait(o.limiter.interval, e.failures)
	}
}
