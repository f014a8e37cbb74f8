package scheduler_test

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/crisp-im/crisp-status-local/v2/internal/duty"
	"github.com/crisp-im/crisp-status-local/v2/internal/pace"
	"github.com/crisp-im/crisp-status-local/v2/internal/probe"
	"github.com/crisp-im/crisp-status-local/v2/internal/report"
	"github.com/crisp-im/crisp-status-local/v2/internal/scheduler"
	"github.com/crisp-im/crisp-status-local/v2/internal/statusapi"
)

// play plays a script, and returns the promises that were broken.
func (s script) play(t *testing.T, maps []*statusapi.Map) []string {
	var broken []string
	synctest.Test(t, func(t *testing.T) {
		w := &world{
			script: s, start: time.Now().Add(-time.Nanosecond), interval: s.interval, promise: s.promise, rtt: s.rtt, longestRTT: s.rtt,
			random: rand.New(rand.NewPCG(1, 2)), copies: make(map[*statusapi.Map]*statusapi.Map), watched: make(map[probe.ID]*watched),
		}
		w.duty = &scopes{world: w, scope: duty.Everything, changed: make(chan struct{}, 1)}
		w.maps = maps[1:]
		w.install(maps[0], s.first)
		w.begin()
		for _, e := range s.events {
			if w.now() > s.lasts() {
				break
			}
			time.Sleep(e.after)
			synctest.Wait()
			w.wantShown()
			w.happen(e)
			synctest.Wait()
		}
		time.Sleep(w.heal() + w.tell() + w.promise + pace.Grace)
		synctest.Wait()
		w.wantShown()
		w.end()
		broken = w.broken
	})
	slices.Sort(broken)
	return broken
}

// daemon is one run of the daemon.
type daemon struct {
	outbox    *report.Outbox
	scheduler *scheduler.Scheduler
	schedule  context.CancelFunc // ends the scheduler
	deliver   context.CancelFunc // ends the outbox
	scheduled sync.WaitGroup
	delivered sync.WaitGroup
	inFlight  map[*time.Time]bool // requests, by their beginnings
	killed    bool
}

func (w *world) terms() report.Terms { return report.Terms{Interval: w.interval, Promise: w.promise} }

func (w *world) settings() scheduler.Settings {
	return scheduler.Settings{API: &client{w, w.daemon, w.page}, Interval: w.interval, Workers: w.workers}
}

// begin starts the daemon.
func (w *world) begin() {
	log := logrus.New()
	log.SetOutput(io.Discard)
	log.SetLevel(logrus.ErrorLevel)
	w.mu.Lock()
	for _, r := range w.watched {
		r.handed, r.probing, r.puts = never, false, nil
	}
	w.held = nil
	d := &daemon{inFlight: make(map[*time.Time]bool)}
	w.daemon = d
	d.outbox = report.New(&client{w, d, w.page}, w.terms(), log)
	d.scheduler = scheduler.New(w.settings(), w, scribe{d.outbox, w}, log)
	w.mu.Unlock()
	d.scheduler.SuspendBy(func() time.Duration {
		w.mu.Lock()
		defer w.mu.Unlock()
		return w.suspended
	})
	if w.script.shared {
		d.outbox.Obey(w.duty)
	}
	var scheduling, delivering context.Context
	scheduling, d.schedule = context.WithCancel(context.Background())
	delivering, d.deliver = context.WithCancel(context.Background())
	d.delivered.Go(func() { d.outbox.Run(delivering) })
	d.scheduled.Go(func() { d.scheduler.Run(scheduling) })
}

