package probe

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"testing"
	"time"
)

// ahead is longer than any host runs or is suspended before a test, and shorter than the
// age of the wall clock.
const ahead = 10 * 365 * 24 * time.Hour

// TestStallsAreMeasuredInSuspensions: an answer that came while the host was suspended may
// not have been read in time, so that the attempt proves nothing.
func TestStallsAreMeasuredInSuspensions(t *testing.T) {
	if !inTimeNamespace(t) {
		return
	}
	if got := new(stalls).now(); got < ahead || got > 2*ahead {
		t.Errorf("the clock of stalls shows %v, want %v and the time since boot: CLOCK_BOOTTIME", got, ahead)
	}
}

// inTimeNamespace reports whether the test runs in a time namespace of its own, whose
// boot clock is ahead of its monotonic clock by [ahead] more than the host's, and runs it
// there if not. It is as if the host had been suspended for so long.
func inTimeNamespace(t *testing.T) bool {
	t.Helper()
	if os.Getenv("CRISP_STATUS_LOCAL_TEST_TIME_NAMESPACE") != "" {
		return true
	}
	unshare := needTool(t, "unshare")
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	// A time namespace begins with the next fork, and its clocks are set before: that is
	// more than [syscall.SysProcAttr] can do.
	args := []string{"--time", "--boottime", fmt.Sprint(int(ahead.Seconds())), "--fork", "--kill-child", self, "-test.run", "^" + t.Name() + "$", "-test.v"}
	if os.Geteuid() != 0 {
		args = append([]string{"--user", "--map-root-user"}, args...)
	}
	cmd := exec.CommandContext(t.Context(), unshare, args...)
	cmd.Env = append(os.Environ(), "CRISP_STATUS_LOCAL_TEST_TIME_NAMESPACE=1")
	out, err := cmd.CombinedOutput()
	switch {
	case err != nil && bytes.HasPrefix(out, []byte("unshare: ")):
		lack(t, fmt.Sprintf("no time namespace can be had here: %s", out))
	case err != nil:
		t.Errorf("%v\n%s", err, out)
	case bytes.Contains(out, []byte("--- SKIP")):
		t.Skipf("%s", out)
	}
	return false
}
