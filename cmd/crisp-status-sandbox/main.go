//go:build linux

// Command crisp-status-sandbox serves a stand-in for the Status API on this
// machine, and a page of the reports that it takes, so that the daemon can be
// watched, tried and measured without an account.
//
//	crisp-status-sandbox                                        a sample map, and a configuration to paste
//	crisp-status-sandbox -- crisp-status-local -c {config}      the same, with a daemon beside it
//	crisp-status-sandbox --members 3 -- crisp-status-local -c {config}      three daemons, of which one is on duty
//	crisp-status-sandbox --map FILE                             a map of your own; edit it while it runs
//	crisp-status-sandbox --replicas 10000 --dead 50% --cycles 5 -- crisp-status-local -c {config}
//	crisp-status-sandbox --replicas 1000,10000 --cycles 2 -- crisp-status-local -c {config}
//
// It judges the daemon as the page would, and prints a summary at the end. With
// several sizes it makes one run after another, each with a sandbox and a daemon of
// its own, and compares them in a table.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	// A second signal changes nothing: stopping takes at most stopTimeout, and must
	// leave no child and no folder behind.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	if err == nil || errors.Is(err, flag.ErrHelp) {
		return
	}
	fmt.Fprintln(os.Stderr, "crisp-status-sandbox:", err)
	if _, usage := errors.AsType[usageError](err); usage {
		os.Exit(2)
	}
	os.Exit(1)
}
