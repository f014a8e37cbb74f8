package main

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"
	"unsafe"
)

// maxrssUnit is what ru_maxrss counts in: KiB.
const maxrssUnit = 1 << 10

// dieWithParent ends the child if the sandbox is killed.
func dieWithParent(attr *syscall.SysProcAttr) { attr.Pdeathsig = syscall.SIGTERM }

// readProcess returns what a process has taken, and whether that can be said. The
// peak of getrusage would not do: until exec a child shares the memory of the
// sandbox, and is charged with it.
func readProcess(pid int) (reading, bool) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return reading{}, false
	}
	now, rss := field(string(status), "VmRSS:")
	peak, hwm := field(string(status), "VmHWM:")
	cpu, known := cpuOf(pid)
	return reading{resident: now, peak: peak, cpu: cpu}, rss && hwm && known
}

// cpuOf is what a process has used, user and system, to the nanosecond: the
// kernel has a clock for each, while /proc/PID/stat counts in 10 ms, which is
// much for a small map.
func cpuOf(pid int) (time.Duration, bool) {
	const schedCPU = 2 // of all its threads; see clock_getcpuclockid(3)
	var t syscall.Timespec
	_, _, errno := syscall.Syscall(syscall.SYS_CLOCK_GETTIME, uintptr(^pid<<3|schedCPU), uintptr(unsafe.Pointer(&t)), 0)
	return time.Duration(t.Nano()), errno == 0
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
