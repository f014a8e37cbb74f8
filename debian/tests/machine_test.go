//go:build install

package tests

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// suites are the Debian releases that the package is installed on.
var suites = []string{"bookworm", "trixie", "bullseye"}

// furnishing is what a machine has beside Debian's base: what the package depends
// on and the steps of README use, since a machine reaches no mirror.
const furnishing = "systemd-sysv,adduser,procps,iproute2,man-db,ca-certificates,curl,gnupg"

// machine is a Debian system of its own, booted by systemd in a container: fresh,
// gone without a trace when the test ends, without any network but loopback, on
// which it has the address 192.0.2.1 too. It finds scratch at /lend.
type machine struct {
	testing.TB
	suite   string
	leader  int       // the process id, out here, of its systemd
	up      time.Time // since when
	console bytes.Buffer
}

// tree is the file system that machines of a suite start from.
func tree(t testing.TB, suite string) string {
	t.Helper()
	requireRoot(t)
	requireTools(t, "systemd-nspawn", "mmdebstrap", "nsenter")
	dir, err := trees[suite]()
	switch {
	case !errors.Is(err, errBootstrap):
	case suite == suites[0]:
		skip(t, err.Error())
	default:
		skipEverywhere(t, err.Error()) // a mirror keeps no release for ever
	}
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

var trees = func() map[string]func() (string, error) {
	trees := make(map[string]func() (string, error))
	for _, suite := range suites {
		trees[suite] = sync.OnceValues(func() (string, error) { return unpack(suite) })
	}
	return trees
}()

// unpack makes the file system of a suite, from the archive that is kept in bin/
// and made anew every month.
func unpack(suite string) (string, error) {
	archive := filepath.Join(top, "bin", "rootfs", fmt.Sprintf("%s-%08x.tar", suite, crc32.ChecksumIEEE([]byte(furnishing))))
	if info, err := os.Stat(archive); err != nil || time.Since(info.ModTime()) > 30*24*time.Hour {
		if err := bootstrap(suite, archive); err != nil {
			return "", err
		}
	}
	dir, err := newScratch(suite)
	if err != nil {
		return "", err
	}
	if _, err := runOnce(nil, top, "tar", "-xf", archive, "-C", dir); err != nil {
		return "", err
	}
	// They forbid services to start, name mirrors that are out of reach, and start
	// apt beside a test.
	_, err = runOnce(nil, dir, "sh", "-c", "rm -f usr/sbin/policy-rc.d etc/apt/sources.list etc/apt/sources.list.d/* etc/systemd/system/timers.target.wants/*")
	return dir, err
}

// errBootstrap is why there is no archive of a suite.
var errBootstrap = errors.New("it cannot be had from the mirror")

// bootstrap makes an archive that is whole or not there, in the place of the one
// that was.
func bootstrap(suite, archive string) error {
	if err := os.MkdirAll(filepath.Dir(archive), 0o755); err != nil {
		return err
	}
	part := fmt.Sprintf("%s.%d.part.tar", archive, os.Getpid())
	removeOutdated(suite, archive)
	defer os.Remove(part)
	args := []string{"--quiet", "--variant=minbase", "--include=" + furnishing, suite, part}
	if mirror := mirror(); mirror != "" {
		args = append(args, mirror)
	}
	if _, err := runOnce(nil, top, "mmdebstrap", args...); err != nil {
		return fmt.Errorf("%w: %w", errBootstrap, err)
	}
	return os.Rename(part, archive)
}

// removeOutdated removes the archives of a suite that hold something else, and what
// runs that were killed have left of one.
func removeOutdated(suite, archive string) {
	others, _ := filepath.Glob(filepath.Join(filepath.Dir(archive), suite+"-*.tar"))
	for _, other := range others {
		var pid int
		if _, rest, is := strings.Cut(other, ".tar."); is {
			_, _ = fmt.Sscanf(rest, "%d.part.tar", &pid)
		}
		if other != archive && (pid == 0 || errors.Is(syscall.Kill(pid, 0), syscall.ESRCH)) {
			_ = os.Remove(other)
		}
	}
}

// mirror is the Debian mirror that this machine uses, if any.
func mirror() string {
	targets, err := runOnce(nil, top, "apt-get", "indextargets", "--format", "$(LABEL) $(REPO_URI)", "Created-By: Packages")
	if err != nil {
		return ""
	}
	for line := range strings.Lines(targets) {
		if uri, debian := strings.CutPrefix(strings.TrimSpace(line), "Debian "); debian {
			return uri
		}
	}
	return ""
}

// joinCgroup puts a machine into a cgroup of its own, in every hierarchy that
// systemd manages: two machines in one would end each other's services.
const joinCgroup = `
for root in /sys/fs/cgroup /sys/fs/cgroup/systemd /sys/fs/cgroup/unified; do
	[ -e $root/cgroup.procs ] || continue
	mkdir $root/$0 && echo $$ >$root/$0/cgroup.procs || exit
done
exec systemd-nspawn "$@"`

var machines atomic.Int32

// boot returns a machine that is up. It is shut down in order when the test ends.
func boot(t testing.TB, suite string) *machine {
	t.Helper()
	root := tree(t, suite)
	m := &machine{TB: t, suite: suite}
	name := fmt.Sprintf("crisp-status-local-test-%d-%d", os.Getpid(), machines.Add(1))
	nspawn := exec.Command("sh", "-c", joinCgroup, name, "--quiet", "--directory="+root, "--volatile=overlay", "--boot",
		"--private-network", "--register=no", "--keep-unit", "--link-journal=no", "--machine="+name, "--hostname="+suite,
		"--console=read-only", "--bind-ro="+scratch+":/lend")
	nspawn.Stdout, nspawn.Stderr = &m.console, &m.console
	ended, err := start(nspawn) // with SIGTERM, it powers off
	if err != nil {
		t.Fatal(err)
	}
	atEnd(t, func() {
		m.shutDown(nspawn, ended)
		leaveCgroup(name)
	})
	eventually(t, "booting "+suite, func() string {
		select {
		case <-ended:
			if m.leader == 0 {
				skip(t, "systemd-nspawn cannot run here: "+strings.TrimSpace(m.console.String()))
			}
			t.Fatalf("booting %s: %v\n%s", suite, nspawn.ProcessState, m.console.String())
		default:
		}
		children, _ := os.ReadFile(fmt.Sprintf("/proc/%d/task/%[1]d/children", nspawn.Process.Pid))
		first, _, _ := strings.Cut(string(children), " ")
		m.leader, _ = strconv.Atoi(first)
		if _, err := os.Stat(m.path("/run/systemd/private")); m.leader == 0 || err != nil {
			return "systemd does not answer yet"
		}
		return ""
	})
	m.up = time.Now()
	want(t, "the state of a fresh "+suite, strings.TrimSpace(m.sh("systemctl is-system-running --wait")), "running")
	// Its ping sockets are closed to all, as Debian's are: only CAP_NET_RAW lets the service send echoes.
	m.sh("ip address add 192.0.2.1/32 dev lo; sysctl -q -w net.ipv4.ping_group_range='1 0'")
	return m
}

// shutDown ends a machine, and first tells what went on in it if the test failed.
func (m *machine) shutDown(nspawn *exec.Cmd, ended <-chan struct{}) {
	if m.Failed() && m.leader != 0 {
		journal, _ := exec.Command("nsenter", m.enter("journalctl", "--no-pager", "--since", fmt.Sprint("@", m.up.Unix()))...).CombinedOutput()
		m.Logf("the journal of %s:\n%s", m.suite, journal)
	}
	if m.leader != 0 {
		_ = syscall.Kill(m.leader, syscall.Signal(34+4)) // SIGRTMIN+4: power off
	}
	select {
	case <-ended:
		return
	case <-time.After(patience):
		m.Errorf("%s does not power off", m.suite)
	}
	_ = nspawn.Process.Kill()
	if m.leader != 0 {
		_ = syscall.Kill(m.leader, syscall.SIGKILL)
	}
	<-ended
}

// leaveCgroup removes what systemd leaves of its cgroups.
func leaveCgroup(name string) {
	for _, root := range []string{"/sys/fs/cgroup", "/sys/fs/cgroup/systemd", "/sys/fs/cgroup/unified"} {
		_ = exec.Command("find", filepath.Join(root, name), "-depth", "-type", "d", "-exec", "rmdir", "{}", "+").Run()
	}
}

// path is where a file of the machine is found from out here.
func (m *machine) path(inside string) string {
	return fmt.Sprintf("/proc/%d/root%s", m.leader, inside)
}

// enter are the arguments with which nsenter runs a command in the machine, as
// root with a bare environment.
func (m *machine) enter(args ...string) []string {
	return append([]string{"--target", strconv.Itoa(m.leader), "--all", "env", "-i", "HOME=/root", "LC_ALL=C.UTF-8",
		"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}, args...)
}

func (m *machine) command(script string) *exec.Cmd {
	return exec.CommandContext(m.Context(), "nsenter", m.enter("sh", "-ec", script)...)
}

// sh runs a script in the machine as root, with nothing at its standard input, and
// returns all that it wrote. The test ends if a command of it fails.
func (m *machine) sh(script string) string {
	m.Helper()
	out, err := output(m.command(script))
	if err != nil {
		m.Fatalf("%s: %s: %v, it wrote:\n%s", m.suite, script, err, out)
	}
	return out
}

// shFails is sh for a script that must fail and say the words.
func (m *machine) shFails(words, script string) string {
	m.Helper()
	out, err := output(m.command(script))
	if err == nil || !strings.Contains(out, words) {
		m.Fatalf("%s: %s: %v, want a failure that says %q; it wrote:\n%s", m.suite, script, err, words, out)
	}
	return out
}

// says is sh without what surrounds the words, whether it fails or not.
func (m *machine) says(script string) string {
	m.Helper()
	out, _ := output(m.command(script))
	return strings.TrimSpace(out)
}

// write makes a file in the machine, of root's and with the mode 0644, or rewrites
// it, which leaves owner and mode as they are.
func (m *machine) write(path, text string) {
	m.Helper()
	if err := os.WriteFile(m.path(path), []byte(text), 0o644); err != nil {
		m.Fatal(err)
	}
}

func (m *machine) read(path string) string {
	m.Helper()
	text, err := os.ReadFile(m.path(path))
	if err != nil {
		m.Fatal(err)
	}
	return string(text)
}

// token is what the Status API in a machine takes. It may appear nowhere.
const token = "a-token-that-nobody-may-see"

// statusMap has what a daemon must be able to probe, one of each kind.
const statusMap = `
[metrics]
retry = 1
delay_dead = 5
delay_sick = 4

[[service]]
name = "All kinds"
[[service.node]]
name = "Up"
replicas = ["target:tcp#db", "target:http#page", "target:https#api", "icmp://127.0.0.1", "icmp://[::1]"]
`

// statusAPI starts a stand-in for the Status API in the machine, over HTTP at
// 192.0.2.1:8000 and over HTTPS at the endpoint that it returns. Its CA, which its
// https replica is signed by too, is /etc/ssl/private-ca.pem.
func (m *machine) statusAPI() string {
	m.Helper()
	sandbox(m)
	m.write("/run/map.toml", statusMap)
	m.sh("systemd-run --quiet --unit=status-api /lend/crisp-status-sandbox --map /run/map.toml --listen 192.0.2.1:8000 --tls --token " + token)
	eventually(m, "the stand-in for the Status API", func() string {
		return m.says("curl -sSf -o /dev/null http://192.0.2.1:8000/state.json && cp /tmp/crisp-status-sandbox-*/ca.pem /etc/ssl/private-ca.pem")
	})
	return m.page().Endpoint
}

// configuration is a file that makes the daemon report to statusAPI.
func configuration(endpoint, credential string) string {
	return fmt.Sprintf(`[server]
log_level = "debug"
[report]
endpoint = %q
%s
[probe]
interval = 1
ca_file = "/etc/ssl/private-ca.pem"
`, endpoint, credential)
}

const plainEndpoint = "http://192.0.2.1:8000/v1"

// page is what the status page shows.
type page struct {
	Endpoint string
	Summary  struct {
		Replicas, Healthy, Reports, Unauthorized int
	}
	Services []struct {
		Nodes []struct {
			Replicas []struct{ Replica, Status, Health string }
		}
	}
}

func (m *machine) page() page {
	m.Helper()
	text := m.sh("curl -sSf http://192.0.2.1:8000/state.json")
	var p page
	if err := json.Unmarshal([]byte(text), &p); err != nil {
		m.Fatalf("reading the status page: %v\n%s", err, text)
	}
	return p
}

// unhealthy says which replicas are not healthy, or "".
func (p page) unhealthy() string {
	if p.Summary.Replicas > 0 && p.Summary.Healthy == p.Summary.Replicas {
		return ""
	}
	var all []string
	for _, service := range p.Services {
		for _, node := range service.Nodes {
			for _, r := range node.Replicas {
				if r.Status != "healthy" {
					all = append(all, r.Replica+" is "+r.Status)
				}
			}
		}
	}
	return strings.Join(all, ", ")
}

// reportsAnew waits until new reports came in and all replicas are healthy.
func (m *machine) reportsAnew(when string) {
	m.Helper()
	before := m.page().Summary.Reports
	eventually(m, when+": the status page hears that every replica is healthy", func() string {
		p := m.page()
		if p.Summary.Reports < before+p.Summary.Replicas {
			return fmt.Sprintf("%d reports, %d of them before", p.Summary.Reports, before)
		}
		return p.unhealthy()
	})
}

const unit = "crisp-status-local.service"

// property is what systemd knows of the service at one moment: the values of the
// properties, with a blank between them.
func (m *machine) property(names ...string) string {
	m.Helper()
	known := make(map[string]string)
	for line := range strings.Lines(m.sh("systemctl show -p " + strings.Join(names, ",") + " " + unit)) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		known[name] = value
	}
	var values []string
	for _, name := range names {
		values = append(values, known[name])
	}
	return strings.Join(values, " ")
}

// active waits until the service runs.
func (m *machine) active(when string) {
	m.Helper()
	eventually(m, when+": the service is active", func() string {
		if state := m.property("ActiveState"); state != "active" {
			return state
		}
		return ""
	})
}

// configFile is where the configuration is.
const configFile = "/etc/crisp-status-local.cfg"

// owned is mode and owner of a file, like "640 root:crisp-status-local".
func (m *machine) owned(path string) string {
	m.Helper()
	return strings.TrimSpace(m.sh("stat -c '%a %U:%G' " + path))
}
