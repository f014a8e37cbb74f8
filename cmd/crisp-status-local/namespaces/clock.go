//go:build faults || cluster

package namespaces

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// ClockVariable tells the daemon of [DaemonWithClock] the file with the seconds by
// which its wall clock is ahead.
const ClockVariable = "CRISP_FAULTS_CLOCK"

// clockBinaryVariable is where that daemon is.
const clockBinaryVariable = "CRISP_FAULTS_CLOCK_BINARY"

// DaemonWithClock returns the path of a daemon whose wall clock can be set, and builds
// it if that is not done: no clock of the machine is a test's to set, and a time
// namespace has no wall clock of its own.
func DaemonWithClock(t *testing.T) string {
	t.Helper()
	if os.Getenv(insideVariable) == "" {
		if os.Geteuid() != 0 {
			Lack(t, "only root may make the namespaces")
		}
		os.Setenv(clockBinaryVariable, buildWithClock(t))
	}
	return os.Getenv(clockBinaryVariable)
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
		Lack(t, "this Go has another time.Now than the test knows")
	}
	command, err := exec.Command("go", "list", "-f", "{{.Dir}}", daemonPackage).Output()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	replace := make(map[string]string)
	for name, text := range map[string]string{
		filepath.Join(std, "time.go"):  strings.Replace(string(source), now, now+"\tsec += Ahead.Load()\n", 1),
		filepath.Join(std, "ahead.go"): "package time\n\nimport \"sync/atomic\"\n\nvar Ahead atomic.Int64 // seconds\n",
		filepath.Join(strings.TrimSpace(string(command)), "ahead_linux.go"): "package main\n\nimport (\n\t\"fmt\"\n\t\"os\"\n\t\"time\"\n)\n\nfunc init() {\n\tgo func() {\n\t\tfor ; ; time.Sleep(20 * time.Millisecond) {\n" +
			"\t\t\tvar ahead int64\n\t\t\ttext, _ := os.ReadFile(os.Getenv(\"" + ClockVariable + "\"))\n\t\t\tfmt.Sscan(string(text), &ahead)\n\t\t\ttime.Ahead.Store(ahead)\n\t\t}\n\t}()\n}\n",
	} {
		replace[name] = filepath.Join(dir, fmt.Sprint(len(replace))+".go")
		if err := os.WriteFile(replace[name], []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	text, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		t.Fatal(err)
	}
	overlay := filepath.Join(dir, "overlay.json")
	if err := os.WriteFile(overlay, text, 0o600); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(scratch, "crisp-status-local-with-a-clock")
	// It takes a minute of all processors, which the cases beside it need more.
	build := exec.Command("nice", "-n", "19", "go", "build", "-p", "1", "-buildvcs=false", "-overlay", overlay, "-o", path, daemonPackage)
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("building the daemon with a clock of its own: %v\n%s", err, out)
	}
	return path
}
