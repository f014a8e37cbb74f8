//go:build faults

package faults

import (
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/crisp-im/crisp-status-local/v2/cmd/crisp-status-local/namespaces"
	"github.com/crisp-im/crisp-status-local/v2/internal/sandbox"
)

// closed are replicas that are up, and that firewalld does not let in.
var closed = []string{"tcp://10.9.1.110:8123", "tcp://[fd09:1::6e]:8123", "http://10.9.1.110:8123/", "icmp://10.9.1.110", "icmp://[fd09:1::6e]"}

// TestFirewalld has firewalld as it is installed, with the zone public, whose rest is
// rejected as prohibited: on the host of the targets, and on the daemon's.
func TestFirewalld(t *testing.T) {
	t.Parallel()
	var near, far *firewalld
	both := options{replicas: closed, before: func(l *lab) {
		near, far = newFirewalld(l, l.wire.near), newFirewalld(l, os.Getpid())
		endpoint, err := url.Parse(l.api.endpoint)
		if err != nil {
			l.t.Fatal(err)
		}
		far.command("--add-service=http", "--add-service=https", "--add-service=dns")
		far.command("--add-port=" + endpoint.Port() + "/tcp")
		for family, address := range map[string]string{"ipv4": "10.9.1.110", "ipv6": "fd09:1::6e"} {
			far.command(fmt.Sprintf("--add-rich-rule=rule family=%q destination address=%q icmp-block name=%q", family, address, "echo-request"))
		}
		far.command("--runtime-to-permanent")
		serve(l.t, ":8123", func(*net.TCPConn) {})
	}}
	rejected := func(l *lab) {
		for _, replica := range closed {
			l.reported(replica, sandbox.Dead, time.Time{})
			l.says(fmt.Sprintf("prohibited by a firewall or router\" replica=%q", replica))
		}
	}
	try(t, []fault{
		{name: "on both sides is reloaded", lasts: 5 * time.Second, options: both, begin: func(l *lab) func() {
			rejected(l)
			for range 3 {
				near.command("--reload")
				far.command("--reload")
				time.Sleep(interval)
			}
			return func() {}
		}},
		{name: "on the host of the daemon panics", lasts: 30 * time.Second, options: both, begin: func(l *lab) func() {
			near.command("--panic-on")
			return func() { near.command("--panic-off") }
		}},
	})
}

// firewalld is one in a network namespace, with a bus of its own.
type firewalld struct {
	l   *lab
	env []string // of what talks to it
}

// newFirewalld starts firewalld in the network namespace that the process holds, and
// waits until its rules are there.
func newFirewalld(l *lab, holder int) *firewalld {
	t := l.t
	t.Helper()
	for _, name := range []string{"firewalld", "dbus-daemon"} {
		if program(name) == "" {
			namespaces.Lack(t, name+" is neither installed nor unpacked by debian/tests/prepare")
		}
	}
	privateRun(t)
	dir := t.TempDir()
	bus, log := filepath.Join("/run", fmt.Sprintf("bus-of-%d", holder)), filepath.Join(dir, "log")
	f := &firewalld{l, append(os.Environ(), "DBUS_SYSTEM_BUS_ADDRESS=unix:path="+bus)}
	conf := write(t, filepath.Join(dir, "bus.conf"), "<busconfig><type>system</type><listen>unix:path="+bus+"</listen><auth>EXTERNAL</auth><policy context=\"default\">"+
		"<allow user=\"*\"/><allow own=\"*\"/><allow send_destination=\"*\"/><allow receive_sender=\"*\"/></policy></busconfig>\n", 0o600)
	f.run(log, program("dbus-daemon"), "--config-file="+conf, "--nofork", "--nopidfile")
	namespaces.Eventually(t, "the bus is there", func() bool { _, err := os.Stat(bus); return err == nil })
	args := []string{program("firewalld"), "--nofork", "--nopid", "--log-target=console", "--system-config=" + dir}
	if root, ok := strings.CutSuffix(args[0], "/usr/sbin/firewalld"); ok && root != "" {
		args = append(args, "--default-config="+root+"/usr/lib/firewalld")
	}
	f.run(log, namespaces.In(holder, args...)...)
	t.Cleanup(func() {
		if t.Failed() {
			written, _ := os.ReadFile(log)
			t.Logf("firewalld wrote:\n%s", written)
		}
	})
	namespaces.Eventually(t, "firewalld runs", func() bool { return f.cmd("--state").Run() == nil })
	if rules := run(t, namespaces.In(holder, "nft", "list", "ruleset")...); !strings.Contains(rules, "reject with icmpx") {
		t.Errorf("firewalld rejects nothing by default:\n%s", rules)
	}
	return f
}

// run runs a program until the test ends.
func (f *firewalld) run(log string, args ...string) {
	t := f.l.t
	t.Helper()
	file, err := os.OpenFile(log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Env, cmd.Stdout, cmd.Stderr = f.env, file, file
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
}

func (f *firewalld) cmd(args ...string) *exec.Cmd {
	cmd := exec.Command(program("firewall-cmd"), args...)
	cmd.Env = f.env
	return cmd
}

// command does what an operator does with firewall-cmd.
func (f *firewalld) command(args ...string) {
	f.l.t.Helper()
	if out, err := f.cmd(args...).CombinedOutput(); err != nil {
		f.l.t.Fatalf("firewall-cmd %q: %v: %s", args, err, out)
	}
}
