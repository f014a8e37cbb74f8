package report

import (
	"context"
	"errors"
	"io"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/crisp-im/crisp-status-local/v2/internal/pace"
	"github.com/crisp-im/crisp-status-local/v2/internal/probe"
	"github.com/crisp-im/crisp-status-local/v2/internal/status"
	"github.com/crisp-im/crisp-status-local/v2/internal/statusapi"
)

func TestSnapshotOfTheOutbox(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var answer error
		says := func(err error) { mu.Lock(); defer mu.Unlock(); answer = err }
		log := logrus.New()
		log.SetOutput(io.Discard)
		const interval = 2 * time.Minute
		o := New(reporterFunc(func(context.Context, statusapi.Verdict, time.Duration) error {
			time.Sleep(40 * time.Millisecond)
			mu.Lock()
			defer mu.Unlock()
			return answer
		}), Terms{interval, interval}, log)
		ctx, cancel := context.WithCancel(t.Context())
		var running sync.WaitGroup
		running.Go(func() { o.Run(ctx) })
		defer running.Wait()
		defer cancel()
		o.Retain(5, func(probe.ID) bool { return true })
		put := func() {
			for i := range 5 {
				o.Put(statusapi.Verdict{ID: verdict(i, 0, "").ID, Health: probe.Healthy})
			}
			time.Sleep(time.Second)
			synctest.Wait()
		}
		if s := o.Snapshot(); s.API != status.APIUnknown || s.RTT != 0 {
			t.Errorf("got %+v before the first report, want that nothing is known", s)
		}
		start := time.Now()
		put()
		s := o.Snapshot()
		if s.API != status.APIAnswers || s.RTT <= 0 || s.Waiting != 0 || s.Late != 0 || s.Reports.Outcomes["taken"] != 5 {
			t.Errorf("got %+v, want that it answers and took all five", s)
		}
		got, ok := o.Taken(verdict(0, 0, "").ID)
		if at := start.Add(40 * time.Millisecond); !ok || got.Health != probe.Healthy || !got.At.Equal(at) || !got.Due.Equal(at.Add(interval+pace.Grace)) {
			t.Errorf("got %+v, %v, want healthy at %v and the next one due after interval and grace", got, ok, at)
		}
		time.Sleep(interval - time.Second)
		put()
		if gap := o.Snapshot().Promise.WorstGap; gap != interval {
			t.Errorf("got the worst gap %v, want %v", gap, interval)
		}

		says(errors.New("connection refused"))
		put()
		if s := o.Snapshot(); s.API != status.APIDown || s.LastErr != "connection refused" || s.Waiting != 5 || s.NextTry.IsZero() {
			t.Errorf("got %+v, want that it is down, why, and when it is tried next", s)
		}
		time.Sleep(interval + pace.Grace)
		says(nil)
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if s := o.Snapshot(); s.API != status.APIAnswers || s.LastErr != "" || s.Late != 5 || s.Promise.WorstGap <= interval+pace.Grace {
			t.Errorf("got %+v, want that it answers, and that five reports were late", s)
		}
		says(statusapi.ErrUnauthorized)
		put()
		if s := o.Snapshot(); s.API != status.APIUnauthorized || s.Reports.Outcomes["unauthorized"] == 0 {
			t.Errorf("got %+v, want that the token is not accepted", s)
		}
		if _, ok := o.Taken(verdict(99, 0, "").ID); ok {
			t.Error("got a report of a replica that had none")
		}
	})
}
