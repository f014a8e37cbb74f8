//go:build linux

package main

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/crisp-im/crisp-status-local/v2/internal/config"
	"github.com/crisp-im/crisp-status-local/v2/internal/duty"
	"github.com/crisp-im/crisp-status-local/v2/internal/sandbox"
)

func TestPagesAreToldApartWithoutTheToken(t *testing.T) {
	page := func(endpoint, token string) string {
		return pageHash(config.Config{Endpoint: endpoint, Token: config.NewSecret(token)})
	}
	one := page("https://report.crisp.watch/v1", "t0k3n")
	if other := page("https://report.crisp.watch/v1", "t0k3m"); one == other {
		t.Errorf("got the same hash %s of another token, want another one", one)
	}
	if other := page("http://proxy.lan/v1", "t0k3n"); one != other {
		t.Errorf("got %s and %s of one token by two ways to the page, want one hash", one, other)
	}
	if one != page("https://report.crisp.watch/v1", "t0k3n") || len(one) != 16 {
		t.Errorf("got %s, want 64 bits that are the same each time", one)
	}
}

// TestDutyOfTheConfiguration: an interval is none of its business, all else is.
func TestDutyOfTheConfiguration(t *testing.T) {
	c := config.Config{Endpoint: "http://h", Token: config.NewSecret("t"), Interval: time.Minute, Cluster: config.Cluster{Engine: config.Alive, Member: "a"}}
	other := c
	other.Interval = time.Hour
	if !dutyOf(c).equal(dutyOf(other)) {
		t.Error("got another duty by another interval, want the same")
	}
	other.Cluster.Member = "b"
	if dutyOf(c).equal(dutyOf(other)) {
		t.Error("got the same duty of another member, want another one")
	}
	other = c
	other.Token = config.NewSecret("u")
	if dutyOf(c).equal(dutyOf(other)) {
		t.Error("got the same duty of another page, want another one")
	}
}

// TestDutiesOfReloads: each one is given back before the next one is sought, and those
// that nobody can take have no goroutine.
func TestDutiesOfReloads(t *testing.T) {
	c := config.Config{
		Path: "config.cfg", Level: logrus.ErrorLevel, Endpoint: "http://127.0.0.1:1", Token: config.NewSecret("t0k3n"),
		Interval: time.Minute, Promise: time.Minute, Cluster: config.Cluster{Engine: config.NoEngine},
	}
	d := newDaemon(c, system{lookupEnv: func(string) (string, bool) { return "", false }, stdout: io.Discard, stderr: io.Discard})
	defer d.writer.Close(closeLog)
	defer d.prober.Close()
	elsewhere := config.Cluster{Engine: config.Address, Member: "a", Addr: netip.MustParseAddr("192.0.2.77")}
	d.duty.start()
	for _, tt := range []struct {
		cluster config.Cluster
		scope   duty.Scope
		runs    bool
	}{
		{config.Cluster{Engine: config.NoEngine}, duty.Everything, false},
		{elsewhere, duty.Nothing, true},
		{elsewhere, duty.Nothing, true},
		{config.Cluster{Engine: config.Alive, Member: "a"}, duty.Alive, false},
		{config.Cluster{Engine: config.Etcd, Member: "a", Group: "g", TTL: 5 * time.Second, Endpoints: []string{"http://127.0.0.1:1"}}, duty.Nothing, true},
		{elsewhere, duty.Nothing, true},
		{config.Cluster{Engine: config.NoEngine}, duty.Everything, false},
	} {
		next := c
		next.Cluster = tt.cluster
		before, same := *d.duty.current.Load(), d.duty.of.equal(dutyOf(next))
		d.duty.leave(next)
		if !same && (d.duty.end != nil || d.duty.of.cluster.Engine != config.NoEngine && d.duty.of.cluster.Engine != config.Alive && before.Scope() != duty.Nothing) {
			t.Errorf("%s: got the duty before it still held, with the scope %s", tt.cluster.Engine, before.Scope())
		}
		d.duty.take(next)
		if s := d.duty.State(); s.Engine != string(tt.cluster.Engine) || s.Scope != tt.scope || (d.duty.end != nil) != tt.runs {
			t.Errorf("got %+v, with a goroutine: %v; want the engine %s with the scope %s, and one: %v", s, d.duty.end != nil, tt.cluster.Engine, tt.scope, tt.runs)
		}
		if now := *d.duty.current.Load(); same && now != before {
			t.Errorf("%s: got another duty by the same settings", tt.cluster.Engine)
		}
	}
	c.Cluster = elsewhere
	d.duty.leave(c)
	d.duty.take(c)
	d.duty.giveBack()
	c.Cluster.Member = "b"
	d.duty.leave(c)
	d.duty.take(c)
	if d.duty.end != nil || d.duty.State().Scope != duty.Nothing || d.duty.State().Member != "a" {
		t.Errorf("got the duty %+v sought by a reload after the end, want none", d.duty.State())
	}
}

