package main

import (
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/crisp-im/crisp-status-local/v2/internal/sandbox"
)

// estate is so many replicas that are up.
func estate(n int) []string {
	var replicas []string
	for i := range n {
		replicas = append(replicas, fmt.Sprintf("target:tcp#%d", i))
	}
	return replicas
}

// allReported waits until each replica has been reported n times more.
func (w *world) allReported(replicas []string, n int) {
	w.t.Helper()
	before := make(map[string]int)
	for _, replica := range replicas {
		before[replica] = w.replica(w.url(replica)).Reports
	}
	w.eventually(fmt.Sprintf("%d more reports of each replica", n), func() bool {
		for _, replica := range replicas {
			if w.replica(w.url(replica)).Reports < before[replica]+n {
				return false
			}
		}
		return true
	})
}

// wantNoneRed checks that no replica turned red on the page, which it does 40 s
// after its interval.
func (w *world) wantNoneRed() {
	w.t.Helper()
	s := w.Summary()
	if gap := max(s.WorstGapPrompt, s.WorstGapOther); gap > s.Interval+40 || s.Late+s.Silent > 0 || s.Wrong > 0 {
		w.t.Errorf("got a gap of %v s, %d late now and %d wrong verdicts, want %v s at most and none",
			gap, s.Late+s.Silent, s.Wrong, s.Interval+40)
	}
}

// once lets a fault answer one report, and heals itself.
func (w *world) once(fault sandbox.Fault) *atomic.Int32 {
	var met atomic.Int32
	heal := w.Break(func(r sandbox.Request) bool {
		return sandbox.Reports(r) && met.CompareAndSwap(0, 1)
	}, fault)
	w.t.Cleanup(heal)
	return &met
}

// hangAfterHead answers with a status line and the head of a body that never
// comes, until the client leaves.
func hangAfterHead(code int) sandbox.Fault {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Content-Length", "100")
		w.WriteHeader(code)
		w.(http.Flusher).Flush()
		<-r.Context().Done()
	}
}

// TestOneOddAnswerCostsOneReport: the others go on as if nothing had been, and the
// verdict that met it is there before its next one.
func TestOneOddAnswerCostsOneReport(t *testing.T) {
	t.Parallel()
	for name, fault := range map[string]sandbox.Fault{
		"401":                    sandbox.Refuse(http.StatusUnauthorized, ""),
		"503, come in an hour":   sandbox.Refuse(http.StatusServiceUnavailable, "3600"),
		"a connection that ends": sandbox.Disconnect(),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			replicas := estate(40)
			w := newWorld(t, sandbox.Options{}, replicas...)
			w.start(2)
			w.allReported(replicas, 1)
			met := w.once(fault)
			w.eventually("the fault is met", func() bool { return met.Load() == 1 })
			w.allReported(replicas, 3)
			w.wantNoneRed()
		})
	}
}

// TestMoodsOfTheAPI: for a few seconds it answers so to every report. What waited
// is delivered when it is over, though it asked to be left alone for an hour, and
// meanwhile it met a few requests, not those of every replica again and again.
func TestMoodsOfTheAPI(t *testing.T) {
	t.Parallel()
	for name, mood := range map[string]sandbox.Fault{
		"404":                  sandbox.Refuse(http.StatusNotFound, ""),
		"503, come in an hour": sandbox.Refuse(http.StatusServiceUnavailable, "3600"),
		"no answer":            sandbox.Hang(),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			const n = 200
			replicas := estate(n)
			w := newWorld(t, sandbox.Options{}, replicas...)
			w.start(2)
			w.allReported(replicas, 1)
			var met atomic.Int32
			heal := w.Break(func(r sandbox.Request) bool {
				if !sandbox.Reports(r) {
					return false
				}
				met.Add(1)
				return true
			}, mood)
			began := time.Now()
			w.eventually("the mood is met", func() bool { return met.Load() >= 3 && time.Since(began) > 6*time.Second })
			took := time.Since(began)
			heal()
			// In 6 s each of 200 replicas is judged three times.
			if most := float64(n) * took.Seconds() / 6; float64(met.Load()) > most {
				t.Errorf("got %d requests in %v, want trials alone", met.Load(), took)
			}
			w.allReported(replicas, 2)
			w.wantNoneRed()
		})
	}
}

// TestReportIsTakenWhenItsStatusIsKnown: a body that hangs after 200 holds up
// neither its replica nor the others.
func TestReportIsTakenWhenItsStatusIsKnown(t *testing.T) {
	t.Parallel()
	replicas := estate(8)
	w := newWorld(t, sandbox.Options{}, replicas...)
	var met atomic.Int32
	hung := w.url(replicas[0])
	w.Break(func(r sandbox.Request) bool {
		if r.Replica != hung {
			return false
		}
		met.Add(1)
		return true
	}, hangAfterHead(http.StatusOK))
	w.start(1)
	w.allReported(replicas[1:], 6)
	if n := met.Load(); n < 4 {
		t.Errorf("got %d reports of the replica whose answers hang while others had 6, want nearly as many", n)
	}
	if strings.Contains(w.out.String(), "report failed") {
		t.Error("a report failed, want each taken by its status line")
	}
}

// TestAPIThatTakesConnectionsAndSaysNothing for a while and answers again gets
// what is true by then.
func TestAPIThatTakesConnectionsAndSaysNothing(t *testing.T) {
	t.Parallel()
	replicas := estate(20)
	w := newWorld(t, sandbox.Options{}, replicas...)
	w.start(2)
	w.allReported(replicas, 1)
	heal := w.Break(sandbox.All, sandbox.Hang())
	w.says("the Status API is down")
	target, _ := w.Target(replicas[0])
	target.Stop()
	w.says("to=dead")
	heal()
	w.becomes(replicas[0], sandbox.Dead)
	w.allReported(replicas, 2)
	w.wantNoneRed()
}
