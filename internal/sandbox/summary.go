package sandbox

import (
	"fmt"
	"io"
	"math"
	"text/tabwriter"
	"time"
)

// Summary is what a run amounts to. Durations are seconds.
type Summary struct {
	Counts

	Began    time.Time `json:"began,omitzero"` // the first map request; zero: there was none
	Running  float64   `json:"running"`        // since then
	Interval float64   `json:"interval"`       // promised last
	Cycles   int       `json:"cycles"`         // begun

	Reports     int     `json:"reports"`      // accepted
	Refused     int     `json:"refused"`      // answered with anything but 2xx
	FirstReport float64 `json:"first_report"` // after the first map request
	LateGaps    int     `json:"late_gaps"`    // with those that are still open
	Wrong       int     `json:"wrong"`        // verdicts that the target contradicts

	WorstGapPrompt float64 `json:"worst_gap_prompt"` // of replicas up at their first attempt
	WorstGapOther  float64 `json:"worst_gap_other"`

	// TimeToReport is how long after the first report of its cycle a report was
	// accepted, by the health that it brought.
	TimeToReport map[Health]Quantiles `json:"time_to_report"`
	Cycle        Quantiles            `json:"cycle"` // the same of all reports, whatever their health

	MapsSent     int `json:"maps_sent"`      // map requests answered with a map
	MapsCurrent  int `json:"maps_unchanged"` // map requests answered with 304
	Unauthorized int `json:"unauthorized"`

	InFlight         int `json:"in_flight"` // requests
	MaxInFlight      int `json:"max_in_flight"`
	Connections      int `json:"connections"`
	MaxConnections   int `json:"max_connections"`
	TotalConnections int `json:"total_connections"`
	PerSecond        int `json:"requests_per_second"` // in the last full second
	MaxPerSecond     int `json:"max_requests_per_second"`

	Violations []Violation `json:"violations"` // of the protocol, by the client
}

// Quantiles are seconds.
type Quantiles struct {
	Reports int     `json:"reports"`
	P50     float64 `json:"p50"`
	P99     float64 `json:"p99"`
	Max     float64 `json:"max"`
}

// Summary returns what the run amounts to by now.
func (s *Server) Summary() Summary {
	s.judge.mu.Lock()
	summary := s.judge.summaryLocked(time.Now())
	s.judge.mu.Unlock()
	s.traffic.fill(&summary)
	return summary
}

// Progress says how many cycles have begun, and whether every replica of the map
// has been reported in the newest one. It costs next to nothing.
func (s *Server) Progress() (cycles int, complete bool) { return s.judge.progress() }

func (j *judge) summaryLocked(now time.Time) Summary {
	sum := Summary{
		Began:          j.firstMap,
		Interval:       j.interval.Seconds(),
		Cycles:         j.cycle,
		Reports:        j.accepted,
		LateGaps:       j.late,
		Wrong:          j.wrong,
		WorstGapPrompt: j.worstPrompt.Seconds(),
		WorstGapOther:  j.worstOther.Seconds(),
		TimeToReport:   make(map[Health]Quantiles),
	}
	if !j.firstMap.IsZero() {
		sum.Running = now.Sub(j.firstMap).Seconds()
		if !j.firstReport.IsZero() {
			sum.FirstReport = j.firstReport.Sub(j.firstMap).Seconds()
		}
	}
	var all histogram
	for health, h := range j.offsets {
		sum.TimeToReport[health] = h.quantiles()
		all.merge(h)
	}
	sum.Cycle = all.quantiles()
	for _, r := range j.roster.all {
		sum.add(j.statusLocked(r, now))
		sum.LateGaps += r.late
		sum.Wrong += r.wrong
		if _, late := j.openGapLocked(r, now); late {
			sum.LateGaps++
		}
	}
	return sum
}

// fill adds what went over the connections.
func (t *traffic) fill(sum *Summary) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.tickLocked()
	sum.Refused = t.counts.refused
	sum.MapsSent, sum.MapsCurrent, sum.Unauthorized = t.counts.maps, t.counts.unchanged, t.counts.unauthorized
	sum.InFlight, sum.MaxInFlight = t.counts.inFlight, t.counts.maxInFlight
	sum.Connections, sum.MaxConnections, sum.TotalConnections = len(t.open), t.counts.maxConnections, t.counts.connections
	sum.PerSecond, sum.MaxPerSecond = t.lastSecond, t.counts.maxPerSecond
	sum.Violations = append([]Violation{}, t.violations...)
}

// Write prints the summary as a table for people.
func (sum Summary) Write(w io.Writer) error {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	row := func(name, format string, values ...any) {
		fmt.Fprintf(tw, "%s\t%s\n", name, fmt.Sprintf(format, values...))
	}
	row("replicas", "%d: %d healthy, %d sick, %d dead, %d late, %d without a report",
		sum.Replicas, sum.Healthy, sum.Sick, sum.Dead, sum.Counts.Late, sum.Silent)
	row("reports", "%d accepted in %s, %d refused", sum.Reports, plural(sum.Cycles, "cycle", "cycles"), sum.Refused)
	row("first report", "%s after the first map request", seconds(sum.FirstReport))
	row("worst gap", "%s of replicas up at their first attempt, %s of others; promised %s",
		seconds(sum.WorstGapPrompt), seconds(sum.WorstGapOther), seconds(sum.Interval))
	row("late gaps", "%d", sum.LateGaps)
	row("wrong verdicts", "%d", sum.Wrong)
	for _, health := range []Health{Healthy, Sick, Dead} {
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
		row("violation", "%d × not so: %s (%s)", v.Count, v.Rule, v.Example)
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
	case s == math.Trunc(s) && s < 1e6: // as a person chose it
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
