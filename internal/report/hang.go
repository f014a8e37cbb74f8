package report

import (
	"context"
	"time"

	"github.com/crisp-im/crisp-status-local/v2/internal/pace"
	"github.com/crisp-im/crisp-status-local/v2/internal/statusapi"
)

// Redialer is a Reporter that can report over a connection that no request has used. So goes
// every trial, and by turns a report after one that hung: a connection that was used may lead
// to a server that hangs or refuses, and the same one may be chosen again.
type Redialer interface {
	Reporter
	ReportAfresh(ctx context.Context, v statusapi.Verdict, promise time.Duration) error
}

// slowFor is how long the Status API counts as slow after it has taken a report that hung: as
// long as the reports of a cycle are spread.
const slowFor = 30 * time.Second

// Whether waiting for longer than pace.StatusLine is worth while is learned from the last
// request that did: for how long that is believed, and how long the slowest round trip is
// reckoned with.
const (
	uselessFor = 2 * time.Minute
	slowestFor = time.Minute
)

// prompt is when the Status API last took a report at once, and late.
type prompt struct {
	began   time.Time     // when the newest report began that was taken promptly
	late    time.Time     // when a report that had hung was last answered
	slowest time.Duration // the longest round trip of these in slowestFor
	vain    time.Time     // when a request last had no answer in all its time; zero: one was answered late since
	looked  time.Time     // when requests that hang alone were last looked for, after one
}

// slowFrom returns when e, which is in flight, may hang, and makes room for another. If a
// report that began later was taken promptly, or the API takes a part of the reports, that is
// soon: else those that hang would take the places of those that do not.
func (o *Outbox) slowFrom(e *entry) time.Time {
	if o.partly || e.began.Before(o.prompt.began) {
		return e.began.Add(min(max(8*o.limiter.rtt, promptly/4), promptly))
	}
	return e.began.Add(promptly)
}

// hangsAlone reports whether e has had no status line for pace.StatusLine, while a report
// that began later was taken at once. Then it is not the Status API that is slow, but a
// connection or a server behind it, and the report is sent again over another connection.
// But if the API takes others that hung, it is slow for a part of the reports, and would have
// twice as many of these.
func (o *Outbox) hangsAlone(now time.Time, e *entry) bool {
	slow := !o.prompt.late.IsZero() && now.Sub(o.prompt.late) < slowFor
	return e.age == hung && e.began.Before(o.prompt.began) && !slow
}

// again reports whether the request of e, which begins now, follows one that hung. What hung
// in an outage does not count, which may be thousands, unless it has hung alone since.
func (o *Outbox) again(e *entry) bool { return e.hung && (e.alone || !o.catchUp) }

// patient reports whether the request of e, which begins now, keeps its time though it hangs
// alone: after one that was cut it does, since the API may be slow for that replica, but not
// if that was in vain lately. In the last seconds before the page turns red none does, so that
// more can be tried.
func (o *Outbox) patient(now time.Time, e *entry) bool {
	vain := !o.prompt.vain.IsZero() && now.Sub(o.prompt.vain) < uselessFor
	if !o.again(e) && !(e.hung && o.trialsOnly()) || e.request.patient || vain {
		return false
	}
	return e.deadline.After(now) || o.queue.page.showsDead(now, e.verdict.ID)
}

// cutAt returns when the request of e, which begins now, is cut if it hangs: at the report
// deadline. Beyond it, one that follows one that hung has as long as the API needed lately,
// unless it is patient. Zero: not before its time is over.
func (o *Outbox) cutAt(now time.Time, e *entry, patient bool) time.Time {
	wait := pace.StatusLine
	if !o.prompt.late.IsZero() && now.Sub(o.prompt.late) < slowestFor {
		wait = max(wait, o.prompt.slowest*11/10)
	}
	switch {
	case e.deadline.After(now):
		return later(e.deadline, now.Add(wait))
	case !e.deadline.IsZero() && e.hung && !patient:
		return now.Add(wait)
	}
	return time.Time{}
}

// noteHang notes what the end of the request of e, which had hung, says of others: whether
// it was answered in the end.
func (o *Outbox) noteHang(now time.Time, e *entry, answered bool) {
	if !answered {
		o.prompt.vain = now
		return
	}
	if took := now.Sub(e.began); took > o.prompt.slowest || now.Sub(o.prompt.late) >= slowestFor {
		o.prompt.slowest = took
	}
	o.prompt.late, o.prompt.vain = now, time.Time{}
}

// notePrompt notes whether the report of e, which was taken, was so at once.
func (o *Outbox) notePrompt(now time.Time, e *entry) {
	if now.Sub(e.began) >= promptly {
		return
	}
	o.prompt.began = later(o.prompt.began, e.began)
	if now.Sub(o.prompt.looked) >= pace.Shortest { // thousands may hang
		o.prompt.looked = now
		o.cut(now)
	}
}
