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
		f.options, f.alone, f.inFlight = o, true, 1<<20
		faults = append(faults, f)
	}
	try(t, faults, "keepalived")
}
