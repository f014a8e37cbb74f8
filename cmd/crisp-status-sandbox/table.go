//go:build linux

package main

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"
)

const legend = `
report   the first one, after the start of the command and after its first map request
cycle    the time from the first report of a cycle to the others in it
gap      the longest between two reports: of replicas up at their first attempt (prompt), of others
late     gaps that were too long; wrong: verdicts that the target contradicts
CPU      user and system, in whole cycles only: per replica, in all, and as a share of one core
RSS      the peak, and at rest: just before the last cycle
-        not known
`

// writeTable prints a row for each run, with dashes for unknown values.
func writeTable(w io.Writer, outcomes []outcome) error {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	line := func(cells ...string) { fmt.Fprintf(tw, "%s\t\n", strings.Join(cells, "\t")) }
	fmt.Fprintln(tw)
	line("", "report", "report", "cycle", "cycle", "gap", "gap", "", "", "CPU", "CPU", "CPU", "RSS", "RSS", "sandbox")
	line("replicas", "start", "map", "p99", "max", "prompt", "others", "late", "wrong", "replica", "cycle", "core", "peak", "idle", "CPU")
	line("", "ms", "ms", "s", "s", "s", "s", "", "", "µs", "s", "%", "MiB", "MiB", "s")
	for _, o := range outcomes {
		line(o.cells()...)
	}
	if err := tw.Flush(); err != nil {
		return err
	}
	_, err := io.WriteString(w, legend)
	return err
}

// cells returns the row of the outcome.
func (o outcome) cells() []string {
	var child childUsage
	if o.Child != nil {
		child = *o.Child
	}
	var perReplica, core float64
	if o.Replicas > 0 && o.Interval > 0 {
		perReplica = child.CycleCPU / float64(o.Replicas) * 1e6
		core = child.CycleCPU / o.Interval * 100
	}
	return []string{
		strconv.Itoa(o.Replicas),
		number("%.0f", child.FirstReport*1000),
		number("%.0f", o.FirstReport*1000),
		number("%.2f", o.Cycle.P99),
		number("%.2f", o.Cycle.Max),
		number("%.2f", o.WorstGapPrompt),
		number("%.2f", o.WorstGapOther),
		strconv.Itoa(o.LateGaps),
		strconv.Itoa(o.Wrong),
		number("%.1f", perReplica),
		number("%.2f", child.CycleCPU),
		number("%.2f", core),
		number("%.1f", child.PeakRSS),
		number("%.1f", child.IdleRSS),
		number("%.1f", o.SandboxCPU),
	}
}

// number returns a cell. A time or size of 0 is not known.
func number(format string, value float64) string {
	if value == 0 {
		return "-"
	}
	return fmt.Sprintf(format, value)
}
