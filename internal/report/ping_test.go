package report

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/crisp-im/crisp-status-local/v2/internal/probe"
)

func TestOutboxThatTurnsAnswersAtOnce(t *testing.T) {
	for name, err := range map[string]error{"an API that takes all": nil, "an API that is down": errUnreachable, "a token that is refused": refusing(401, 0)} {
		synctest.Test(t, func(t *testing.T) {
			b := newBench(t, 100, time.Minute, always(err, 20*time.Second))
			for i := range 100 {
				b.Put(verdict(i, 1, probe.Healthy))
				began := time.Now()
				if err := b.Ping(t.Context()); err != nil || time.Since(began) > 0 {
					t.Errorf("%s: got %v after %v, want an answer at once", name, err, time.Since(began))
				}
				time.Sleep(time.Second)
			}
			b.stop()
		})
	}
}

func TestOutboxThatHangsSaysNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := New(reporterFunc(nil), Terms{time.Minute, time.Minute}, logrus.New()) // which nobody runs
		ctx, cancel := context.WithTimeoutCause(t.Context(), 5*time.Second, errors.New("no answer in time"))
		defer cancel()
		if err, want := o.Ping(ctx), "the outbox does not respond: no answer in time"; err == nil || err.Error() != want {
			t.Errorf("got %v, want %q", err, want)
		}
	})
}
