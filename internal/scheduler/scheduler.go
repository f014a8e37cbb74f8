// Package scheduler decides when each replica of the map is probed, and which
// verdict is reported.
//
// # Turns
//
// A cycle starts every interval by the monotonic clock, whatever the last one
// took. The map is requested beside it, never in its way. Every replica has its
// turn in the cycle and keeps it, so its probes are an interval apart, whatever
// its neighbours do. The turns of N replicas that were added together are in
// groups of 32, spread over s = min(interval/4, 30 s). Where reloads of the
// interval or long churn have bunched them, they are spread out again, by turns
// that come earlier, never later. If a probe takes w at most, a confirmation
// included, no more than
//
//	min(N, 32 · (⌊⌈N/32⌉ · w/s⌋ + 1))
//
// run at a time. Replicas added later get their own groups, so the bound is not
// computed from the formula but from the actual schedule: the maximum number of
// turns within any window of length w, plus the probes already in flight. With
// as many places in the pool no probe waits for another, and every verdict is
// ready within w of its turn: for a replica that is up at its first attempt,
// within the time of that attempt. Where the open-file limit or the operator
// allow fewer, the log says so at the start of each cycle, and replicas whose
// last verdict was dead wait behind all others.
//
// # Phases of a replica
//
//	         its turn          verdict, or none (trouble of this host)
//	  idle ───────────► probing ─────────────────────────────────────► idle
//	                       │ it turned dead
//	                       ▼        few did
//	                    withheld ──────────────► idle, reported dead
//	                       │ many did
//	                       ▼        3 s later              result
//	                    doubted ──────────────► confirming ───────► idle
//	                                               │ dead, and whether many of
//	                                               ▼ the cycle are is not known
//	                                            withheld
//
//	any phase ── the map loses it ──► gone
//
// Where several daemons share the duty, the one that takes it over makes replicas due
// at once whose verdicts are too old to be reported, beside their turns: idle ──►
// probing. So does a reload for those that are not healthy, and a map for those with
// other rules.
//
// While probing or confirming, gone lasts until the probe is over, so that a
// replica that comes back meanwhile is not probed twice at a time: it returns
// to the phase it left.
//
// # Reports
//
// Every verdict is reported but a death that is withheld; one that has not changed,
// as pace.Renewal has it. A replica last
// reported up that has no verdict 5 s after its turn repeats the last one, and
// so does one that this host cannot probe, for as long as pace.RepeatFor. A death
// while the Status API is silent may be this host's own: see reportDeath and takeBack.
package scheduler

import (
	"context"
	"fmt"
	"iter"
	"sync"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/crisp-im/crisp-status-local/v2/internal/probe"
	"github.com/crisp-im/crisp-status-local/v2/internal/statusapi"
)

// MapFetcher fetches the map; statusapi.Client is one.
type MapFetcher interface {
	FetchMap(ctx context.Context, prev *statusapi.Map) (*statusapi.Map, error)
}

// Prober judges one replica; probe.Prober is one.
type Prober interface {
	Probe(ctx context.Context, t probe.Task) probe.Result
	Refresh() // called when a cycle starts
}

// Outbox delivers verdicts; report.Outbox is one.
type Outbox interface {
	Put(v statusapi.Verdict)
	Renew(v statusapi.Verdict)                  // the same verdict as the last one of its replica
	Repeat(v statusapi.Verdict)                 // as Renew, but v is repeated, not measured
	Leave(verdicts iter.Seq[statusapi.Verdict]) // the last ones, as the daemon ends
	Doubt()                                     // the page may have lost what it took
	Retain(replicas int, keep func(probe.ID) bool)
	MapOutdated() <-chan struct{} // the API does not know a replica
	Stale() <-chan struct{}       // TakeStale or TakeRecalled has something, or a silence is over
	TakeStale() (replicas []probe.ID, takenOver bool)
	TakeRecalled() []statusapi.Verdict // what the page shows, of replicas whose deaths were taken back
	Silence() (began, ended time.Time) // while nothing answers reports, not even with a refusal
	Waiting() int
}

// Settings is the part of the configuration that the scheduler works by.
type Settings struct {
	API      MapFetcher
	Interval time.Duration
	Workers  int   // bound of probes at a time; 0 means as many as it takes
	Files    int   // bound of open files of the process; 0 means unknown
	Memory   int64 // bound of its memory, in bytes; 0 means none

	ReportDenied bool // replicas that the policy denies are reported dead
}

