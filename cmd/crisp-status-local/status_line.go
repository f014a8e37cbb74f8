//go:build linux

package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/crisp-im/crisp-status-local/v2/internal/probe"
	"github.com/crisp-im/crisp-status-local/v2/internal/report"
	"github.com/crisp-im/crisp-status-local/v2/internal/scheduler"
	"github.com/crisp-im/crisp-status-local/v2/internal/service"
	"github.com/crisp-im/crisp-status-local/v2/internal/status"
)

// statusPause is the shortest time between two looks at what the service manager
// shows: it tells whoever listens about each change.
const statusPause = 5 * time.Second

// summary is the state of the daemon in a few numbers.
type summary struct {
	hasMap              bool
	replicas            int // of the map
	healthy, sick, dead int // by their last verdicts; the rest have none yet
	nextCycle           time.Time
	promise             report.Promise
	duty                string // a clause; empty without an engine
	standsBy            bool
}

// summarize returns the state in numbers.
func summarize(shot scheduler.Snapshot, p report.Promise, c *status.Cluster) summary {
	s := summary{hasMap: shot.Map.Held, nextCycle: shot.Cycle.Add(shot.Interval), promise: p, duty: c.Note(), standsBy: c.StandsBy()}
	for _, n := range shot.Counts {
		s.replicas += n
	}
	s.healthy, s.sick, s.dead = shot.Counts[probe.Healthy], shot.Counts[probe.Sick], shot.Counts[probe.Dead]
	return s
}

// statusLine returns the line that the service manager shows of a daemon at a time.
func statusLine(now time.Time, s summary) string {
	var parts []string
	if s.duty != "" {
		parts = append(parts, s.duty)
	}
	if !s.hasMap {
		return strings.Join(append(parts, "no map yet", "nothing is probed"), "; ")
	}
	health := fmt.Sprintf("%s: %d healthy, %d sick, %d dead", replicas(s.replicas), s.healthy, s.sick, s.dead)
	if unknown := s.replicas - s.healthy - s.sick - s.dead; unknown > 0 {
		health += fmt.Sprintf(", %d without a verdict", unknown)
	}
	parts = append(parts, health)
	if !s.standsBy { // whose reports are another daemon's
		parts = append(parts, promiseLine(s.promise))
	}
	next := max(s.nextCycle.Sub(now), 0).Round(time.Second)
	return strings.Join(append(parts, fmt.Sprintf("next cycle in %v", next)), "; ")
}

// promiseLine says whether the page gets its reports in time.
func promiseLine(p report.Promise) string {
	text := "reports on time"
	switch {
	case p.Overdue > 0:
		text = "reports of " + replicas(p.Overdue) + " are overdue"
	case p.Late > 0:
		text = "reports were late"
	}
	if p.WorstGap > 0 {
		text += fmt.Sprintf(" (worst gap %.1f s)", p.WorstGap.Seconds())
	}
	return text
}

func replicas(n int) string {
	if n == 1 {
		return "1 replica"
	}
	return fmt.Sprintf("%d replicas", n)
}

// showStatus has the service manager show how the daemon is, until ctx is done:
// once in each cycle, and when the replicas or the promise have changed.
func (d *daemon) showStatus(ctx context.Context) {
	ticker := time.NewTicker(statusPause)
	defer ticker.Stop()
	var shown summary
	for {
		if shot, err := d.scheduler.Snapshot(ctx, scheduler.Totals); err == nil {
			if s := summarize(shot, d.outbox.Snapshot().Promise, d.observer.cluster()); s != shown || shown == (summary{}) {
				shown = s
				d.notify(service.Status(statusLine(time.Now(), s)))
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// superviseBy does what a service manager expects, until ctx is done.
func (d *daemon) superviseBy(ctx context.Context, start func(func())) {
	if _, set := d.sys.lookupEnv("NOTIFY_SOCKET"); !set {
		return
	}
	start(func() { d.showStatus(ctx) })
	interval, err := service.WatchdogInterval()
	if err != nil {
		d.log.WithError(err).Warn("the watchdog of the service manager cannot be fed")
	}
	if err != nil || interval == 0 {
		return
	}
	start(func() {
		service.FeedWatchdog(ctx, interval, d.observer.Alive,
			func() { d.notify(service.Progress) },
			func(err error) {
				d.log.WithError(err).Error("the watchdog of the service manager is not fed: it will restart this daemon")
			})
	})
}
