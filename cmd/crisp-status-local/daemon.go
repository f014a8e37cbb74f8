//go:build linux

package main

import (
	"context"
	"errors"
	"runtime"
	"runtime/debug"
	"sync"
	"syscall"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/crisp-im/crisp-status-local/v2/internal/config"
	"github.com/crisp-im/crisp-status-local/v2/internal/duty"
	"github.com/crisp-im/crisp-status-local/v2/internal/endpoint"
	"github.com/crisp-im/crisp-status-local/v2/internal/logging"
	"github.com/crisp-im/crisp-status-local/v2/internal/pace"
	"github.com/crisp-im/crisp-status-local/v2/internal/probe"
	"github.com/crisp-im/crisp-status-local/v2/internal/report"
	"github.com/crisp-im/crisp-status-local/v2/internal/scheduler"
	"github.com/crisp-im/crisp-status-local/v2/internal/service"
	"github.com/crisp-im/crisp-status-local/v2/internal/statusapi"
)

const userAgent = "crisp-status-local/" + version

// maxProcessors bounds the processors: two are enough for 40,000 replicas even if
// all are https://, and to wake more of them only costs CPU time.
const maxProcessors = 2

// gcPercent trades CPU time, of which the daemon needs next to none, for memory:
// the heap grows by half, not twofold, before it is collected.
const gcPercent = 50

// daemon is the parts of the program, wired.
type daemon struct {
	config    config.Config
	sys       system
	log       *logrus.Logger
	writer    *logging.Writer   // behind log
	mask      *maskingFormatter // of log
	client    *statusapi.Client
	prober    *probe.Prober
	outbox    *report.Outbox
	scheduler *scheduler.Scheduler
	observer  *observer
	duty      *dutyKeeper
}

// newDaemon wires the parts by c.
func newDaemon(c config.Config, sys system) *daemon {
	d := &daemon{config: c, sys: sys}
	d.log, d.mask, d.writer = newLog(sys, c)
	d.client = newClient(c)
	d.mask.use(d.client.Masker())
	redirectStandardLog(d.log, d.mask)
	d.prober = probe.New(userAgent)
	d.prober.TrustRoots(c.RootCAs)
	d.prober.Restrict(c.Policy)
	d.prober.OnNameTrouble(func(name, trouble string) {
		d.log.WithFields(logrus.Fields{"name": name, "trouble": trouble}).Warn("names of replicas are not looked up as they should")
	})
	d.outbox = report.New(d.client, terms(c), d.log)
	d.scheduler = scheduler.New(d.settings(), d.prober, d.outbox, d.log)
	d.observer = newObserver(d.scheduler, d.outbox, func() duty.State { return d.duty.State() }, d.log, c)
	d.duty = newDutyKeeper(d, c)
	return d
}

func newClient(c config.Config) *statusapi.Client {
	return statusapi.New(c.Endpoint, c.Token.Reveal(), userAgent, func(retryAfter time.Duration) time.Duration {
		return pace.MapAttempt(c.Interval, retryAfter)
	})
}

// terms returns the outbox's part of the configuration.
func terms(c config.Config) report.Terms {
	return report.Terms{Interval: c.Interval, Promise: c.Promise}
}

// settings returns the scheduler's part of the configuration.
func (d *daemon) settings() scheduler.Settings {
	return scheduler.Settings{
		API:      d.client,
		Interval: d.config.Interval,
		Workers:  d.config.Workers,
		Files:    openFiles(),
		Memory:   d.memoryLimit(),

		ReportDenied: d.config.ReportDenied,
	}
}

// limitProcessors bounds the processors, unless the environment says how many.
func (d *daemon) limitProcessors() {
	if _, set := d.sys.lookupEnv("GOMAXPROCS"); !set {
		runtime.GOMAXPROCS(min(runtime.GOMAXPROCS(0), maxProcessors))
	}
}

// openFiles returns how many files this process may have open. The Go runtime
// has raised the soft limit to the hard one by now.
func openFiles() int {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return 0
	}
	return int(min(limit.Cur, 1<<30))
}

