// Package logging writes the log of a daemon that must not depend on the reader of
// the log.
//
// A pipe that nobody empties, or whose reader has died, costs lines, never time:
// lines wait in a bounded queue and are written by a goroutine of their own. No
// input can fill a disk either: a budget bounds the bytes of a minute, and a
// warning or error that recurs backs off. Lines that are lost to any of these are
// counted, and the count is written as soon as there is room.
package logging

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/sirupsen/logrus"
)

const queueSize = 256 << 10 // bytes that wait for a reader: minutes of a busy log

// kind is the budget that a line counts against.
type kind int

const (
	ordinary kind = iota // a line above debug
	debug
)

// entry is a line that waits. tells is the count of lost lines that it reports.
type entry struct {
	line  []byte
	tells Lost
}

// Writer queues lines for an io.Writer that may block or fail. Its methods may
// be called by many goroutines and never wait for the destination.
type Writer struct {
	to        io.Writer
	report    func(Lost) []byte // formats the line that says what was lost
	recurring *recurring

	mu      sync.Mutex // protects all following fields
	queue   []entry
	queued  int // bytes
	lost    Lost
	budgets [2]budget // by kind
	closed  bool
	wake    chan struct{}
	done    chan struct{}
}

// Lost counts the lines that were not written.
type Lost struct {
	Unread   int // the reader did not take them in time, or is gone
	Budget   int // the budget of the minute was used up
	Repeated int // they said again what had been said
}

// Total returns the number of lost lines.
func (l Lost) Total() int { return l.Unread + l.Budget + l.Repeated }

// NewWriter returns a Writer to to, and starts its goroutine, which Close ends. report
// formats the line, with its line feed, about lost lines.
func NewWriter(to io.Writer, report func(Lost) []byte) *Writer {
	w := &Writer{to: to, report: report, recurring: newRecurring(), wake: make(chan struct{}, 1), done: make(chan struct{})}
	now := time.Now()
	w.budgets = [...]budget{ordinary: {limit: Budget, began: now}, debug: {limit: DebugBudget, began: now}}
	go w.run()
	return w
}

// Write queues one or more whole lines of a level above debug, or counts them as lost.
// It never fails and never blocks.
func (w *Writer) Write(line []byte) (int, error) {
	w.put(line, ordinary)
	return len(line), nil
}

// put queues line on the budget of its kind, or counts it as lost.
func (w *Writer) put(line []byte, kind kind) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.renewLocked()
	switch {
	case w.closed, w.queued+len(line) > queueSize:
		w.lost.Unread++
		return
	case !w.budgets[kind].spend(len(line)):
		w.lost.Budget++
		return
	}
	w.tellLocked()
	w.pushLocked(entry{line: append([]byte(nil), line...)})
}

// refuses reports whether the budget of a kind is used up. Then a line counts as
// lost, and need not be formatted.
func (w *Writer) refuses(kind kind) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.renewLocked()
	if !w.budgets[kind].closed {
		return false
	}
	w.lost.Budget++
	return true
}

// renewLocked gives the budgets back what is older than a minute, and counts
// the repeated lines that are told with no other.
func (w *Writer) renewLocked() {
	now := time.Now()
	for i := range w.budgets {
		w.budgets[i].advance(now)
	}
	w.lost.Repeated += w.recurring.sweep(now)
}

// tellLocked queues the line about lost ones before whatever follows, once the
// budget has room for it.
func (w *Writer) tellLocked() {
	if w.lost.Total() == 0 || !w.budgets[ordinary].fits(tellLine) {
		return
	}
	e := entry{w.report(w.lost), w.lost}
	w.lost = Lost{}
	w.budgets[ordinary].spent[0] += len(e.line)
	w.pushLocked(e)
}

