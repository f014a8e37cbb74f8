package scheduler_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
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

const requestTimeout = 20 * time.Second // of the client of the Status API

var (
	errUnreachable = errors.New("connection refused")
	errRefused     = errors.New("the target refuses connections")
)

// fault is what the API does to the reports of a while, and to map requests.
type fault struct {
	name  string
	err   error         // nil: it takes them, if there is time for that
	after time.Duration // it answers
	lost  bool          // it takes them, and its answer never comes
	lasts time.Duration // 0: for one report
	only  int           // of ten replicas it meets so many; 0: all
}

// meets reports whether the reports of a replica have the fault.
func (f *fault) meets(at *site) bool { return f.only == 0 || at.n%10 < f.only }

// hangs reports whether a request has no answer before it times out.
func (f *fault) hangs() bool { return f.lost || f.after >= requestTimeout }

// refusal returns the error of an answer that does not take a verdict.
func refusal(code int, retryAfter time.Duration) error {
	switch {
	case code == 401:
		return statusapi.ErrUnauthorized
	case code == 404:
		return statusapi.ErrUnknownReplica
	case code == 429 || code >= 500:
		return &statusapi.UnavailableError{RetryAfter: retryAfter, Throttled: code == 429}
	}
	return &statusapi.RejectedError{}
}

// simulation is a scheduler and an outbox at work, with replicas that are up, an
// API that has a fault, and the page that it makes.
type simulation struct {
	replicas  int
	interval  time.Duration
	promise   time.Duration // 0: the interval
	deadAfter time.Duration
	delays    []time.Duration // from the start of a probe to its result
	rtt       time.Duration   // of the API
	fault     fault
	faultAt   time.Duration // after the start
	hostAt    time.Duration // when this host has no network for 2.5 s; 0: never
	hostTakes time.Duration // a probe to fail then
	slack     time.Duration // of a gap beyond the interval; 0: 38 s
	ignored   time.Duration // gaps that began before then do not count
	seed      uint64

	t         *testing.T
	start     time.Time
	outbox    *report.Outbox
	scheduler *scheduler.Scheduler
	happens   func() // nil: nothing else than the fault
	all       []probe.Check
	m         *statusapi.Map // of those that are not absent
	mu        sync.Mutex     // protects all following fields
	random    *rand.Rand
	once      bool // the fault of one report has been
	sites     map[probe.ID]*site
	requests  []time.Duration // reports, by their beginnings
	maps      []time.Duration
	longest   time.Duration // gap between two reports
	recovered time.Duration // from the end of the fault to the last replica's first report
	broken    []string
	handedOut map[*statusapi.Map]*statusapi.Map // those that were handed out, by what they were then
}

// site is a replica, as the scheduler judges it and the page shows it.
type site struct {
	n        int            // counts the replicas
	current  []probe.Health // the newest verdict, and those that it replaced in the same moment
	put      time.Time      // when it was made
	absent   bool           // from the map
	promise  time.Duration  // of the last report
	underWay bool           // a report
	taken    time.Time      // the last report; zero if there was none
	began    time.Time      // that report
	health   probe.Health   // that it brought
}

func (s *simulation) String() string {
	return fmt.Sprintf("%d replicas, interval %v, promise %v, delay_dead %v, %s for %v at %v, host %v, rtt %v, seed %d",
		s.replicas, s.interval, s.promised(), s.deadAfter, s.fault.name, s.fault.lasts, s.faultAt, s.hostAt, s.rtt, s.seed)
}

