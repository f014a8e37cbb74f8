//go:build faults || cluster

package namespaces

import (
	"bytes"
	"fmt"
	"regexp"
	"strings"
	"sync"
)

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

// print lists the failed cases at the end of all output, where people look.
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
var notes = regexp.MustCompile(`_test\.go:\d+: (the longest silence|the daemon wrote:|by quarter|figures: |the daemon on|etcd on|keepalived on|memory of|CRISP_)`)

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