// Page tells whether new settings are of the page whose map is in force.
type Page int

// The pages that a reload can be about.
const (
	SamePage Page = iota
	OtherPage
)

type reload struct {
	settings Settings
	page     Page
}

// Scheduler probes the replicas of the map. New makes one, Run runs it, once.
type Scheduler struct {
	log     *logrus.Logger
	prober  Prober
	outbox  Outbox
	done    chan *job // probes that are over
	fetched chan *fetch
	reloads chan reload
	pings   chan struct{}
	fetches sync.WaitGroup

	// All following fields belong to the goroutine of Run.
	settings     Settings
	currentMap   *statusapi.Map // nil until the first has arrived
	ordered      []*replica     // those of the current map, in its order
	newToPage    bool           // that map is of another page than the one that is asked now
	nextMap      mapRequests
	replicas     map[probe.ID]*replica // of the current map, and those gone while in the pool
	dead         int                   // of the current map's, by their last verdicts
	lastHeard    time.Time             // when a replica was last seen up, or the Status API gave a map
	alone        []lonely              // deaths since, of the last moment at least
	upInSilence  time.Time             // of the first probe that was up since the Status API was last silent
	schedule     schedule
	pool         pool
	overCapacity bool // the pool has fewer places than it may take
	turnPlaces   int  // that the turns take

	massFailure   massFailure
	confirmations []*replica  // in the order of their time
	refreshes     []refreshed // the page waits for them
	rechecks      []refreshed
	repeatChecks  []repeatCheck

	cycleStart       time.Time
	stats, prevStats stats // of this cycle and the one before
	changes          changelog
	trouble          trouble
	noted            notes
	denials          denials
	panics           map[string]bool // the reasons whose stacks were logged
	suspension       suspension
	memoryReleased   time.Time
	observed         observations
}

// New returns a scheduler that works by s.
func New(s Settings, prober Prober, outbox Outbox, log *logrus.Logger) *Scheduler {
	done := make(chan *job)
	return &Scheduler{
		log:        log,
		prober:     prober,
		outbox:     outbox,
		done:       done,
		fetched:    make(chan *fetch),
		reloads:    make(chan reload),
		pings:      make(chan struct{}),
		settings:   s,
		replicas:   make(map[probe.ID]*replica),
		noted:      make(notes),
		schedule:   schedule{interval: s.Interval},
		pool:       pool{probe: prober.Probe, done: done},
		changes:    newChangelog(),
		suspension: suspension{clock: suspended},
		observed:   newObservations(),
	}
}

// Reload makes s the settings in force and has the map requested at once. It
// returns when Run has taken them up, or ctx is done.
func (s *Scheduler) Reload(ctx context.Context, settings Settings, page Page) {
	select {
	case s.reloads <- reload{settings, page}:
	case <-ctx.Done():
	}
}

// Ping returns nil when Run has taken notice of it, which is at once unless Run
// hangs; else, when ctx is done, an error with its cause.
func (s *Scheduler) Ping(ctx context.Context) error {
	select {
	case s.pings <- struct{}{}:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("the scheduler does not respond: %w", context.Cause(ctx))
	}
}

// Run schedules until ctx is done. Then it starts no more probes, cancels those
// that run, and returns when every verdict that was measured is in the outbox, and
// so are the last ones of all replicas, to be renewed.
func (s *Scheduler) Run(ctx context.Context) {
	s.suspension.reset()
	s.massFailure.startCycle(0)
	s.startCycle(ctx, time.Now())
	for ctx.Err() == nil {
		timer := time.NewTimer(time.Until(s.wake()))
		select {
		case <-ctx.Done():
		case <-timer.C:
			s.tick(ctx)
		case j := <-s.done:
			s.handleResult(ctx, j)
		case f := <-s.fetched:
			s.mapFetched(ctx, f)
		case r := <-s.reloads:
			s.reload(ctx, r)
		case <-s.outbox.MapOutdated():
			s.nextMap.outdated(time.Now(), s.settings.Interval)
		case <-s.outbox.Stale():
			s.refresh(time.Now())
		case <-s.pings:
		case r := <-s.observed.requests:
			r.answer <- s.snapshot(r.detail)
		}
		timer.Stop()
	}
	s.drain(ctx)
	s.outbox.Leave(s.lastVerdicts)
	s.logDigests()
}

