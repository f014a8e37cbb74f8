package judge

import "time"

// Summary is the judgement of a run. Durations are seconds.
type Summary struct {
	Counts

	Began    time.Time `json:"began,omitzero"` // the first map request; zero: there was none
	Running  float64   `json:"running"`        // since then
	Interval float64   `json:"interval"`       // that the newest report promised
	Cycles   int       `json:"cycles"`         // begun

	Reports     int     `json:"reports"`      // accepted
	FirstReport float64 `json:"first_report"` // after the first map request
	LateGaps    int     `json:"late_gaps"`    // including those that are still open
	Wrong       int     `json:"wrong"`        // verdicts that the target contradicts

	LastReport time.Time `json:"last_report,omitzero"` // the newest; zero: there was none

	// The longest gaps, including those that are still open.
	WorstGapPrompt float64 `json:"worst_gap_prompt"` // of replicas up at their first attempt
	WorstGapOther  float64 `json:"worst_gap_other"`

	// TimeToReport is the time from the start of a cycle to the acceptance of a
	// report in it, by the reported health.
	TimeToReport map[Health]Quantiles `json:"time_to_report"`
	Cycle        Quantiles            `json:"cycle"` // the same of all reports, whatever their health
}

// Quantiles are seconds.
type Quantiles struct {
	Reports int     `json:"reports"`
	P50     float64 `json:"p50"`
	P99     float64 `json:"p99"`
	Max     float64 `json:"max"`
}

// Summary returns the judgement of the run so far.
func (j *Judge) Summary(now time.Time) Summary {
	j.mu.Lock()
	sum, offsets := j.summaryLocked(now)
	j.mu.Unlock()
	sum.fillQuantiles(offsets)
	return sum
}

// summaryLocked returns the summary without its quantiles, and the times to report
// that those are made of: sorting them must hold up no report.
func (j *Judge) summaryLocked(now time.Time) (Summary, map[Health]durations) {
	sum := Summary{
		Began:        j.firstMap,
		Interval:     j.interval.Seconds(),
		Cycles:       j.cycle,
		Reports:      j.accepted,
		LateGaps:     j.late,
		Wrong:        j.wrong,
		LastReport:   j.lastReport,
		TimeToReport: make(map[Health]Quantiles),
	}
	if !j.firstMap.IsZero() {
		sum.Running = now.Sub(j.firstMap).Seconds()
		if !j.firstReport.IsZero() {
			sum.FirstReport = j.firstReport.Sub(j.firstMap).Seconds()
		}
	}
	worst := j.worst
	for _, r := range j.current.all {
		sum.add(j.statusLocked(r, now))
		open := j.openGapLocked(r, now)
		worst.add(open)
		sum.LateGaps += r.late + open.count()
		sum.Wrong += r.wrong
	}
	sum.WorstGapPrompt, sum.WorstGapOther = worst.prompt.Seconds(), worst.other.Seconds()
	offsets := make(map[Health]durations, len(j.offsets))
	for health, d := range j.offsets {
		offsets[health] = d.snapshot()
	}
	return sum, offsets
}

func (sum *Summary) fillQuantiles(offsets map[Health]durations) {
	var all durations
	for health, d := range offsets {
		sum.TimeToReport[health] = d.quantiles()
		all.merge(d)
	}
	sum.Cycle = all.quantiles()
}
