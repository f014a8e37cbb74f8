package scheduler

import (
	"context"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/crisp-im/crisp-status-local/v2/internal/probe"
	"github.com/crisp-im/crisp-status-local/v2/internal/statusapi"
)

// silence makes the Status API silent, or answer again.
func (r *rig) silence(silent bool) {
	r.mu.Lock()
	if r.silent = time.Now(); !silent {
		r.silent, r.heard = time.Time{}, time.Now()
	}
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
// silent, unless another replica shows for long enough that this host's network works.
func TestDeathWhileNobodyAnswers(t *testing.T) {
	const died, answers = 120 * time.Second, 400 * time.Second
	for _, tt := range []struct {
		name     string
		replicas []string
		want     time.Duration // when it is reported
	}{
		{"the only replica", names(0, 1), answers + confirmAfter + 2*time.Second},
		{"one of two, the other is up", names(0, 2), died + 120*time.Second},
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

// recall has the outbox recall the death of a replica that the page shows with this health.
func (r *rig) recall(replica string, shown probe.Health) {
	id := probe.ID{Service: "service", Node: "node", Replica: replica}
	r.mu.Lock()
	r.recalled = append(r.recalled, statusapi.Verdict{ID: id, Health: shown})
	r.mu.Unlock()
	r.stale <- struct{}{}
	synctest.Wait()
}

// TestDeathIsTakenBack: the Status API turns out to be silent after a death, which it has
// not taken. The replica is what it was before, until it is probed once more when the API
// answers; the probe that is under way then says nothing either.
func TestDeathIsTakenBack(t *testing.T) {
	const answers = 362 * time.Second
	for _, tt := range []struct {
		name string
		is   probe.Result // in truth
		want []put
	}{
		{"of a replica that is up", healthy, nil},
		{"of one that is dead", dead, []put{{answers + 5*time.Second, "tcp://a:1", probe.Dead}}}, // the rest of that probe, and 3 s later one of 1 s
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := newRig(t, gives(mapOf(t, "tcp://a:1")))
			r.judge = func(context.Context, probe.Task) probe.Result {
				switch now := r.now(); {
				case now < time.Second:
					slow := healthy
					slow.Health = probe.Sick
					return slow
				case now < answers:
					time.Sleep(3 * time.Second) // the last one beyond the first answer
					return dead
				default:
					time.Sleep(time.Second)
					return tt.is
				}
			}
			var died time.Duration
			r.run(func() {
				r.until(125 * time.Second)
				if puts := r.putsOf("tcp://a:1"); puts[0].health != probe.Sick || puts[len(puts)-1].health != probe.Dead {
					t.Fatalf("got %v, want the replica sick and then dead", puts)
				}
				died = r.now()
				r.mu.Lock()
				r.silent = time.Now()
				r.mu.Unlock()
				r.recall("tcp://a:1", probe.Sick)
				shot := r.snapshot(Replicas)
				shown := shot.Replicas[0].Show()
				if shot.Counts[probe.Sick] != 1 || shown.Health != "sick" || len(shown.History) != 1 ||
					!strings.HasSuffix(shown.Reason, "and the Status API does not answer either: is this host's network down?") {
					t.Errorf("after its death was taken back: got %v, %+v, want it sick with the reason", shot.Counts, shown)
				}
				r.until(answers)
				r.silence(false)
				r.until(answers + 10*time.Second)
			})
			var after []put
			for _, p := range r.putsOf("tcp://a:1") {
				switch {
				case p.at < died:
				case p.health == probe.Dead:
					after = append(after, p)
				case p.at < answers && p.health != probe.Sick:
					t.Errorf("got %v, want the last verdict repeated", p)
				}
			}
			if !slices.Equal(after, tt.want) {
				t.Errorf("reported dead after that was taken back: got %v, want %v", after, tt.want)
			}
			if n := len(r.said(logrus.WarnLevel, "the Status API does not answer: deaths that it has not taken may be this host's own, and are taken back until the replicas are probed again")); n != 1 {
				t.Errorf("got %d lines about it, want one", n)
			}
		})
	}
}

// TestVerdictAfterADeathIsNotTakenBack: it has come while the recall was on its way.
func TestVerdictAfterADeathIsNotTakenBack(t *testing.T) {
	r := newRig(t, gives(mapOf(t, "tcp://a:1")))
	r.judge = script(healthy, dead, healthy)
	r.run(func() {
		r.until(245 * time.Second)
		before := len(r.putsOf("tcp://a:1"))
		r.recall("tcp://a:1", probe.Sick)
		r.recall("tcp://gone:1", probe.Healthy)
		shot := r.snapshot(Replicas)
		if h := shot.Replicas[0].History; h.Health() != probe.Healthy || len(r.putsOf("tcp://a:1")) != before {
			t.Errorf("got %s and %v, want nothing changed", h.Health(), r.putsOf("tcp://a:1"))
		}
	})
}
