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

// prompt is when the Status API last took a report at once.
type prompt struct {
	began  time.Time // when the newest report began that was taken within slowAfter
	looked time.Time // when requests that hang alone were last looked for, after one
}

// hangsAlone reports whether e has had no status line for pace.StatusLine, while a report
// that began later was taken at once. Then it is not the Status API that is slow, but a
// connection or a server behind it, and the report is sent again over another connection.
func (o *Outbox) hangsAlone(e *entry) bool { return e.age == hung && e.began.Before(o.prompt.began) }

// patient reports whether the request of e, which begins now, keeps its time though it hangs
// alone: after one that was cut it does, since the API may be slow for that replica. In the
// last seconds before the page turns red none does, so that more can be tried.
func (o *Outbox) patient(now time.Time, e *entry) bool {
	if !e.hung || e.request.patient {
		return false
	}
	return e.deadline.After(now) || o.queue.page.showsDead(now, e.verdict.ID)
}

// takenPromptly notes that the report of e was taken, if that was at once.
func (o *Outbox) takenPromptly(now time.Time, e *entry) {
	if now.Sub(e.began) >= slowAfter {
		return
	}
	o.prompt.began = later(o.prompt.began, e.began)
	if now.Sub(o.prompt.looked) >= pace.Shortest { // thousands may hang
		o.prompt.looked = now
		o.cut(now)
	}
}
