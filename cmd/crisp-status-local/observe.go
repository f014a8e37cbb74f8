//go:build linux

package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/crisp-im/crisp-status-local/v2/internal/config"
	"github.com/crisp-im/crisp-status-local/v2/internal/duty"
	"github.com/crisp-im/crisp-status-local/v2/internal/endpoint"
	"github.com/crisp-im/crisp-status-local/v2/internal/probe"
	"github.com/crisp-im/crisp-status-local/v2/internal/report"
	"github.com/crisp-im/crisp-status-local/v2/internal/scheduler"
	"github.com/crisp-im/crisp-status-local/v2/internal/status"
)

// observer is the daemon as the endpoint and the unix socket show it.
type observer struct {
	scheduler *scheduler.Scheduler
	outbox    *report.Outbox
	duty      func() duty.State
	log       *logrus.Logger
	started   time.Time
	facts     atomic.Pointer[facts]
	server    atomic.Pointer[status.Server] // nil where nothing is to be served

	// Of the goroutine that reloads.
	served  *endpoint.Server
	serving endpointSettings // those of served
}

// facts are what is shown of the configuration.
type facts struct {
	path, endpoint string
	reloaded       endpoint.Reload
}

// endpointSettings are the part of the configuration that the endpoint is of.
type endpointSettings struct {
	inet           string
	hosts          []string
	replicaMetrics bool
}

func newObserver(s *scheduler.Scheduler, o *report.Outbox, d func() duty.State, log *logrus.Logger, c config.Config) *observer {
	ob := &observer{scheduler: s, outbox: o, duty: d, log: log, started: time.Now()}
	ob.taken(c)
	return ob
}

// taken notes that c is the configuration in force.
func (o *observer) taken(c config.Config) {
	path := c.Path
	if whole, err := filepath.Abs(path); err == nil {
		path = whole
	}
	o.facts.Store(&facts{path, c.Endpoint, endpoint.Reload{At: time.Now()}})
}

// refused notes that the configuration could not be taken up.
func (o *observer) refused() {
	f := *o.facts.Load()
	f.reloaded.Failed = true
	o.facts.Store(&f)
}

// serve makes the endpoint one of c: it is opened, moved or closed. Where it
// cannot listen, the daemon goes on watching, and it is tried again at the next
// reload.
func (o *observer) serve(c config.Config) {
	wanted := endpointSettings{c.Inet, c.Hosts, c.ReplicaMetrics}
	same := wanted.inet == o.serving.inet && wanted.replicaMetrics == o.serving.replicaMetrics && slices.Equal(wanted.hosts, o.serving.hosts)
	if o.served != nil && same {
		return
	}
	o.close()
	if wanted.inet == "" {
		o.server.Store(nil)
		return
	}
	hosts := wanted.hosts
	if name, err := os.Hostname(); err == nil {
		hosts = append(slices.Clone(hosts), strings.ToLower(name))
	}
	handler := endpoint.New(o, endpoint.Options{Hosts: hosts, AnyHost: endpoint.IsSocket(wanted.inet), ReplicaMetrics: wanted.replicaMetrics})
	served, err := endpoint.Serve(wanted.inet, handler)
	if err != nil {
		o.server.Store(&status.Server{Inet: wanted.inet, Error: err.Error()})
		o.log.WithError(err).Error("server.inet: metrics, health checks and page are not served; it is tried again at the next reload")
		return
	}
	o.served, o.serving = served, wanted
	o.server.Store(&status.Server{Inet: wanted.inet})
	o.log.WithField("inet", wanted.inet).Info("serving metrics, health checks and page")
}

// close ends the endpoint, if there is one.
func (o *observer) close() {
	if o.served != nil {
		o.served.Close()
		o.served = nil
	}
}

// Alive returns nil if the parts on which every report depends still turn.
func (o *observer) Alive(ctx context.Context) error {
	if err := o.scheduler.Ping(ctx); err != nil {
		return err
	}
	return o.outbox.Ping(ctx)
}