// TestDutyWithoutAMap: a daemon that has had no map for long has nothing that waits, and
// must not keep others from the duty.
func TestDutyWithoutAMap(t *testing.T) {
	api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		io.WriteString(w, `{"data":{"services":[],"date":1}}`)
	}))
	defer api.Close()
	for endpoint, want := range map[string]bool{"http://127.0.0.1:1": true, api.URL: false} {
		c := config.Config{
			Path: "config.cfg", Level: logrus.PanicLevel, Endpoint: endpoint, Token: config.NewSecret("t0k3n"),
			Interval: time.Minute, Promise: time.Minute, Cluster: config.Cluster{Engine: config.NoEngine},
		}
		d := newDaemon(c, system{lookupEnv: func(string) (string, bool) { return "", false }, stdout: io.Discard, stderr: io.Discard})
		var running sync.WaitGroup
		at := &cachedTotals{scheduler: d.scheduler}
		ctx, cancel := context.WithCancel(t.Context())
		running.Go(func() { d.scheduler.Run(ctx) })
		if d.duty.api(at).InVain {
			t.Errorf("%s: got reports in vain of a daemon that has just begun", endpoint)
		}
		d.duty.began = d.duty.began.Add(-mapTimeout)
		for deadline := time.Now().Add(time.Minute); d.duty.api(at).InVain != want || d.duty.mapHeld.Load() == want; time.Sleep(10 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("%s: got in vain %v, want %v", endpoint, !want, want)
			}
		}
		cancel()
		running.Wait()
		d.client.Close()
		d.prober.Close()
		d.writer.Close(closeLog)
	}
}

// engine makes the configuration have a table of a cluster.
func (w *world) engine(lines string) {
	w.t.Helper()
	w.configure(w.Token(), 1)
	text, err := os.ReadFile(w.config)
	if err != nil {
		w.t.Fatal(err)
	}
	if err := os.WriteFile(w.config, append(text, "\n[cluster]\n"+lines...), 0o600); err != nil {
		w.t.Fatal(err)
	}
}

// TestEnginesOfAReload: with the address elsewhere nothing is reported; with alive no
// death is; and alone, all that is so is reported at once, before the page turns red.
func TestEnginesOfAReload(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sandbox.Options{}, "target:tcp#dies", "target:tcp#stays")
	w.start(1)
	dies, stays := "target:tcp#dies", "target:tcp#stays"
	w.becomes(dies, sandbox.Healthy)
	w.becomes(stays, sandbox.Healthy)

	w.engine("engine = 'address'\nmember = 'a'\naddress = '192.0.2.77'\n")
	w.cmd.Process.Signal(syscall.SIGHUP)
	w.says("reloaded")
	w.says("standby: nothing is reported")
	w.eventually("the last report", func() bool { return w.replica(w.url(stays)).Age > 1.5 })
	before := w.Summary().Reports
	probed := w.probed()
	target, _ := w.Target(dies)
	target.Stop()
	w.eventually("a few probes", func() bool { return w.probed() >= probed+6 })
	if got := w.Summary().Reports; got != before {
		t.Errorf("got %d reports of a standby, want none", got-before)
	}

	w.engine("engine = 'alive'\nmember = 'a'\n")
	w.cmd.Process.Signal(syscall.SIGHUP)
	w.says("no daemon reports dead")
	w.reports(w.url(stays), 3)
	if r := w.replica(w.url(dies)); r.Health == sandbox.Dead {
		t.Errorf("got %+v with the engine alive, want no death reported", r)
	}

	w.configure(w.Token(), 1)
	w.cmd.Process.Signal(syscall.SIGHUP)
	w.says("no engine any more: this daemon is alone, and reports everything")
	w.becomes(dies, sandbox.Dead)
	w.wantNoneRed()
}

// TestModesAreSaid: an engine that decides nothing says nothing by itself, so its mode is
// said once, at the default level.
func TestModesAreSaid(t *testing.T) {
	const alive, alone = "no daemon reports dead", "this daemon is alone"
	engine := func(e config.Engine, member string) config.Config {
		c := config.Config{
			Path: "config.cfg", Level: logrus.WarnLevel, Endpoint: "http://127.0.0.1:1", Token: config.NewSecret("t0k3n"),
			Interval: time.Minute, Promise: time.Minute, Cluster: config.Cluster{Engine: e},
		}
		if e != config.NoEngine {
			c.Cluster.Member = member
		}
		return c
	}
	for _, tt := range []struct {
		name         string
		start        config.Config
		reloads      []config.Config
		alive, alone int
	}{
		{"alone", engine(config.NoEngine, ""), []config.Config{engine(config.NoEngine, "")}, 0, 0},
		{"alive", engine(config.Alive, "a"), []config.Config{engine(config.Alive, "a"), engine(config.Alive, "b")}, 1, 0},
		{"alone, then alive twice, with a pause", engine(config.NoEngine, ""), []config.Config{engine(config.Alive, "a"), engine(config.NoEngine, ""), engine(config.Alive, "a")}, 2, 1},
	} {
		var log bytes.Buffer
		d := newDaemon(tt.start, system{lookupEnv: func(string) (string, bool) { return "", false }, stdout: io.Discard, stderr: &log})
		d.duty.start()
		for _, c := range tt.reloads {
			d.duty.leave(c)
			d.duty.take(c)
		}
		d.duty.giveBack()
		d.client.Close()
		d.prober.Close()
		d.writer.Close(closeLog)
		if n, m := strings.Count(log.String(), alive), strings.Count(log.String(), alone); n != tt.alive || m != tt.alone {
			t.Errorf("%s: got %d lines that no daemon reports dead, and %d that this one is alone, want %d and %d:\n%s", tt.name, n, m, tt.alive, tt.alone, log.String())
		}
	}
}
