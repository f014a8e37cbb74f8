package scheduler

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/crisp-im/crisp-status-local/v2/internal/logging"
	"github.com/crisp-im/crisp-status-local/v2/internal/probe"
	"github.com/crisp-im/crisp-status-local/v2/internal/statusapi"
)

// lateHook is a hook that is made in the bubble, with its first line.
type lateHook struct {
	mu     sync.Mutex // protects out
	out    bytes.Buffer
	writer *logging.Writer
	hook   logrus.Hook
}

func (*lateHook) Levels() []logrus.Level { return logrus.AllLevels }

func (h *lateHook) Fire(e *logrus.Entry) error {
	if h.hook == nil {
		h.writer = logging.NewWriter(h, func(l logging.Lost) []byte { return fmt.Appendf(nil, "lost=%d\n", l.Total()) })
		h.hook = logging.Hook(&logrus.TextFormatter{DisableColors: true}, h.writer)
	}
	return h.hook.Fire(e)
}

func (h *lateHook) Write(line []byte) (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.out.Write(line)
}

func (h *lateHook) String() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.out.String()
}

// Every second the map has other replicas and other odd entries, and replicas
// turn healthy and dead by chance, each with words of its own.
func TestNeitherMapNorTargetsFillTheLog(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	words := func() string {
		var b strings.Builder
		for range 40 {
			fmt.Fprintf(&b, "%c%c%c ", 'a'+random.IntN(26), 'a'+random.IntN(26), 'a'+random.IntN(26))
		}
		return b.String()
	}
	generation := 0
	var r *rig
	r = newRig(t, func(context.Context, *statusapi.Map) (*statusapi.Map, error) {
		r.mu.Lock()
		defer r.mu.Unlock()
		generation++
		m := mapOf(t, append(names(0, 150), names(1000+100*generation, 100)...)...)
		for range 50 {
			m.Problems = append(m.Problems, words())
		}
		return m, nil
	})
	h := new(lateHook)
	r.hook, r.settings.Interval = h, time.Second
	r.judge = func(context.Context, probe.Task) probe.Result {
		r.mu.Lock()
		defer r.mu.Unlock()
		if random.IntN(2) == 0 {
			return healthy
		}
		return probe.Result{Health: probe.Dead, Attempts: 3, Err: &probe.Error{Kind: probe.KindBroken, Reason: words()}}
	}
	var sizes []int
	r.run(func() {
		for second := range time.Duration(181) {
			r.until(second * time.Second)
			sizes = append(sizes, len(h.String()))
		}
		h.writer.Close(time.Second)
	})
	for i := 60; i < len(sizes); i++ {
		if got := sizes[i] - sizes[i-60]; got > logging.Budget {
			t.Fatalf("%d bytes were written in the minute before second %d, want at most %d", got, i, logging.Budget)
		}
	}
	if sizes[len(sizes)-1] < logging.Budget || !strings.Contains(h.String(), "lost=") {
		t.Errorf("%d bytes were written in three minutes, want more than fit, and that some were lost", sizes[len(sizes)-1])
	}
}
