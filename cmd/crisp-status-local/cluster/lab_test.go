//go:build cluster

package cluster

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/crisp-im/crisp-status-local/v2/cmd/crisp-status-local/namespaces"
	"github.com/crisp-im/crisp-status-local/v2/internal/sandbox"
)

// lab is hosts with a daemon each, an engine, and the page.
type lab struct {
	t       *testing.T
	o       options
	hosts   []*host
	etcd    *etcd // nil without one
	page    *page
	daemons []*process
	watcher *watcher // nil where no engine decides
	settled time.Time
	runs    []string // files that say that the daemon of a host runs, for keepalived
}

// options say how a lab differs from the usual one: three daemons and etcd.
type options struct {
	engine    string   // empty: etcd
	daemons   int      // 0: 3
	binary    string   // empty: the daemon as an operator gets it
	env       []string // of the daemons, beside that of the tests
	endpoints []string // of etcd, as the daemons are told; nil: its own
	before    func(*lab)
	watch     func(*lab) func() (string, error) // who is on duty; nil: etcd is asked, if it is the engine
}

// newLab starts everything, and waits until the page has every replica as it is.
func newLab(t *testing.T, o options) *lab {
	t.Helper()
	if o.engine == "" {
		o.engine = "etcd"
	}
	if o.daemons == 0 {
		o.daemons = 3
	}
	if o.binary == "" {
		o.binary = namespaces.Daemon()
	}
	hosts := o.daemons
	if o.engine == "etcd" {
		hosts = 3
	}
	l := &lab{t: t, o: o, hosts: newHosts(t, hosts)}
	l.page = newPage(t, l.hosts)
	if o.engine == "etcd" {
		l.etcd = newEtcd(t, l.hosts)
		l.etcd.leader()
		if o.watch == nil {
			o.watch = func(l *lab) func() (string, error) { return byEtcd(l.etcd) }
		}
	}
	if o.before != nil {
		o.before(l)
	}
	if o.watch != nil {
		l.watcher = newWatcher(t, o.watch(l))
	}
	for _, h := range l.hosts[:o.daemons] {
		d := l.newDaemon(h, h.name, token)
		l.daemons = append(l.daemons, d)
		d.start()
	}
	began := time.Now()
	l.asItIs(began)
	l.settled = time.Now()
	return l
}

// newDaemon returns a daemon of the group, which is not started.
func (l *lab) newDaemon(h *host, member, token string) *process {
	l.t.Helper()
	dir := filepath.Join(l.t.TempDir(), h.name)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		l.t.Fatal(err)
	}
	d := &process{t: l.t, host: h, log: filepath.Join(dir, "log"), args: []string{l.o.binary, "-c", filepath.Join(dir, "config.cfg")}}
	d.env = append([]string{namespaces.ClockVariable + "=" + d.clock()}, l.o.env...)
	text := fmt.Sprintf("[server]\nlog_level = \"info\"\n[report]\nendpoint = %q\ntoken = %q\n[probe]\ninterval = %d\n[cluster]\nengine = %q\n",
		l.page.EndpointOf(h.name), token, int(interval.Seconds()), l.o.engine)
	switch l.o.engine {
	case "etcd":
		endpoints := l.o.endpoints
		if endpoints == nil {
			endpoints = l.etcd.endpoints()
		}
		text += fmt.Sprintf("group = %q\nmember = %q\nttl = %d\nendpoints = [\"%s\"]\n", group, member, int(ttl.Seconds()), strings.Join(endpoints, `", "`))
	case "address":
		text += fmt.Sprintf("address = %q\n", movingAddress)
	case "none":
		text = strings.Replace(text, "[cluster]\nengine = \"none\"\n", "", 1)
	}
	if err := os.WriteFile(d.args[2], []byte(text), 0o600); err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(func() {
		if l.t.Failed() {
			l.t.Logf("the daemon on %s wrote:\n%s", h.name, d.tail())
		}
		d.kill()
	})
	return d
}

// asItIs waits until the newest report of every replica came after that time, and is
// correct. Dead replicas count only if a daemon reports them.
func (l *lab) asItIs(since time.Time) {
	l.t.Helper()
	missing := ""
	namespaces.Eventually(l.t, "every replica is reported as it is", func() bool {
		missing = l.missing(since)
		return missing == ""
	})
}

// missing returns a replica that is not reported as it is since that time.
func (l *lab) missing(since time.Time) string {
	last := newest(l.page.after(since))
	for _, replicas := range [][]string{up, down, turning} {
		for _, replica := range replicas {
			want := l.page.expected(replica)
			r, reported := last[replica]
			if want == sandbox.Dead && l.o.engine == "alive" {
				continue
			}
			if !reported || r.health != want {
				return replica
			}
		}
	}
	return ""
}

// onDuty waits until, for a while after that time, one daemon is on duty and no other
// reports. It returns the daemon, and when that began.
func (l *lab) onDuty(since time.Time) (*process, time.Time) {
	l.t.Helper()
	const while = interval + time.Second
	for deadline := time.Now().Add(2 * time.Minute); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		now := time.Now()
		seen := l.watcher.after(since)
		began, holder := since, ""
		if len(seen) > 0 && now.Sub(seen[len(seen)-1].answered) < time.Second {
			holder = seen[len(seen)-1].holder
		}
		if holder == "" {
			continue
		}
		for _, s := range seen {
			if s.answered.After(began) && s.holder != holder {
				began = s.answered
			}
		}
		reported := false
		for _, r := range l.page.after(since) {
			if r.from != holder && r.at.After(began) {
				began = r.at
			}
			reported = reported || r.from == holder && r.at.After(began)
		}
		if reported && now.Sub(began) >= while {
			return l.daemonOf(holder), began
		}
	}
	l.t.Fatal("never came: one daemon is on duty, and alone reports")
	return nil, time.Time{}
}

// daemonOf returns the daemon of a member.
func (l *lab) daemonOf(member string) *process {
	l.t.Helper()
	for _, d := range l.daemons {
		if d.host.name == member {
			return d
		}
	}
	l.t.Fatalf("%q is on duty, want a daemon of the lab", member)
	return nil
}

// secretive checks that the logs hold neither the token nor a panic.
func (l *lab) secretive() {
	l.t.Helper()
	for _, d := range l.daemons {
		for _, hidden := range []string{token, base64.StdEncoding.EncodeToString([]byte(":" + token)), "panic:", "DATA RACE"} {
			if bytes.Contains(d.written(), []byte(hidden)) {
				l.t.Errorf("the daemon on %s wrote %q", d.host.name, hidden)
			}
		}
	}
}
