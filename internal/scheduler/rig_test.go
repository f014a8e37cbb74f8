package scheduler

import (
	"cmp"
	"context"
	"fmt"
	"iter"
	"maps"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/crisp-im/crisp-status-local/v2/internal/probe"
	"github.com/crisp-im/crisp-status-local/v2/internal/statusapi"
)

// rig is a Scheduler in a bubble, with all that is around it. Its fields are set
// before run, or inside of it; times count from the start of run.
type rig struct {
	t        *testing.T
	settings Settings
	fetch    fetchFunc
	judge    judge // nil: healthy at once
	level    logrus.Level
	hook     logrus.Hook // nil, or one more that takes the log

	scheduler *Scheduler
	start     time.Time
	cancel    context.CancelFunc

	mu        sync.Mutex
	asked     []ask
	probes    map[string][]time.Duration // when each replica's probes began
	order     []string                   // in which they did
	puts      []put
	lines     []line
	refreshed []time.Duration
	underway  map[string]bool
	most      int // probes at a time
	overlaps  []string
	retained  int
	outdated  chan struct{}
	onPut     func(statusapi.Verdict)
	suspended time.Duration
	stale     chan struct{}
	tooOld    []probe.ID // what TakeStale returns
	takenOver bool
	silent    time.Time               // since when nothing answers reports; zero: it does
	heard     time.Time               // when the last silence ended
	recalled  []statusapi.Verdict     // what TakeRecalled returns
	left      map[string]probe.Health // by Leave
	doubted   []time.Duration
	renewed   int // puts by Renew
}

type (
	ask struct {
		at   time.Duration
		prev *statusapi.Map
	}
	put struct {
		at      time.Duration
		replica string
		health  probe.Health
	}
	line struct {
		at    time.Duration
		entry *logrus.Entry
	}
)

// newRig returns a rig whose interval is 120 s.
func newRig(t *testing.T, fetch fetchFunc) *rig {
	return &rig{
		t:        t,
		settings: Settings{Interval: 120 * time.Second},
		fetch:    fetch,
		level:    logrus.InfoLevel,
		probes:   make(map[string][]time.Duration),
		underway: make(map[string]bool),
	}
}

// run runs the scheduler in a bubble for as long as body takes, and waits for its end.
// A goroutine that is left then fails the test.
func (r *rig) run(body func()) {
	r.t.Helper()
	synctest.Test(r.t, func(t *testing.T) {
		log := logrus.New()
		log.SetOutput(t.Output())
		log.SetLevel(r.level)
		log.AddHook(r)
		if r.hook != nil {
			log.AddHook(r.hook)
		}
		ctx, cancel := context.WithCancel(t.Context())
		r.start, r.cancel, r.outdated, r.stale = time.Now(), cancel, make(chan struct{}, 1), make(chan struct{}, 1)
		s := r.settings
		if s.API == nil {
			s.API = fetchFunc(func(ctx context.Context, prev *statusapi.Map) (*statusapi.Map, error) {
				r.mu.Lock()
				r.asked = append(r.asked, ask{r.now(), prev})
				fetch := r.fetch
				r.mu.Unlock()
				return fetch(ctx, prev)
			})
		}
		r.settings = s
		r.scheduler = New(s, (*prober)(r), (*outbox)(r), log)
		r.scheduler.suspension.clock = func() time.Duration {
			r.mu.Lock()
			defer r.mu.Unlock()
			return r.suspended
		}
		over := make(chan struct{})
		go func() {
			defer close(over)
			r.scheduler.Run(ctx)
		}()
		body()
		cancel()
		<-over
	})
	for _, id := range r.overlaps {
		r.t.Errorf("replica %s: got two probes at once, want one", id)
	}
}

// until lets time go on until so long after the start, and all that is due then
// happen.
func (r *rig) until(at time.Duration) {
	time.Sleep(at - r.now())
	synctest.Wait()
}

// suspend suspends the host: its timers stand still for so long.
func (r *rig) suspend(d time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.suspended += d
}

func (r *rig) now() time.Duration { return time.Since(r.start) }

// answer makes f answer the map requests from now on.
func (r *rig) answer(f fetchFunc) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.fetch = f
}

// judgeBy makes j judge the probes from now on.
func (r *rig) judgeBy(j judge) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.judge = j
}

// reload makes s the settings in force.
func (r *rig) reload(s Settings) { r.reloadOf(s, SamePage) }

func (r *rig) reloadOf(s Settings, page Page) {
	r.scheduler.Reload(context.Background(), s, page)
	synctest.Wait()
}

// Levels and Fire make a rig the hook of its own log.
func (r *rig) Levels() []logrus.Level { return logrus.AllLevels }

func (r *rig) Fire(e *logrus.Entry) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lines = append(r.lines, line{r.now(), e})
	return nil
}

