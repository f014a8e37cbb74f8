package main

import (
	"cmp"
	"fmt"
	"io"
	"syscall"
	"time"
)

// reading is what a process has taken of the machine by now.
type reading struct {
	resident float64       // MiB held now
	peak     float64       // MiB held at most
	cpu      time.Duration // user and system
}

// meter keeps what the child took, cycle by cycle. The zero value is ready to use.
type meter struct {
	last, before reading
	cycle        int       // that last is about
	idle         []float64 // MiB held before each cycle but the first began
	from, to     mark      // the first and the newest end of a cycle
}

// mark is the CPU time that was used by the end of a cycle.
type mark struct {
	cycles int // that had ended; 0: none
	cpu    time.Duration
}

// note takes a reading of the newest cycle, and whether every replica is
// reported in it. It is called more than once in every cycle.
//
// A cycle costs what is used from its end to the end of the next: that is all of
// one beat and nothing of the start, however early in a beat the run is cut. It
// ends when every replica is reported, or when another begins.
func (m *meter) note(r reading, cycle int, complete bool) {
	if cycle > m.cycle {
		if m.cycle > 0 {
			// The last reading may be from between the beat and its first report.
			m.idle = append(m.idle, cmp.Or(m.before.resident, m.last.resident))
		}
		m.cycle = cycle
	}
	m.before, m.last = m.last, r
	ended := mark{cycle - 1, r.cpu}
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

// usageOfChild is what the child took of the machine.
type usageOfChild struct {
	Status      string    `json:"status"`       // as it ended
	FirstReport float64   `json:"first_report"` // seconds after it was started; 0: there was none
	User        float64   `json:"user"`         // seconds of CPU
	System      float64   `json:"system"`       // seconds of CPU
	WholeCycles int       `json:"whole_cycles"` // that CycleCPU is about; 0: it is not known
	CycleCPU    float64   `json:"cycle_cpu"`    // seconds of CPU that a whole cycle took on average
	PeakRSS     float64   `json:"peak_rss_mib"`
	IdleRSS     float64   `json:"idle_rss_mib"`     // just before the newest cycle began; 0: it is not known
	ResidentEnd []float64 `json:"rss_mib_by_cycle"` // just before the next began; of the last, when the run ended

	started time.Time
}

// usage is what the child took. It has ended.
func (c *child) usage() *usageOfChild {
	m, state := c.meter, c.cmd.ProcessState
	u := &usageOfChild{
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
		u.PeakRSS = float64(usage.Maxrss) * maxrssUnit / (1 << 20)
	}
	return u
}

func (u *usageOfChild) write(w io.Writer) error {
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
