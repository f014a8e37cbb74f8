//go:build linux

package main

import (
	"io/fs"
	"os"
	"path"
	"runtime/debug"
	"strconv"
	"strings"
)

// limitMemory makes the runtime collect garbage in time to stay under the limit
// of this process' cgroup, where there is one, unless the environment says what
// it is to be. What is not the heap's, and a moment's surge, have a tenth.
func (d *daemon) limitMemory() {
	if _, set := d.sys.lookupEnv("GOMEMLIMIT"); set {
		return
	}
	if limit := cgroupMemory(os.DirFS("/")); limit > 0 {
		debug.SetMemoryLimit(limit / 10 * 9)
	}
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
