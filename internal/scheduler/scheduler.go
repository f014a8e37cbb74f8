// Package scheduler is the heartbeat: it keeps the map fresh, probes all of it
// once per interval, and hands every verdict on.
//
// A cycle begins every interval by the monotonic clock, whatever the last one
// took. The map is asked for beside it, never in its way. Every replica has its
// own turn in the cycle and keeps it, so the time between two of its probes is
// the interval, whatever its neighbours do. N replicas that came together have
// their turns in groups of 32, spread over s = min(interval/4, 30 s). Where a
// probe takes w at the longest, the attempt more that a doubtful verdict needs
// included, no more than
//
//	min(N, 32 · (⌊⌈N/32⌉ · w/s⌋ + 1))
//
// of them are ever under way at a time. Replicas that came later have groups of
// their own, so what is reckoned with is the same for turns as they really lie:
// the most that come within w of one another, and on top of them the probes
// that were under way before. As long as the pool has so many places, no probe
// waits for another, and every verdict is there within w of its replica's turn:
// for a replica that is up at its first attempt, that is the time of the
// attempt. Where the open-file limit or the operator allow fewer, the log says
// so at the beginning of each cycle, and replicas that were dead the last time
// come last.
package scheduler

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/crisp-im/crisp-status-local/v2/internal/probe"
	"github.com/crisp-im/crisp-status-local/v2/internal/statusapi"
)

// MapFetcher gets the map; statusapi.Client is one.
type MapFetcher interface {
	FetchMap(ctx context.Context, prev *statusapi.Map) (*statusapi.Map, error)
}

// Prober judges one replica; probe.Prober is one.
type Prober interface {
	Probe(ctx context.Context, c probe.Check, budget time.Duration) probe.Result
	Refresh() // called when a cycle begins
}

// Outbox delivers verdicts; report.Outbox is one.
type Outbox interface {
	Put(probe.Result)
	Retain(replicas int, keep func(probe.ID) bool)
	Resume()
	Stale() bool
	Waiting() int
}

// Settings are what of the configuration the loop works by.
type Settings struct {
	API       MapFetcher
	Interval  time.Duration
	Workers   int  // how many probes may run at a time; 0: as many as it takes
	Files     int  // how many files the process may have open; 0: not known
	OtherPage bool // on reload: API is not that of the map in hand

	// Sized is told how many replicas a new map has; nil: nobody is.
	Sized func(replicas int)
}

// Loop is the heartbeat. New makes one, Run runs it, once.
type Loop struct {
	log     *logrus.Logger
	prober  Prober
	outbox  Outbox
	pool    *probe.Pool
	results chan probe.Result
	reloads chan Settings
	pings   chan struct{}
	fetched chan *fetch
	fetches sync.WaitGroup

	// All that follows belongs to the goroutine of Run.
	settings Settings
	schedule schedule
	replicas map[probe.ID]*replica
	leaving  map[probe.ID]bool // not in the map any more, but still being probed
	short    bool              // the pool has fewer places than it may take

	beat     time.Time // when this cycle began
	number   int       // of this cycle; a reload does not begin another one
	cycle    summary
	last     summary          // of the cycle before
	turnings map[int]*turning // by the number of the cycle
	confirms []*replica       // to be tried once more, in the order of their time
	dead     int              // how many replicas are, by their last verdicts

	suspended func() time.Duration
	away      time.Duration // how much of it is made up for

	tidied time.Time // when memory was last given back

	held     *statusapi.Map // nil until the first has arrived
	fetching *fetch         // nil unless the map is being asked for
	ask      time.Time      // when it is asked for next
	asked    int            // how often it was asked for in vain since it last came
	whole    bool           // ask for the whole map next time
}

// New returns a loop that works by s.
func New(s Settings, prober Prober, outbox Outbox, log *logrus.Logger) *Loop {
	l := &Loop{
		log:      log,
		prober:   prober,
		outbox:   outbox,
		results:  make(chan probe.Result),
		reloads:  make(chan Settings),
		pings:    make(chan struct{}),
		fetched:  make(chan *fetch),
		settings: s,
		schedule: schedule{interval: s.Interval},
		replicas: make(map[probe.ID]*replica),
		leaving:  make(map[probe.ID]bool),
		turnings: make(map[int]*turning),

		suspended: suspended,
	}
	l.pool = &probe.Pool{Probe: prober.Probe, Done: func(r probe.Result) { l.results <- r }}
	return l
}

