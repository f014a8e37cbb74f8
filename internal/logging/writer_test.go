package logging

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sirupsen/logrus"
)

// reader is a destination that can be made to block or to fail.
type reader struct {
	mu    sync.Mutex
	text  strings.Builder
	stuck chan struct{} // nil: it takes everything
	err   error
}

func (r *reader) Write(b []byte) (int, error) {
	r.mu.Lock()
	stuck := r.stuck
	r.mu.Unlock()
	if stuck != nil {
		<-stuck
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.err != nil {
		return 0, r.err
	}
	return r.text.Write(b)
}

func (r *reader) String() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.text.String()
}

func said(l Lost) []byte { return fmt.Appendf(nil, "lost=%d reason=%q\n", l.Total(), l.Reason()) }

func TestLinesAreWrittenInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := new(reader)
		w := NewWriter(r, said)
		for i := range 100 {
			fmt.Fprintf(w, "line %d\n", i)
		}
		w.Close(time.Second)
		lines := strings.Split(strings.TrimSpace(r.String()), "\n")
		if len(lines) != 100 || lines[0] != "line 0" || lines[99] != "line 99" {
			t.Errorf("got %d lines, %q to %q, want 100 in order", len(lines), lines[0], lines[len(lines)-1])
		}
	})
}

func TestNobodyWaitsForAReaderThatDoesNotRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &reader{stuck: make(chan struct{})}
		w := NewWriter(r, said)
		const n = 100
		line := strings.Repeat("x", queueSize/n*2-1) + "\n"
		began := time.Now()
		for range n {
			io.WriteString(w, line[:len(line)/100]+"\n") // within the budget
		}
		for range 10 {
			time.Sleep(minute) // each minute has a budget of its own
			for range 10 {
				io.WriteString(w, line)
			}
		}
		if took := time.Since(began); took != 10*minute {
			t.Errorf("writing took %v beside the waiting, want nothing", took-10*minute)
		}
		close(r.stuck) // it reads again
		r.mu.Lock()
		r.stuck = nil
		r.mu.Unlock()
		synctest.Wait()
		time.Sleep(minute)
		io.WriteString(w, "after\n")
		w.Close(time.Second)
		text := r.String()
		if !strings.Contains(text, "nobody reads the log fast enough") || !strings.HasSuffix(text, "after\n") {
			t.Errorf("the end is %q, want the count of lost lines and then the newest", text[max(0, len(text)-300):])
		}
		if len(text) > 2*queueSize {
			t.Errorf("%d bytes were kept for a reader that did not read, want at most some %d", len(text), queueSize)
		}
	})
}

func TestAReaderThatIsGoneCostsLinesAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &reader{err: errors.New("broken pipe")}
		w := NewWriter(r, said)
		for range 10 {
			io.WriteString(w, "lost\n")
			synctest.Wait()
		}
		r.mu.Lock()
		r.err = nil
		r.mu.Unlock()
		io.WriteString(w, "there\n")
		w.Close(time.Second)
		if got := r.String(); !strings.HasPrefix(got, "lost=10 ") || !strings.HasSuffix(got, "there\n") {
			t.Errorf("got %q, want the count and the line", got)
		}
	})
}

func TestClosingWaitsNoLongerThanItsLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &reader{stuck: make(chan struct{})}
		w := NewWriter(r, said)
		io.WriteString(w, "never\n")
		synctest.Wait()
		began := time.Now()
		w.Close(time.Second)
		if took := time.Since(began); took != time.Second {
			t.Errorf("closing took %v, want the limit of 1s", took)
		}
		close(r.stuck)
	})
}

func TestAMinuteHasABudget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := new(reader)
		w := NewWriter(r, said)
		line := strings.Repeat("x", 1023) + "\n"
		for range 1000 {
			io.WriteString(w, line)
			synctest.Wait()
		}
		if got := len(r.String()); got > Budget || got < Budget-2048 {
			t.Errorf("%d bytes were written in a minute, want nearly %d", got, Budget)
		}
		time.Sleep(2 * minute)
		if got := r.String(); !strings.HasSuffix(got, "lost=936 reason=\"the budget of the log is 64 KiB a minute\"\n") {
			t.Errorf("the end is %q, want the count of the lines left out", got[max(0, len(got)-200):])
		}
		io.WriteString(w, line)
		w.Close(time.Second)
		if got := r.String(); !strings.HasSuffix(got, line) {
			t.Error("the next minute's line was not written")
		}
	})
}

func TestDebugLinesTakeNothingFromTheOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := new(reader)
		w := NewWriter(r, said)
		log := logrus.New()
		log.SetLevel(logrus.DebugLevel)
		Discard(log)
		log.AddHook(Hook(&logrus.TextFormatter{DisableTimestamp: true, DisableColors: true}, w))
		for range 10_000 {
			log.Debug("probed")
			synctest.Wait()
		}
		log.Warn("health changed")
		w.Close(time.Second)
		text := r.String()
		if strings.Count(text, "probed") != 10_000 || !strings.HasSuffix(text, "level=warning msg=\"health changed\"\n") {
			t.Errorf("got %d debug lines and the end %q, want 10000 and the warning", strings.Count(text, "probed"), text[max(0, len(text)-80):])
		}
	})
}
