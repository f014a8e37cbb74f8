//go:build linux

package main

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"sync"
	"sync/atomic"
	"time"

	"github.com/crisp-im/crisp-status-local/v2/internal/config"
	"github.com/crisp-im/crisp-status-local/v2/internal/duty"
	"github.com/crisp-im/crisp-status-local/v2/internal/probe"
	"github.com/crisp-im/crisp-status-local/v2/internal/scheduler"
	"github.com/crisp-im/crisp-status-local/v2/internal/statusapi"
)

const (
	countEvery   = 10 * time.Second       // between two counts, which other daemons show: 100,000 replicas take 20 ms
	countTimeout = 100 * time.Millisecond // for the scheduler to count: the renewal of the lease waits for it
	mapTimeout   = 10 * time.Second       // for the first map, before another daemon may take over
)

// dutyKeeper runs the duty of the configuration in force, which the outbox obeys, and
// replaces it at a reload.
type dutyKeeper struct {
	d *daemon

	mu    sync.Mutex // protects all following fields
	end   func()     // gives the duty back, and returns when that is done; nil if nothing runs
	ended bool       // the daemon ends
	of    dutySettings

	current  atomic.Pointer[duty.Duty]
	client   atomic.Pointer[statusapi.Client] // of the configuration in force
	draining atomic.Bool                      // the scheduler has ended
	mapHeld  atomic.Bool                      // the first map has come
	began    time.Time
}

// dutySettings is the part of the configuration that a duty depends on.
type dutySettings struct {
	cluster config.Cluster
	page    string
}

func dutyOf(c config.Config) dutySettings { return dutySettings{c.Cluster, pageHash(c)} }

func (s dutySettings) equal(other dutySettings) bool {
	return s.page == other.page && s.cluster.Equal(other.cluster)
}

// pageHash tells pages apart without the token. The endpoint is no part of it: the
// hosts of a group may reach one page by different ones, such as a proxy of each site.
func pageHash(c config.Config) string {
	sum := sha256.Sum256([]byte("crisp-status-local page\x00" + c.Token.Reveal()))
	return hex.EncodeToString(sum[:8])
}

// newDutyKeeper makes the outbox of d obey the duty of c. The caller then calls start, and
// giveBack in the end.
func newDutyKeeper(d *daemon, c config.Config) *dutyKeeper {
	k := &dutyKeeper{d: d, began: time.Now()}
	k.client.Store(d.client)
	k.obey(dutyOf(c))
	return k
}

// State returns the state of the duty in force.
func (k *dutyKeeper) State() duty.State { return (*k.current.Load()).State() }

// obey makes the outbox obey the duty of s.
func (k *dutyKeeper) obey(s dutySettings) {
	k.of = s
	next := k.dutyOf(s)
	k.current.Store(&next)
	k.d.outbox.Obey(next)
}

// start seeks the duty. It must be called once, while the outbox runs.
func (k *dutyKeeper) start() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.seek()
	k.sayMode(config.NoEngine)
}

// sayMode logs an engine that never decides anything, so that it logs nothing itself,
// unless the one before was the same.
func (k *dutyKeeper) sayMode(before config.Engine) {
	switch now := k.of.cluster.Engine; {
	case now == before:
	case now == config.Alive:
		k.d.log.Warn("engine alive: healthy and sick are reported, and no daemon reports dead: the page shows a replica dead by itself, promise + 40 s after its last report")
	case now == config.NoEngine:
		k.d.log.Warn("no engine any more: this daemon is alone, and reports everything")
	}
}

// seek runs the duty in a goroutine of its own; a duty that never changes needs none.
func (k *dutyKeeper) seek() {
	switch k.of.cluster.Engine {
	case config.Address, config.Etcd:
	default:
		return
	}
	sought := *k.current.Load()
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { sought.Run(ctx) })
	k.end = func() { cancel(); running.Wait() }
}

// leave gives the duty back if c has another one. Then nothing is reported until take.
func (k *dutyKeeper) leave(c config.Config) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if !k.of.equal(dutyOf(c)) {
		k.giveUp()
	}
}

// take seeks the duty of c if it is another one than that in force.
func (k *dutyKeeper) take(c config.Config) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if s := dutyOf(c); !k.ended && !k.of.equal(s) {
		before := k.of.cluster.Engine
		k.obey(s)
		k.seek()
		k.sayMode(before)
	}
}

// giveBack gives the duty back for good, so that another daemon takes over at once. The
// outbox must have ended.
func (k *dutyKeeper) giveBack() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.ended = true
	k.giveUp()
}

func (k *dutyKeeper) giveUp() {
	if k.end != nil {
		k.end()
		k.end = nil
	}
}