// Reload makes s the settings in force and fetches the map at once. It returns
// when Run has taken them up, or ctx is done.
func (l *Loop) Reload(ctx context.Context, s Settings) {
	select {
	case l.reloads <- s:
	case <-ctx.Done():
	}
}

// Ping returns nil when Run has come round to it, which it does at once unless
// it hangs; else, when ctx is done, an error with the cause of that.
func (l *Loop) Ping(ctx context.Context) error {
	select {
	case l.pings <- struct{}{}:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("the heartbeat stands still: %w", context.Cause(ctx))
	}
}

// Run goes on until ctx is done. Then it begins no more probes, breaks off
// those under way, and returns when every verdict that was measured is in the
// outbox.
func (l *Loop) Run(ctx context.Context) error {
	l.away = l.suspended()
	l.begin(time.Now())
	for ctx.Err() == nil {
		timer := time.NewTimer(time.Until(l.wake()))
		select {
		case <-ctx.Done():
		case <-timer.C:
			l.tick(ctx)
		case r := <-l.results:
			l.judge(r)
		case f := <-l.fetched:
			l.took(ctx, f)
		case s := <-l.reloads:
			l.reload(s)
		case <-l.pings:
		}
		timer.Stop()
	}
	l.drain()
	return nil
}

// drain takes what the probes and map requests under way still bring. What is
// held back until it can be believed is not reported: nobody will know any more.
func (l *Loop) drain() {
	over := make(chan struct{})
	go func() {
		l.pool.Wait()
		l.fetches.Wait()
		close(over)
	}()
	for {
		select {
		case r := <-l.results:
			l.judge(r)
		case <-l.fetched:
		case <-over:
			return
		}
	}
}

// wake returns when there is something to do next.
func (l *Loop) wake() time.Time {
	at := l.beat.Add(l.settings.Interval)
	if look := time.Now().Add(alertness); look.Before(at) {
		at = look
	}
	if len(l.confirms) > 0 && l.confirms[0].suspicion.again.Before(at) {
		at = l.confirms[0].suspicion.again
	}
	if due, ok := l.schedule.next(); ok && due.Before(at) {
		at = due
	}
	if l.fetching == nil && l.ask.Before(at) {
		at = l.ask
	}
	return at
}

// tick does what is due.
func (l *Loop) tick(ctx context.Context) {
	l.collect()
	l.wakeUp()
	now := time.Now()
	if next := l.beat.Add(l.settings.Interval); !now.Before(next) {
		missed := now.Sub(next) / l.settings.Interval
		l.number++
		l.begin(next.Add(missed * l.settings.Interval))
	}
	if l.fetching == nil && !now.Before(l.ask) {
		l.fetch(ctx)
	}
	l.startDue(ctx, now)
	l.confirmDue(ctx, now)
	l.tidy(now)
}

// collect takes the results that are there already: a replica whose probe is
// over is not to be passed over because they had to wait.
func (l *Loop) collect() {
	for {
		select {
		case r := <-l.results:
			l.judge(r)
		default:
			return
		}
	}
}

// begin begins a cycle, at the time at which it was due.
func (l *Loop) begin(at time.Time) {
	l.summarize()
	l.beat = at
	l.last, l.cycle = l.cycle, summary{}
	l.decideAll()
	l.prober.Refresh()
	l.limitPool()
}

// reload takes up new settings, and has the map asked for at once: a request
// under way may have been answered before whatever the operator changed.
func (l *Loop) reload(s Settings) {
	if l.fetching != nil {
		l.fetching.cancel()
		l.fetching = nil
	}
	l.ask, l.asked = time.Time{}, 0
	l.whole = l.whole || s.OtherPage
	l.cycle.denied = false
	sameBeat := s.Interval == l.settings.Interval
	l.settings = s
	if sameBeat {
		l.limitPool()
		return
	}
	now := time.Now()
	l.schedule.change(now, s.Interval)
	l.begin(now)
}
