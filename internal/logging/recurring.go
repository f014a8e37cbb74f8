package logging

import (
	"context"
	"fmt"
	"hash/maphash"
	"slices"
	"sync"
	"time"

	"github.com/sirupsen/logrus"
)

// A line that recurs is written freeLines times; then with waits between that
// double from firstWait to longestWait. After quiet without it, it is news again.
const (
	freeLines   = 3
	firstWait   = time.Minute
	longestWait = 30 * time.Minute
	quiet       = time.Hour
	maxLines    = 512 // that are remembered; more, and the new ones do not back off
)

// recurring backs off lines that say the same again and again. Lines are the
// same whose words are, whatever the numbers in them.
type recurring struct {
	seed maphash.Seed

	mu    sync.Mutex // protects all following fields
	lines map[uint64]*recurrence
	swept time.Time
}

// recurrence is the record of one line.
type recurrence struct {
	last    time.Time // when it was to be written last, whether it was or not
	next    time.Time // before it, it is left out
	wait    time.Duration
	written int
	leftOut int // since it was written last
}

func newRecurring() *recurring {
	return &recurring{seed: maphash.MakeSeed(), lines: make(map[uint64]*recurrence), swept: time.Now()}
}

// take reports whether to write e, and how many like it were left out since the
// last one was written.
func (r *recurring) take(e *logrus.Entry) (leftOut int, write bool) {
	now, key := time.Now(), r.key(e)
	r.mu.Lock()
	defer r.mu.Unlock()
	line := r.lines[key]
	if line == nil {
		if len(r.lines) < maxLines {
			r.lines[key] = &recurrence{last: now, written: 1}
		}
		return 0, true
	}
	if now.Sub(line.last) >= quiet {
		leftOut = line.leftOut
		*line = recurrence{last: now, written: 1}
		return leftOut, true
	}
	line.last = now
	if now.Before(line.next) {
		line.leftOut++
		return 0, false
	}
	if line.written++; line.written >= freeLines {
		line.wait = min(max(2*line.wait, firstWait), longestWait)
		line.next = now.Add(line.wait)
	}
	leftOut, line.leftOut = line.leftOut, 0
	return leftOut, true
}

// sweep forgets the lines that have not recurred for quiet, and returns how many were
// left out of which nothing was said. It does so once a minute, and else returns 0.
func (r *recurring) sweep(now time.Time) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	if now.Sub(r.swept) < minute {
		return 0
	}
	r.swept = now
	return r.forgetBefore(now.Add(-quiet))
}

// end forgets all lines, and returns how many were left out of which nothing was said.
func (r *recurring) end() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.forgetBefore(time.Now())
}

// forgetBefore forgets the lines that were last said by then, and returns how many were
// left out of which nothing was said. The caller holds the lock.
func (r *recurring) forgetBefore(then time.Time) int {
	unsaid := 0
	for key, line := range r.lines {
		if !line.last.After(then) {
			unsaid += line.leftOut
			delete(r.lines, key)
		}
	}
	return unsaid
}

// key returns what e has in common with lines that say the same.
func (r *recurring) key(e *logrus.Entry) uint64 {
	var h maphash.Hash
	h.SetSeed(r.seed)
	fmt.Fprintf(&h, "%d\x00%s", e.Level, Shape(e.Message))
	names := make([]string, 0, len(e.Data))
	for name := range e.Data {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		switch v := e.Data[name].(type) {
		case int, int64, uint64, float64, interface{ Seconds() float64 }: // it counts or measures
		default:
			text := fmt.Sprint(v)
			if !identifies(name) {
				text = Shape(text)
			}
			fmt.Fprintf(&h, "\x00%s\x00%s", name, text)
		}
	}
	return h.Sum64()
}

// identifies reports whether a field says what a line is about: with another
// value, it is another line.
func identifies(field string) bool {
	return field == "replica" || field == "node" || field == "service" || field == "name" || field == "problem"
}

type solicited struct{}

// Solicited returns a context for lines that answer an operator: they are never
// left out because they have been said before.
func Solicited(ctx context.Context) context.Context {
	return context.WithValue(ctx, solicited{}, true)
}

// mayRecur reports whether e backs off when it recurs. Below warn, lines that
// recur are what an operator has asked for.
func mayRecur(e *logrus.Entry) bool {
	if e.Level != logrus.WarnLevel && e.Level != logrus.ErrorLevel {
		return false
	}
	return e.Context == nil || e.Context.Value(solicited{}) == nil
}
