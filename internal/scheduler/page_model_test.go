package scheduler_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/crisp-im/crisp-status-local/v2/internal/duty"
	"github.com/crisp-im/crisp-status-local/v2/internal/pace"
	"github.com/crisp-im/crisp-status-local/v2/internal/probe"
	"github.com/crisp-im/crisp-status-local/v2/internal/report"
	"github.com/crisp-im/crisp-status-local/v2/internal/statusapi"
)

// behaviour is what a replica is.
type behaviour byte

const (
	up behaviour = iota
	sick
	upAfter5s
	upAfter9s
	upAfter30s
	dead
	deadAfterAll // attempts have waited in vain
	untold       // since this host is in trouble
	denied
	flapping
	behaviours
)

func (b behaviour) String() string {
	return []string{"up", "sick", "up after 5s", "up after 9s", "up after 30s", "dead", "dead after all attempts", "untold: trouble of this host", "denied", "flapping"}[b]
}

// health returns what the page is to show; unknown where it may show anything.
func (b behaviour) health() probe.Health {
	switch b {
	case up, upAfter5s, upAfter9s, upAfter30s:
		return probe.Healthy
	case sick:
		return probe.Sick
	case dead, deadAfterAll:
		return probe.Dead
	}
	return probe.Unknown
}

// mood is what the API does to the reports of a while, and to map requests.
type mood struct {
	name  string
	err   error         // nil: it takes them
	after time.Duration // it answers; requestTimeout: never
	taken bool          // it takes them whatever it answers
	mixed bool          // each meets any of the moods
}

func (m mood) String() string { return m.name }

var (
	apiMoods = []mood{
		{name: "no connection", err: errUnreachable},
		{name: "hangs", err: errUnreachable, after: requestTimeout},
		{name: "401", err: statusapi.ErrUnauthorized},
		{name: "403", err: refusal(403, 0)},
		{name: "404", err: statusapi.ErrUnknownReplica},
		{name: "429", err: refusal(429, 0)},
		{name: "429, after an hour", err: refusal(429, time.Hour)},
		{name: "500", err: refusal(500, 0)},
		{name: "502 after 4s", err: refusal(502, 0), after: 4 * time.Second},
		{name: "503, after 3s", err: refusal(503, 3*time.Second)},
		{name: "answers after 4s", after: 4 * time.Second},
		{name: "answers after 6s", after: 6 * time.Second},
		{name: "takes reports and never answers", err: errUnreachable, after: requestTimeout, taken: true},
		{name: "takes reports and resets the connection", err: errUnreachable, taken: true},
		{name: "takes reports and answers 502", err: refusal(502, 0), taken: true},
		{name: "any of these at a time", mixed: true},
	}
	mapMoods = []string{"no connection", "401", "a broken map", "hang"}
)

// mood returns what the API does, and to how many of ten replicas; 0: to one report.
func (e event) mood() apiMood {
	return apiMood{of(apiMoods, e.a), of([]int{10, 10, 3, 0}, e.b>>4)}
}

type apiMood struct {
	mood
	only int
}

func (m apiMood) String() string {
	switch m.only {
	case 0:
		return m.name + ", once"
	case 10:
		return m.name
	}
	return fmt.Sprintf("%s, for %d of ten replicas", m.name, m.only)
}

func (e event) scope() duty.Scope { return duty.Scope(e.a % 3) }

// watched is a replica, as it is, as the scheduler judges it and as the page shows it.
type watched struct {
	n       int
	is      behaviour
	since   time.Duration // it is that
	born    time.Duration
	upSince time.Duration // it is up in any way; never while it is not

	probing bool
	probes  int
	puts    []verdict // the newest one, and those that it replaced in the same moment
	putAt   time.Duration

	measured time.Time // as putAt, by a clock that stands still in suspend

	present  bool          // in the API's map
	entered  time.Duration // that
	handed   time.Duration // to the daemon, first; never before
	underWay bool          // a report
	shown    struct {
		at, promise time.Duration
		verdict
	}
	known probe.Health // of the last report of which the daemon had the answer
}

type verdict struct {
	n      int // counts the verdicts of a replica
	health probe.Health
}

const never = time.Duration(math.MaxInt64)

