//go:build linux

package main

import (
	"fmt"
	"io"
	"math"
	"strconv"
	"text/tabwriter"
	"time"

	"github.com/crisp-im/crisp-status-local/v2/internal/sandbox"
)

// writeSummary prints a summary as a table for people.
func writeSummary(w io.Writer, sum sandbox.Summary) error {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	row := func(name, format string, values ...any) {
		fmt.Fprintf(tw, "%s\t%s\n", name, fmt.Sprintf(format, values...))
	}
	row("replicas", "%d: %d healthy, %d sick, %d dead, %d late, %d without a report",
		sum.Replicas, sum.Healthy, sum.Sick, sum.Dead, sum.Late, sum.Silent)
	row("reports", "%d accepted in %s, %d refused", sum.Reports, plural(sum.Cycles, "cycle", "cycles"), sum.Refused)
	row("first report", "%s after the first map request", seconds(sum.FirstReport))
	row("worst gap", "%s of replicas up at their first attempt, %s of others; promised %s",
		seconds(sum.WorstGapPrompt), seconds(sum.WorstGapOther), seconds(sum.Interval))
	row("late gaps", "%d", sum.LateGaps)
	row("wrong verdicts", "%d", sum.Wrong)
	for _, health := range []sandbox.Health{sandbox.Healthy, sandbox.Sick, sandbox.Dead} {
		if q := sum.TimeToReport[health]; q.Reports > 0 {
			row("time to report", "%s: p50 %s, p99 %s, at most %s into the cycle", health, seconds(q.P50), seconds(q.P99), seconds(q.Max))
		}
	}
	row("map requests", "%d answered with a map, %d with 304", sum.MapsSent, sum.MapsCurrent)
	if sum.Unauthorized > 0 {
		row("unauthorized", "%d requests with a wrong token", sum.Unauthorized)
	}
	row("requests", "at most %d in flight, %d a second", sum.MaxInFlight, sum.MaxPerSecond)
	row("connections", "%d, at most %d at a time", sum.TotalConnections, sum.MaxConnections)
	for _, v := range sum.Violations {
		row("violation", "%s; broken %s, first by %s", v.Rule, plural(v.Count, "time", "times"), v.Example)
	}
	return tw.Flush()
}

// seconds prints a duration in a unit that suits it.
func seconds(s float64) string {
	switch {
	case s == 0:
		return "0 s"
	case s < 0.01:
		return fmt.Sprintf("%.2f ms", s*1000)
	case s < 0.9995:
		return fmt.Sprintf("%.0f ms", s*1000)
	case s == math.Trunc(s) && s < 1e6: // a configured number
		return fmt.Sprintf("%.0f s", s)
	case s < 60:
		return fmt.Sprintf("%.2f s", s)
	case s < 3600:
		return fmt.Sprintf("%.1f s", s)
	}
	return time.Duration(s * float64(time.Second)).Round(time.Second).String()
}

// ago prints an age as people say it.
func ago(s float64) string {
	switch {
	case s < 1:
		return "just now"
	case s < 120:
		return fmt.Sprintf("%.0f s ago", math.Floor(s))
	}
	return fmt.Sprintf("%.0f min ago", math.Floor(s/60))
}

func plural(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return count(n) + " " + many
}

// count prints a number with a comma at each thousand.
func count(n int) string {
	digits := strconv.Itoa(n)
	for i := len(digits) - 3; i > 0; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	return digits
}
