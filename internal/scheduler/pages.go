package scheduler

import (
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// releasePages unmaps the pages of the program's file. The start and the first cycle
// touch nearly all of them, the work from then on two thirds; the kernel maps those
// from its cache again.
func releasePages() {
	smaps, err := os.ReadFile("/proc/self/smaps")
	if err != nil {
		return // it is about memory alone
	}
	for _, m := range unwrittenMappings(string(smaps)) {
		unix.Syscall(unix.SYS_MADVISE, m.start, m.end-m.start, unix.MADV_DONTNEED)
	}
}

// mapping is a range of addresses.
type mapping struct{ start, end uintptr }

// unwrittenMappings returns the mappings of files in smaps (proc_pid_smaps(5)) that
// hold nothing but what the file says: they are read-only, and no page was written
// before they became so, as those that a loader relocates are.
func unwrittenMappings(smaps string) []mapping {
	var found []mapping
	var m mapping
	readOnly := false
	for line := range strings.Lines(smaps) {
		var start, end uintptr
		var permissions, offset, device string
		var inode uint64
		if n, _ := fmt.Sscanf(line, "%x-%x %s %s %s %d", &start, &end, &permissions, &offset, &device, &inode); n == 6 {
			m, readOnly = mapping{start, end}, strings.HasPrefix(permissions, "r-") && inode != 0
			continue
		}
		if fields := strings.Fields(line); readOnly && len(fields) > 1 && fields[0] == "Anonymous:" && fields[1] == "0" {
			found = append(found, m)
		}
	}
	return found
}
