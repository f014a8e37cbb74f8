//go:build faults

package faults

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/crisp-im/crisp-status-local/v2/cmd/crisp-status-local/namespaces"
	"github.com/crisp-im/crisp-status-local/v2/internal/sandbox"
)

// peer is a server as Debian packages it.
type peer struct {
	name     string
	program  string
	replicas []string
	start    func(l *lab, dir string) // writes into dir, the log into dir/log
	noise    string                   // an expression for a line that the log must not have
	leave    string                   // who connects here and leaves makes that noise; empty: that is none to it
	check    func(l *lab, dir string) // nil: nothing more
}

// probes is how many of each peer are waited for: MySQL's limit of failed
// connections is a hundred.
const probes = 300

// tolerated is how many of them a peer may notice: the kernel completes a handshake
// 40 ms after the answer, whenever this machine lets the daemon run. A daemon that
// connected as others do would be noticed every time.
const tolerated = probes / 30

func TestPeers(t *testing.T) {
	t.Parallel()
	for _, p := range []peer{postgresql, redis, nginx, apache, haproxy, openssh, mariadb} {
		t.Run(p.name, func(t *testing.T) {
			t.Parallel()
			if !namespaces.Inside(t) {
				return
			}
			p.run(t)
		})
	}
}

func (p peer) run(t *testing.T) {
	if program(p.program) == "" {
		namespaces.Lack(t, p.program+" is not installed")
	}
	dir := t.TempDir()
	everyone(t, dir)
	l := newLab(t, options{replicas: p.replicas, before: func(l *lab) { p.start(l, dir) }})
	l.settled(time.Time{})
	began := time.Now()
	namespaces.Eventually(t, fmt.Sprintf("%d probes", probes), func() bool {
		n := 0
		for _, replica := range p.replicas {
			n += len(l.api.of(replica))
		}
		return n >= probes
	})
	for _, replica := range p.replicas {
		l.reported(replica, sandbox.Healthy, began)
		for _, report := range l.api.of(replica) {
			if report.health != sandbox.Healthy {
				t.Errorf("%s was reported %s, want healthy", replica, report.health)
			}
		}
	}
	written, err := os.ReadFile(filepath.Join(dir, "log"))
	if err != nil {
		t.Fatal(err)
	}
	noise := regexp.MustCompile(`.*(` + p.noise + `).*`)
	if found := noise.FindAll(written, -1); len(found) > tolerated {
		t.Errorf("the log of %s has %d lines such as %q after %d probes, want %d at most:\n%s", p.name, len(found), found[0], probes, tolerated, written[:min(len(written), 4<<10)])
	}
	if p.check != nil {
		p.check(l, dir)
	}
	if p.leave != "" { // and that this can fail
		l.helper("connect", p.leave, "50")()
		namespaces.Eventually(t, p.name+" notices connections that leave", func() bool {
			written, _ := os.ReadFile(filepath.Join(dir, "log"))
			return len(noise.FindAll(written, -1)) > tolerated
		})
	}
	l.promise(fault{}, time.Now())
	l.secretive()
}

// unpacked is where debian/tests/prepare unpacks packages that would change this machine
// if it installed them, each into a folder of its own.
const unpacked = "../../../bin/peers/"

// program returns the path of a program, empty if there is none. Debian keeps some
// servers apart from what people call.
func program(name string) string {
	for _, folder := range []string{"/usr/sbin/", "/usr/bin/", "/usr/lib/postgresql/*/bin/", "/usr/lib/systemd/", "/lib/systemd/"} {
		for _, root := range []string{"", unpacked + "*"} {
			if found, _ := filepath.Glob(root + folder + name); len(found) > 0 {
				return found[len(found)-1]
			}
		}
	}
	return ""
}

// everyone opens a folder, and those above it, to the users that servers run as.
func everyone(t *testing.T, dir string) {
	t.Helper()
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	for above := filepath.Dir(dir); strings.HasPrefix(above, namespaces.Scratch()); above = filepath.Dir(above) {
		if err := os.Chmod(above, 0o755); err != nil {
			t.Fatal(err)
		}
	}
}

// spread returns a URL for each of n addresses of the far namespace.
func spread(n int, format string) []string {
	var urls []string
	for i := range n {
		urls = append(urls, fmt.Sprintf(format, fmt.Sprintf("10.9.1.%d", 110+i)))
	}
	return urls
}

// serveBy runs a server in the far namespace, what it writes appended to a file,
// and waits until it listens.
func serveBy(t *testing.T, log, port string, args ...string) {
	t.Helper()
	path := program(args[0])
	file, err := os.OpenFile(log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o666)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	cmd := exec.Command(path, args[1:]...)
	cmd.Stdout, cmd.Stderr = file, file
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL); _ = cmd.Wait() })
	namespaces.Eventually(t, args[0]+" listens", func() bool {
		out, _ := exec.Command("ss", "-Hlntu", "sport = :"+port).Output()
		if len(out) == 0 && cmd.Process.Signal(syscall.Signal(0)) != nil {
			written, _ := os.ReadFile(log)
			t.Fatalf("%s ended: %s", args[0], written)
		}
		return len(out) > 0
	})
}

// run runs a command and returns what it wrote.
func run(t *testing.T, args ...string) string {
	t.Helper()
	out, err := exec.Command(args[0], args[1:]...).CombinedOutput()
	if err != nil {
		t.Fatalf("%q: %v: %s", args, err, out)
	}
	return string(out)
}

func write(t *testing.T, path, text string, mode fs.FileMode) string {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
	return path
}

// keyPair writes the certificate of a server and its key, and returns their files.
func (l *lab) keyPair(dir string) (certificate, key string) {
	l.t.Helper()
	pair := l.lan.authority.certificate(l.t, time.Now().Add(time.Hour))
	var c, k bytes.Buffer
	encodePair(l.t, &c, &k, pair)
	return write(l.t, filepath.Join(dir, "certificate.pem"), c.String(), 0o644), write(l.t, filepath.Join(dir, "key.pem"), k.String(), 0o600)
}
