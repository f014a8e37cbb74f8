package main

import (
	"context"
	"io"
	"runtime"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/crisp-im/crisp-status-local/v2/internal/probe"
	"github.com/crisp-im/crisp-status-local/v2/internal/report"
	"github.com/crisp-im/crisp-status-local/v2/internal/scheduler"
	"github.com/crisp-im/crisp-status-local/v2/internal/statusapi"
)

// flapper is everything around the scheduler and the outbox: ten replicas that turn
// dead and come back, and an API that refuses a report now and then.
type flapper struct {
	mu     sync.Mutex
	m      *statusapi.Map
	probes int
	sent   int
}

func (f *flapper) FetchMap(context.Context, *statusapi.Map) (*statusapi.Map, error) { return f.m, nil }

func (f *flapper) Refresh() {}

func (f *flapper) Probe(_ context.Context, task probe.Task) probe.Result {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.probes++
	r := probe.Result{Check: task.Check, Health: probe.Healthy, Attempts: 1}
	if f.probes%7 == 0 {
		r.Health, r.Err = probe.Dead, io.EOF
	}
	return r
}

func (f *flapper) Report(context.Context, statusapi.Verdict, time.Duration) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.sent++; f.sent%11 == 0 {
		return io.EOF
	}
	return nil
}

func TestTenThousandCyclesLeaveNothingBehind(t *testing.T) {
	const interval = 5 * time.Second
	f := &flapper{m: &statusapi.Map{}}
	for i := range 10 {
		target, err := probe.ParseTarget("tcp://10.0.0." + strconv.Itoa(i) + ":1")
		if err != nil {
			t.Fatal(err)
		}
		f.m.Checks = append(f.m.Checks, probe.Check{ServiceID: "s", NodeID: "n", Target: target})
	}
	synctest.Test(t, func(t *testing.T) {
		log := logrus.New()
		log.SetOutput(io.Discard)
		ctx, cancel := context.WithCancel(t.Context())
		outbox := report.New(f, report.Terms{Interval: interval, Promise: interval}, log)
		loop := scheduler.New(scheduler.Settings{API: f, Interval: interval}, f, outbox, log)
		var parts sync.WaitGroup
		parts.Go(func() { outbox.Run(ctx) })
		parts.Go(func() { loop.Run(ctx) })

		after := func(cycles int) (heap, goroutines int) {
			time.Sleep(time.Duration(cycles) * interval)
			synctest.Wait()
			runtime.GC()
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			return int(m.HeapAlloc), runtime.NumGoroutine()
		}
		heap, goroutines := after(500)
		heapLater, goroutinesLater := after(9500)
		if grown := heapLater - heap; grown > 128<<10 {
			t.Errorf("the heap grew by %d KiB over 9,500 cycles, want it to stay", grown>>10)
		}
		if goroutinesLater > goroutines {
			t.Errorf("got %d goroutines after 10,000 cycles, %d after 500", goroutinesLater, goroutines)
		}
		cancel()
		parts.Wait()
		if f.probes < 100_000 {
			t.Errorf("got %d probes in 10,000 cycles of ten replicas, want 100,000", f.probes)
		}
	})
}