// run simulates so much time, and body beside it.
func (s *simulation) run(t *testing.T, lasts time.Duration) {
	t.Helper()
	s.t = t
	s.random = rand.New(rand.NewPCG(s.seed, 2))
	s.handedOut = make(map[*statusapi.Map]*statusapi.Map)
	s.sites = make(map[probe.ID]*site, s.replicas)
	s.m = &statusapi.Map{}
	rules := probe.DefaultRules()
	rules.DeadAfter = s.deadAfter
	for i := range s.replicas {
		target, err := probe.ParseTarget(fmt.Sprintf("tcp://replica-%d:1", i))
		if err != nil {
			t.Fatal(err)
		}
		check := probe.Check{ServiceID: "service", NodeID: "node", Target: target, Rules: rules}
		s.all = append(s.all, check)
		s.m.Checks = append(s.m.Checks, check)
		s.sites[check.ID()] = &site{n: i}
	}
	synctest.Test(t, func(t *testing.T) {
		log := logrus.New()
		log.SetOutput(io.Discard)
		log.SetLevel(logrus.ErrorLevel)
		s.start = time.Now()
		s.outbox = report.New(s, report.Terms{Interval: s.interval, Promise: s.promised()}, log)
		scheduling, endScheduling := context.WithCancel(t.Context())
		delivering, endDelivering := context.WithCancel(t.Context())
		var parts sync.WaitGroup
		parts.Go(func() { s.outbox.Run(delivering) })
		s.scheduler = scheduler.New(scheduler.Settings{API: s, Interval: s.interval}, s, recorder{s.outbox, s}, log)
		parts.Go(func() { s.scheduler.Run(scheduling) })
		for s.happens != nil && s.now() < lasts {
			time.Sleep(s.wait())
			s.happens()
		}
		time.Sleep(lasts - s.now())
		synctest.Wait()
		s.wantNoOpenGap()
		endScheduling()
		time.Sleep(time.Minute) // what hangs is over, and all else is taken
		synctest.Wait()
		s.wantNoneLost()
		endDelivering()
		parts.Wait()
	})
	slices.Sort(s.broken)
	for i, text := range s.broken {
		if t.Errorf("%v: %s", s, text); i == 10 {
			t.Errorf("and %d more", len(s.broken)-i-1)
			break
		}
	}
}

// limit returns the longest gap after the last report of a replica.
func (s *simulation) limit(at *site) time.Duration {
	return at.promise + cmp.Or(s.slack, 38*time.Second)
}

// promised returns what the page is promised.
func (s *simulation) promised() time.Duration { return cmp.Or(s.promise, s.interval) }

func (s *simulation) now() time.Duration { return time.Since(s.start) }

// breaks notes that a promise is broken. The caller holds the lock.
func (s *simulation) breaks(id probe.ID, format string, args ...any) {
	s.broken = append(s.broken, fmt.Sprintf("%s at %v: %s", id.Replica, s.now(), fmt.Sprintf(format, args...)))
}

// recorder takes note of the verdicts on their way to the outbox.
type recorder struct {
	*report.Outbox
	s *simulation
}

func (r recorder) Put(v statusapi.Verdict) {
	r.record(v)
	r.Outbox.Put(v)
}

func (r recorder) Renew(v statusapi.Verdict) {
	r.record(v)
	r.Outbox.Renew(v)
}

func (r recorder) record(v statusapi.Verdict) {
	r.s.mu.Lock()
	at := r.s.sites[v.ID]
	if now := time.Now(); now.After(at.put) {
		at.current, at.put = at.current[max(0, len(at.current)-1):], now
	}
	at.current = append(at.current, v.Health)
	if v.Health == probe.Dead && r.s.hostAt == 0 {
		r.s.breaks(v.ID, "got the verdict dead, want none: it is up")
	}
	r.s.mu.Unlock()
}

// Refresh and Probe make a simulation a Prober.
func (s *simulation) Refresh() {}

func (s *simulation) Probe(ctx context.Context, task probe.Task) probe.Result {
	s.mu.Lock()
	takes := s.delays[s.random.IntN(len(s.delays))]
	result := probe.Result{Check: task.Check, Health: probe.Healthy, Attempts: 1}
	if steady := s.promised() > s.interval && s.random.IntN(8) > 0; s.random.IntN(2) == 0 && !steady {
		result.Health = probe.Sick // tells two verdicts apart
	}
	longest := task.Check.Rules.Longest(task.Budget)
	if task.Attempts == 1 {
		longest = task.Check.Rules.DeadAfter
	}
	if away := s.now() - s.hostAt; s.hostAt > 0 && away >= 0 && away < 2500*time.Millisecond {
		takes, result.Health, result.Err = s.hostTakes, probe.Dead, errRefused
	}
	s.mu.Unlock()
	if err := pause(ctx, min(takes, longest)); err != nil {
		return probe.Result{Check: task.Check, Err: err}
	}
	return result
}