// drain handles the results of probes and map requests that were under way. A
// death that is withheld then is not reported: nothing will confirm it.
func (s *Scheduler) drain(ctx context.Context) {
	over := make(chan struct{})
	go func() {
		s.pool.goroutines.Wait()
		s.fetches.Wait()
		close(over)
	}()
	for {
		select {
		case j := <-s.done:
			s.handleResult(ctx, j)
		case <-s.fetched:
		case <-over:
			return
		}
	}
}

// wake returns when something is due next.
func (s *Scheduler) wake() time.Time {
	at := s.cycleStart.Add(s.settings.Interval)
	earlier := func(t time.Time) {
		if t.Before(at) {
			at = t
		}
	}
	earlier(time.Now().Add(alertness))
	if due, ok := s.schedule.next(); ok {
		earlier(due)
	}
	if len(s.confirmations) > 0 {
		earlier(s.confirmations[0].death.confirmAt)
	}
	if len(s.refreshes) > 0 {
		earlier(s.refreshes[0].at)
	}
	if len(s.rechecks) > 0 {
		earlier(s.rechecks[0].at)
	}
	if len(s.repeatChecks) > 0 {
		earlier(s.repeatChecks[0].at)
	}
	if s.nextMap.running == nil {
		earlier(s.nextMap.nextFetch)
	}
	return at
}

// tick does what is due.
func (s *Scheduler) tick(ctx context.Context) {
	s.collect(ctx)
	s.resume()
	now := time.Now()
	if next := s.cycleStart.Add(s.settings.Interval); !now.Before(next) {
		missed := now.Sub(next) / s.settings.Interval
		s.decide(s.massFailure.startCycle(s.alive()))
		s.startCycle(ctx, next.Add(missed*s.settings.Interval))
	}
	s.fetchDue(ctx, now)
	s.startDue(ctx, now)
	s.refreshDue(ctx, now)
	s.recheckDue(ctx, now)
	s.confirmDue(ctx, now)
	s.repeatDue(now)
	s.logChanges(now)
	s.releaseMemory(now)
}

// collect handles the results that are ready: a replica whose probe is over
// must not be passed over because its result had to wait.
func (s *Scheduler) collect(ctx context.Context) {
	for {
		select {
		case j := <-s.done:
			s.handleResult(ctx, j)
		default:
			return
		}
	}
}

// startCycle starts a cycle, at the time at which it was due.
func (s *Scheduler) startCycle(ctx context.Context, at time.Time) {
	s.logStats()
	s.cycleOfChanges(time.Now())
	s.cycleStart = at
	s.prevStats, s.stats = s.stats, stats{}
	s.prober.Refresh()
	s.schedule.rebalance()
	s.limitPool(ctx)
}

// alive returns how many replicas of the map are not dead.
func (s *Scheduler) alive() int { return s.mapSize() - s.dead }

// mapSize returns how many replicas the current map has.
func (s *Scheduler) mapSize() int {
	if s.currentMap == nil {
		return 0
	}
	return len(s.currentMap.Checks)
}

// reload takes up new settings and has the map requested at once: a request
// under way may have been answered before the operator's change. Replicas that are
// not healthy are due at once, too, as they would be after a restart.
func (s *Scheduler) reload(ctx context.Context, r reload) {
	s.nextMap.restart(r.page)
	if r.page == OtherPage {
		s.observed.mapState, s.newToPage = MapState{}, true
	}
	s.stats.unauthorized = false
	sameInterval := r.settings.Interval == s.settings.Interval
	s.settings = r.settings
	now := time.Now()
	if sameInterval {
		s.limitPool(ctx)
	} else {
		s.schedule.change(now, r.settings.Interval)
		s.massFailure.restartCycle(s.alive())
		s.startCycle(ctx, now)
	}
	// What the operator has changed, an entry of deny or a file of certificates, say,
	// may be what kept a replica from being healthy.
	for _, r := range s.ordered {
		r.want(unlessUp)
	}
	s.queueRechecks(now)
}
