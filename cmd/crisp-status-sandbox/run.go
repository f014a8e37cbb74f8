//go:build linux

package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"syscall"
	"time"

	"github.com/crisp-im/crisp-status-local/v2/internal/sandbox"
)

// outcome is the result of one run, as --json writes it.
type outcome struct {
	sandbox.Summary
	SandboxCPU float64     `json:"sandbox_cpu"` // seconds, user and system: the cost of judging
	Child      *childUsage `json:"child,omitempty"`
}

// run executes the command line, one run after another, until ctx is done or a run
// fails. It reports the outcomes so far in any case.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	runs, err := parse(args, stdout)
	if err != nil {
		return err
	}
	var (
		outcomes []outcome
		failed   error
	)
	for i, s := range runs {
		if i > 0 && ctx.Err() != nil {
			break
		}
		if len(runs) > 1 {
			fmt.Fprintf(stdout, "\nRun %d of %d: %d replicas\n", i+1, len(runs), s.generated.Replicas)
		}
		var o *outcome
		if o, failed = serve(ctx, s, stdout, stderr); o != nil {
			outcomes = append(outcomes, *o)
		}
		if failed != nil {
			break
		}
	}
	if len(runs) > 1 {
		failed = cmp.Or(failed, writeTable(stdout, outcomes))
	}
	return cmp.Or(failed, writeJSON(runs, outcomes))
}

// write prints the outcome for people.
func (o outcome) write(w io.Writer) error {
	fmt.Fprintln(w)
	if err := writeSummary(w, o.Summary); err != nil {
		return err
	}
	if o.Child != nil {
		if err := o.Child.write(w); err != nil {
			return err
		}
	}
	_, err := fmt.Fprintf(w, "sandbox         CPU %.2fs\n", o.SandboxCPU)
	return err
}

// writeJSON writes the outcome to the file of --json, or an array of outcomes if
// the command line has several runs.
func writeJSON(runs []settings, outcomes []outcome) error {
	if runs[0].json == "" || len(outcomes) == 0 {
		return nil
	}
	var all any = outcomes
	if len(runs) == 1 {
		all = outcomes[0]
	}
	text, err := json.MarshalIndent(all, "", "  ")
	if err != nil {
		return fmt.Errorf("encoding summary: %w", err)
	}
	return os.WriteFile(runs[0].json, append(text, '\n'), 0o644)
}

// ownCPU returns the CPU time of this process, user and system, in seconds.
func ownCPU() float64 {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		return 0
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano()).Seconds()
}
