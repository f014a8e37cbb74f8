package scheduler

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/crisp-im/crisp-status-local/v2/internal/probe"
)

// silence makes the Status API silent, or answer again.
func (r *rig) silence(silent bool) {
	r.mu.Lock()
	r.silent = silent
	r.mu.Unlock()
	if !silent {
		r.stale <- struct{}{}
	}
}

// started returns how many probes have begun.
func (r *rig) started() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.order)
}

// TestManyDeathsWhileTheAPIIsSilent: when many replicas die and the Status API is silent,
// too, it is this host's network, though some may be up, as on this host itself. Once the
// API answers, the replicas are probed at once, and those that are down then are reported.
func TestManyDeathsWhileTheAPIIsSilent(t *testing.T) {
	const silentFrom, silentTo = 110 * time.Second, 400 * time.Second
	replicas, near := names(0, 10), names(10, 2)
	r := newRig(t, gives(mapOf(t, slices.Concat(replicas, near)...)))
	r.judge = func(_ context.Context, task probe.Task) probe.Result {
		now := r.now()
		if slices.Contains(near, task.Check.Target.ID()) {
			time.Sleep(time.Second) // so it is up later than the others began
			return healthy
		}
		down := now >= silentFrom && slices.Contains(replicas[:5], task.Check.Target.ID()) // for good
		if down || now >= silentFrom && now < silentTo {
			return dead
		}
		return healthy
	}
	r.run(func() {
		r.until(silentFrom)
		r.silence(true)
		r.until(silentTo)
		if got := r.deaths(); len(got) != 0 {
			t.Errorf("replicas reported dead while the API was silent: got %v, want none", got)
		}
		before := r.started()
		r.silence(false)
		r.until(silentTo + time.Second)
		if got := r.started() - before; got != len(replicas) {
			t.Errorf("got %d probes within a second of the API's first answer, want one of each of %d", got, len(replicas))
		}
		r.until(silentTo + 5*time.Second)
	})
	got := r.deaths()
	for _, replica := range replicas[:5] {
		if at, died := got[replica]; !died || at > silentTo+4*time.Second {
			t.Errorf("%s: reported dead at %v, want it after one attempt and another 3 s later", replica, at)
		}
	}
	if len(got) != 5 {
		t.Errorf("replicas reported dead: got %v, want the five that are", got)
	}
	said := r.said(logrus.ErrorLevel, "this host cannot probe a replica: its last verdict is repeated")
	if len(said) == 0 || !strings.Contains(said[0].entry.Data["reason"].(string), "the Status API does not answer either") {
		t.Errorf("got %v, want a line that the Status API does not answer either", said)
	}
}

// TestDeathWhileNobodyAnswers: one death is not believed either while the Status API is
// silent, unless another replica shows that this host's network works.
func TestDeathWhileNobodyAnswers(t *testing.T) {
	const died, answers = 120 * time.Second, 400 * time.Second
	for _, tt := range []struct {
		name     string
		replicas []string
		want     time.Duration // when it is reported
	}{
		{"the only replica", names(0, 1), answers},
		{"one of two, the other is up", names(0, 2), died},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := newRig(t, gives(mapOf(t, tt.replicas...)))
			r.judge = func(_ context.Context, task probe.Task) probe.Result {
				time.Sleep(time.Second)
				if task.Check.Target.ID() == tt.replicas[0] && r.now() > died {
					time.Sleep(time.Second) // a failure takes longer
					return dead
				}
				return healthy
			}
			r.run(func() {
				r.until(died - time.Second)
				r.silence(true)
				r.until(answers)
				r.silence(false)
				r.until(answers + 5*time.Second)
			})
			got, want := r.deaths(), tt.want+2*time.Second
			if len(got) != 1 || got[tt.replicas[0]] != want {
				t.Errorf("reported dead: got %v, want %s after %v", got, tt.replicas[0], want)
			}
		})
	}
}