// world is a daemon, its replicas, its host, the API and the page that it makes. Times are
// the page's, which go on while the host is suspended.
type world struct {
	script script
	maps   []*statusapi.Map // those that the script brings yet
	start  time.Time
	daemon *daemon
	duty   *scopes

	mu        sync.Mutex // protects all following fields, and the scope
	random    *rand.Rand
	suspended time.Duration
	stalled   time.Time // until then

	interval, promise time.Duration
	workers           int
	reloaded          time.Duration
	page              int // counts the pages, of which the last one is watched
	rtt, longestRTT   time.Duration
	current           *statusapi.Map
	held              *statusapi.Map // by the daemon; nil: none
	heldAt            time.Duration  // since then
	mapRefused        bool           // the last request was
	dateless          bool
	copies            map[*statusapi.Map]*statusapi.Map // that were handed out, by what they were
	watched           map[probe.ID]*watched
	is                [mostReplicas]behaviour
	massEnds          time.Duration // until then, some replicas are dead
	massOf            int           // of 4 replicas, so many

	api     apiMood
	apiEnds time.Duration
	once    bool // the mood for one report has been
	mapMood string
	mapEnds time.Duration
	failing time.Duration // the API fails since then, with short breaks

	well    time.Duration // since when all is; in the future while it is not
	settled time.Duration // since when nothing waits for a retry any more
	planned bool          // the last absence was
	brief   bool          // all replicas were up, but for a moment when this host could reach none
	churned bool          // the map has changed, or replicas were not up
	excused time.Duration // what a report until then is late for has a reason

	broken []string
}

// scopes is the duty of a world.
type scopes struct {
	world   *world
	scope   duty.Scope
	before  duty.Scope
	at      time.Duration // when scope began
	changed chan struct{}
}

func (s *scopes) Run(ctx context.Context)  { <-ctx.Done() }
func (s *scopes) Changed() <-chan struct{} { return s.changed }

func (s *scopes) Scope() duty.Scope {
	s.world.mu.Lock()
	defer s.world.mu.Unlock()
	return s.scope
}

func (s *scopes) State() duty.State {
	if s.world.script.shared {
		return duty.State{Engine: duty.EngineEtcd}
	}
	return duty.State{Engine: duty.EngineNone}
}

func (w *world) now() time.Duration { return time.Since(w.start) + w.suspended }

// breaks notes that a promise is broken. The caller holds the lock.
func (w *world) breaks(id probe.ID, format string, args ...any) {
	w.broken = append(w.broken, fmt.Sprintf("at %v: %s/%s: %s", w.now(), id.Node, id.Replica, fmt.Sprintf(format, args...)))
}

// site returns the record of a replica, a new one if there is none. The caller holds the lock.
func (w *world) site(id probe.ID) *watched {
	r := w.watched[id]
	if r == nil {
		n := numberOf(id.Replica)
		r = &watched{n: n, born: w.now(), upSince: never, handed: never, entered: never}
		w.turn(r)
		w.watched[id] = r
	}
	return r
}

// turn makes r what its number has it be. The caller holds the lock.
func (w *world) turn(r *watched) {
	is := w.is[r.n]
	if w.now() < w.massEnds && r.n%4 < w.massOf {
		is = dead
	}
	if r.is != is || r.since == 0 {
		r.since = w.now()
	}
	wasUp := r.upSince != never
	r.is = is
	switch h := is.health(); {
	case h == probe.Dead || h == probe.Unknown:
		r.upSince = never
	case !wasUp:
		r.upSince = w.now()
	}
}

// turnAll is turn for all replicas.
func (w *world) turnAll() {
	for _, r := range w.watched {
		w.turn(r)
	}
}

// disturb notes that something is wrong until then: whoever is not reported because of
// it must be so within recovery after its end.
func (w *world) disturb(until, recovery time.Duration) {
	w.well = max(w.well, until)
	w.excused = max(w.excused, until+recovery)
}

// install makes m the map of the API. The caller holds the lock.
func (w *world) install(m *statusapi.Map, v mapVariant) {
	w.current, w.dateless = m, v.dateless()
	there := make(map[probe.ID]bool)
	for i := range m.Checks {
		there[m.Checks[i].ID()] = true
		w.site(m.Checks[i].ID())
	}
	for id, r := range w.watched {
		switch {
		case there[id] && !r.present:
			r.present, r.entered, r.handed = true, w.now(), never
		case !there[id]:
			r.present, r.shown.at = false, 0
		}
	}
}

