package scheduler

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/crisp-im/crisp-status-local/v2/internal/probe"
	"github.com/crisp-im/crisp-status-local/v2/internal/statusapi"
)

// cut is a time during which nothing leaves the rig's host: pings are dead after two
// seconds, connections come about by a packet that is sent again at its end, and there is
// no map.
type cut struct {
	from, to time.Duration
	pings    []string
	down     []string // of the pings, for good from that time on
}

func (c cut) on(r *rig, m *statusapi.Map) {
	r.fetch = func(_ context.Context, prev *statusapi.Map) (*statusapi.Map, error) {
		switch now := r.now(); {
		case now >= c.from && now < c.to:
			return nil, errors.New("no answer")
		case prev != nil:
			return prev, nil
		}
		return m, nil
	}
	r.judge = func(_ context.Context, task probe.Task) probe.Result {
		now, id := r.now(), task.Check.Target.ID()
		off := now >= c.from && now < c.to
		switch {
		case slices.Contains(c.pings, id) && (off || now >= c.from && slices.Contains(c.down, id)):
			time.Sleep(2 * time.Second)
			return dead
		case off:
			time.Sleep(c.to - now)
		}
		return healthy
	}
}

// TestDeathsWhileNobodyWasHeardOf: a fault of this host's network may be too short for the
// Status API to be known to be silent, and too long for an echo. Those that it kills are
// tried again before they are reported, even if all is well by then.
func TestDeathsWhileNobodyWasHeardOf(t *testing.T) {
	pings, others := names(0, 3), names(3, 10)
	const from = 115 * time.Second
	for name, tt := range map[string]struct {
		lasts time.Duration
		down  []string
		want  time.Duration // when those that are down are reported dead
	}{
		"shorter than the attempts of others":  {lasts: 9 * time.Second},
		"over while others are still tried":    {lasts: 30 * time.Second},
		"and one is down":                      {lasts: 9 * time.Second, down: pings[:1], want: from + 9*time.Second + confirmAfter + 2*time.Second},
		"which ends as the others answer soon": {lasts: 7050 * time.Millisecond, down: pings, want: from + 7050*time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			m := mapOf(t, slices.Concat(pings, others)...)
			r := newRig(t, nil)
			cut{from, from + tt.lasts, pings, tt.down}.on(r, m)
			r.run(func() { r.until(235 * time.Second) })
			got := r.deaths()
			for _, ping := range tt.down {
				if at, died := got[ping]; !died || at != tt.want {
					t.Errorf("%s: got reported dead at %v, want %v", ping, at, tt.want)
				}
			}
			if len(got) != len(tt.down) {
				t.Errorf("reported dead: got %v, want %v", got, tt.down)
			}
		})
	}
}
