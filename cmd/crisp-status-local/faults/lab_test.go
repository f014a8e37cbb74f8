//go:build faults

package faults

import (
	"bytes"
	"cmp"
	"crypto/tls"
	"encoding/base64"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/crisp-im/crisp-status-local/v2/cmd/crisp-status-local/namespaces"
	"github.com/crisp-im/crisp-status-local/v2/internal/sandbox"
)

const (
	interval = 2 * time.Second

	// grace and longestBehind are the promise in two parts: the longest silence about
	// a healthy replica beyond the interval, and where a fault lasted longer, the
	// longest until it is reported.
	grace         = 38 * time.Second
	longestBehind = 6 * time.Second
)

// lab is a daemon in the near namespace, with everything that it talks to in the
// far one.
type lab struct {
	t        *testing.T
	wire     *wire
	lan      *lan
	resolver *resolver
	api      *statusAPI
	config   string
	log      string   // the file with what the daemon writes
	wrapper  []string // runs the daemon as its arguments say
	group    string   // the control group that the daemon was moved to
	program  string
	interval time.Duration
	up       []string            // the replicas that are
	beside   int                 // replicas of the map that are not those of every LAN
	late     namespaces.Lateness // of this machine
	cmd      *exec.Cmd
}

// options say how a lab differs from the usual one.
type options struct {
	replicas  []string      // beside those of every LAN
	interval  time.Duration // 0: interval
	delayDead int           // seconds; 0: 5
	retry     int           // 0: 1
	delaySick int           // seconds; 0: nothing is sick
	healthy   []string      // replicas that are up, beside those of every LAN
	secureAPI bool
	server    string // further lines of [server]
	program   string // empty: the daemon as an operator gets it
	wrapper   []string
	logFile   func(t *testing.T) string // nil: a file with room enough
	before    func(l *lab)              // starts what else the far side needs; nil: nothing
}

func newLab(t *testing.T, o options) *lab {
	t.Helper()
	l := &lab{t: t, wire: newWire(t), lan: newLAN(t), resolver: newResolver(t), wrapper: o.wrapper, program: cmp.Or(o.program, namespaces.Daemon())}
	var certificate *tls.Certificate
	if o.secureAPI {
		certificate = l.lan.authority.certificate(t, time.Now().Add(time.Hour))
	}
	m := lanMap(cmp.Or(o.delayDead, 5), cmp.Or(o.retry, 1), slices.Concat(o.healthy, o.replicas)...)
	if o.delaySick > 0 {
		m.Metrics.DelaySick = &o.delaySick
	}
	l.up, l.beside = slices.Concat(up, o.healthy), len(o.healthy)+len(o.replicas)
	l.api = newStatusAPI(t, m, certificate)
	dir := t.TempDir()
	l.config, l.log = filepath.Join(dir, "config.cfg"), filepath.Join(dir, "log")
	if o.logFile != nil {
		l.log = o.logFile(t)
	}
	ca := filepath.Join(dir, "ca.pem")
	if err := os.WriteFile(ca, l.lan.authority.pem(), 0o600); err != nil {
		t.Fatal(err)
	}
	if o.before != nil {
		o.before(l)
	}
	l.interval = cmp.Or(o.interval, interval)
	l.configure(ca, o.server)
	l.start()
	t.Cleanup(l.stop)
	var watching sync.WaitGroup
	watching.Go(func() { l.late.Watch(t.Context()) })
	t.Cleanup(watching.Wait)
	return l
}

func (l *lab) configure(ca, server string) {
	l.t.Helper()
	text := fmt.Sprintf("[server]\nlog_level = \"info\"\n%s[report]\nendpoint = %q\ntoken = %q\n[probe]\ninterval = %d\nca_file = %q\n",
		server, l.api.endpoint, token, int(l.interval.Seconds()), ca)
	if err := os.WriteFile(l.config, []byte(text), 0o600); err != nil {
		l.t.Fatal(err)
	}
}

