package scheduler

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"testing"
	"time"
)

// ahead is longer than any host is suspended before a test.
const ahead = 10 * 365 * 24 * time.Hour

// TestSuspended: whatever was due in a suspension is begun after it, by the time for which
// Go's clock stood still.
func TestSuspended(t *testing.T) {
	if !inTimeNamespace(t) {
		return
	}
	if got := suspended(); got < ahead {
		t.Errorf("the host was suspended for %v, want %v at least", got, ahead)
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
	unshare, err := exec.LookPath("unshare")
	if err != nil {
		lack(t, "unshare is not installed")
	}
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

// lack skips the test, for want of what why says. Where CRISP_REQUIRE_TOOLS is
// set, that is a failure.
func lack(t *testing.T, why string) {
	t.Helper()
	if os.Getenv("CRISP_REQUIRE_TOOLS") != "" {
		t.Fatal(why)
	}
	t.Skip(why)
}
