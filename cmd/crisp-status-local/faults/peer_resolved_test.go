//go:build faults

package faults

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/crisp-im/crisp-status-local/v2/cmd/crisp-status-local/namespaces"
	"github.com/crisp-im/crisp-status-local/v2/internal/sandbox"
)

// resolvedNames are replicas whose names take the list of domains, or TCP.
var resolvedNames = []string{"tcp://db:80", "http://web/", "icmp://web", "tcp://many.lan:80"}

// unknown are replicas whose names do not exist. Of one label, systemd-resolved does not
// ask nameservers, and refuses to say so.
const (
	unknownName  = "tcp://nobody.lan:80"
	unknownLabel = "tcp://printer:80"
)

// resolved is a systemd-resolved on the daemon's host. It asks the honest resolver.
type resolved struct {
	l    *lab
	args []string // that start it, as its unit does
	log  string
	cmd  *exec.Cmd
}

// TestSystemdResolved asks names of a systemd-resolved on the daemon's host, as most of
// today's distributions do.
func TestSystemdResolved(t *testing.T) {
	t.Parallel()
	silent := func(r *resolved) func() { return r.l.resolver.tells(func(_, _ []byte) []byte { return nil }) }
	try(t, []fault{
		throughResolved("whose nameserver is silent", "", silent),
		throughResolved("that is told DNSSEC and LLMNR, and whose nameserver is silent", "DNSSEC=allow-downgrade\nLLMNR=yes\nMulticastDNS=yes\n", silent),
		throughResolved("whose nameserver truncates", "", func(r *resolved) func() {
			before := r.l.resolver.overTCP.Load()
			r.l.resolver.truncating.Store(true)
			return func() {
				r.l.resolver.truncating.Store(false)
				if after := r.l.resolver.overTCP.Load(); after == before {
					r.l.t.Errorf("systemd-resolved asked nothing over TCP, though no answer fits into a datagram")
				}
			}
		}),
		throughResolved("that is killed and started again", "", func(r *resolved) func() {
			r.end()
			return r.start
		}),
	})
}

// throughResolved is a fault of 20 s of a host with systemd-resolved.
func throughResolved(name, settings string, begin func(r *resolved) func()) fault {
	r := new(resolved)
	return fault{
		name: name, lasts: 20 * time.Second,
		options: options{healthy: resolvedNames, replicas: []string{unknownName, unknownLabel}, before: func(l *lab) { r.install(l, settings) }},
		begin: func(l *lab) func() {
			l.reported(unknownName, sandbox.Dead, time.Time{})
			l.says("no such host")
			return begin(r)
		},
	}
}

// install starts systemd-resolved and makes /etc/resolv.conf what it wants it to be.
func (r *resolved) install(l *lab, settings string) {
	t := l.t
	t.Helper()
	r.l = l
	path := program("systemd-resolved")
	if path == "" {
		namespaces.Lack(t, "systemd-resolved is neither installed nor unpacked by debian/tests/prepare")
	}
	dir := t.TempDir()
	everyone(t, dir)
	r.log = write(t, filepath.Join(dir, "log"), "", 0o666)
	files := []string{path}
	if strings.HasPrefix(path, unpacked) { // with the library of its version
		libraries, _ := filepath.Glob(unpacked + "libsystemd-shared/usr/lib/*/systemd/*.so")
		files = append(files, libraries...)
	}
	for _, from := range files { // the repository may be where that user may not look
		copyFile(t, from, filepath.Join(dir, filepath.Base(from)))
	}
	privateRun(t) // and without a bus
	const state, conf = "/run/systemd/resolve", "/run/systemd/resolved.conf.d"
	for _, folder := range []string{state, conf} {
		if err := os.MkdirAll(folder, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chown(state, resolvedUser, resolvedUser); err != nil {
		t.Fatal(err)
	}
	write(t, conf+"/lab.conf", "[Resolve]\nDNS="+farAddress+"\nDomains=lan\n"+settings, 0o644)
	const rights = "+setpcap,+net_raw,+net_bind_service"
	r.args = namespaces.In(l.wire.near, "setpriv", fmt.Sprintf("--reuid=%d", resolvedUser), fmt.Sprintf("--regid=%d", resolvedUser), "--clear-groups",
		"--inh-caps="+rights, "--ambient-caps="+rights, "env", "LD_LIBRARY_PATH="+dir, filepath.Join(dir, filepath.Base(path)))
	l.resolver.serveTCP(t)
	// LLMNR and multicast DNS need a link that has Ethernet. On this one nobody answers.
	link := tun(t, l.wire.near, "quiet", unix.IFF_TAP)
	t.Cleanup(func() { link.Close() })
	there(t, l.wire, "ip link set quiet up")
	there(t, l.wire, "ip addr add 10.9.2.1/24 dev quiet")
	t.Cleanup(func() {
		r.end()
		if t.Failed() {
			written, _ := os.ReadFile(r.log)
			t.Logf("systemd-resolved wrote:\n%s", written)
		}
	})
	r.start()
	stub, err := os.ReadFile(state + "/stub-resolv.conf")
	if err != nil {
		t.Fatal(err)
	}
	write(t, "/etc/resolv.conf", string(stub), 0o644)
}

// privateRun mounts a /run of the case's own, unless it has one.
func privateRun(t *testing.T) {
	t.Helper()
	const mark = "/run/of-the-case"
	if _, err := os.Stat(mark); err == nil {
		return
	}
	if err := unix.Mount("tmpfs", "/run", "tmpfs", 0, "mode=0755"); err != nil {
		namespaces.Lack(t, fmt.Sprintf("no file system can be had here: %v", err))
	}
	write(t, mark, "", 0o600)
}

// resolvedUser is a user and a group that nothing else on this machine runs as: limits
// of the kernel, as on watches of files, are the user's.
const resolvedUser = 64053

// start starts systemd-resolved, and waits until it listens.
func (r *resolved) start() {
	t := r.l.t
	t.Helper()
	log, err := os.OpenFile(r.log, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	r.cmd = exec.Command(r.args[0], r.args[1:]...)
	r.cmd.Stdout, r.cmd.Stderr = log, log
	if err := r.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	listening := namespaces.In(r.l.wire.near, "ss", "-Hlnu", "src 127.0.0.53 sport = :53")
	namespaces.Eventually(t, "systemd-resolved listens", func() bool {
		if state, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", r.cmd.Process.Pid)); bytes.Contains(state, []byte(") Z ")) {
			t.Fatal("systemd-resolved has ended")
		}
		out, err := exec.Command(listening[0], listening[1:]...).Output()
		return err == nil && len(bytes.TrimSpace(out)) > 0
	})
}

// end kills systemd-resolved.
func (r *resolved) end() {
	_ = r.cmd.Process.Kill()
	_ = r.cmd.Wait()
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	content, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	write(t, to, string(content), 0o755)
}