// cluster returns the state of the duty; nil without an engine.
func (o *observer) cluster() *status.Cluster {
	return clusterOf(o.duty())
}

// Ready returns nil if the daemon can do its work: it turns, it has a map, and
// the Status API takes its reports, or has not for no longer than an interval. A
// standby has none to be taken. One without its engine is ready too, since to
// restart it helps nobody; the note says so.
func (o *observer) Ready(ctx context.Context) (string, error) {
	shot, err := o.scheduler.Snapshot(ctx, scheduler.Totals)
	if err != nil {
		return "", err
	}
	if err := o.outbox.Ping(ctx); err != nil {
		return "", err
	}
	c := o.cluster()
	return c.Note(), notReady(shot, o.outbox.Snapshot(), c)
}

// notReady returns why the daemon cannot do its work, nil if it can.
func notReady(shot scheduler.Snapshot, out report.Snapshot, c *status.Cluster) error {
	m := shot.Map
	if c.StandsBy() { // the outcome of its reports is from before
		out.API = status.APIUnknown
	}
	failing := !m.FailingSince.IsZero() && time.Since(m.FailingSince) > shot.Interval
	switch {
	case m.Unauthorized || out.API == status.APIUnauthorized:
		return errors.New("the Status API does not accept the token: check report.token")
	case !m.Held && m.Err != nil:
		return fmt.Errorf("there is no map yet: %w", m.Err)
	case !m.Held:
		return errors.New("there is no map yet")
	case out.API == status.APIDown && time.Since(out.Since) > shot.Interval:
		return fmt.Errorf("the Status API takes no report since %s: %s", out.Since.UTC().Format(time.RFC3339), out.LastErr)
	case failing:
		return fmt.Errorf("the Status API gives no map since %s: %w", m.FailingSince.UTC().Format(time.RFC3339), m.Err)
	}
	return nil
}

// Totals returns the state without the replicas.
func (o *observer) Totals(ctx context.Context) (endpoint.State, error) {
	return o.state(ctx, scheduler.Totals)
}

// Replicas returns the whole state.
func (o *observer) Replicas(ctx context.Context) (endpoint.State, error) {
	return o.state(ctx, scheduler.Replicas)
}

func (o *observer) state(ctx context.Context, detail scheduler.Detail) (endpoint.State, error) {
	shot, err := o.scheduler.Snapshot(ctx, detail)
	if err != nil {
		return endpoint.State{}, err
	}
	out, f, cluster := o.outbox.Snapshot(), o.facts.Load(), o.cluster()
	if cluster != nil {
		cluster.Kept = out.Kept
	}
	ignored := ignoredOf(shot.Problems)
	head := status.Snapshot{
		Version:         version,
		Go:              runtime.Version(),
		Started:         o.started.UTC(),
		Now:             time.Now().UTC(),
		Config:          f.path,
		IntervalSeconds: shot.Interval.Seconds(),
		Host:            status.Host{Trouble: troubleOf(shot.Replicas)},
		API:             apiOf(f.endpoint, shot, out, cluster),
		Cluster:         cluster,
		Promise: status.Promise{
			PromisedSeconds: out.Within.Seconds(),
			WorstGapSeconds: out.Promise.WorstGap.Seconds(),
			Late:            out.Late,
			ProbesInFlight:  shot.InFlight,
			ProbesLimit:     shot.Limit,
			ProbesNeeded:    shot.Needed,
		},
		Counts: status.Counts{
			Healthy: shot.Counts[probe.Healthy],
			Sick:    shot.Counts[probe.Sick],
			Dead:    shot.Counts[probe.Dead],
			Unknown: shot.Counts[probe.Unknown],
			Ignored: len(ignored),
		},
		Ignored: ignored,
		Server:  o.server.Load(),
	}
	if shot.Map.Held {
		head.Promise.NextCycle = shot.Cycle.Add(shot.Interval).UTC()
	}
	c := &head.Counts
	c.Replicas = c.Healthy + c.Sick + c.Dead + c.Unknown
	countOwn(cluster, *c)
	return endpoint.State{
		Head: head, Records: shot.Replicas, Reported: o.reported, Probing: shot.Probing,
		Maps: shot.MapsAsked, Reports: out.Reports, CycleBegan: shot.Cycle, Reloaded: f.reloaded,
	}, nil
}

