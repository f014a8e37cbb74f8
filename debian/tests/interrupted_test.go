//go:build install

package tests

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// interruptedVariable makes TestOfARunThatIsInterrupted wait for that.
const interruptedVariable = "CRISP_STATUS_LOCAL_TEST_INTERRUPTED"

// TestAnInterruptedRunLeavesNothingBehind: no folder, no mount, no process, though it has
// become a daemon, and what is to be ended in order, as machines and engines are, is.
func TestAnInterruptedRunLeavesNothingBehind(t *testing.T) {
	t.Parallel()
	requireRoot(t)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for _, by := range []os.Signal{syscall.SIGTERM, os.Interrupt} {
		ended := filepath.Join(t.TempDir(), "ended")
		c := exec.CommandContext(t.Context(), self, "-test.run=^TestOfARunThatIsInterrupted$", "-test.v")
		c.Env = append(os.Environ(), interruptedVariable+"="+ended)
		c.Stderr = os.Stderr
		out, err := c.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		folder, pid, lines := "", 0, bufio.NewScanner(out)
		for folder == "" && lines.Scan() {
			_, _ = fmt.Sscanf(lines.Text(), "interrupt %s %d", &folder, &pid)
		}
		if folder == "" {
			t.Fatal("the run ended before it was interrupted")
		}
		if err := c.Process.Signal(by); err != nil {
			t.Fatal(err)
		}
		for lines.Scan() { // until all that holds its output has ended
		}
		_ = c.Wait()
		if code := c.ProcessState.ExitCode(); code != 1 {
			t.Errorf("by %v: the exit status is %d, want 1", by, code)
		}
		if _, err := os.Stat(ended); err != nil {
			t.Errorf("by %v: what is to be ended was not: %v", by, err)
		}
		if _, err := os.Stat(folder); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("by %v: %s is left (%v)", by, folder, err)
		}
		if mounts, err := os.ReadFile("/proc/self/mountinfo"); err != nil || strings.Contains(string(mounts), " "+folder) {
			t.Errorf("by %v: a mount is left in %s (%v)", by, folder, err)
		}
		if command, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid)); err == nil && strings.Contains(string(command), "sleep") {
			t.Errorf("by %v: the process %d is left", by, pid)
		}
	}
}

// TestOfARunThatIsInterrupted is no test unless the one above runs it: it leaves what
// machines, container engines and gpg leave.
func TestOfARunThatIsInterrupted(t *testing.T) {
	ended := os.Getenv(interruptedVariable)
	if ended == "" {
		t.Skip("this is a part of another test")
	}
	atEnd(t, func() { _ = os.WriteFile(ended, nil, 0o600) })
	at := filepath.Join(scratch, "mounted")
	if err := os.Mkdir(at, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("tmpfs", at, "tmpfs", 0, "size=1m"); err != nil {
		t.Fatal(err)
	}
	// A session of its own, and no child of this run any more.
	pid := run(t, "sh", "-c", "setsid sleep 600 >/dev/null 2>&1 </dev/null & echo $!")
	fmt.Printf("interrupt %s %s\n", scratch, strings.TrimSpace(pid))
	<-t.Context().Done()
}
