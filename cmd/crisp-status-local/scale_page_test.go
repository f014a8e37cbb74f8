package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/crisp-im/crisp-status-local/v2/internal/pace"
	"github.com/crisp-im/crisp-status-local/v2/internal/probe"
	"github.com/crisp-im/crisp-status-local/v2/internal/report"
	"github.com/crisp-im/crisp-status-local/v2/internal/sandbox/judge"
	"github.com/crisp-im/crisp-status-local/v2/internal/scheduler"
	"github.com/crisp-im/crisp-status-local/v2/internal/statusapi"
)

// scale is one row: daemons that watch the replicas of one page, each the same
// share of them by [probe] allow, and an API so far away. Scheduler and outbox are
// the daemon's own, the page is judged by the sandbox, and time is faked: what waits
// for the network, or for the CPU of the targets, costs none.
type scale struct {
	replicas int
	daemons  int
	rtt      time.Duration // of a report
	promise  time.Duration // to the page; 0: the interval
	http1    int           // connections to an API that does not speak HTTP/2: each carries one request
	ownMaps  bool          // each daemon has a map of its share, instead of the whole
	lost     time.Duration // so long after the loss of the last daemon the others have its share; 0: none is lost
}

// scaleInterval is that of the daemons: the default.
const scaleInterval = 120 * time.Second

// found is what a row came to.
type found struct {
	late, red int           // reports that came later than promised; replicas that the page showed dead at a time
	worst     time.Duration // between two reports of a replica
	inFlight  int           // requests of one daemon, at most
	most      int           // reports in one second, of all daemons
	mean      float64       // reports a second, in an interval
	waiting   int           // verdicts of one daemon, at most
	round     time.Duration // from the first report of a cycle to the last
	heap      float64       // bytes a replica, of a daemon alone; 0: not measured
	cpu       float64       // µs a replica and interval, of the whole simulation
	mapBytes  int
}

// scaleMap is a map as the daemon has it, fetched by its own client.
type scaleMap struct {
	checks *statusapi.Map
	bytes  int
	heap   uint64 // that it takes
}

const scaleNode, scaleService = 20, 50 // replicas of a node, nodes of a service

func fetchScaleMap(t *testing.T, replicas int) *scaleMap {
	t.Helper()
	text := scaleText(replicas)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.Write(text)
	}))
	defer server.Close()
	before := heapInUse()
	client := statusapi.New(server.URL, "t", userAgent, func(time.Duration) time.Duration { return 0 })
	defer client.Close()
	m, err := client.FetchMap(t.Context(), nil)
	if err != nil || len(m.Checks) != replicas || len(m.Problems) > 0 {
		t.Fatalf("got the error %v, want a map of %d replicas", err, replicas)
	}
	heap := heapInUse() - before
	return &scaleMap{m, len(text), heap}
}

// scaleText returns the text of a map with ids as long as those of Crisp.
func scaleText(replicas int) []byte {
	text := []byte(`{"data":{"services":[`)
	for i := range replicas {
		node := i / scaleNode
		switch {
		case i == 0:
			text = fmt.Appendf(text, `{"id":"%036d","nodes":[`, 0)
		case i%(scaleNode*scaleService) == 0:
			text = fmt.Appendf(text, `]}]},{"id":"%036d","nodes":[`, node/scaleService)
		case i%scaleNode == 0:
			text = append(text, "]},"...)
		default:
			text = append(text, ',')
		}
		if i%scaleNode == 0 {
			text = fmt.Appendf(text, `{"id":"%036d","replicas":[`, node)
		}
		text = append(text, `"https://server-`...)
		text = strconv.AppendInt(text, int64(1_000_000+i), 10)
		text = append(text, `.example.com:8443/health"`...)
	}
	return append(text, "]}]}]}}"...)
}

func heapInUse() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// judged returns the page of a map.
func judged(m *statusapi.Map, now time.Time) *judge.Judge {
	page := &judge.Map{Date: 1}
	for i := range m.Checks {
		c := &m.Checks[i]
		if i%(scaleNode*scaleService) == 0 {
			page.Services = append(page.Services, judge.Service{ID: c.ServiceID})
		}
		nodes := &page.Services[len(page.Services)-1].Nodes
		if i%scaleNode == 0 {
			*nodes = append(*nodes, judge.Node{ID: c.NodeID})
		}
		replicas := &(*nodes)[len(*nodes)-1].Replicas
		*replicas = append(*replicas, &judge.Replica{URL: c.Target.ID()})
	}
	j := judge.New(pace.Grace)
	j.Install(page, now)
	j.MapRequested(0, now)
	return j
}

