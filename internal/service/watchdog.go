package service

import (
	"context"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
)

// feedsPerInterval is how often the watchdog is fed within the time in which it
// must be: one that comes late, or is lost, is not the end.
const feedsPerInterval = 3

// WatchdogInterval returns the time within which the service manager must hear
// of progress, or zero if it does not wait for any.
func WatchdogInterval() (time.Duration, error) { return daemon.SdWatchdogEnabled(false) }

// FeedWatchdog calls feed several times in every interval until ctx is done, as
// long as alive returns nil: so a daemon whose parts hang starves the watchdog,
// and is restarted. alive must return once its context is done; what it
// returns is for complain.
func FeedWatchdog(ctx context.Context, interval time.Duration, alive func(context.Context) error, feed func(), complain func(error)) {
	period := interval / feedsPerInterval
	ticker := time.NewTicker(period)
	defer ticker.Stop()
	for ctx.Err() == nil {
		check, cancel := context.WithTimeout(ctx, period)
		err := alive(check)
		cancel()
		switch {
		case ctx.Err() != nil: // it ends in order
		case err == nil:
			feed()
		default:
			complain(err)
		}
		select {
		case <-ctx.Done():
		case <-ticker.C:
		}
	}
}