// end ends the daemon, as a service manager does. It reports whether every report was
// renewed before.
func (w *world) end() bool {
	d := w.daemon
	w.mu.Lock()
	allWell := w.held == w.current && w.now() > w.well+10*time.Second && w.now() > w.apiEnds+w.interval && w.duty.scope == duty.Everything
	stalled := time.Now().Before(w.stalled)
	w.mu.Unlock()
	began := time.Now()
	d.schedule()
	d.scheduled.Wait()
	d.deliver()
	d.delivered.Wait()
	w.mu.Lock()
	defer w.mu.Unlock()
	var all probe.ID
	if took := time.Since(began); took > 5*time.Second && !stalled {
		w.breaks(all, "the daemon took %v to end, want 5s at most", took)
	}
	if known, scheduled, current := d.scheduler.Known(); known != current || scheduled != current {
		w.breaks(all, "got %d replicas known and %d scheduled at the end, want the %d of the map", known, scheduled, current)
	}
	if n := len(d.inFlight); n > 0 {
		w.breaks(all, "got %d requests in flight at the end, want none", n)
	}
	if !allWell || stalled {
		return false
	}
	if n := d.outbox.Waiting(); n > 0 {
		w.breaks(all, "got %d verdicts waiting at the end, want none", n)
	}
	for id, r := range w.watched {
		if n := len(r.puts); r.present && n > 0 && r.putAt > max(r.handed, w.reloaded) && r.puts[n-1].health != r.shown.health {
			w.breaks(id, "the page shows %v at the end, want %v: a verdict is lost", r.shown.verdict, r.puts[n-1])
		}
	}
	return w.now() > max(w.calm(), w.well, w.reloaded)+w.interval+38*time.Second
}

// kill ends the daemon at once.
func (w *world) kill() {
	w.mu.Lock()
	w.daemon.killed = true
	w.mu.Unlock()
	w.daemon.schedule()
	w.daemon.deliver()
	w.daemon.scheduled.Wait()
	w.daemon.delivered.Wait()
}

// happen has e happen.
func (w *world) happen(e event) {
	w.mu.Lock()
	defer w.mu.Unlock()
	now := w.now()
	switch e.kind {
	case mapChanges:
		m := w.maps[0]
		w.churned, w.brief = true, false
		w.maps = w.maps[1:]
		w.install(m, e.variant())
		if now < w.excused { // a trial may be of a replica that is not there any more
			w.disturb(now, w.recovery()+pace.Trial(w.interval))
		}
	case mapFails:
		w.planned = false
		w.mapMood, w.mapEnds = of(mapMoods, e.a), now+of(lengths, e.b&15)
	case apiFails, apiFailsAgain:
		w.api, w.apiEnds, w.once = e.mood(), now+of(lengths, e.b&15), false
		w.longestRTT = max(w.longestRTT, w.api.after)
		if w.api.mixed {
			w.longestRTT = time.Second
		}
		w.fails(w.apiEnds)
	case replicasTurn, replicasTurnToo:
		first, last, turns := e.turn()
		if h := turns.health(); h == probe.Dead || h == probe.Unknown {
			w.churned, w.brief = true, false
		}
		for n := first; n < last; n++ {
			w.is[n] = turns
		}
		w.turnAll()
	case manyDie:
		d := of(lengths, e.b&15)
		again := now < w.massEnds
		w.massOf, w.massEnds = 1+int(e.a%4), now+d
		w.brief = !w.churned && w.massOf == 4 && d <= 2*time.Second && !again
		w.churned = w.churned || !w.brief
		w.turnAll()
		time.AfterFunc(d, func() {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.turnAll()
		})
	case reloads, moves:
		w.reload(e)
	case ends:
		w.mu.Unlock()
		renewed := w.end()
		w.restart(of(lengths, e.b&15), renewed && of(lengths, e.b&15) <= w.promise)
	case isKilled:
		w.mu.Unlock()
		w.kill()
		w.restart(of(lengths, e.b&15), false)
	case scopeChanges:
		if w.script.shared {
			w.changeScope(e.scope())
		}
	case stalls:
		d := of(lengths, e.b&15)
		if until := time.Now().Add(d); until.After(w.stalled) {
			w.stalled = until
		}
		w.longestRTT = max(w.longestRTT, d)
		more := w.interval + 38*time.Second
		if d > pace.UnauthorizedGrace && w.api.err == statusapi.ErrUnauthorized {
			more += time.Minute // between two trials of a token that seems to be refused for long
		}
		w.disturb(now+d, more)
		w.settled = max(w.settled, now+d+more)
	case isSuspended:
		w.suspended += of(lengths, e.b&15)
		w.disturb(w.now()+max(0, time.Until(w.stalled)), min(w.interval, pace.LongestProbe)+38*time.Second)
	case roundTripChanges:
		w.rtt = of(roundTrips, e.a)
		w.longestRTT = max(w.longestRTT, w.rtt)
		if now < w.apiEnds {
			w.fails(w.apiEnds)
		}
	}
}

