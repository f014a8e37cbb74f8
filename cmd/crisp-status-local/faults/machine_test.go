//go:build faults

package faults

import (
	"bytes"
	"context"
	"fmt"
	"regexp"
	"runtime"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// A case says nothing of the daemon while the machine keeps its wire and targets
// from running: then it is run again.
const (
	ahead     = 10                     // how much nicer than a case its daemon is
	mostRuns  = 3                      // of a case that fails while the machine is late
	tolerable = 500 * time.Millisecond // of lateness in a case, which fails by it
	lateTick  = 50 * time.Millisecond
	leastLate = 100 * time.Millisecond // less than that is usual
	wasLate   = "the machine was late"
)

// lateness is when the machine kept a process of the daemon's priority from running
// though it should have.
type lateness struct {
	mu    sync.Mutex     // protects waits
	waits [][2]time.Time // from when it should have run to when it did
}

// watch measures until ctx is done.
func (l *lateness) watch(ctx context.Context) {
	runtime.LockOSThread() // and never unlocked: the thread has a priority of its own
	if above, err := unix.Getpriority(unix.PRIO_PROCESS, 0); err == nil {
		_ = unix.Setpriority(unix.PRIO_PROCESS, 0, 20-above+ahead) // the system call adds 20, and turns the sign
	}
	for ctx.Err() == nil {
		due := time.Now().Add(lateTick)
		time.Sleep(lateTick)
		if now := time.Now(); now.Sub(due) > leastLate {
			l.mu.Lock()
			l.waits = append(l.waits, [2]time.Time{due, now})
			l.mu.Unlock()
		}
	}
}

// total returns the lateness so far.
func (l *lateness) total() time.Duration { return l.within(time.Time{}, time.Now()) }

// within returns the lateness in a time.
func (l *lateness) within(from, to time.Time) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	return overlap(l.waits, from, to)
}

// overlap returns how much of a time those times take, which do not meet each other.
func overlap(times [][2]time.Time, from, to time.Time) time.Duration {
	var sum time.Duration
	for _, t := range times {
		begin, end := t[0], t[1]
		if begin.Before(from) {
			begin = from
		}
		if end.After(to) {
			end = to
		}
		sum += max(end.Sub(begin), 0)
	}
	return sum
}

// failed is the cases that failed, each with the lines that say why.
type failed struct {
	mu    sync.Mutex // protects cases
	cases []string
}

var failures failed

func (f *failed) add(name string, lines []string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.cases = append(f.cases, strings.Join(append([]string{"FAIL " + name}, lines...), "\n"))
}

// print says at the end of all output what failed: who looks at it sees the end.
func (f *failed) print() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, text := range f.cases {
		fmt.Println(text)
	}
}

// noted begins each line of a case that says why it failed. Others are notes.
var noted = regexp.MustCompile(`(?m)^ +\w+_test\.go:\d+: .*$`)

// notes are the beginnings of what cases write beside.
var notes = regexp.MustCompile(`_test\.go:\d+: (the longest silence|the daemon wrote:|by quarter)`)

// errorLines returns the lines of a case's output that say why it failed, the first
// ten, and cut.
func errorLines(out []byte) []string {
	var lines []string
	for _, line := range noted.FindAll(out, -1) {
		if notes.Match(line) || len(lines) == 10 {
			continue
		}
		lines = append(lines, string(bytes.TrimRight(line[:min(len(line), 400)], " ")))
	}
	if panicked := bytes.Index(out, []byte("panic: ")); panicked >= 0 {
		lines = append(lines, string(out[panicked:min(len(out), panicked+400)]))
	}
	return lines
}
