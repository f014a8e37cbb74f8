package logging

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sirupsen/logrus"
)

// countingFormatter counts what it formats.
type countingFormatter struct {
	logrus.TextFormatter
	formatted int
}

func (f *countingFormatter) Format(e *logrus.Entry) ([]byte, error) {
	f.formatted++
	return f.TextFormatter.Format(e)
}

// newLog returns a log that a reader takes, its formatter, and what closes it.
func newLog() (*logrus.Logger, *reader, *countingFormatter, *Writer) {
	r, f := new(reader), &countingFormatter{TextFormatter: logrus.TextFormatter{DisableTimestamp: true, DisableColors: true}}
	w := NewWriter(r, said)
	log := logrus.New()
	log.SetLevel(logrus.DebugLevel)
	Discard(log)
	log.AddHook(Hook(f, w))
	return log, r, f, w
}

// The same trouble in every cycle of two minutes, though a port and a count in
// it change.
func TestALineThatRecursBacksOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, r, _, w := newLog()
		const cycles = 720
		var written []int
		for i := range cycles {
			before := strings.Count(r.String(), "the last map stays")
			log.WithError(fmt.Errorf("read tcp 10.0.0.1:%d->10.0.0.2:443: connection reset", 30000+i)).WithField("waiting", i).Warn("the last map stays in force")
			synctest.Wait()
			if strings.Count(r.String(), "the last map stays") > before {
				written = append(written, i)
			}
			time.Sleep(2 * minute)
		}
		if len(written) < 24*2 || len(written) > 24*2+8 {
			t.Errorf("got %d lines in a day, want one in half an hour: %v", len(written), written)
		}
		if fmt.Sprint(written[:3]) != "[0 1 2]" {
			t.Errorf("got the first lines in the cycles %v, want 0, 1 and 2", written[:3])
		}
		if !strings.Contains(r.String(), "repeated=14") {
			t.Error("no line says how many were left out before it")
		}
		w.Close(time.Second)
	})
}

func TestOtherTroubleIsWrittenAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, r, _, w := newLog()
		for range 20 {
			log.WithError(errors.New("status 503")).Warn("the last map stays in force")
		}
		log.WithError(errors.New("status 401")).Warn("the last map stays in force")
		for i := range 20 {
			log.WithField("replica", fmt.Sprintf("tcp://10.0.0.%d:22", i)).Warn("health changed")
		}
		w.Close(time.Second)
		if got := strings.Count(r.String(), "status 503"); got != freeLines {
			t.Errorf("got %d lines of the same, want %d", got, freeLines)
		}
		if got := strings.Count(r.String(), "status 401") + strings.Count(r.String(), "health changed"); got != 21 {
			t.Errorf("got %d lines of another status and 20 replicas, want 21", got)
		}
		if !strings.Contains(r.String(), `lost=17 reason="they said again what had been said"`) {
			t.Errorf("the end is %q, want the lines counted that were left out", r.String()[max(0, len(r.String())-200):])
		}
	})
}

func TestAfterQuietALineIsNewsAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, r, _, w := newLog()
		for range 10 {
			log.Error("down")
		}
		time.Sleep(quiet + minute)
		synctest.Wait()
		if !strings.Contains(r.String(), "lost=7 ") {
			t.Errorf("got %q after the trouble is over, want that 7 lines were left out", r.String())
		}
		for range freeLines {
			log.Error("down")
		}
		w.Close(time.Second)
		if got := strings.Count(r.String(), "msg=down"); got != 2*freeLines {
			t.Errorf("got %d lines, want %d each time", got, freeLines)
		}
	})
}

func TestWhatAnOperatorAskedForIsAlwaysWritten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, r, _, w := newLog()
		for range 10 {
			log.WithContext(Solicited(context.Background())).Error("not reloading")
			log.Info("cycle over")
		}
		w.Close(time.Second)
		if a, b := strings.Count(r.String(), "not reloading"), strings.Count(r.String(), "cycle over"); a != 10 || b != 10 {
			t.Errorf("got %d answers and %d lines at info, want all ten", a, b)
		}
	})
}

func TestAnEndlessNumberOfLinesTakesBoundedMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, _, _, w := newLog()
		for i := range 100_000 {
			log.WithField("replica", i).WithField("replica", fmt.Sprint(i)).Warn("health changed")
		}
		if got := len(w.recurring.lines); got > maxLines {
			t.Errorf("%d lines are remembered, want at most %d", got, maxLines)
		}
		w.Close(time.Second)
	})
}

func TestLinesBeyondTheBudgetAreNotFormatted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, r, f, w := newLog()
		for i := range 10_000 {
			log.WithField("replica", fmt.Sprint(i)).Warn(strings.Repeat("x", 500))
			synctest.Wait()
		}
		if f.formatted > Budget/500+1 {
			t.Errorf("%d lines were formatted, want those %d that the budget has room for", f.formatted, Budget/500)
		}
		w.Close(time.Second)
		if got := len(r.String()); got > Budget {
			t.Errorf("%d bytes were written, want at most %d", got, Budget)
		}
	})
}

// No minute, wherever it begins, has more than the budget.
func TestAnyMinuteKeepsToTheBudget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := new(reader)
		w := NewWriter(r, said)
		line := strings.Repeat("x", 399) + "\n"
		var sizes []int // by second
		for range 300 {
			for range 100 {
				w.Write([]byte(line))
			}
			synctest.Wait()
			sizes = append(sizes, len(r.String()))
			time.Sleep(time.Second)
		}
		w.Close(time.Second)
		for i := 60; i < len(sizes); i++ {
			if got := sizes[i] - sizes[i-60]; got > Budget {
				t.Errorf("%d bytes were written in the minute before second %d, want at most %d", got, i, Budget)
				break
			}
		}
		if sizes[299] < 4*Budget/2 {
			t.Errorf("%d bytes were written in five minutes, want the budget used", sizes[299])
		}
	})
}
