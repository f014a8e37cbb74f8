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
cycle    how long after the first report of its cycle a report came
gap      the longest between two reports: of replicas up at their first attempt (prompt), of others
late     gaps that were too long; wrong: verdicts that the target contradicts
CPU      user and system, of whole cycles only: for a replica, for all, and of one core on average
RSS      at most, and when nothing happened: just before the last cycle began
-        not known
`

// writeTable prints a row for each run. What is not known is a dash.
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

// cells are the outcome's row.
func (o outcome) cells() []string {
	var child usageOfChild
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

// number is a cell. Nothing that takes time or memory is 0 once it is known.
func number(format string, value float64) string {
	if value == 0 {
		return "-"
	}
	return fmt.Sprintf(format, value)
}