func pause(ctx context.Context, d time.Duration) error {
	if d == 0 {
		return ctx.Err()
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

// faulty reports whether a request that begins now meets the fault. The caller
// holds the lock.
func (s *simulation) faulty() bool {
	from := s.now() - s.faultAt
	return from >= 0 && from < s.fault.lasts
}

// FetchMap is the API, with three attempts as the client makes them.
func (s *simulation) FetchMap(ctx context.Context, prev *statusapi.Map) (*statusapi.Map, error) {
	s.mu.Lock()
	s.maps = append(s.maps, s.now())
	faulty := s.faulty() && s.fault.only == 0
	s.mu.Unlock()
	switch {
	case !faulty || s.fault.err == nil && !s.fault.hangs():
		if err := pause(ctx, s.rtt); err != nil {
			return nil, err
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		if prev != nil && s.handedOut[prev] == s.m {
			return prev, nil
		}
		again := *s.m
		s.handedOut[&again] = s.m
		return &again, nil
	case s.fault.err == statusapi.ErrUnauthorized:
		return nil, s.fault.err
	case s.fault.hangs():
		return nil, cmp.Or(pause(ctx, 3*requestTimeout+10*time.Second), errUnreachable)
	}
	return nil, cmp.Or(pause(ctx, min(10*time.Second, s.interval)), errUnreachable)
}

// Report is the API.
func (s *simulation) Report(ctx context.Context, v statusapi.Verdict, interval time.Duration) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	began, at := time.Now(), s.sites[v.ID]
	s.requests = append(s.requests, s.now())
	if interval != s.promised() && s.happens == nil {
		s.breaks(v.ID, "got the promise %v", interval)
	}
	if at.underWay {
		s.breaks(v.ID, "got two requests at a time, want one")
	}
	newest := at.current
	if at.put.Before(began) {
		newest = newest[len(newest)-1:]
	}
	if !slices.Contains(newest, v.Health) {
		s.breaks(v.ID, "got %s sent, want the newest of %v", v.Health, newest)
	}
	at.underWay = true
	defer func() { at.underWay = false }()
	faulty := s.faulty() && s.fault.meets(at)
	if s.fault.lasts == 0 && !s.once && s.now() >= s.faultAt {
		faulty, s.once = true, true
	}
	wait := func(d time.Duration) error {
		s.mu.Unlock()
		defer s.mu.Lock()
		return pause(ctx, d)
	}
	switch {
	case !faulty:
		if err := wait(s.rtt); err != nil {
			return err
		}
	case s.fault.lost:
		s.take(at, v, began, interval)
		return cmp.Or(wait(requestTimeout), errUnreachable)
	default:
		if err := wait(min(s.fault.after, requestTimeout)); err != nil {
			return err
		}
		if s.fault.hangs() {
			return errUnreachable
		}
		if s.fault.err != nil {
			return s.fault.err
		}
	}
	if at.absent {
		return statusapi.ErrUnknownReplica
	}
	s.take(at, v, began, interval)
	return nil
}

// take has the page take a report that began then. The caller holds the lock.
func (s *simulation) take(at *site, v statusapi.Verdict, began time.Time, promise time.Duration) {
	if at.health != probe.Dead && !at.taken.Before(s.start.Add(max(s.ignored, time.Nanosecond))) {
		gap := time.Since(at.taken)
		s.longest = max(s.longest, gap)
		if gap > s.limit(at) {
			s.breaks(v.ID, "unreported for %v, want %v at most", gap, s.limit(at))
		}
	}
	if end := s.faultAt + s.fault.lasts; s.now() >= end && time.Since(at.taken) > s.now()-end {
		s.recovered = max(s.recovered, s.now()-end)
	}
	at.taken, at.began, at.health, at.promise = time.Now(), began, v.Health, promise
}

// wantNoOpenGap checks that all replicas are reported to the end.
func (s *simulation) wantNoOpenGap() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for id, at := range s.sites {
		if s.faulty() && s.fault.meets(at) {
			continue
		}
		if gap := time.Since(at.taken); gap > s.limit(at) && !at.absent {
			s.breaks(id, "unreported for %v at the end, want %v at most", gap, s.limit(at))
		}
	}
}

// wantNoneLost checks that the page has the newest verdict of all replicas.
func (s *simulation) wantNoneLost() {
	if n := s.outbox.Waiting(); n > 0 && !s.faulty() {
		s.t.Errorf("%v: got %d verdicts waiting at the end, want none", s, n)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for id, at := range s.sites {
		if s.faulty() && s.fault.meets(at) {
			continue
		}
		if !at.absent && (at.began.Before(at.put) && s.promised() == s.interval || at.health != at.current[len(at.current)-1]) {
			s.breaks(id, "the page has %s of %v, want %v of %v", at.health, at.began.Sub(s.start), at.current, at.put.Sub(s.start))
		}
	}
}
