//go:build cluster

package cluster

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/crisp-im/crisp-status-local/v2/cmd/crisp-status-local/namespaces"
	"github.com/crisp-im/crisp-status-local/v2/internal/sandbox"
)

// movingAddress is the address that keepalived gives to the host on duty.
const movingAddress = "10.9.0.50"

// keepalived starts a keepalived on each host. It gives the address away when the host's
// daemon does not run, as README recommends.
func keepalived(l *lab) {
	l.t.Helper()
	for i, h := range l.hosts {
		dir := filepath.Join(l.t.TempDir(), h.name)
		if err := os.MkdirAll(dir, 0o700); err != nil {
			l.t.Fatal(err)
		}
		var others strings.Builder
		for _, other := range l.hosts {
			if other != h {
				others.WriteString(other.address + "\n")
			}
		}
		text := fmt.Sprintf(`global_defs {
	router_id %s
	script_user root
	enable_script_security
	vrrp_version 3
}
vrrp_script daemon {
	script "/usr/bin/test -e %s/runs"
	interval 1
	fall 1
	rise 1
}
vrrp_instance page {
	state BACKUP
	interface eth0
	virtual_router_id 51
	priority %d
	advert_int 1
	unicast_src_ip %s
	unicast_peer {
		%s
	}
	virtual_ipaddress {
		%s/24 dev eth0
	}
	track_script {
		daemon
	}
}
`, h.name, dir, 100-i, h.address, others.String(), movingAddress)
		path := filepath.Join(dir, "keepalived.conf")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			l.t.Fatal(err)
		}
		runs := filepath.Join(dir, "runs")
		if err := os.WriteFile(runs, nil, 0o600); err != nil {
			l.t.Fatal(err)
		}
		p := &process{t: l.t, host: h, log: filepath.Join(dir, "log"), args: []string{"keepalived", "--dont-fork", "--log-console", "--log-detail", "--vrrp",
			"--use-file=" + path, "--pid=" + filepath.Join(dir, "pid"), "--vrrp_pid=" + filepath.Join(dir, "vrrp.pid")}}
		p.start()
		l.t.Cleanup(func() {
			if l.t.Failed() {
				l.t.Logf("keepalived on %s wrote:\n%s", h.name, p.tail())
			}
			p.kill()
		})
		l.runs = append(l.runs, runs)
	}
}

// byAddress returns a function that asks the hosts which of them has the address.
func byAddress(l *lab) func() (string, error) {
	return func() (string, error) {
		for _, h := range l.hosts {
			out, err := namespaces.Output(namespaces.In(h.holder, "ip", "-o", "addr", "show", "to", movingAddress)...)
			if err != nil {
				return "", err
			}
			if strings.Contains(out, movingAddress) {
				return h.name, nil
			}
		}
		return "", nil
	}
}

// noted tells keepalived whether a daemon runs.
func noted(begin func(*lab, *process) func()) func(*lab, *process) func() {
	return func(l *lab, victim *process) func() {
		l.t.Helper()
		runs := l.runs[0]
		if victim != l.daemons[0] {
			runs = l.runs[1]
		}
		if err := os.Remove(runs); err != nil {
			l.t.Fatal(err)
		}
		heal := begin(l, victim)
		return func() {
			heal()
			if err := os.WriteFile(runs, nil, 0o600); err != nil {
				l.t.Fatal(err)
			}
		}
	}
}

// TestAddress moves an address by keepalived. Only I1 is checked: while VRRP decides,
// two hosts may have the address.
func TestAddress(t *testing.T) {
	t.Parallel()
	o := options{engine: "address", daemons: 2, before: keepalived, watch: byAddress}
	const long = 10 * time.Second
	var faults []fault
	for _, f := range []fault{
		{name: "killed", lasts: long, begin: noted(killed)},
		{name: "ended", lasts: long, begin: noted(ended)},
		{name: "stopped for 1s", lasts: time.Second, begin: stopped},
		{name: "unplugged", lasts: long, begin: unplugged},
	} {
		f.options, f.withoutEngine, f.inFlight, f.check = o, true, 1<<20, oneHost
		faults = append(faults, f)
	}
	try(t, faults, "keepalived")
}