// dutyOf returns the duty for s.
func (k *dutyKeeper) dutyOf(s dutySettings) duty.Duty {
	c := s.cluster
	switch c.Engine {
	case config.Alive:
		return duty.AliveOnly(c.Member)
	case config.Address:
		return duty.NewAddress(c.Addr, c.Member, k.d.log)
	case config.Etcd:
		etcd, err := duty.NewEtcd(k.etcdSettings(s), k.d.log)
		if err != nil {
			k.d.log.WithError(err).Error("no duty can be had by these settings: only healthy and sick are reported; dead is left to the page, which shows it by itself")
			return duty.AliveOnly(c.Member)
		}
		return etcd
	}
	return duty.Always()
}

// etcdSettings returns the settings for s, with the functions of this daemon.
func (k *dutyKeeper) etcdSettings(s dutySettings) duty.EtcdSettings {
	settings := etcdSettings(s)
	at := &cachedTotals{scheduler: k.d.scheduler}
	settings.Alive, settings.TryAPI, settings.Seen = k.alive, k.tryAPI, at.counts
	settings.API = func() duty.APIView { return k.api(at) }
	return settings
}

// etcdSettings returns the settings for s, without functions except the password's.
func etcdSettings(s dutySettings) duty.EtcdSettings {
	c := s.cluster
	settings := duty.EtcdSettings{
		Endpoints: c.Endpoints, Group: c.Group, Member: c.Member, Version: version, Page: s.page, TTL: c.TTL, User: c.User,
	}
	if c.User != "" {
		settings.Password = func() (string, error) { return c.Password.Reveal(), nil }
	}
	if c.RootCAs != nil || c.Certificate != nil {
		settings.TLS = &tls.Config{RootCAs: c.RootCAs, MinVersion: tls.VersionTLS12}
		if c.Certificate != nil {
			settings.TLS.Certificates = []tls.Certificate{*c.Certificate}
		}
	}
	return settings
}

// alive returns nil while this daemon makes progress: the scheduler and the outbox, and
// once the scheduler has ended, the outbox alone.
func (k *dutyKeeper) alive(ctx context.Context) error {
	if k.draining.Load() {
		return k.d.outbox.Ping(ctx)
	}
	return k.d.observer.Alive(ctx)
}

// api returns what this daemon knows of the Status API.
func (k *dutyKeeper) api(at *cachedTotals) duty.APIView {
	taken, inVain := k.d.outbox.Answered()
	return duty.APIView{Answered: at.answered(taken), Taken: taken, InVain: inVain || k.mapless()}
}

// mapless reports whether this daemon has waited for its first map for over mapTimeout.
// Without a map it has nothing to report, and nobody would report if it stayed on duty:
// so a missing map counts as a report that fails.
func (k *dutyKeeper) mapless() bool {
	if k.mapHeld.Load() || time.Since(k.began) < mapTimeout {
		return false
	}
	ctx, cancel := context.WithTimeout(context.Background(), countTimeout)
	defer cancel()
	shot, err := k.d.scheduler.Snapshot(ctx, scheduler.Totals)
	if err == nil && shot.Map.Held {
		k.mapHeld.Store(true)
	}
	return err == nil && !shot.Map.Held
}

// tryAPI requests the map from the Status API, and drops the answer.
func (k *dutyKeeper) tryAPI(ctx context.Context) error {
	shot, err := k.d.scheduler.Snapshot(ctx, scheduler.Totals)
	if err != nil {
		return err
	}
	_, err = k.client.Load().FetchMap(ctx, shot.Map.Current)
	return err
}

// cachedTotals holds the scheduler's totals, at most countEvery old while it answers. One
// goroutine may use it at a time.
type cachedTotals struct {
	scheduler *scheduler.Scheduler
	at        time.Time
	shot      scheduler.Snapshot
}

// refresh asks the scheduler if the totals are older than countEvery.
func (g *cachedTotals) refresh() {
	if time.Since(g.at) < countEvery {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), countTimeout)
	defer cancel()
	if shot, err := g.scheduler.Snapshot(ctx, scheduler.Totals); err == nil {
		g.shot, g.at = shot, time.Now()
	}
}

// counts returns how many replicas have each health.
func (g *cachedTotals) counts() (healthy, sick, dead int) {
	g.refresh()
	return g.shot.Counts[probe.Healthy], g.shot.Counts[probe.Sick], g.shot.Counts[probe.Dead]
}

// answered returns when the Status API last answered: it took a report, at the time
// taken, or gave a map, since a standby sends no reports. It is zero if a later map
// request failed.
func (g *cachedTotals) answered(taken time.Time) time.Time {
	g.refresh()
	return lastAnswer(taken, g.shot.Map)
}

func lastAnswer(taken time.Time, m scheduler.MapState) time.Time {
	switch {
	case m.Err == nil && m.At.After(taken):
		return m.At
	case m.Err != nil && taken.Before(m.FailingSince):
		return time.Time{}
	}
	return taken
}