// simulation runs the daemons of a row beside one page. It is the network between them.
type simulation struct {
	scale
	start   time.Time
	m       *statusapi.Map
	page    *judge.Judge
	share   atomic.Pointer[func(probe.ID) int] // returns the daemon that probes a replica
	running []*simulatedDaemon
	sent    [4096]atomic.Int32 // reports taken, by the second
}

// simulatedDaemon is one daemon of a row: its own API client and prober.
type simulatedDaemon struct {
	*simulation
	n         int
	outbox    *report.Outbox
	scheduler *scheduler.Scheduler
	ended     context.Context
	end       context.CancelFunc
	inFlight  atomic.Int32
	most      atomic.Int32
	waiting   int
	conns     chan struct{}  // nil: HTTP/2
	own       *statusapi.Map // nil: that of all
	lanesMu   sync.Mutex
	lanes     int
	grown     time.Time
}

func (s *simulatedDaemon) FetchMap(context.Context, *statusapi.Map) (*statusapi.Map, error) {
	if s.own != nil {
		return s.own, nil
	}
	return s.m, nil
}

func (s *simulatedDaemon) Refresh() {}

var errNotOurs = &probe.Error{Kind: probe.KindPolicy, Reason: "the policy does not allow it"}

func (s *simulatedDaemon) Probe(ctx context.Context, task probe.Task) probe.Result {
	result := probe.Result{Check: task.Check, Attempts: 1, Latency: 2 * time.Millisecond}
	if s.daemons > 1 && s.own == nil && s.ownerOf(task.Check.ID()) != s.n {
		result.Err = errNotOurs
		return result
	}
	select {
	case <-ctx.Done():
		result.Err = ctx.Err()
	case <-time.After(result.Latency):
		result.Health = probe.Healthy
	}
	return result
}

// Carries makes it a report.Carrier, with the figures of statusapi.Client: over
// HTTP/2, connections with a hundred streams that double in number while they are full.
func (s *simulatedDaemon) Carries() (now, most int) {
	if s.conns != nil {
		return cap(s.conns) - 8, cap(s.conns) - 8
	}
	s.lanesMu.Lock()
	defer s.lanesMu.Unlock()
	const streams, maxLanes = 100, 256
	full := int(s.inFlight.Load()) >= s.lanes*streams
	if at := time.Now(); full && s.lanes < maxLanes && at.Sub(s.grown) >= 4*s.rtt {
		s.lanes, s.grown = 2*s.lanes, at // a connection, TLS, and the report that tried it take four round trips
	}
	return s.lanes*streams + min(s.lanes, maxLanes-s.lanes), maxLanes * streams
}

var errGone = errors.New("connection refused")