// reported returns the last report of a replica that the page took; nil if there
// is none.
func (o *observer) reported(id probe.ID) *status.Report {
	t, ok := o.outbox.Taken(id)
	if !ok {
		return nil
	}
	return &status.Report{Health: string(t.Health), At: t.At.UTC().Truncate(time.Millisecond), Due: t.Due.UTC().Truncate(time.Millisecond)}
}

// apiOf returns the state of the Status API by its answers to reports and to
// requests for the map; the latter decide where they say more, and of a standby,
// which sends no reports, alone.
func apiOf(address string, shot scheduler.Snapshot, out report.Snapshot, c *status.Cluster) status.API {
	m := shot.Map
	if c.StandsBy() {
		out.API, out.Since, out.LastErr, out.RTT, out.NextTry = status.APIUnknown, time.Time{}, "", 0, time.Time{}
		if m.Err == nil && !m.At.IsZero() {
			out.API = status.APIAnswers
		}
	}
	api := status.API{
		Endpoint: address, State: out.API, Since: out.Since.UTC(), Error: out.LastErr, RTTSeconds: out.RTT.Seconds(), Waiting: out.Waiting,
		NextTry: out.NextTry.UTC(), MapAt: m.At.UTC(), MapOutcome: m.Outcome,
	}
	if m.Err == nil {
		return api
	}
	api.MapError = m.Err.Error()
	switch {
	case m.Unauthorized:
		api.State, api.Since, api.Error = status.APIUnauthorized, m.FailingSince.UTC(), api.MapError
	case api.State == status.APIUnknown:
		api.State, api.Since, api.Error = status.APIDown, m.FailingSince.UTC(), api.MapError
	}
	return api
}

// troubleOf sums up what this host cannot do, most replicas first. A replica that the
// operator denies is none of it.
func troubleOf(records []status.Record) []status.Trouble {
	byReason := make(map[string]*status.Trouble)
	for i := range records {
		reason, kind, since, ok := records[i].History.Local()
		if !ok || kind == probe.KindPolicy {
			continue
		}
		t := byReason[reason]
		if t == nil {
			t = &status.Trouble{Reason: reason, Kind: string(kind), Since: since.UTC()}
			byReason[reason] = t
		}
		t.Replicas++
		if since.Before(t.Since) {
			t.Since = since.UTC()
		}
		if until := records[i].RepeatedUntil; !until.IsZero() && (t.RepeatedUntil.IsZero() || until.Before(t.RepeatedUntil)) {
			t.RepeatedUntil = until.UTC()
		}
	}
	all := make([]status.Trouble, 0, len(byReason))
	for _, t := range byReason {
		all = append(all, *t)
	}
	slices.SortFunc(all, func(a, b status.Trouble) int {
		return cmp.Or(cmp.Compare(b.Replicas, a.Replicas), cmp.Compare(a.Reason, b.Reason))
	})
	return all
}

// ignoredOf returns the problems of a map by which an entry is not watched.
func ignoredOf(problems []string) []status.Ignored {
	ignored := []status.Ignored{}
	for _, problem := range problems {
		if !strings.Contains(problem, "left out") && !strings.Contains(problem, "more like these") {
			continue
		}
		entry, reason, found := strings.Cut(problem, ": ")
		if !found {
			entry, reason = "", problem
		}
		ignored = append(ignored, status.Ignored{Entry: entry, Reason: reason})
	}
	return ignored
}