func (w *Writer) pushLocked(e entry) {
	w.queue = append(w.queue, e)
	w.queued += len(e.line)
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// run writes queued lines until Close.
func (w *Writer) run() {
	defer close(w.done)
	// Lines lost to the budget are reported after its minute, although no other line
	// is written then.
	ticker := time.NewTicker(minute / 4)
	defer ticker.Stop()
	for {
		select {
		case <-w.wake:
		case <-ticker.C:
			w.mu.Lock()
			w.renewLocked()
			if w.queued == 0 && w.budgets[ordinary].total()+w.budgets[debug].total() == 0 {
				w.tellLocked()
			}
			w.mu.Unlock()
		}
		for w.writeNext() {
		}
		w.mu.Lock()
		closed := w.closed && len(w.queue) == 0
		w.mu.Unlock()
		if closed {
			return
		}
	}
}

// writeNext writes the oldest line and reports whether there was one. A line that cannot
// be written is lost.
func (w *Writer) writeNext() bool {
	w.mu.Lock()
	if len(w.queue) == 0 {
		w.mu.Unlock()
		return false
	}
	e := w.queue[0]
	if w.queue = w.queue[1:]; len(w.queue) == 0 {
		w.queue = nil
	}
	w.mu.Unlock()
	_, err := w.to.Write(e.line)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.queued -= len(e.line) // a line that is being written counts until then
	switch {
	case err == nil:
	case e.tells.Total() > 0: // reported again by the next line
		w.lost.Unread += e.tells.Unread
		w.lost.Budget += e.tells.Budget
		w.lost.Repeated += e.tells.Repeated
	default:
		w.lost.Unread++
	}
	return true
}

// Close writes the queued lines, waits for that at most limit, and takes no more lines. A
// line that is not written by then is lost.
func (w *Writer) Close(limit time.Duration) {
	w.mu.Lock()
	if !w.closed {
		w.lost.Repeated += w.recurring.end()
		w.tellLocked()
	}
	w.closed = true
	w.mu.Unlock()
	select {
	case w.wake <- struct{}{}:
	default:
	}
	timeout := time.NewTimer(limit)
	defer timeout.Stop()
	select {
	case <-w.done:
	case <-timeout.C:
	}
}

// Reason returns the cause of the loss in words.
func (l Lost) Reason() string {
	var reasons []string
	if l.Unread > 0 {
		reasons = append(reasons, "nobody reads the log fast enough, or at all")
	}
	if l.Budget > 0 {
		reasons = append(reasons, fmt.Sprintf("the budget of the log is %d KiB a minute", Budget>>10))
	}
	if l.Repeated > 0 {
		reasons = append(reasons, "they said again what had been said")
	}
	return strings.Join(reasons, "; ")
}

// Hook returns a hook that formats every entry with f and queues it on w. The logger
// must be one that Discard was called for, or it writes every line twice.
func Hook(f logrus.Formatter, w *Writer) logrus.Hook { return hook{f, w} }

type hook struct {
	formatter logrus.Formatter
	w         *Writer
}

// Levels returns all levels.
func (hook) Levels() []logrus.Level { return logrus.AllLevels }

// Fire formats e and queues it: only here is the level still known. What is left
// out is not formatted.
func (h hook) Fire(e *logrus.Entry) error {
	kind := ordinary
	if e.Level >= logrus.DebugLevel {
		kind = debug
	}
	if h.w.refuses(kind) {
		return nil
	}
	if mayRecur(e) {
		repeated, write := h.w.recurring.take(e)
		if !write {
			return nil
		}
		if repeated > 0 {
			e = with(e, "repeated", repeated)
		}
	}
	line, err := h.formatter.Format(e)
	if err != nil {
		return err
	}
	h.w.put(line, kind)
	return nil
}

// with returns a copy of e with one more field: e is the logger's.
func with(e *logrus.Entry, field string, value any) *logrus.Entry {
	c := e.WithField(field, value)
	c.Level, c.Message, c.Time = e.Level, e.Message, e.Time
	return c
}

// Discard makes log write nothing by itself, so that its hooks alone do.
func Discard(log *logrus.Logger) {
	log.SetOutput(io.Discard)
	log.SetFormatter(nothing{})
}

type nothing struct{}

func (nothing) Format(*logrus.Entry) ([]byte, error) { return nil, nil }