func (s *simulatedDaemon) Report(ctx context.Context, v statusapi.Verdict, promise time.Duration) error {
	n := s.inFlight.Add(1)
	defer s.inFlight.Add(-1)
	for most := s.most.Load(); n > most && !s.most.CompareAndSwap(most, n); {
		most = s.most.Load()
	}
	if s.conns != nil {
		select {
		case s.conns <- struct{}{}:
			defer func() { <-s.conns }()
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	select {
	case <-time.After(s.rtt):
	case <-ctx.Done():
		return ctx.Err()
	case <-s.ended.Done():
		return errGone
	}
	now := time.Now()
	s.page.Accept(judge.NodeID{Service: v.ID.Service, Node: v.ID.Node}, v.ID.Replica, judge.Health(v.Health), promise, now)
	s.sent[min(int(now.Sub(s.start)/time.Second), len(s.sent)-1)].Add(1)
	return nil
}

// number returns the number of a replica of a scaleMap.
func number(id probe.ID) int {
	_, rest, _ := strings.Cut(id.Replica, "server-")
	n, _ := strconv.Atoi(rest[:strings.IndexByte(rest, '.')])
	return n - 1_000_000
}

// run simulates three cycles, or as long as it takes to see a promise or a loss through.
func (row scale) run(t *testing.T, m *scaleMap) found {
	t.Helper()
	f := found{mapBytes: m.bytes}
	synctest.Test(t, func(t *testing.T) {
		s := &simulation{scale: row, start: time.Now(), m: m.checks}
		s.divide(func(id probe.ID) int { return number(id) % row.daemons })
		s.page = judged(s.m, s.start)
		before := heapInUse()
		var parts sync.WaitGroup
		for n := range row.daemons {
			s.running = append(s.running, s.launch(t, n, &parts))
			time.Sleep(scaleInterval / 7) // they are not started together
		}
		s.watch(scaleInterval, &f)
		used := cpuTime()
		s.watch(2*scaleInterval, &f)
		f.cpu = float64((cpuTime() - used).Microseconds()) / float64(row.replicas)
		promise := max(row.promise, scaleInterval)
		if row.lost > 0 {
			s.watch(5*scaleInterval/2, &f)
			s.lose(t)
			s.watch(5*scaleInterval/2+promise+scaleInterval, &f)
		} else {
			s.watch(promise+scaleInterval+45*time.Second, &f)
		}
		sum := s.page.Summary(time.Now())
		f.late, f.worst = sum.LateGaps, seconds(max(sum.WorstGapPrompt, sum.WorstGapOther))
		f.round = seconds(sum.Cycle.Max)
		f.mean = float64(sum.Reports) / time.Since(s.start).Seconds()
		if row.daemons == 1 {
			f.heap = float64(heapInUse()-before+m.heap) / float64(row.replicas)
		}
		for _, d := range s.running {
			f.inFlight, f.waiting = max(f.inFlight, int(d.most.Load())), max(f.waiting, d.waiting)
			d.end()
		}
		parts.Wait()
		for i := range s.sent {
			f.most = max(f.most, int(s.sent[i].Load()))
		}
	})
	return f
}

func seconds(n float64) time.Duration { return time.Duration(n*1000) * time.Millisecond }

// launch starts daemon n.
func (s *simulation) launch(t *testing.T, n int, parts *sync.WaitGroup) *simulatedDaemon {
	d := &simulatedDaemon{simulation: s, n: n, lanes: 1}
	d.ended, d.end = context.WithCancel(t.Context())
	if s.ownMaps {
		d.own = &statusapi.Map{}
		for _, c := range s.m.Checks {
			if s.ownerOf(c.ID()) == n {
				d.own.Checks = append(d.own.Checks, c)
			}
		}
	}
	if s.http1 > 0 {
		d.conns = make(chan struct{}, s.http1)
	}
	log := logrus.New()
	log.SetOutput(io.Discard)
	log.SetLevel(logrus.ErrorLevel)
	d.outbox = report.New(d, report.Terms{Interval: scaleInterval, Promise: max(scaleInterval, s.promise)}, log)
	d.scheduler = scheduler.New(scheduler.Settings{API: d, Interval: scaleInterval}, d, d.outbox, log)
	parts.Go(func() { d.outbox.Run(d.ended) })
	parts.Go(func() { d.scheduler.Run(d.ended) })
	return d
}

// divide gives each daemon its share of the replicas.
func (s *simulation) divide(owner func(probe.ID) int) { s.share.Store(&owner) }

// ownerOf returns the daemon that probes a replica.
func (s *simulation) ownerOf(id probe.ID) int { return (*s.share.Load())(id) }

// watch samples the daemons and the page until that long after the start.
func (s *simulation) watch(until time.Duration, f *found) {
	for i := 1; time.Since(s.start) < until; i++ {
		time.Sleep(time.Second)
		for _, d := range s.running {
			if d.ended.Err() == nil {
				d.waiting = max(d.waiting, d.outbox.Waiting())
			}
		}
		if i%20 == 0 && time.Since(s.start) > scaleInterval+pace.Grace {
			sum := s.page.Summary(time.Now())
			f.red = max(f.red, sum.Late+sum.Silent+sum.Dead)
		}
	}
}

// lose kills the last daemon, and gives its share to the others, as an
// operator does by changing [probe] allow and reloading it.
func (s *simulation) lose(t *testing.T) {
	last := s.daemons - 1
	s.running[last].end()
	time.Sleep(s.lost)
	s.divide(func(id probe.ID) int {
		n := number(id)
		if n%s.daemons != last {
			return n % s.daemons
		}
		return n / s.daemons % last
	})
	for _, d := range s.running[:last] {
		d.scheduler.Reload(t.Context(), scheduler.Settings{API: d, Interval: scaleInterval}, scheduler.SamePage)
	}
}
