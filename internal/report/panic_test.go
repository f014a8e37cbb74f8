package report

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/crisp-im/crisp-status-local/v2/internal/probe"
	"github.com/crisp-im/crisp-status-local/v2/internal/statusapi"
)

// TestPanicIsThatReportsFailure: its verdict waits, those of others are taken, and
// the stack is said once.
func TestPanicIsThatReportsFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, 20, time.Minute, func(_ context.Context, v statusapi.Verdict, _ time.Duration) error {
			if v.ID == verdict(1, 0, "").ID {
				panic("index out of range")
			}
			return nil
		})
		defer b.stop()
		for i := range 20 {
			b.Put(verdict(i, 1, probe.Healthy))
		}
		time.Sleep(30 * time.Second)
		if got := b.Waiting(); got != 1 {
			t.Errorf("got %d verdicts waiting, want the one", got)
		}
		if got := b.logged("please report it with the stack"); got != 1 {
			t.Errorf("the stack was said %d times, want once", got)
		}
		b.answers(nil)
		time.Sleep(30 * time.Second)
		if got := b.Waiting(); got != 0 {
			t.Errorf("got %d verdicts waiting after the fault has ended, want none", got)
		}
	})
}