// conflictLogged is a part of the line about an address on two hosts.
const conflictLogged = "another host has the address, too"

// oneHost checks that no daemon took a handover for an address on two hosts.
func oneHost(l *lab, _ *process, _ int) {
	l.t.Helper()
	for _, d := range l.daemons {
		if d.wrote(conflictLogged) > 0 {
			l.t.Errorf("%s says that the address is on two hosts, want that of a real conflict alone", d.host.name)
		}
	}
}

// TestAddressOnTwoHosts keeps the two keepalived from hearing each other, so that both
// hosts have the address, and then lets them.
func TestAddressOnTwoHosts(t *testing.T) {
	t.Parallel()
	if !inside(t, "keepalived") {
		return
	}
	l := newLab(t, options{engine: "address", daemons: 2, before: keepalived, watch: byAddress})
	oneHost(l, nil, 0)
	var took figures
	for round := range rounds() {
		began := time.Now()
		heal := all(l.hosts[0].cut(vrrp), l.hosts[1].cut(vrrp))
		namespaces.Eventually(t, "both daemons say that the address is on two hosts", func() bool {
			return l.inConflict(l.daemons[0]) && l.inConflict(l.daemons[1])
		})
		both := time.Now()
		took = append(took, both.Sub(began))
		time.Sleep(5 * interval)
		from := make(map[string]int)
		for _, r := range l.page.after(both.Add(time.Second)) { // what was in flight may arrive
			from[r.from]++
			if r.health == sandbox.Dead {
				t.Errorf("%s reported %s dead while the address is on two hosts, want that left to the page", r.from, r.replica)
			}
		}
		if len(from) != 2 {
			t.Errorf("got reports of %v while the address is on two hosts, want both daemons'", from)
		}
		if round == 0 {
			l.saysConflict()
		}
		heal()
		healed := time.Now()
		holder, since := l.onDuty(healed)
		namespaces.Eventually(t, "the daemon on duty says that it is over", func() bool { return !l.inConflict(holder) })
		l.asItIs(since)
	}
	for _, d := range l.daemons {
		// The log leaves out a line that was said some times in the last hour.
		if n := d.wrote(conflictLogged); n < 1 || n > rounds() {
			t.Errorf("%s logged %d times that the address is on two hosts, want once in each of %d rounds at most, and in the first", d.host.name, n, rounds())
		}
	}
	v := l.judge(l.settled)
	t.Logf("figures: the address on two hosts: %v; both found it after %v", v, took)
	// The host that gets the address, too, never reports a death.
	fault{withoutEngine: true}.hold(l, v, nil)
}

// inConflict reports whether the daemon says that the address is on two hosts.
func (l *lab) inConflict(d *process) bool {
	l.t.Helper()
	out, err := namespaces.Output(namespaces.In(d.host.holder, d.args[0], "status", "-c", d.args[2])...)
	if err != nil {
		l.t.Fatalf("status on %s: %v", d.host.name, err)
	}
	return strings.Contains(strings.Join(strings.Fields(out), " "), "the address is on two hosts")
}

// saysConflict checks the words of the commands while the address is on two hosts.
func (l *lab) saysConflict() {
	l.t.Helper()
	for _, d := range l.daemons {
		for command, wants := range map[string][]string{
			"status": {"reports only healthy and sick", "another host has " + movingAddress + ", too (MAC address ", "the address is on two hosts"},
			"check":  {"✘ duty", "another host has " + movingAddress + ", too (MAC address ", "protocol 112"},
		} {
			out, err := namespaces.Output(namespaces.In(d.host.holder, d.args[0], command, "-c", d.args[2])...)
			if err != nil {
				out = err.Error()
			}
			text := strings.Join(strings.Fields(out), " ")
			for _, want := range wants {
				if !strings.Contains(text, want) {
					l.t.Errorf("%s on %s says\n%swant %q in it", command, d.host.name, out, want)
				}
			}
			if failed := err != nil; failed != (command == "check") {
				l.t.Errorf("%s on %s: got %v", command, d.host.name, err)
			}
		}
	}
}
