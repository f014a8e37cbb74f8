package service

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// The daemon makes progress for an hour, hangs for ten minutes, and goes on.
func TestTheWatchdogIsFedByProgressAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const interval = 3 * time.Minute
		start := time.Now()
		hangs := func() bool { d := time.Since(start); return d >= time.Hour && d < time.Hour+10*time.Minute }
		alive := func(ctx context.Context) error {
			if !hangs() {
				return nil
			}
			<-ctx.Done()
			return errors.New("the scheduler does not respond")
		}
		var fed []time.Duration
		complaints := 0
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Hour)
		defer cancel()
		FeedWatchdog(ctx, interval, alive, func() { fed = append(fed, time.Since(start)) }, func(error) { complaints++ })
		if time.Since(start) != 2*time.Hour {
			t.Errorf("it ended after %v, want when it was told to", time.Since(start))
		}
		for i, at := range fed[1:] {
			gap := at - fed[i]
			if long := fed[i] < time.Hour && at >= time.Hour; !long && gap > interval/2 {
				t.Errorf("fed at %v and at %v, want several times in %v", fed[i], at, interval)
			} else if long && gap < 10*time.Minute {
				t.Errorf("fed %v after the last time, want nothing while it hangs", gap)
			}
		}
		if complaints == 0 {
			t.Error("nothing was said of the hang")
		}
	})
}

func TestTheWatchdogIsAskedForByTheManager(t *testing.T) {
	for _, tt := range []struct {
		usec, pid string
		want      time.Duration
	}{
		{"", "", 0},
		{"180000000", "", 3 * time.Minute},
		{"180000000", fmt.Sprint(os.Getpid()), 3 * time.Minute},
		{"180000000", "1", 0}, // inherited: it is another process's
	} {
		for name, value := range map[string]string{"WATCHDOG_USEC": tt.usec, "WATCHDOG_PID": tt.pid} {
			t.Setenv(name, value)
			if value == "" {
				os.Unsetenv(name)
			}
		}
		if got, err := WatchdogInterval(); err != nil || got != tt.want {
			t.Errorf("WATCHDOG_USEC=%s WATCHDOG_PID=%s: got %v, %v, want %v", tt.usec, tt.pid, got, err, tt.want)
		}
	}
}

func TestReloadingTellsTheTime(t *testing.T) {
	lines := strings.Split(string(Reloading()), "\n")
	if len(lines) != 2 || lines[0] != "RELOADING=1" || !strings.HasPrefix(lines[1], "MONOTONIC_USEC=") || lines[1] == "MONOTONIC_USEC=" {
		t.Errorf("got %q, want RELOADING=1 and the monotonic time", lines)
	}
}

func TestStatusIsOneState(t *testing.T) {
	if got := Status("all is well\nREADY=1"); got != "STATUS=all is well READY=1" {
		t.Errorf("got %q, want one line", got)
	}
}
