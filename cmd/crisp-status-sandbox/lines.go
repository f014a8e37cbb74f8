//go:build linux

package main

import (
	"io"
	"strings"
	"sync"
)

// lines forwards whole lines, so that the output of the child and of the sandbox
// does not mix within a line.
type lines struct {
	to   io.Writer
	mu   sync.Mutex // protects rest
	rest []byte     // the incomplete last line
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.rest = append(l.rest, p...)
	const longest = 64 << 10 // a longer line is forwarded in pieces
	end := strings.LastIndexByte(string(l.rest), '\n') + 1
	if end == 0 && len(l.rest) > longest {
		end = len(l.rest)
	}
	if _, err := l.to.Write(l.rest[:end]); err != nil {
		return 0, err
	}
	l.rest = append(l.rest[:0], l.rest[end:]...)
	return len(p), nil
}

// flush forwards the last line, which may lack its line feed.
func (l *lines) flush() {
	l.mu.Lock()
	defer l.mu.Unlock()
	_, _ = l.to.Write(l.rest) // nobody reads it any more
	l.rest = nil
}
