package report

import (
	"context"
	"time"

	"github.com/crisp-im/crisp-status-local/v2/internal/pace"
	"github.com/crisp-im/crisp-status-local/v2/internal/statusapi"
)

// Redialer is a Reporter that can report over a connection that no request has used. So goes
// a report after one that hung, and every trial: a connection that was used may lead to a
// server that hangs, and the same one may be chosen again.
type Redialer interface {
	Reporter
	ReportAfresh(ctx context.Context, v statusapi.Verdict, promise time.Duration) error
}

// slowFor is how long the Status API counts as slow after it has taken a report that hung: as
// long as the reports of a cycle are spread.
const slowFor = 30 * time.Second

// prompt is when the Status API last took a report at once, and late.
type prompt struct {
	began  time.Time // when the newest report began that was taken promptly
	late   time.Time // when a report was last taken that had hung
	looked time.Time // when requests that hang alone were last looked for, after one
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

// afresh reports whether the request of e, which begins now, goes over a connection of its
// own since the last one hung. What hung in an outage does not, which may be thousands,
// unless it has hung alone since.
func (o *Outbox) afresh(e *entry) bool { return e.hung && (e.alone || !o.catchUp) }

// patient reports whether the request of e, which begins now, keeps its time though it hangs
// alone: over a connection of its own after one that was cut it does, since the API may be
// slow for that replica. In the last seconds before the page turns red none does, so that
// more can be tried.
func (o *Outbox) patient(now time.Time, e *entry) bool {
	if !o.afresh(e) || e.request.patient {
		return false
	}
	return e.deadline.After(now) || o.queue.page.showsDead(now, e.verdict.ID)
}

// notePrompt notes whether the report of e, which was taken, was so at once, or had hung.
func (o *Outbox) notePrompt(now time.Time, e *entry) {
	if e.age == hung {
		o.prompt.late = now
	}
	if now.Sub(e.began) >= promptly {
		return
	}
	o.prompt.began = later(o.prompt.began, e.began)
	if now.Sub(o.prompt.looked) >= pace.Shortest { // thousands may hang
		o.prompt.looked = now
		o.cut(now)
	}
}
