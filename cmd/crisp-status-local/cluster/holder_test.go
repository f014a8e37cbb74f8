//go:build cluster

package cluster

import (
	"fmt"
	"syscall"
	"testing"
	"time"
)

// mostInFlight bounds the dead reports that a daemon had in flight when it was stopped.
const mostInFlight = 8

// killed kills a daemon by SIGKILL, and starts it again.
func killed(_ *lab, victim *process) func() {
	victim.kill()
	return victim.start
}

// ended ends a daemon by SIGTERM, and starts it again.
func ended(_ *lab, victim *process) func() {
	victim.end(syscall.SIGTERM)
	return victim.start
}

// stopped stops a daemon by SIGSTOP, and continues it.
func stopped(_ *lab, victim *process) func() { return victim.stop() }

// TestDaemonOnDuty ends and stops the daemon that is on duty.
func TestDaemonOnDuty(t *testing.T) {
	t.Parallel()
	faults := []fault{
		{name: "is killed", lasts: 10 * time.Second, begin: killed, takeover: ttl + 1500*time.Millisecond},
		{name: "is killed, of two", lasts: 10 * time.Second, begin: killed, takeover: ttl + 1500*time.Millisecond, options: options{daemons: 2}},
		{name: "is ended", lasts: 4 * time.Second, begin: ended, takeover: time.Second},
	}
	for _, pause := range []time.Duration{time.Second, ttl - time.Second, ttl + 5*time.Second, time.Minute} {
		f := fault{name: fmt.Sprintf("is stopped for %v", pause), lasts: pause, begin: stopped, inFlight: mostInFlight}
		if pause == time.Minute && !full() {
			f.rounds = 1
		}
		faults = append(faults, f)
	}
	try(t, faults)
}