// restart begins another run after an absence; the page must not show one that was
// planned and is shorter than the promise. It takes the lock.
func (w *world) restart(after time.Duration, planned bool) {
	ended := w.now()
	time.Sleep(after)
	w.mu.Lock()
	w.stalled = time.Time{}
	if w.planned = planned && w.now() > w.mapEnds; w.planned {
		w.disturb(w.now(), 0)
		w.failing = ended // an outage that follows at once makes it longer
	} else {
		w.disturb(w.now(), 38*time.Second+pace.LongestProbe)
	}
	w.mu.Unlock()
	w.begin()
	w.mu.Lock()
}

// reload takes up the settings of e, as the daemon does. The caller holds the lock.
func (w *world) reload(e event) {
	if w.crowded() {
		w.disturb(w.now(), w.interval+38*time.Second+pace.LongestProbe)
	}
	w.interval, w.promise, w.workers, w.reloaded = e.interval(), promiseOf(e.interval(), e.b), e.workers(), w.now()
	page := scheduler.SamePage
	if e.kind == moves {
		page = scheduler.OtherPage
		w.page++
		for _, r := range w.watched {
			r.shown.at, r.entered, r.handed = 0, w.now(), never
		}
	}
	settings, terms, d := w.settings(), w.terms(), w.daemon
	w.mu.Unlock()
	if page == scheduler.OtherPage {
		d.outbox.Forget()
	}
	d.outbox.Reload(settings.API.(*client), terms)
	d.scheduler.Reload(context.Background(), settings, page)
	w.mu.Lock()
}

// changeScope makes scope that of the daemon. The caller holds the lock.
func (w *world) changeScope(scope duty.Scope) {
	if scope == w.duty.scope {
		return
	}
	w.duty.before, w.duty.scope, w.duty.at = w.duty.scope, scope, w.now()
	w.disturb(w.now(), 8*time.Second+w.recovery())
	select {
	case w.duty.changed <- struct{}{}:
	default:
	}
}

// heal ends all that is wrong, but for replicas that are dead. It returns the time until
// all is well.
func (w *world) heal() time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	now := w.now()
	w.apiEnds, w.mapEnds, w.massEnds = min(w.apiEnds, now), min(w.mapEnds, now), min(w.massEnds, now)
	w.well, w.brief = min(w.well, now), false
	w.disturb(now+max(requestTimeout, time.Until(w.stalled)), 0)
	w.changeScope(duty.Everything)
	for n, is := range w.is {
		if is.health() == probe.Unknown {
			w.is[n] = up
		}
	}
	w.turnAll()
	if w.crowded() {
		w.reload(event{kind: reloads, a: byte(slices.Index(intervals, w.interval))})
	}
	return max(0, w.well-w.now())
}

// FuzzPage plays a script to the real scheduler and the real outbox, in faked time:
// whatever it is, no verdict is lost, none follows a newer one, no replica that is up is
// shown dead while the API and the host are well, and nothing is left at the end.
func FuzzPage(f *testing.F) {
	for _, s := range scripts() {
		f.Add(s.data)
	}
	source := newMapSource(f)
	f.Fuzz(func(t *testing.T, data []byte) {
		s := parseScript(data)
		s.wantKept(t, s.play(t, s.maps(t, source)))
	})
}

func (s script) wantKept(t *testing.T, broken []string) {
	t.Helper()
	const enough = 10
	if n := len(broken); n > enough {
		broken = append(broken[:enough:enough], fmt.Sprintf("and %d more", n-enough))
	}
	if len(broken) > 0 {
		t.Errorf("%v\n%s", s, strings.Join(broken, "\n"))
	}
}

func TestScripts(t *testing.T) {
	source := newMapSource(t)
	for _, named := range scripts() {
		t.Run(named.name, func(t *testing.T) {
			s := parseScript(named.data)
			s.wantKept(t, s.play(t, s.maps(t, source)))
		})
	}
	random := rand.New(rand.NewPCG(10, 7))
	for i := range 30 {
		t.Run(fmt.Sprintf("random %d", i), func(t *testing.T) {
			data := make([]byte, scriptHead+3*random.IntN(mostEvents))
			for i := range data {
				data[i] = byte(random.Uint32())
			}
			s := parseScript(data)
			s.wantKept(t, s.play(t, s.maps(t, source)))
		})
	}
}
