package duty

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/sirupsen/logrus"
)

const (
	lostLine  = "etcd does not say who is on duty"
	foundLine = "etcd says again who is on duty"
)

// One loss is one line with its first reason, whatever comes after it, and its end is
// one line with how long it lasted.
func TestOneLossIsOneLine(t *testing.T) {
	bubble(t, func(t *testing.T, f *fakeEtcd) {
		a := newDaemon(t, "host-a", one(f), nil).start()
		wait(5 * time.Second)
		reasons := []http.Handler{
			answers(502, "text/html", "<html>"), silent, answers(404, "text/plain", "404"), answers(200, "text/html", "<html>"),
			answers(503, "application/json", `{"message":"etcdserver: no leader","code":14}`), answers(500, "text/plain", "oh"),
		}
		var shown []string
		for _, h := range append(reasons, reasons...) {
			a.lines["e1"].set(h)
			wait(10 * time.Second)
			shown = append(shown, a.State().Trouble)
		}
		for i, trouble := range shown[1:len(reasons)] {
			if trouble == shown[i] {
				t.Errorf("state shows %q although the reason has changed", trouble)
			}
		}
		a.lines["e1"].set(nil)
		wait(5 * time.Second)
		a.said(t, lostLine, 1)
		a.said(t, lostLine+`" group=office why="http://e1 answers 502`, 1)
		a.said(t, foundLine, 1)
		a.said(t, "after=2m", 1)
		a.said(t, "losses", 0)
		a.stop()
	})
}

// At the level of debug, further reasons are said, each when it comes.
func TestFurtherReasonsOfALossAreForDebugging(t *testing.T) {
	bubble(t, func(t *testing.T, f *fakeEtcd) {
		a := newDaemon(t, "host-a", one(f), nil)
		a.level(logrus.DebugLevel)
		a.start()
		wait(5 * time.Second)
		for _, h := range []http.Handler{silent, answers(502, "text/html", "<html>"), silent} {
			a.lines["e1"].set(h)
			wait(20 * time.Second)
		}
		a.said(t, "level=warning msg=\""+lostLine, 1)
		a.said(t, "level=debug msg=\""+lostLine, 2)
		a.stop()
	})
}

// An engine that returns and refuses has another cure than one that is silent.
func TestAnEngineThatReturnsAndRefuses(t *testing.T) {
	bubble(t, func(t *testing.T, f *fakeEtcd) {
		a := newDaemon(t, "host-a", one(f), nil).start()
		wait(5 * time.Second)
		a.lines["e1"].set(silent)
		wait(time.Minute)
		if got := a.State().Plight; got != Unreachable {
			t.Errorf("got the plight %q of a silent engine, want %q", got, Unreachable)
		}
		f.by(func() { f.password = "secret" })
		a.lines["e1"].set(nil)
		wait(time.Minute)
		if s := a.State(); s.Plight != Excluded || !strings.Contains(s.Trouble, "set user and password_file") {
			t.Errorf("got the plight %q and the trouble %q of an engine that refuses, want %q and the cure", s.Plight, s.Trouble, Excluded)
		}
		a.lines["e1"].set(silent)
		wait(time.Minute)
		a.said(t, lostLine, 1)
		a.said(t, "etcd answers, but this daemon cannot take part in its group", 1)
		f.by(func() { f.password = "" })
		a.lines["e1"].set(nil)
		wait(5 * time.Second)
		a.said(t, foundLine, 1)
		if s := a.State(); s.Trouble != "" || s.Plight != Unreachable {
			t.Errorf("got the trouble %q of the kind %q after its end, want none", s.Trouble, s.Plight)
		}
		a.stop()
	})
}

// An engine that comes and goes for hours does not fill the log, and all is said in the
// end.
func TestAnEngineThatFlaps(t *testing.T) {
	bubble(t, func(t *testing.T, f *fakeEtcd) {
		a := newDaemon(t, "host-a", one(f), nil).start()
		wait(5 * time.Second)
		rounds := 0
		for began := time.Now(); time.Since(began) < 4*time.Hour; rounds++ {
			a.lines["e1"].set(silent)
			wait(7 * time.Second)
			a.lines["e1"].set(nil)
			wait(53 * time.Second)
		}
		flapping := strings.Count(a.log.String(), lostLine)
		if flapping < 2 || flapping > 10 {
			t.Errorf("got %d lines of a loss in %d, want few:\n%.3000s", flapping, rounds, a.log)
		}
		wait(10 * time.Minute)
		a.said(t, foundLine, flapping)
		if lines := strings.Split(strings.TrimSpace(a.log.String()), "\n"); !strings.Contains(lines[len(lines)-1], fmt.Sprintf("losses=%d", rounds-flapping+1)) {
			t.Errorf("got the last line %q, want how many of %d losses it ends", lines[len(lines)-1], rounds)
		}

		// After a calm hour, a loss is again one as the first was.
		wait(65 * time.Minute)
		a.lines["e1"].set(silent)
		wait(7 * time.Second)
		a.lines["e1"].set(nil)
		wait(5 * time.Second)
		a.said(t, lostLine, flapping+1)
		a.said(t, foundLine, flapping+1)
		a.stop()
	})
}

func TestPlights(t *testing.T) {
	for _, tt := range []struct {
		err  error
		want Plight
	}{
		{&otherPageError{"office", "host-b"}, Excluded},
		{&engineError{unreachable, "x"}, Unreachable},
		{&engineError{misnamed, "x"}, Unreachable},
		{&engineError{refused, "x"}, Excluded},
		{&engineError{noUser, "x"}, Excluded},
		{&engineError{staleToken, "x"}, Excluded},
		{errors.New("nobody of the group takes the duty"), Undecided},
	} {
		if got := plightOf(tt.err); got != tt.want {
			t.Errorf("%#v: got %q, want %q", tt.err, got, tt.want)
		}
	}
}