// said returns the lines of a level whose message holds text.
func (r *rig) said(level logrus.Level, message string) []line {
	r.mu.Lock()
	defer r.mu.Unlock()
	var found []line
	for _, l := range r.lines {
		if l.entry.Level == level && l.entry.Message == message {
			found = append(found, l)
		}
	}
	return found
}

// putsOf returns what the outbox was given of a replica.
func (r *rig) putsOf(replica string) []put {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(r.puts), func(p put) bool { return p.replica != replica })
}

// prober is the rig as a Prober.
type prober rig

func (p *prober) Refresh() {
	r := (*rig)(p)
	r.refreshed = append(r.refreshed, r.now())
}

func (p *prober) Probe(ctx context.Context, task probe.Task) probe.Result {
	r, id := (*rig)(p), task.Check.Target.ID()
	r.mu.Lock()
	r.probes[id] = append(r.probes[id], r.now())
	r.order = append(r.order, id)
	if r.underway[id] {
		r.overlaps = append(r.overlaps, id)
	}
	r.underway[id] = true
	r.most = max(r.most, len(r.underway))
	judge := r.judge
	r.mu.Unlock()
	result := healthy
	if judge != nil {
		result = judge(ctx, task)
		result.Check = task.Check
	}
	r.mu.Lock()
	delete(r.underway, id)
	r.mu.Unlock()
	return result
}

// outbox is the rig as an Outbox.
type outbox rig

func (o *outbox) Put(v statusapi.Verdict) {
	r := (*rig)(o)
	r.mu.Lock()
	r.puts = append(r.puts, put{r.now(), v.ID.Replica, v.Health})
	onPut := r.onPut
	r.mu.Unlock()
	if onPut != nil {
		onPut(v)
	}
}

func (o *outbox) Renew(v statusapi.Verdict) {
	o.mu.Lock()
	o.renewed++
	o.mu.Unlock()
	o.Put(v)
}

func (o *outbox) Leave(verdicts iter.Seq[statusapi.Verdict]) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.left = make(map[string]probe.Health)
	for v := range verdicts {
		o.left[v.ID.Replica] = v.Health
	}
}

func (o *outbox) Doubt() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.doubted = append(o.doubted, (*rig)(o).now())
}

func (o *outbox) Retain(replicas int, keep func(probe.ID) bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.retained = replicas
	o.puts = slices.DeleteFunc(o.puts, func(p put) bool {
		return !keep(probe.ID{Service: "service", Node: "node", Replica: p.replica})
	})
}

func (o *outbox) Repeat(v statusapi.Verdict) { o.Renew(v) }

func (o *outbox) Stale() <-chan struct{} { return o.stale }

func (o *outbox) TakeStale() ([]probe.ID, bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.tooOld, o.takenOver
}

func (o *outbox) Silence() (began, ended time.Time) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.silent, o.heard
}

func (o *outbox) TakeRecalled() []statusapi.Verdict {
	o.mu.Lock()
	defer o.mu.Unlock()
	recalled := o.recalled
	o.recalled = nil
	return recalled
}

func (o *outbox) MapOutdated() <-chan struct{} { return o.outdated }

func (o *outbox) Waiting() int { return 0 }

// wantEvery checks that the probes began at first and then every interval, so
// many times.
func (r *rig) wantEvery(replica string, first, interval time.Duration, times int) {
	r.t.Helper()
	var want []time.Duration
	for i := range times {
		want = append(want, first+time.Duration(i)*interval)
	}
	if got := r.probes[replica]; !slices.Equal(got, want) {
		r.t.Errorf("replica %s: probed at %v, want %v", replica, brief(got), brief(want))
	}
}

// wantGaps checks that the time between two probes is the interval, for every
// replica.
func (r *rig) wantGaps(interval time.Duration) {
	r.t.Helper()
	for _, replica := range slices.Sorted(maps.Keys(r.probes)) {
		began := r.probes[replica]
		for i := 1; i < len(began); i++ {
			if gap := began[i] - began[i-1]; gap != interval {
				r.t.Errorf("replica %s: probed at %v and at %v: a gap of %v, want %v", replica, began[i-1], began[i], gap, interval)
				break
			}
		}
	}
}

// wantAsked checks when the map was asked for.
func (r *rig) wantAsked(seconds ...float64) {
	r.t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	var got []float64
	for _, a := range r.asked {
		got = append(got, a.at.Seconds())
	}
	if !slices.Equal(got, seconds) {
		r.t.Errorf("the map was asked for after %v s, want %v", got, seconds)
	}
}

// brief cuts a long list for a message.
func brief(times []time.Duration) string {
	if n := len(times); n > 12 {
		return fmt.Sprintf("%v … (%d)", times[:12], n)
	}
	return cmp.Or(fmt.Sprint(times), "never")
}
