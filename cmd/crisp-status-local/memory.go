//go:build linux

package main

import (
	"io/fs"
	"math"
	"os"
	"path"
	"runtime/debug"
	"strconv"
	"strings"
)

// The daemon's memory, whatever map and targets do, as README states it: programMemory, a
// quarter of its memory limit for probes under way, and the rest for replicas.
const (
	programMemory = 12 << 20 // without a replica
	replicaMemory = 1 << 10  // a replica: twice the heap of one that is up, two thirds of one that was dead
	largestMemory = 2 << 30  // of the largest map
)

// limitMemory makes the runtime collect garbage in time to stay under the memory limit,
// or where there is none under largestMemory.
func (d *daemon) limitMemory() {
	limit := d.memoryLimit()
	if limit == 0 && !d.hasMemoryLimit() {
		limit = largestMemory
	}
	if limit > 0 {
		debug.SetMemoryLimit(limit)
	}
}

// hasMemoryLimit reports whether the environment says anything of a limit, if only that
// it is off. An empty variable says nothing: engines pass on so what is not set.
func (d *daemon) hasMemoryLimit() bool {
	said, _ := d.sys.lookupEnv("GOMEMLIMIT")
	return said != ""
}

// memoryLimit returns how many bytes the process may use: what the environment says, or
// nine tenths of the limit of its cgroup; 0 if there is none. What is not the heap's,
// and a moment's surge, have the last tenth.
func (d *daemon) memoryLimit() int64 { return d.memoryLimitIn(os.DirFS("/")) }

// memoryLimitIn is memoryLimit of a host with those files.
func (d *daemon) memoryLimitIn(root fs.FS) int64 {
	if !d.hasMemoryLimit() {
		return cgroupMemory(root) / 10 * 9
	}
	if limit := debug.SetMemoryLimit(-1); limit < math.MaxInt64 { // that is off
		return limit
	}
	return 0
}

// limitMap makes the client leave out the replicas of a map that do not fit the memory
// limit. Otherwise the kernel would kill the process again and again.
func (d *daemon) limitMap() {
	if limit := d.memoryLimit(); limit > 0 {
		d.client.LimitReplicas(replicasFor(limit))
	}
}

// replicasFor returns how many replicas fit into so much memory, at least a thousand.
func replicasFor(memory int64) int {
	return int(max(1000, (memory/4*3-programMemory)/replicaMemory))
}

// cgroupMemory returns how many bytes the cgroup of this process may use, the
// least of its own limit and those above it; 0 if there is none.
func cgroupMemory(root fs.FS) int64 {
	groups, err := fs.ReadFile(root, "proc/self/cgroup")
	if err != nil {
		return 0
	}
	least := int64(0)
	for line := range strings.Lines(string(groups)) {
		// ID:CONTROLLERS:PATH, without controllers in the second version (cgroups(7)).
		parts := strings.SplitN(strings.TrimSuffix(line, "\n"), ":", 3)
		if len(parts) < 3 {
			continue
		}
		top, file := "sys/fs/cgroup", "memory.max"
		switch {
		case parts[1] == "":
		case strings.Contains(","+parts[1]+",", ",memory,"):
			top, file = "sys/fs/cgroup/memory", "memory.limit_in_bytes"
		default:
			continue
		}
		// In a container the path may be one of the host, of which nothing but
		// the top is there.
		for group := path.Clean("/" + parts[2]); ; group = path.Dir(group) {
			if limit := limitIn(root, path.Join(top, group, file)); limit > 0 && (least == 0 || limit < least) {
				least = limit
			}
			if group == "/" {
				break
			}
		}
	}
	return least
}

// limitIn returns the number in a file; 0 if there is none, or one that the first
// version of cgroups has for no limit.
func limitIn(root fs.FS, file string) int64 {
	text, err := fs.ReadFile(root, file)
	if err != nil {
		return 0
	}
	limit, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64)
	if err != nil || limit > 1<<60 {
		return 0
	}
	return limit
}
