//go:build faults

package faults

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// Where the daemon of [TestWallClock] is, and the file with the seconds by which its
// wall clock is ahead.
const (
	clockBinaryVariable = "CRISP_FAULTS_CLOCK_BINARY"
	clockVariable       = "CRISP_FAULTS_CLOCK"
)

// TestWallClock sets the wall clock of the daemon, which is built with another
// [time.Now] for that: no clock of the machine is a test's to set, and a time namespace
// has no wall clock of its own.
func TestWallClock(t *testing.T) {
	t.Parallel()
	if os.Getenv(insideVariable) == "" {
		if os.Geteuid() != 0 {
			lack(t, "only root may make the namespaces")
		}
		os.Setenv(clockBinaryVariable, buildWithClock(t))
	}
	var faults []fault
	for _, ahead := range []time.Duration{time.Hour, -time.Hour} {
		faults = append(faults, fault{
			name: fmt.Sprintf("ahead by %v, and right again", ahead), lasts: 15 * time.Second,
			options: options{program: os.Getenv(clockBinaryVariable)},
			begin: func(l *lab) func() {
				l.setClock(ahead)
				return func() {
					eventually(l.t, "the daemon goes by that clock", func() bool { return l.wroteAt(time.Now().Add(ahead)) })
					l.setClock(0)
				}
			},
		})
	}
	try(t, faults)
}

// setClock sets the wall clock of the daemon.
func (l *lab) setClock(ahead time.Duration) {
	l.t.Helper()
	if err := os.WriteFile(l.clock(), fmt.Append(nil, int(ahead.Seconds())), 0o600); err != nil {
		l.t.Fatal(err)
	}
}

func (l *lab) clock() string { return filepath.Join(filepath.Dir(l.config), "clock") }

var logged = regexp.MustCompile(`(?m)^time="?([^" ]+)`)

// wroteAt reports whether the log has a line of about that time.
func (l *lab) wroteAt(when time.Time) bool {
	written, _ := os.ReadFile(l.log)
	for _, found := range logged.FindAllSubmatch(written, -1) {
		at, err := time.Parse(time.RFC3339, string(found[1]))
		if err == nil && at.Sub(when).Abs() < 10*time.Minute {
			return true
		}
	}
	return false
}

// buildWithClock builds the daemon with a time.Now that is ahead by what a file says,
// and returns its path. The monotonic part of a time stays as it is.
func buildWithClock(t *testing.T) string {
	t.Helper()
	root, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		t.Fatal(err)
	}
	std := filepath.Join(strings.TrimSpace(string(root)), "src", "time")
	source, err := os.ReadFile(filepath.Join(std, "time.go"))
	if err != nil {
		t.Fatal(err)
	}
	const now = "func Now() Time {\n\tsec, nsec, mono := runtimeNow()\n"
	if !strings.Contains(string(source), now) {
		lack(t, "this Go has another time.Now than the test knows")
	}
	command, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	replace := make(map[string]string)
	for name, text := range map[string]string{
		filepath.Join(std, "time.go"):  strings.Replace(string(source), now, now+"\tsec += Ahead.Load()\n", 1),
		filepath.Join(std, "ahead.go"): "package time\n\nimport \"sync/atomic\"\n\nvar Ahead atomic.Int64 // seconds\n",
		filepath.Join(command, "ahead_linux.go"): "package main\n\nimport (\n\t\"fmt\"\n\t\"os\"\n\t\"time\"\n)\n\nfunc init() {\n\tgo func() {\n\t\tfor ; ; time.Sleep(20 * time.Millisecond) {\n" +
			"\t\t\tvar ahead int64\n\t\t\ttext, _ := os.ReadFile(os.Getenv(\"" + clockVariable + "\"))\n\t\t\tfmt.Sscan(string(text), &ahead)\n\t\t\ttime.Ahead.Store(ahead)\n\t\t}\n\t}()\n}\n",
	} {
		replace[name] = write(t, filepath.Join(dir, fmt.Sprint(len(replace))+".go"), text, 0o600)
	}
	overlay, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(scratch, "crisp-status-local-with-a-clock")
	// It takes a minute of all processors, which the cases beside it need more.
	build := exec.Command("nice", "-n", "19", "go", "build", "-p", "1", "-buildvcs=false", "-overlay", write(t, filepath.Join(dir, "overlay.json"), string(overlay), 0o600), "-o", path, "..")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("building the daemon with a clock of its own: %v\n%s", err, out)
	}
	return path
}
