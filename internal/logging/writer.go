// Package logging writes the log of a daemon that must not depend on the reader of
// the log.
//
// A pipe without a reader costs lines, never time: lines wait in a bounded queue and
// are written by a separate goroutine. No input can fill a disk: a budget bounds the
// bytes of a minute. Lost lines are counted, and the count is written as soon as
// there is room.
package logging

import (
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/sirupsen/logrus"
)

const (
	queueSize = 256 << 10 // bytes: minutes of a busy log
	minute    = time.Minute
)

// The bytes that are written in a minute at most. Debug lines have a separate budget,
// since that level is for one line per probe.
const (
	Budget      = 64 << 10
	DebugBudget = 16 << 20
)

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
	to     io.Writer
	report func(Lost) []byte // formats the line about lost lines

	mu     sync.Mutex // protects all following fields
	queue  []entry
	queued int // bytes
	lost   Lost
	since  time.Time // when the minute of the budgets began
	spent  [2]int    // bytes of this minute, by kind
	closed bool
	wake   chan struct{}
	done   chan struct{}
}

// Lost counts the lines that were not written.
type Lost struct {
	Unread int // the reader did not read them in time, or is gone
	Budget int // the budget of the minute was used up
}

// Total returns the number of lost lines.
func (l Lost) Total() int { return l.Unread + l.Budget }

// NewWriter returns a Writer to to, and starts its goroutine, which Close ends. report
// formats the line, with its line feed, about lost lines.
func NewWriter(to io.Writer, report func(Lost) []byte) *Writer {
	w := &Writer{to: to, report: report, since: time.Now(), wake: make(chan struct{}, 1), done: make(chan struct{})}
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
	budgets := [...]int{ordinary: Budget, debug: DebugBudget}
	switch {
	case w.closed, w.queued+len(line) > queueSize:
		w.lost.Unread++
		return
	case w.spent[kind]+len(line) > budgets[kind]:
		w.lost.Budget++
		return
	}
	w.spent[kind] += len(line)
	w.tellLocked()
	w.pushLocked(entry{line: append([]byte(nil), line...)})
}

// renewLocked renews the budgets once a minute.
func (w *Writer) renewLocked() {
	if now := time.Now(); now.Sub(w.since) >= minute {
		w.since, w.spent = now, [2]int{}
	}
}

// tellLocked queues the line about lost ones, if there are any.
func (w *Writer) tellLocked() {
	if w.lost.Total() == 0 {
		return
	}
	e := entry{w.report(w.lost), w.lost}
	w.lost = Lost{}
	w.spent[ordinary] += len(e.line)
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
			if w.queued == 0 && w.spent == [2]int{} {
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
	switch {
	case l.Budget == 0:
		return "nobody reads the log fast enough, or at all"
	case l.Unread == 0:
		return fmt.Sprintf("the budget of the log is %d KiB a minute", Budget>>10)
	}
	return fmt.Sprintf("nobody reads the log fast enough, and its budget is %d KiB a minute", Budget>>10)
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

// Fire formats e and queues it: an output would not know the level.
func (h hook) Fire(e *logrus.Entry) error {
	line, err := h.formatter.Format(e)
	if err != nil {
		return err
	}
	kind := ordinary
	if e.Level >= logrus.DebugLevel {
		kind = debug
	}
	h.w.put(line, kind)
	return nil
}

// Discard makes log write nothing by itself, so that only its hooks write.
func Discard(log *logrus.Logger) {
	log.SetOutput(io.Discard)
	log.SetFormatter(nothing{})
}

type nothing struct{}

func (nothing) Format(*logrus.Entry) ([]byte, error) { return nil, nil }
