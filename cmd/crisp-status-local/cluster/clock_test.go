//go:build cluster

package cluster

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/crisp-im/crisp-status-local/v2/cmd/crisp-status-local/namespaces"
)

// TestClockRate counts terms on a clock of another rate. At half the rate a term lasts
// longer than its lease, and the judge must find overlaps; it must find none at rates
// within the promise, nor on a fast clock, whose terms are too short.
func TestClockRate(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		rate  float64
		fails bool
	}{{0.5, true}, {0.96, false}, {1.04, false}, {2, false}} {
		t.Run(fmt.Sprint(c.rate), func(t *testing.T) {
			t.Parallel()
			if !inside(t) {
				return
			}
			o := options{binary: namespaces.DaemonWith(otherClocks), env: []string{fmt.Sprintf("CRISP_BOOT_CLOCK_RATE=%g", c.rate)}}
			l := newLab(t, o)
			victim, _ := l.onDuty(l.settled)
			for range rounds() {
				heal := victim.host.cut(toEtcd)
				time.Sleep(2*ttl + 2*time.Second)
				heal()
				victim, _ = l.onDuty(time.Now())
			}
			v := l.judge(l.settled)
			t.Logf("figures: clock at %g of its rate: %v", c.rate, v)
			if c.fails == (len(v.overlaps) == 0) {
				t.Errorf("I2: with a clock at %g of its rate %d dead reports were of one who was not on duty, want some: %v; %s", c.rate, len(v.overlaps), c.fails, l.explain(v.overlaps))
			}
			if v.worst > longest {
				t.Errorf("I1: %s had no report for %v, want %v at most", v.worstOf, v.worst, longest)
			}
		})
	}
}

// TestWallClock sets the wall clock of the daemon on duty, which stays on duty.
func TestWallClock(t *testing.T) {
	t.Parallel()
	program := namespaces.DaemonWithClock(t)
	var faults []fault
	for _, ahead := range []time.Duration{time.Hour, -time.Hour} {
		faults = append(faults, fault{
			name: fmt.Sprintf("ahead by %v, and right again", ahead), lasts: 10 * time.Second,
			options: options{binary: program},
			begin: func(l *lab, victim *process) func() {
				l.setClock(victim, ahead)
				return func() {
					namespaces.Eventually(l.t, "the daemon goes by that clock", func() bool {
						return victim.wrote(time.Now().Add(ahead).UTC().Format("2006-01-02T15:04")) > 0
					})
					l.setClock(victim, 0)
				}
			},
			check: func(l *lab, victim *process, _ int) {
				if took, is := l.takeover(victim, l.settled); is {
					l.t.Errorf("another daemon reported %v after the start, want none", took)
				}
			},
		})
	}
	try(t, faults)
}

// setClock sets the wall clock of a daemon.
func (l *lab) setClock(d *process, ahead time.Duration) {
	l.t.Helper()
	if err := os.WriteFile(d.clock(), fmt.Append(nil, int(ahead.Seconds())), 0o600); err != nil {
		l.t.Fatal(err)
	}
}

// clock returns the file with the seconds by which a daemon's wall clock is ahead.
func (p *process) clock() string { return filepath.Join(filepath.Dir(p.log), "clock") }
