package scheduler

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/crisp-im/crisp-status-local/v2/internal/statusapi"
)

// ping asks the scheduler for a sign of life, and returns the answer and when it came.
func (r *rig) ping(patience time.Duration) (time.Duration, error) {
	r.t.Helper()
	ctx, cancel := context.WithTimeoutCause(context.Background(), patience, errors.New("no answer in time"))
	defer cancel()
	began := r.now()
	err := r.scheduler.Ping(ctx)
	return r.now() - began, err
}

func TestASchedulerThatTurnsAnswersAtOnce(t *testing.T) {
	for name, fetch := range map[string]fetchFunc{
		"a map":          gives(mapOf(t, names(0, 100)...)),
		"no map":         fails(errDown),
		"an API hanging": hangs,
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, fetch)
			r.judge = lasts(30*time.Second, dead)
			r.run(func() {
				for _, at := range []time.Duration{0, time.Second, 90 * time.Second, 120 * time.Second, 500 * time.Second} {
					r.until(at)
					if took, err := r.ping(5 * time.Second); err != nil || took != 0 {
						t.Errorf("asked after %v: got %v after %v, want an answer at once", at, err, took)
					}
				}
			})
		})
	}
}

func TestASchedulerThatHangsSaysNothing(t *testing.T) {
	r := newRig(t, gives(mapOf(t, "tcp://a:1")))
	r.onPut = func(statusapi.Verdict) { time.Sleep(20 * time.Second) }
	r.run(func() {
		r.until(time.Second)
		took, err := r.ping(5 * time.Second)
		if want := "the scheduler does not respond: no answer in time"; err == nil || err.Error() != want || took != 5*time.Second {
			t.Errorf("got %v after %v, want %q after 5s", err, took, want)
		}
		r.until(21 * time.Second)
		if _, err := r.ping(5 * time.Second); err != nil {
			t.Errorf("got %v once it goes on, want an answer", err)
		}
	})
}

func TestPingEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		scheduler := New(Settings{Interval: time.Second}, (*prober)(newRig(t, nil)), (*outbox)(newRig(t, nil)), logrus.New())
		if err := scheduler.Ping(ctx); !errors.Is(err, context.Canceled) {
			t.Errorf("got %v of a scheduler that nobody runs, want that it was cancelled", err)
		}
	})
}