// fails notes that the API does until then. An outage that is short and alone is no
// excuse.
func (w *world) fails(until time.Duration) {
	now, more := w.now(), time.Duration(0)
	if w.api.only < 10 || w.api.mixed {
		more = requestTimeout + w.interval/2 // one may hang, or be rejected alone
	}
	if w.api.mixed || w.api.err == statusapi.ErrUnauthorized && until-now > pace.UnauthorizedGrace {
		more += time.Minute
	}
	if w.api.after > pace.StatusLine {
		more += requestTimeout
	}
	throttled := time.Duration(0)
	if away, ok := errors.AsType[*statusapi.UnavailableError](w.api.err); ok && away.Throttled || w.api.mixed {
		throttled = min(w.interval, pace.Spread(w.interval)+30*time.Second)
	}
	w.settled = max(w.settled, until+w.recovery()+more+throttled)
	if w.failing == 0 || now > w.well+w.promise+pace.Grace {
		w.failing = now
	}
	if until-w.failing <= pace.Outage {
		w.well = max(w.well, until)
		return
	}
	w.disturb(until, w.recovery()+more)
}

// recovery is the time in which all that waits is delivered: after the round trip of a
// trial, by eight requests at a time, or as many as take two seconds.
func (w *world) recovery() time.Duration {
	return 6*time.Second + w.rtt + min(mostReplicas*w.rtt/8, 2*time.Second)
}

// scribe takes note of the verdicts on their way to the outbox.
type scribe struct {
	*report.Outbox
	w *world
}

func (r scribe) Put(v statusapi.Verdict) {
	r.record(v)
	r.Outbox.Put(v)
}

func (r scribe) Renew(v statusapi.Verdict) {
	r.record(v)
	r.Outbox.Renew(v)
}

func (r scribe) record(v statusapi.Verdict) {
	w := r.w
	w.wait()
	w.mu.Lock()
	defer w.mu.Unlock()
	at := w.site(v.ID)
	w.wantTaken(v.ID, at)
	if w.brief && v.Health == probe.Dead {
		w.breaks(v.ID, "got the verdict dead, want none: this host reached no replica for a moment")
	}
	if now := w.now(); now > at.putAt {
		at.puts, at.putAt = at.puts[max(0, len(at.puts)-1):], now
	}
	at.measured = time.Now()
	at.probes++
	at.puts = append(at.puts, verdict{at.probes, v.Health})
}

// calm returns since when every report is taken at its first try.
func (w *world) calm() time.Duration {
	held := w.heldAt + w.recovery()
	if w.held != w.current {
		held = never
	}
	return max(w.settled, w.excused, w.duty.at, held)
}

// wantTaken checks that the page has the newest verdict of r, unless it had no time for
// that. The caller holds the lock.
func (w *world) wantTaken(id probe.ID, r *watched) {
	if len(r.puts) == 0 || !r.present || w.duty.scope != duty.Everything || r.putAt <= max(r.handed, w.reloaded) {
		return
	}
	newest := r.puts[len(r.puts)-1]
	if r.shown.n >= newest.n || r.shown.health == newest.health && w.promise > w.interval {
		return
	}
	if w.script.shared && newest.health == probe.Dead && time.Since(r.measured) > pace.FreshFor(w.interval) {
		return // it is too old to be sent, and the replica is probed again
	}
	if waits := w.now() - max(r.putAt, w.calm()); waits > w.recovery() {
		w.breaks(id, "the page has %v, want %v, which has waited for %v", r.shown.verdict, newest, waits)
	}
}

func (r scribe) Repeat(v statusapi.Verdict) {
	r.w.wait()
	r.wantNewest(v, "repeated")
	r.Outbox.Repeat(v)
}

func (r scribe) Leave(verdicts iter.Seq[statusapi.Verdict]) {
	r.Outbox.Leave(func(yield func(statusapi.Verdict) bool) {
		for v := range verdicts {
			r.wantNewest(v, "left")
			if !yield(v) {
				return
			}
		}
	})
}