// run works until ctx is done; then it delivers what was measured.
func (d *daemon) run(ctx context.Context) error {
	defer d.writer.Close(closeLog)
	if _, set := d.sys.lookupEnv("GOGC"); !set {
		debug.SetGCPercent(gcPercent)
	}
	d.limitProcessors()
	d.limitMemory()
	d.limitMap()
	d.log.WithFields(logrus.Fields{
		"version":  version,
		"config":   d.config.Path,
		"endpoint": d.config.Endpoint,
		"interval": d.config.Interval,
		"promise":  d.config.Promise,
	}).Info("starting")
	d.warn()
	for _, odd := range oddRoots(d.sys.lookupEnv) {
		d.log.Warn(odd)
	}
	for _, trouble := range d.prober.Trouble() {
		d.log.WithError(trouble).Info("icmp:// replicas cannot be probed")
	}

	// The outbox outlives the scheduler, whose last verdicts are delivered.
	delivering, delivered := context.WithCancel(context.WithoutCancel(ctx))
	defer delivered()
	var parts sync.WaitGroup
	drained := make(chan struct{})
	parts.Go(func() { defer close(drained); d.outbox.Run(delivering) })
	d.duty.start()
	if health, err := service.ListenHealth(d.config.Path); err != nil {
		d.log.WithError(err).Warn("--healthcheck cannot be answered")
	} else {
		parts.Go(func() { health.Serve(ctx, d.observer.Alive, endpoint.StateHandler(d.observer)) })
	}
	d.observer.serve(d.config)
	parts.Go(func() { d.watchReloads(ctx) }) // d.config may change from here on
	d.notify(service.Ready)
	d.superviseBy(ctx, parts.Go)
	d.scheduler.Run(ctx)
	d.notify(service.Stopping)
	d.log.WithField("cause", context.Cause(ctx)).Info("stopping")
	// The duty outlives both. Given back before the last requests are over, another
	// daemon's death could begin beside one of ours; after them, none of ours can, and
	// the other's reports are late by no more than the drain takes.
	d.duty.draining.Store(true)
	delivered()
	<-drained
	d.duty.giveBack()
	parts.Wait()
	d.observer.close()
	d.client.Close()
	err := d.prober.Close()
	d.log.Info("stopped")
	return err
}

// notify tells the service manager, if there is one.
func (d *daemon) notify(s service.State) {
	// The library looks at the environment of the process itself, which sys
	// may hide.
	if _, set := d.sys.lookupEnv("NOTIFY_SOCKET"); !set {
		return
	}
	if err := service.Notify(s); err != nil {
		d.log.WithError(err).WithField("state", s).Warn("the service manager was not told")
	}
}

// warn says what is odd about the configuration.
func (d *daemon) warn() {
	for _, warning := range d.config.Warnings {
		d.log.WithContext(logging.Solicited(context.Background())).Warn(warning)
	}
}

// watchReloads reads the configuration again whenever it is asked to.
func (d *daemon) watchReloads(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-d.sys.reloads:
			d.notify(service.Reloading())
			d.reload(ctx)
			if ctx.Err() == nil { // else it is stopping, which is the last word
				d.notify(service.Ready)
			}
		}
	}
}

// reload takes up what the file says now, if that can work; else nothing
// changes.
func (d *daemon) reload(ctx context.Context) {
	c, err := config.Load(d.config.Path, d.sys.lookupEnv)
	if complaints, ok := errors.AsType[config.Complaints](withWarnings(err, c.Warnings)); ok {
		for _, complaint := range complaints {
			d.log.WithContext(logging.Solicited(ctx)).WithField("complaint", complaint).Error("not reloading: the configuration in force stays")
		}
		d.observer.refused()
		return
	}
	old := d.config
	d.config = c
	d.duty.leave(c)
	otherPage := c.Endpoint != old.Endpoint || c.Token != old.Token
	page := scheduler.SamePage
	if otherPage {
		page = scheduler.OtherPage
	}
	if otherPage || c.Interval != old.Interval {
		defer d.client.Close()
		d.client = newClient(c)
		d.limitMap()
		d.mask.use(d.client.Masker())
		d.duty.client.Store(d.client)
	}
	d.log.SetLevel(c.Level)
	d.mask.write(c.Format)
	d.warn()
	d.prober.TrustRoots(c.RootCAs)
	d.prober.Restrict(c.Policy)
	if page == scheduler.OtherPage {
		d.outbox.Forget()
	}
	d.outbox.Reload(d.client, terms(c))
	d.scheduler.Reload(ctx, d.settings(), page)
	d.duty.take(c)
	d.observer.taken(c)
	d.observer.serve(c)
	d.log.WithField("config", c.Path).Info("reloaded")
}
