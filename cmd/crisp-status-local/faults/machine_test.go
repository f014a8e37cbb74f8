//go:build faults

package faults

import (
	"bytes"
	"context"
	"fmt"
	"regexp"
	"sync"
	"sync/atomic"
	"time"
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

// lateness is for how long the machine kept this process from running though it
// should have.
type lateness struct{ sum atomic.Int64 }

// watch measures until ctx is done.
func (l *lateness) watch(ctx context.Context) {
	for ctx.Err() == nil {
		began := time.Now()
		time.Sleep(lateTick)
		if late := time.Since(began) - lateTick; late > leastLate {
			l.sum.Add(int64(late))
		}
	}
}

// total returns the lateness so far.
func (l *lateness) total() time.Duration { return time.Duration(l.sum.Load()) }

// failed is the cases that failed, each with the lines that say why.
type failed struct {
	mu    sync.Mutex // protects cases
	cases []string
}

var failures failed

func (f *failed) add(name string, lines []string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	text := "FAIL " + name
	for _, line := range lines {
		text += "\n" + line
	}
	f.cases = append(f.cases, text)
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
var notes = regexp.MustCompile(`_test\.go:\d+: (the longest silence|the daemon wrote:|at most, by quarter)`)

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
