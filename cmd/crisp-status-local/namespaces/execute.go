//go:build faults || cluster

package namespaces

import (
	"fmt"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Hold makes another network namespace, until the test ends, and returns the
// process that holds it.
func Hold(t *testing.T) int {
	t.Helper()
	holder := exec.Command("sleep", "infinity")
	holder.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET}
	if err := holder.Start(); err != nil {
		Lack(t, fmt.Sprintf("no second network namespace can be had here: %v", err))
	}
	t.Cleanup(func() { _ = holder.Process.Kill(); _ = holder.Wait() })
	return holder.Process.Pid
}

// In returns a command that runs in the network namespace which that process holds.
func In(holder int, args ...string) []string {
	return append([]string{"nsenter", "-t", fmt.Sprint(holder), "-n"}, args...)
}

// Execute runs a command with that input. If it fails, the test ends as in Lack.
func Execute(t *testing.T, input string, args ...string) {
	t.Helper()
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Stdin = strings.NewReader(input)
	if out, err := cmd.CombinedOutput(); err != nil {
		Lack(t, fmt.Sprintf("%s: %v: %s%s", strings.Join(args, " "), err, out, input))
	}
}

// Output runs a command and returns what it wrote.
func Output(args ...string) (string, error) {
	out, err := exec.Command(args[0], args[1:]...).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%s: %w: %s", strings.Join(args, " "), err, out)
	}
	return string(out), nil
}

// Filter adds rules to the firewall's chain of that hook, in the network namespace that
// the process holds. It returns a function that removes them. A hook has one chain at a
// time.
func Filter(t *testing.T, holder int, hook string, rules ...string) func() {
	t.Helper()
	table := "fault_" + hook
	text := fmt.Sprintf("table inet %s {\nchain %s {\ntype filter hook %s priority 0\n%s\n}\n}\n", table, hook, hook, strings.Join(rules, "\n"))
	Execute(t, text, In(holder, "nft", "-f", "-")...)
	return func() { Execute(t, "", In(holder, "nft", "delete", "table", "inet", table)...) }
}

// Eventually waits until ok.
func Eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !ok(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("never came: %s", what)
		}
	}
}
