//go:build faults

package faults

import (
	"slices"
	"testing"
	"time"

	"github.com/crisp-im/crisp-status-local/v2/cmd/crisp-status-local/namespaces"
	"github.com/crisp-im/crisp-status-local/v2/internal/sandbox"
)

// What the daemon may hold beyond what it held before a fault. It keeps connections
// to the Status API for three minutes, one a replica at most: of those of every LAN, and
// of others.
const (
	moreFiles      = 8 + 16
	moreMemory     = 24  // MiB
	mostGoroutines = 120 // and two for each connection of other replicas
)

// fault is something that breaks, and is whole again after a time.
type fault struct {
	name    string
	lasts   time.Duration
	options options
	begin   func(l *lab) (heal func())
	memory  int      // MiB that it may leave for a while beyond moreMemory
	unsure  []string // replicas that the fault makes unreachable, so they may be reported dead while it lasts
}

// try runs every fault in namespaces of its own.
func try(t *testing.T, faults []fault) {
	t.Helper()
	for _, f := range faults {
		t.Run(f.name, func(t *testing.T) {
			t.Parallel()
			if namespaces.Inside(t) {
				f.run(t)
			}
		})
	}
}

// run breaks what works, heals it, and holds the daemon to its promise.
func (f fault) run(t *testing.T) {
	l := newLab(t, f.options)
	l.settled(time.Time{})
	time.Sleep(2 * interval) // so that files and memory are those of its work
	files, memory := l.files(), l.memory()

	heal := f.begin(l)
	l.lan.changed.Store(true)
	time.Sleep(f.lasts)
	heal()
	ended := time.Now()

	l.settled(ended)
	settled := time.Now()
	l.promise(f, ended)
	for _, replica := range []string{goes, come} {
		if behind := settled.Sub(ended); behind > l.longest() {
			t.Errorf("%s is reported as it is %v after the fault, want %v at most", replica, behind, l.longest())
		}
	}
	l.settled(time.Now())
	most := files + moreFiles + l.beside
	namespaces.Eventually(t, "its files are closed", func() bool { return l.files() <= most })
	if m, more := l.memory(), moreMemory+f.memory; m > memory+more {
		t.Errorf("the daemon holds %d MiB after the fault, %d before, want %d more at most", m, memory, more)
	}
	if n, most := l.goroutines(), mostGoroutines+2*l.beside; n > most || n == 0 {
		t.Errorf("the daemon has %d goroutines after the fault, want 1 to %d", n, most)
	}
	l.secretive()
	for _, v := range l.api.Summary().Violations {
		t.Errorf("the daemon broke the protocol: %s (%d times, as in %s)", v.Rule, v.Count, v.Example)
	}
}

// promise checks every report so far: none is wrong, and none came late.
func (l *lab) promise(f fault, ended time.Time) {
	l.t.Helper()
	var worst, behind time.Duration
	longest, mostBehind := l.longest(), longestBehind+l.late.Total()
	reports, dead := 0, make(map[string]int)
	for _, replica := range l.up {
		before := time.Time{}
		for _, report := range l.api.of(replica) {
			gap := report.at.Sub(before)
			if !before.IsZero() {
				worst = max(worst, gap)
				if gap > longest {
					behind = max(behind, report.at.Sub(ended))
				}
				if gap > longest && report.at.Sub(ended) > mostBehind {
					l.t.Errorf("%s had no report for %v, until %v after the fault, want %v, or %v after it", replica, gap, report.at.Sub(ended), longest, mostBehind)
				}
			}
			before = report.at
			reports++
			if report.health == sandbox.Dead {
				dead[replica]++
			}
			if report.health == sandbox.Sick {
				l.t.Errorf("%s was reported sick, %v after the end of the fault: that was this host", replica, report.at.Sub(ended))
			}
			if report.health == sandbox.Dead && !slices.Contains(f.unsure, replica) {
				l.t.Errorf("%s is up and was reported dead, %v after the end of the fault", replica, report.at.Sub(ended))
			}
		}
	}
	for _, replica := range down {
		for _, report := range l.api.of(replica) {
			if report.health != sandbox.Dead {
				l.t.Errorf("%s is down and was reported %s", replica, report.health)
			}
		}
	}
	l.t.Logf("the longest silence about a healthy replica was %v, of a fault of %v, and one longer than promised ended %v after it; of %d reports these said dead: %v; this machine was late by %v",
		worst.Round(time.Millisecond), f.lasts, behind.Round(time.Millisecond), reports, dead, l.late.Total().Round(time.Millisecond))
}
