package main

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
)

// maxrssUnit is what ru_maxrss counts in: KiB.
const maxrssUnit = 1 << 10

// dieWithParent ends the child if the sandbox is killed.
func dieWithParent(attr *syscall.SysProcAttr) { attr.Pdeathsig = syscall.SIGTERM }

// resident returns how much memory a process holds, and how much it has held at
// most, in MiB, and whether that can be said. The peak of getrusage would not do:
// until exec a child shares the memory of the sandbox, and is charged with it.
func resident(pid int) (now, peak float64, ok bool) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, 0, false
	}
	now, rss := field(string(status), "VmRSS:")
	peak, hwm := field(string(status), "VmHWM:")
	return now, peak, rss && hwm
}

// field returns a line of /proc/PID/status, which is in KiB, in MiB.
func field(status, name string) (float64, bool) {
	_, rest, found := strings.Cut(status, "\n"+name)
	fields := strings.Fields(rest)
	if !found || len(fields) == 0 {
		return 0, false
	}
	kib, err := strconv.ParseFloat(fields[0], 64)
	return kib / (1 << 10), err == nil
}