// wantNewest checks that v is the last verdict that was measured.
func (r scribe) wantNewest(v statusapi.Verdict, what string) {
	r.w.mu.Lock()
	defer r.w.mu.Unlock()
	at := r.w.site(v.ID)
	if n := len(at.puts); (n == 0 || at.puts[n-1].health != v.Health) && !r.w.recalls(at, v) {
		r.w.breaks(v.ID, "got %s %s, want the last of %v", v.Health, what, at.puts)
	}
}

// wait waits while the daemon is stalled.
func (w *world) wait() {
	w.mu.Lock()
	until := w.stalled
	w.mu.Unlock()
	time.Sleep(time.Until(until))
}

// Refresh and Probe make a world a Prober.
func (w *world) Refresh() {}

var errOfHost = &probe.Error{Kind: probe.KindLocal, Reason: "too many open files"}

func (w *world) Probe(ctx context.Context, task probe.Task) probe.Result {
	id := task.Check.ID()
	w.mu.Lock()
	r := w.site(id)
	if r.probing {
		w.breaks(id, "got two probes at a time, want one")
	}
	r.probing = true
	longest := task.Check.Rules.Longest(task.Budget)
	if task.Attempts == 1 {
		longest = task.Check.Rules.DeadAfter
	}
	result := probe.Result{Check: task.Check, Attempts: 1, Health: r.is.health()}
	takes := time.Duration(0)
	switch r.is {
	case upAfter5s:
		takes = 5 * time.Second
	case upAfter9s:
		takes = 9 * time.Second
	case upAfter30s:
		takes = 30400 * time.Millisecond
	case dead:
		takes, result.Err = 400*time.Millisecond, errRefused
	case deadAfterAll:
		takes, result.Err = longest, errRefused
	case untold:
		takes, result.Err = time.Duration(w.random.Int64N(int64(longest))), errOfHost
	case denied:
		result.Err = &probe.Error{Kind: probe.KindPolicy, Reason: "denied"}
	case flapping:
		takes, result.Health = time.Duration(w.random.Int64N(int64(longest))), probe.Healthy
		if w.random.IntN(2) == 0 {
			result.Health, result.Err = probe.Dead, errRefused
		}
	}
	w.mu.Unlock()
	err := pause(ctx, min(takes, longest))
	w.wait()
	w.mu.Lock()
	defer w.mu.Unlock()
	r.probing = false
	if err != nil {
		return probe.Result{Check: task.Check, Err: err}
	}
	return result
}

// client is the API and the network to it, for one run of the daemon and one page.
type client struct {
	*world
	of   *daemon
	page int
}

func (c *client) FetchMap(ctx context.Context, prev *statusapi.Map) (*statusapi.Map, error) {
	c.mu.Lock()
	mood, takes := "", c.rtt
	var err error
	if c.now() < c.mapEnds {
		mood = c.mapMood
	} else if c.now() < c.apiEnds && c.api.only == 10 {
		switch api := c.api; {
		case api.after >= requestTimeout, api.mixed && c.random.IntN(4) == 0:
			mood = "hang"
		case api.err == statusapi.ErrUnauthorized:
			mood = "401"
		case api.err != nil || api.mixed && c.random.IntN(2) == 0:
			mood = "no connection"
		}
	}
	switch mood {
	case "401":
		err = statusapi.ErrUnauthorized
	case "hang":
		takes, err = 3*requestTimeout+10*time.Second, errUnreachable
	case "no connection", "a broken map":
		takes, err = min(10*time.Second, c.interval), errUnreachable
	}
	c.mu.Unlock()
	if paused := pause(ctx, takes); paused != nil {
		return nil, paused
	}
	c.wait()
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case err != nil:
		c.mapRefused = true
		return nil, err
	case c.of.killed || c.page != c.world.page:
		return nil, errUnreachable
	}
	if c.held != nil && c.held != c.current && c.mapRefused {
		c.disturb(c.now(), c.recovery()+pace.Trial(c.interval))
	}
	c.mapRefused = false
	if c.held != c.current {
		c.held, c.heldAt = c.current, c.now()
	}
	for i := range c.current.Checks {
		if r := c.site(c.current.Checks[i].ID()); r.handed == never {
			r.handed = c.now()
		}
	}
	if prev != nil && c.copies[prev] == c.current && !c.dateless {
		return prev, nil
	}
	again := *c.current
	c.copies[&again] = c.current
	return &again, nil
}

