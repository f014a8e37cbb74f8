//go:build linux

package main

import (
	"cmp"
	"fmt"
	"io"
	"syscall"
	"time"
)

// usageSample is the CPU and memory that a process has used so far.
type usageSample struct {
	resident float64       // MiB held now
	peak     float64       // MiB held at most
	cpu      time.Duration // user and system
}

// meter keeps the CPU and memory of the child by cycle. The zero value is ready to use.
type meter struct {
	last, before usageSample
	cycle        int       // of the last sample
	idle         []float64 // MiB just before each cycle but the first
	from, to     cycleMark // the first and the newest end of a cycle
}

// cycleMark is the CPU time used by the end of a cycle.
type cycleMark struct {
	cycles int // ended by then; 0: none
	cpu    time.Duration
}

// record takes a sample in the newest cycle; complete says that every replica is
// reported in it. It must be called several times in each cycle.
//
// The cost of a cycle is the CPU used from its end to the end of the next: all of
// one cycle and nothing of the start-up, even if the run stops early in a cycle. A
// cycle ends when every replica is reported, or when the next one begins.
func (m *meter) record(r usageSample, cycle int, complete bool) {
	if cycle > m.cycle {
		if m.cycle > 0 {
			// The last sample may be from between the start of the cycle and its
			// first report.
			m.idle = append(m.idle, cmp.Or(m.before.resident, m.last.resident))
		}
		m.cycle = cycle
	}
	m.before, m.last = m.last, r
	ended := cycleMark{cycle - 1, r.cpu}
	if complete {
		ended.cycles = cycle
	}
	if ended.cycles > m.to.cycles {
		m.to = ended
		if m.from.cycles == 0 {
			m.from = ended
		}
	}
}

// childUsage is the CPU and memory that the child used.
type childUsage struct {
	Status      string    `json:"status"`       // at its end
	FirstReport float64   `json:"first_report"` // seconds after its start; 0: there was none
	User        float64   `json:"user"`         // seconds of CPU
	System      float64   `json:"system"`       // seconds of CPU
	WholeCycles int       `json:"whole_cycles"` // in CycleCPU; 0: not known
	CycleCPU    float64   `json:"cycle_cpu"`    // seconds of CPU of a whole cycle, on average
	PeakRSS     float64   `json:"peak_rss_mib"`
	IdleRSS     float64   `json:"idle_rss_mib"`     // just before the newest cycle; 0: not known
	ResidentEnd []float64 `json:"rss_mib_by_cycle"` // just before the next cycle; of the last one, at the end of the run

	started time.Time
}

// usage returns the CPU and memory that the child used, after its end.
func (c *child) usage() *childUsage {
	m, state := c.meter, c.cmd.ProcessState
	u := &childUsage{
		Status:      state.String(),
		User:        state.UserTime().Seconds(),
		System:      state.SystemTime().Seconds(),
		PeakRSS:     m.last.peak,
		ResidentEnd: append([]float64{}, m.idle...),
		started:     c.started,
	}
	if n := m.to.cycles - m.from.cycles; n > 0 {
		u.WholeCycles = n
		u.CycleCPU = (m.to.cpu - m.from.cpu).Seconds() / float64(n)
	}
	if n := len(m.idle); n > 0 {
		u.IdleRSS = m.idle[n-1]
	}
	if m.cycle > 0 {
		u.ResidentEnd = append(u.ResidentEnd, m.last.resident)
	}
	if usage, ok := state.SysUsage().(*syscall.Rusage); ok && u.PeakRSS == 0 {
		u.PeakRSS = float64(usage.Maxrss) / (1 << 10) // from KiB
	}
	return u
}

func (u *childUsage) write(w io.Writer) error {
	text := u.Status
	if u.FirstReport > 0 {
		text += fmt.Sprintf("; first report %.0f ms after its start", u.FirstReport*1000)
	}
	text += fmt.Sprintf("; CPU %.2fs (user %.2fs, system %.2fs)", u.User+u.System, u.User, u.System)
	if u.WholeCycles > 0 {
		text += fmt.Sprintf(", %.2fs a whole cycle", u.CycleCPU)
	}
	text += fmt.Sprintf("; peak RSS %.1f MiB", u.PeakRSS)
	if u.IdleRSS > 0 {
		text += fmt.Sprintf(", %.1f MiB before the last cycle", u.IdleRSS)
	}
	if n := len(u.ResidentEnd); n > 0 {
		text += fmt.Sprintf(", %.1f MiB at its end", u.ResidentEnd[n-1])
	}
	_, err := fmt.Fprintf(w, "command         %s\n", text)
	return err
}