// start starts the daemon.
func (l *lab) start() {
	l.t.Helper()
	log, err := os.OpenFile(l.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		l.t.Fatal(err)
	}
	defer log.Close()
	args := slices.Concat([]string{"nice", "-n", fmt.Sprint(namespaces.Ahead)}, namespaces.In(l.wire.near, slices.Concat(l.wrapper, []string{l.program, "-c", l.config})...))
	l.cmd = exec.Command(args[0], args[1:]...)
	l.cmd.Env = append(os.Environ(), "SSL_CERT_FILE="+filepath.Join(filepath.Dir(l.config), "ca.pem"), namespaces.ClockVariable+"="+l.clock())
	l.cmd.Stdout, l.cmd.Stderr = log, log
	if err := l.cmd.Start(); err != nil {
		l.t.Fatal(err)
	}
}

// kill ends the daemon without a word.
func (l *lab) kill() {
	_ = l.cmd.Process.Kill()
	_ = l.cmd.Wait()
}

// stop makes the daemon write what its goroutines do, which ends it.
func (l *lab) stop() {
	if l.t.Failed() {
		l.late.Excuse(l.t)
		written, _ := os.ReadFile(l.log)
		if len(written) > 64<<10 {
			written = written[len(written)-64<<10:]
		}
		l.t.Logf("the daemon wrote:\n%s", written)
	}
	l.kill()
}

// longest is the longest silence about a healthy replica that the promise allows, on
// this machine.
func (l *lab) longest() time.Duration { return l.interval + grace + l.late.Total() }

// goroutines ends the daemon and returns how many goroutines it had.
func (l *lab) goroutines() int {
	l.t.Helper()
	before, _ := os.ReadFile(l.log)
	_ = l.cmd.Process.Signal(syscall.SIGQUIT)
	_ = l.cmd.Wait()
	after, _ := os.ReadFile(l.log)
	return bytes.Count(after[min(len(before), len(after)):], []byte("\ngoroutine "))
}

// files returns how many files the daemon has open.
func (l *lab) files() int {
	entries, _ := os.ReadDir(fmt.Sprintf("/proc/%d/fd", l.cmd.Process.Pid))
	return len(entries)
}

// memory returns how much the daemon has resident, in MiB.
func (l *lab) memory() int { return l.status("VmRSS:") >> 10 }

// threads returns how many threads the daemon has.
func (l *lab) threads() int { return l.status("Threads:") }

// status returns a number that the kernel keeps of the daemon.
func (l *lab) status(name string) int {
	l.t.Helper()
	status, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", l.cmd.Process.Pid))
	_, after, _ := strings.Cut(string(status), name)
	fields := strings.Fields(after)
	if len(fields) == 0 {
		l.t.Errorf("the daemon has ended")
		return 0
	}
	n, _ := strconv.Atoi(fields[0])
	return n
}

// reported waits until the replica's newest report, after that time, has that health.
func (l *lab) reported(replica string, health sandbox.Health, after time.Time) {
	l.t.Helper()
	namespaces.Eventually(l.t, fmt.Sprintf("%s is reported %s", replica, health), func() bool {
		reports := l.api.of(replica)
		return len(reports) > 0 && reports[len(reports)-1].health == health && reports[len(reports)-1].at.After(after)
	})
}

// settled waits until every replica of the LAN is reported as it is.
func (l *lab) settled(after time.Time) {
	l.t.Helper()
	goesIs, comeIs := sandbox.Healthy, sandbox.Dead
	if l.lan.changed.Load() {
		goesIs, comeIs = comeIs, goesIs
	}
	l.reported(goes, goesIs, after)
	l.reported(come, comeIs, after)
	for _, replica := range l.up {
		l.reported(replica, sandbox.Healthy, after)
	}
	for _, replica := range down {
		l.reported(replica, sandbox.Dead, after)
	}
}

// says waits until the daemon has written that: the fault is one, and is named.
func (l *lab) says(text string) {
	l.t.Helper()
	namespaces.Eventually(l.t, fmt.Sprintf("the daemon writes %q", text), func() bool {
		written, _ := os.ReadFile(l.log)
		return bytes.Contains(written, []byte(text))
	})
}

// secretive checks that the log keeps the token and holds no panic.
func (l *lab) secretive() {
	l.t.Helper()
	written, _ := os.ReadFile(l.log)
	for _, hidden := range []string{token, base64.StdEncoding.EncodeToString([]byte(":" + token)), "panic:"} {
		if bytes.Contains(written, []byte(hidden)) {
			l.t.Errorf("the daemon wrote %q", hidden)
		}
	}
}
