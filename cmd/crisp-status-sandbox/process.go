//go:build linux

package main

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// readProcess returns the usage of a process, and whether it is known. getrusage
// would count the memory of the sandbox, which the child shares until exec.
func readProcess(pid int) (usageSample, bool) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return usageSample{}, false
	}
	now, rss := field(string(status), "VmRSS:")
	peak, hwm := field(string(status), "VmHWM:")
	cpu, known := cpuOf(pid)
	return usageSample{resident: now, peak: peak, cpu: cpu}, rss && hwm && known
}

// cpuOf returns the CPU time of a process, user and system, from the clock that the
// kernel has for each: /proc/PID/stat counts in 10 ms, too coarse for a small map.
func cpuOf(pid int) (time.Duration, bool) {
	const schedCPU = 2 // the CPU time of all threads; see clock_getcpuclockid(3)
	var t unix.Timespec
	err := unix.ClockGettime(int32(^pid<<3|schedCPU), &t)
	return time.Duration(t.Nano()), err == nil
}

// field returns a line of /proc/PID/status in MiB; the file has KiB.
func field(status, name string) (float64, bool) {
	_, rest, found := strings.Cut(status, "\n"+name)
	fields := strings.Fields(rest)
	if !found || len(fields) == 0 {
		return 0, false
	}
	kib, err := strconv.ParseFloat(fields[0], 64)
	return kib / (1 << 10), err == nil
}