// Report makes a client a Reporter.
func (c *client) Report(ctx context.Context, v statusapi.Verdict, promise time.Duration) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	r, began, now := c.site(v.ID), time.Now(), c.now()
	if r.underWay {
		c.breaks(v.ID, "got two requests at a time, want one")
	}
	r.underWay = true
	defer func() { r.underWay = false }()
	c.of.inFlight[&began] = true
	defer func() { delete(c.of.inFlight, &began) }()
	c.wantFew(v.ID)
	sent := c.wantSent(r, v)
	if promise != c.promise && c.reloaded < now && c.page == c.world.page {
		c.breaks(v.ID, "got the promise %v, want %v", promise, c.promise)
	}
	if isDead := v.Health == probe.Dead; !c.duty.scope.Permits(isDead) && (c.duty.at < now || !c.duty.before.Permits(isDead)) {
		c.breaks(v.ID, "got a report of %s begun within the scope %v", v.Health, c.duty.scope)
	}
	if age := time.Since(r.measured); c.script.shared && v.Health == probe.Dead && age > pace.FreshFor(c.interval) && c.reloaded < now {
		c.breaks(v.ID, "got a death sent that is %v old", age)
	}
	m := c.meets(r)
	wait := func(d time.Duration) error {
		c.mu.Unlock()
		err := pause(ctx, d)
		c.world.wait()
		c.mu.Lock()
		return err
	}
	// What is cancelled after half of the way has reached the page, and its answer is lost.
	if err := wait(max(c.rtt/2, min(m.after, 19*time.Second))); err != nil {
		return err
	}
	var refused error
	if m.err == nil || m.taken {
		refused = c.take(r, v, sent, promise)
	}
	if m.after >= requestTimeout {
		wait(time.Second)
	} else if err := wait(c.rtt / 2); err != nil {
		return err
	}
	if m.err != nil {
		return m.err
	}
	if refused == nil {
		r.known = v.Health
	}
	return refused
}

// meets returns the mood that the report of r meets. The caller holds the lock.
func (c *client) meets(r *watched) mood {
	m := c.api
	if c.now() >= c.apiEnds || m.only == 0 && c.once || m.only > 0 && r.n%10 >= m.only {
		return mood{}
	}
	c.once = true
	if m.mixed {
		if c.random.IntN(3) == 0 {
			return mood{}
		}
		return apiMoods[c.random.IntN(len(apiMoods)-1)]
	}
	return m.mood
}

// wantFew checks the number of requests in flight, of those that do not hang. The caller
// holds the lock.
func (c *client) wantFew(id probe.ID) {
	young := 0
	for began := range c.of.inFlight {
		if time.Since(*began) < time.Second/4 { // an older one may make room for another
			young++
		}
	}
	rtt := min(time.Second, max(c.longestRTT, 100*time.Millisecond))
	most := 8
	for _, within := range []time.Duration{pace.Spread(c.interval) * 4 / 5, 2 * time.Second} {
		most = max(most, int(math.Ceil(mostReplicas*rtt.Seconds()/within.Seconds())))
	}
	if young > most {
		c.breaks(id, "got %d requests in flight, want %d at most", young, most)
	}
}

// wantSent checks that v is the newest verdict, and returns it. The caller holds the lock.
func (c *client) wantSent(r *watched, v statusapi.Verdict) verdict {
	newest := r.puts
	if r.putAt < c.now() {
		newest = newest[max(0, len(newest)-1):]
	}
	for _, one := range slices.Backward(newest) {
		if one.health == v.Health {
			return one
		}
	}
	if c.recalls(r, v) {
		return verdict{r.shown.n, v.Health}
	}
	c.breaks(v.ID, "got %s sent, want the newest of %v", v.Health, newest)
	return verdict{r.probes, v.Health}
}

// recalls reports whether v may be what the page shows as far as the daemon knows, in the
// place of a death that it did not take before the API became silent: until the replica
// was probed again, which may take all attempts.
func (w *world) recalls(r *watched, v statusapi.Verdict) bool {
	newest := r.puts
	if r.putAt < w.now() {
		newest = newest[max(0, len(newest)-1):]
	}
	died := slices.ContainsFunc(newest, func(one verdict) bool { return one.health == probe.Dead })
	return died && (v.Health == r.shown.health || v.Health == r.known) && w.now() < max(w.apiEnds, w.excused)+requestTimeout+pace.LongestProbe
}

