package main

import (
	"path/filepath"
	"slices"
	"testing"
	"time"
)

func TestMeter(t *testing.T) {
	const none, all = false, true // of the replicas are reported
	type sample struct {
		cpu      time.Duration // seconds
		resident float64
		cycle    int
		complete bool
	}
	for _, tt := range []struct {
		name    string
		samples []sample
		cycles  int           // whole ones
		cpu     time.Duration // that they took, in seconds
		idle    []float64
	}{
		{"nothing", nil, 0, 0, nil},
		{"no report", []sample{{9, 5, 0, none}, {9, 5, 0, none}}, 0, 0, nil},
		{"one cycle is no whole one", []sample{{9, 5, 1, none}, {10, 5, 1, all}}, 0, 0, nil},
		{
			"the start does not count, and the idle time before the second cycle does",
			[]sample{{7, 8, 0, none}, {9, 9, 1, none}, {10, 9, 1, all}, {11, 6, 1, all}, {11, 7, 1, all}, {12, 9, 2, none}, {14, 9, 2, all}},
			1, 4, []float64{6},
		},
		{
			"a cycle that is cut does not count",
			[]sample{{10, 9, 1, all}, {10, 6, 1, all}, {11, 9, 2, all}, {11, 5, 2, all}, {13, 9, 3, none}, {15, 9, 3, none}},
			1, 1, []float64{9, 9},
		},
		{
			"a cycle that was never complete ends when another begins",
			[]sample{{10, 9, 1, none}, {11, 9, 1, none}, {12, 9, 2, none}, {13, 9, 2, none}, {15, 9, 3, none}},
			1, 3, []float64{9, 9},
		},
		{
			"a map that grows makes no cycle end twice",
			[]sample{{10, 9, 1, all}, {11, 9, 1, none}, {12, 9, 1, all}, {14, 9, 2, none}, {15, 9, 2, all}},
			1, 5, []float64{9},
		},
		{
			"a cycle without a sample counts",
			[]sample{{10, 9, 1, all}, {16, 9, 3, all}},
			2, 6, []float64{9},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var m meter
			for _, n := range tt.samples {
				m.record(usageSample{resident: n.resident, cpu: n.cpu * time.Second}, n.cycle, n.complete)
			}
			if got := m.to.cycles - m.from.cycles; got != tt.cycles {
				t.Errorf("got %d whole cycles, want %d", got, tt.cycles)
			}
			if got := m.to.cpu - m.from.cpu; got != tt.cpu*time.Second {
				t.Errorf("got %v of CPU in whole cycles, want %v", got, tt.cpu*time.Second)
			}
			if !slices.Equal(m.idle, tt.idle) {
				t.Errorf("got %v MiB before the next cycles, want %v", m.idle, tt.idle)
			}
		})
	}
}

// One replica: whatever it takes to report it, it is a whole cycle.
func TestWholeCycleOfADaemon(t *testing.T) {
	alone(t)
	t.Setenv("SANDBOX_TEST_CHILD", "two cycles")
	file := filepath.Join(t.TempDir(), "summary.json")
	var out output
	err := run(t.Context(), daemonArgs("--replicas", "1", "--kinds", "tcp", "--interval", "4s", "--cycles", "2", "--json", file), &out, &out)
	if err != nil {
		t.Fatalf("run = %v, want nil\n%s", err, &out)
	}
	var o outcome
	readJSON(t, file, &o)
	if o.Reports != 2 || o.Cycle.Reports != 2 {
		t.Errorf("got %d reports, %d of them in a cycle, want 2", o.Reports, o.Cycle.Reports)
	}
	if o.Child.FirstReport <= o.FirstReport {
		t.Errorf("the first report came %vs after the start and %vs after the map request, want the start to be earlier", o.Child.FirstReport, o.FirstReport)
	}
	if _, ok := readProcess(1); !ok {
		t.Skip("the usage of a process cannot be read: there is no /proc")
	}
	if u := o.Child; u.WholeCycles != 1 || u.CycleCPU <= 0 || u.CycleCPU >= u.User+u.System {
		t.Errorf("got %d whole cycles of %vs, want one that took less than the whole life of %vs", u.WholeCycles, u.CycleCPU, u.User+u.System)
	}
	if u := o.Child; len(u.ResidentEnd) != 2 || u.IdleRSS != u.ResidentEnd[0] || u.IdleRSS > u.PeakRSS {
		t.Errorf("got %v MiB idle, of %v by cycle and %v at most, want that before the second cycle", u.IdleRSS, u.ResidentEnd, u.PeakRSS)
	}
}
