//go:build faults

package faults

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/crisp-im/crisp-status-local/v2/cmd/crisp-status-local/namespaces"
)

// TestLittleMemory holds the daemon to its promise with 32 MiB from its start on.
func TestLittleMemory(t *testing.T) {
	t.Parallel()
	if !namespaces.Inside(t) {
		return
	}
	wrapper := controlGroup(t, "memory", map[string]string{"memory.limit_in_bytes": "32M", "memory.max": "32M"})
	f := fault{
		name: "32 MiB", lasts: 20 * time.Second, options: options{wrapper: wrapper},
		begin: func(*lab) func() { return func() {} },
	}
	f.run(t)
}

// TestLittleCPU holds the daemon to its promise with a tenth of a CPU, and with two
// busy processes beside it that have priority in a fifth of one.
func TestLittleCPU(t *testing.T) {
	t.Parallel()
	try(t, []fault{
		{name: "a tenth", lasts: 30 * time.Second, begin: func(l *lab) func() {
			return l.starve(10_000)
		}, options: options{delaySick: 1, healthy: slices.Concat(spread(20, "tcp://%s:80"), spread(20, "http://%s/"), spread(20, "https://%s/"), spread(20, "icmp://%s"))}},
		{name: "two busy processes", lasts: 30 * time.Second, begin: func(l *lab) func() {
			heal := l.starve(40_000)
			wrapper := append([]string{"nice", "-n", "-15"}, joining(l.group)...)
			ends := []func(){l.helperBy(wrapper, "busy"), l.helperBy(wrapper, "busy")}
			return func() {
				for _, end := range ends {
					end()
				}
				heal()
			}
		}},
	})
}

// starve moves the daemon to a control group that has so many microseconds of CPU
// in 100 ms.
func (l *lab) starve(quota int) func() {
	l.t.Helper()
	l.group = newGroup(l.t, "cpu", map[string]string{"cpu.cfs_quota_us": fmt.Sprint(quota), "cpu.max": fmt.Sprintf("%d 100000", quota)})
	l.enter(l.group)
	return func() { l.enter(filepath.Dir(l.group)) }
}

// enter moves the daemon to a control group.
func (l *lab) enter(group string) {
	l.t.Helper()
	if err := os.WriteFile(filepath.Join(group, "cgroup.procs"), fmt.Append(nil, l.cmd.Process.Pid), 0o600); err != nil {
		namespaces.Lack(l.t, fmt.Sprintf("a process cannot be moved to another control group here: %v", err))
	}
}

// controlGroup returns what runs a program in a new control group.
func controlGroup(t *testing.T, controller string, settings map[string]string) []string {
	t.Helper()
	return joining(newGroup(t, controller, settings))
}

// joining returns what runs a program in a control group.
func joining(group string) []string {
	return []string{"sh", "-c", `echo 0 >"$0/cgroup.procs" && exec "$@"`, group}
}

// newGroup makes a control group with those of the settings that it knows: version
// 1 and 2 name them otherwise.
func newGroup(t *testing.T, controller string, settings map[string]string) string {
	t.Helper()
	root := filepath.Join("/sys/fs/cgroup", controller)
	if _, err := os.Stat(root); err != nil {
		root = "/sys/fs/cgroup"
	}
	// The run removes it when the namespaces have ended: its name begins as that of
	// the run's folder does.
	group := filepath.Join(root, filepath.Base(filepath.Dir(namespaces.Scratch()))+"-"+controller+"-"+filepath.Base(namespaces.Scratch()))
	if err := os.Mkdir(group, 0o755); err != nil {
		namespaces.Lack(t, fmt.Sprintf("no control group can be had here: %v", err))
	}
	set := 0
	for name, value := range settings {
		if os.WriteFile(filepath.Join(group, name), []byte(value), 0o600) == nil {
			set++
		}
	}
	if set == 0 {
		namespaces.Lack(t, "the control groups here have no limit for "+controller)
	}
	return group
}