// take has the page take a report. The caller holds the lock.
func (c *client) take(r *watched, v statusapi.Verdict, sent verdict, promise time.Duration) error {
	now := c.now()
	switch {
	case c.of.killed:
		return errUnreachable
	case c.page != c.world.page:
		return nil
	case !r.present:
		return statusapi.ErrUnknownReplica
	}
	if isDead := v.Health == probe.Dead; !c.duty.scope.Permits(isDead) && c.duty.at < now {
		c.breaks(v.ID, "got a report of %s within the scope %v", v.Health, c.duty.scope)
	}
	if sent.n < r.shown.n && r.shown.at > 0 {
		c.breaks(v.ID, "got the verdict %v after %v", sent, r.shown.verdict)
	}
	c.wantInTime(v.ID, r)
	if v.Health == probe.Dead && r.upSince != never && now-max(r.upSince, c.excused) > c.tell() {
		c.breaks(v.ID, "got it reported dead, want never: it is up since %v", r.upSince)
	}
	r.shown.at, r.shown.promise, r.shown.verdict = now, promise, sent
	return nil
}

// wantInTime checks that a replica that is up is reported before the page turns red. The
// caller holds the lock.
func (w *world) wantInTime(id probe.ID, r *watched) {
	now, last := w.now(), r.shown
	if !r.present || r.handed == never || last.at == 0 || last.health == probe.Dead || r.upSince > last.at || w.duty.scope == duty.Nothing || w.crowded() {
		return
	}
	if w.held != nil && w.held != w.current && w.mapRefused {
		return // the API rejects replicas that the daemon cannot know to be gone
	}
	// One that the daemon had to learn of anew has no verdict to be repeated.
	limit := max(last.at+last.promise+38*time.Second, w.excused)
	if fast := r.is == up || r.is == sick; !fast || r.since > last.at || !w.planned {
		limit = max(limit, r.handed+38*time.Second+pace.LongestProbe)
	}
	if last.at > max(w.calm(), w.well, w.reloaded, r.handed) {
		limit = last.at + pace.Renewal(w.interval, w.promise) + w.interval + 6*time.Second + w.longestRTT
	}
	if now > limit {
		w.breaks(id, "unreported for %v, want %v at most", now-last.at, limit-last.at)
	}
}

// crowded reports whether probes wait for places, which is the operator's doing.
func (w *world) crowded() bool { return w.workers > 0 }

// tell is the longest from a change of a replica to the report of it, while all is well: the next
// turn, the probe; for a death the end of its cycle, and two confirmations.
func (w *world) tell() time.Duration {
	return 2*w.interval + pace.Spread(w.interval) + 2*pace.LongestProbe + 2*(3*time.Second+pace.LongestProbe)
}

// show returns what the page shows of a replica.
func (w *world) show(r *watched) probe.Health {
	switch {
	case r.shown.at == 0:
		return probe.Unknown
	case w.now() > r.shown.at+r.shown.promise+pace.Grace:
		return probe.Dead
	}
	return r.shown.health
}

// wantShown checks the page.
func (w *world) wantShown() {
	w.mu.Lock()
	defer w.mu.Unlock()
	now := w.now()
	for id, r := range w.watched {
		w.wantInTime(id, r)
		want, since := r.is.health(), max(r.since, r.entered, w.well, w.reloaded)
		if !r.present || r.handed == never || want == probe.Unknown || w.duty.scope != duty.Everything || w.crowded() {
			continue
		}
		since = max(since, r.handed)
		bound := w.tell()
		if want != probe.Dead {
			bound = w.interval + 38*time.Second
			if r.upSince > r.born && r.upSince+w.tell() > since {
				bound += pace.LongestProbe // a death may be in doubt
			}
		}
		if w.dateless {
			bound += w.promise
		}
		if got := w.show(r); now-since > bound && got != want {
			w.breaks(id, "the page shows it as %s (%v of %v), want %s, %v since %v, all well since %v", got, r.shown.verdict, r.shown.at, want, r.is, r.since, w.well)
		}
	}
}
