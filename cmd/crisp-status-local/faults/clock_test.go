//go:build faults

package faults

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"testing"
	"time"

	"github.com/crisp-im/crisp-status-local/v2/cmd/crisp-status-local/namespaces"
)

// TestWallClock sets the wall clock of the daemon, which is built with another
// [time.Now] for that: no clock of the machine is a test's to set, and a time namespace
// has no wall clock of its own.
func TestWallClock(t *testing.T) {
	t.Parallel()
	program := namespaces.DaemonWithClock(t)
	var faults []fault
	for _, ahead := range []time.Duration{time.Hour, -time.Hour} {
		faults = append(faults, fault{
			name: fmt.Sprintf("ahead by %v, and right again", ahead), lasts: 15 * time.Second,
			options: options{program: program},
			begin: func(l *lab) func() {
				l.setClock(ahead)
				return func() {
					namespaces.Eventually(l.t, "the daemon goes by that clock", func() bool { return l.wroteAt(time.Now().Add(ahead)) })
					l.setClock(0)
				}
			},
		})
	}
	try(t, faults)
}

// setClock sets the wall clock of the daemon.
func (l *lab) setClock(ahead time.Duration) {
	l.t.Helper()
	if err := os.WriteFile(l.clock(), fmt.Append(nil, int(ahead.Seconds())), 0o600); err != nil {
		l.t.Fatal(err)
	}
}

func (l *lab) clock() string { return filepath.Join(filepath.Dir(l.config), "clock") }

var logged = regexp.MustCompile(`(?m)^time="?([^" ]+)`)

// wroteAt reports whether the log has a line of about that time.
func (l *lab) wroteAt(when time.Time) bool {
	written, _ := os.ReadFile(l.log)
	for _, found := range logged.FindAllSubmatch(written, -1) {
		at, err := time.Parse(time.RFC3339, string(found[1]))
		if err == nil && at.Sub(when).Abs() < 10*time.Minute {
			return true
		}
	}
	return false
}
