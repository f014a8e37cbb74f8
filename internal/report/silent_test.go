package report

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/crisp-im/crisp-status-local/v2/internal/probe"
	"github.com/crisp-im/crisp-status-local/v2/internal/statusapi"
)

func TestAPIThatAnswersIsNotSilent(t *testing.T) {
	for name, err := range map[string]error{
		"takes": nil, "is down": refusing(500, 0), "throttles": refusing(429, 0), "refuses the token": refusing(401, 0),
		"knows no replica": refusing(404, 0), "rejects": refusing(422, 0), "is behind a web page": statusapi.ErrWebPage,
	} {
		synctest.Test(t, func(t *testing.T) {
			b := newBench(t, 10, time.Minute, always(err, 4*time.Second))
			defer b.stop()
			for i := range 10 {
				b.Put(verdict(i, 1, probe.Healthy))
				time.Sleep(3 * time.Second)
				if b.Silent() {
					t.Fatalf("an API that %s: got silent after %d reports, want not", name, i+1)
				}
			}
		})
	}
}

// TestAPIWithoutAnswersIsSilent: it is when a request has failed, or hung for the time
// that a status line may take; and it is no more with the first answer, which Stale
// tells of.
func TestAPIWithoutAnswersIsSilent(t *testing.T) {
	for _, tt := range []struct {
		name  string
		after time.Duration // until it is known
		lasts time.Duration // of a request
	}{
		{"refuses connections", 0, 0},
		{"hangs", 5 * time.Second, 20 * time.Second},
	} {
		synctest.Test(t, func(t *testing.T) {
			b := newBench(t, 10, time.Minute, always(nil, time.Millisecond))
			defer b.stop()
			put := func() {
				for i := range 10 {
					b.Put(verdict(i, 1, probe.Healthy))
				}
			}
			put()
			time.Sleep(time.Minute)
			b.Reload(reporterFunc(func(ctx context.Context, _ statusapi.Verdict, _ time.Duration) error {
				select {
				case <-time.After(tt.lasts):
					return errUnreachable
				case <-ctx.Done():
					return ctx.Err()
				}
			}), Terms{time.Minute, time.Minute})
			put()
			synctest.Wait()
			if tt.after > 0 && b.Silent() {
				t.Errorf("an API that %s: got silent at once, want after %v", tt.name, tt.after)
			}
			time.Sleep(tt.after)
			synctest.Wait()
			for range 60 {
				if !b.Silent() {
					t.Fatalf("an API that %s: got not silent, want silent until it answers", tt.name)
				}
				time.Sleep(time.Second)
			}
			select {
			case <-b.Stale():
				t.Errorf("an API that %s: Stale had a value before an answer", tt.name)
			default:
			}
			b.Reload(reporterFunc(b.report), Terms{time.Minute, time.Minute})
			time.Sleep(time.Minute)
			if b.Silent() {
				t.Errorf("an API that %s and answers again: got silent, want not", tt.name)
			}
			select {
			case <-b.Stale():
			default:
				t.Errorf("an API that %s and answers again: Stale had no value", tt.name)
			}
		})
	}
}
