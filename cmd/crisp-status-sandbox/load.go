//go:build linux

package main

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/crisp-im/crisp-status-local/v2/internal/sandbox"
)

// load runs a child against the sandbox, and measures its CPU and memory.
type load struct {
	settings   settings
	server     *sandbox.Server
	serving    context.Context // ends with the server; a load lives no longer
	group      *group          // nil: one child, or none
	configFile string
	stdout     io.Writer
	stderr     io.Writer
}

// run starts the child, if the command line has one, waits until the run is over,
// and stops the child. It returns the child's usage, nil without a child.
func (l *load) run(ctx context.Context) (*childUsage, error) {
	if l.settings.duration > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, l.settings.duration)
		defer cancel()
	}
	switch {
	case l.group != nil:
		return nil, l.runGroup(ctx)
	case len(l.settings.command) == 0:
		return nil, l.wait(ctx, nil)
	}
	daemon, err := startChild(l.settings, l.configFile, l.stdout, l.stderr)
	if err != nil {
		return nil, err
	}
	failed := l.wait(ctx, daemon)
	select {
	case <-daemon.ended:
	default:
		fmt.Fprintln(l.stdout, "\nstopping")
		daemon.sample(l.server.Progress())
		daemon.stop()
	}
	return daemon.usage(), failed
}

// runGroup starts a group, waits until the run is over, and stops it. That one of
// its programs ends is no error: a person may have killed it.
func (l *load) runGroup(ctx context.Context) error {
	defer l.group.end()
	if err := l.group.begin(ctx); err != nil {
		return err
	}
	failed := l.wait(ctx, nil)
	fmt.Fprintln(l.stdout, "\nstopping")
	return failed
}

// wait returns nil when the run is over, and an error when it cannot go on. The
// daemon is nil in a run without a child.
func (l *load) wait(ctx context.Context, daemon *child) error {
	var ended <-chan struct{} // never, without a child
	if daemon != nil {
		ended = daemon.ended
	}
	tick := time.NewTicker(500 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-l.serving.Done():
			return context.Cause(l.serving)
		case <-ended:
			return fmt.Errorf("command ended by itself: %s", daemon.status())
		case <-tick.C:
		}
		cycles, complete := l.server.Progress()
		if daemon != nil {
			daemon.sample(cycles, complete)
		}
		if want := l.settings.cycles; want > 0 && (cycles > want || cycles == want && complete) {
			return nil
		}
	}
}
