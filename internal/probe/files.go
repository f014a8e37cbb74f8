package probe

import "golang.org/x/sys/unix"

// Of the files that this process may have open, each probe under way has one, by
// the bound of those who run them. What probes open besides is bounded here: a
// name of many addresses and a silent resolver must not use up the files that the
// others need.

// maxQuestions is how many sockets look-ups have open at a time, of so many files.
func maxQuestions(files int) int { return min(max(files/8, 32), 2048) }

// maxExtraDials is how many connections are tried at a time beside the first one
// of each probe.
func maxExtraDials(files int) int { return min(max(files/16, 8), 1024) }

// FilesBeside returns how many of so many files probes open beside one each, at
// most.
func FilesBeside(files int) int { return maxQuestions(files) + maxExtraDials(files) }

// openFiles returns how many files this process may have open.
func openFiles() int {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return 1024
	}
	return int(min(limit.Cur, 1<<30))
}

// extraDials has a place for each connection that is tried beside the first one
// of its probe. A nil one has as many as it takes.
type extraDials chan struct{}

// take takes a place, and reports whether there was one.
func (e extraDials) take() bool {
	if e == nil {
		return true
	}
	select {
	case e <- struct{}{}:
		return true
	default:
		return false
	}
}

// give gives a place back.
func (e extraDials) give() {
	if e != nil {
		<-e
	}
}
