package main

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/crisp-im/crisp-status-local/v2/internal/sandbox"
	"github.com/crisp-im/crisp-status-local/v2/internal/sandbox/judge"
)

// daemonArgs are these flags, and the test binary as the daemon.
func daemonArgs(flags ...string) []string {
	return append(flags, "--", os.Args[0], "-c", "{config}")
}

func readJSON(t *testing.T, file string, into any) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, into); err != nil {
		t.Fatalf("the summary file is %s: %v", text, err)
	}
}

// rowOf finds the row of a table that has these as its first cells.
func rowOf(cells ...string) *regexp.Regexp {
	return regexp.MustCompile(`(?m)^ *` + strings.Join(cells, " +") + `( |$)`)
}

func TestSizes(t *testing.T) {
	runs, err := parse(strings.Fields("--replicas 1000,20,1000 --dead 50% --interval 7s --cycles 3 -- daemon -c {config}"), nil)
	if err != nil {
		t.Fatal(err)
	}
	if len(runs) != 3 {
		t.Fatalf("got %d runs, want 3", len(runs))
	}
	for i, want := range []int{1000, 20, 1000} {
		s := runs[i]
		if s.generated.Replicas != want || s.generated.Dead != 0.5 {
			t.Errorf("run %d has %d replicas, %v of them dead, want %d and 0.5", i+1, s.generated.Replicas, s.generated.Dead, want)
		}
		if s.cycles != 3 || s.interval.Seconds() != 7 || len(s.command) != 3 {
			t.Errorf("run %d is %+v, want the same flags and the same command for each", i+1, s)
		}
	}
}

func TestSeveralSizes(t *testing.T) {
	alone(t)
	t.Setenv("SANDBOX_TEST_CHILD", "report")
	file := filepath.Join(t.TempDir(), "summary.json")
	var out output
	err := run(t.Context(), daemonArgs("--replicas", "3,6", "--kinds", "tcp", "--cycles", "1", "--json", file), &out, &out)
	if err != nil {
		t.Fatalf("run = %v, want nil\n%s", err, &out)
	}
	var outcomes []outcome
	readJSON(t, file, &outcomes)
	if len(outcomes) != 2 {
		t.Fatalf("the summary file has %d runs, want 2", len(outcomes))
	}
	for i, want := range []int{3, 6} {
		o := outcomes[i]
		if o.Replicas != want || o.Reports != want || o.MapsSent != 1 || o.Child == nil || o.Child.FirstReport <= 0 || o.SandboxCPU <= 0 {
			t.Errorf("run %d is %+v, want %d replicas reported to a sandbox of its own", i+1, o, want)
		}
	}
	children := regexp.MustCompile(`(?m)^child \d+`).FindAllString(out.String(), -1)
	if len(children) != 2 || children[0] == children[1] {
		t.Errorf("got the daemons %v, want two", children)
	}
	for _, want := range []string{"Run 1 of 2: 3 replicas", "Run 2 of 2: 6 replicas", "6 accepted in 1 cycle"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the output lacks %q:\n%s", want, &out)
		}
	}
	if got := strings.Count(out.String(), "not known"); got != 1 {
		t.Errorf("got %d tables, want one:\n%s", got, &out)
	}
	for _, want := range []string{"3", "6"} {
		if !rowOf(want, `\d+`, `\d+`).MatchString(out.String()) {
			t.Errorf("the table lacks a row of %s replicas with its first report:\n%s", want, &out)
		}
	}
}

func TestSeveralSizesEndWithTheFirstFailure(t *testing.T) {
	alone(t)
	t.Setenv("SANDBOX_TEST_CHILD", "die")
	file := filepath.Join(t.TempDir(), "summary.json")
	var out output
	err := run(t.Context(), daemonArgs("--replicas", "3,6", "--kinds", "tcp", "--for", "1m", "--json", file), &out, &out)
	if err == nil || err.Error() != "command ended by itself: exit status 3" {
		t.Errorf("run = %v, want that the command ended by itself", err)
	}
	var outcomes []outcome
	readJSON(t, file, &outcomes)
	if len(outcomes) != 1 || outcomes[0].Child.Status != "exit status 3" {
		t.Errorf("the summary file is %+v, want the run that failed, and none after it", outcomes)
	}
	if !rowOf("3", "-", "-").MatchString(out.String()) || rowOf("6").MatchString(out.String()) {
		t.Errorf("the table lacks the run that failed, or has one after it:\n%s", &out)
	}
}

func TestSeveralSizesEndWithASignal(t *testing.T) {
	alone(t)
	t.Setenv("SANDBOX_TEST_CHILD", "report")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var out output
	ended := make(chan error)
	go func() {
		ended <- run(ctx, daemonArgs("--replicas", "3,6", "--kinds", "tcp", "--for", "1m"), &out, &out)
	}()
	for !strings.Contains(out.String(), "child ") {
		time.Sleep(time.Millisecond)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Errorf("run = %v, want nil\n%s", err, &out)
	}
	if strings.Contains(out.String(), "Run 2") || !rowOf("3").MatchString(out.String()) {
		t.Errorf("the table lacks the run that was cut, or another was begun:\n%s", &out)
	}
}

func TestTable(t *testing.T) {
	large := outcome{
		Summary: sandbox.Summary{
			Summary: judge.Summary{
				Counts:         judge.Counts{Replicas: 100_000},
				Interval:       120,
				FirstReport:    0.0524,
				Cycle:          judge.Quantiles{P99: 29.7, Max: 30.126},
				WorstGapPrompt: 120.25,
				WorstGapOther:  121,
				LateGaps:       7,
				Wrong:          2,
			},
		},
		SandboxCPU: 31,
		Child:      &childUsage{FirstReport: 0.3, CycleCPU: 12, WholeCycles: 1, PeakRSS: 99, IdleRSS: 33.25},
	}
	alone := outcome{Summary: sandbox.Summary{Summary: judge.Summary{Counts: judge.Counts{Replicas: 10}, Interval: 120}}, SandboxCPU: 0.25}
	var out strings.Builder
	if err := writeTable(&out, []outcome{large, alone}); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimPrefix(out.String(), "\n"), "\n")
	for i, want := range map[int]string{
		1: "replicas start map p99 max prompt others late wrong replica cycle core peak idle CPU",
		2: "ms ms s s s s µs s % MiB MiB s",
		3: "100000 300 52 29.70 30.13 120.25 121.00 7 2 120.0 12.00 10.00 99.0 33.2 31.0",
		4: "10 - - - - - - 0 0 - - - - - 0.2",
		5: "",
	} {
		if got := strings.Join(strings.Fields(lines[i]), " "); got != want {
			t.Errorf("line %d of the table is\n%s, want\n%s", i+1, got, want)
		}
	}
	for i := 1; i < 5; i++ {
		if got, want := len([]rune(lines[i])), len([]rune(lines[0])); got != want {
			t.Errorf("line %d is %d wide, want %d as the first:\n%s", i+1, got, want, &out)
		}
	}
}

func TestTableThatCannotBeWritten(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := writeTable(w, nil); !errors.Is(err, os.ErrClosed) {
		t.Errorf("writeTable = %v, want that the file is closed", err)
	}
}
