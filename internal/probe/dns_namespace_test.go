package probe

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// dnsNamespace is what the test binary finds in its environment when it was begun
// anew in namespaces of its own: the directory with their configuration.
const dnsNamespace = "CRISP_DNS_NAMESPACE"

// inDNSNamespace reports whether the test runs in namespaces of its own, with
// files in the place of those in /etc, and runs it there if not. The directory
// is where they lie: what is written to them there counts.
func inDNSNamespace(t *testing.T, files map[string]string) (dir string, inside bool) {
	t.Helper()
	if dir := os.Getenv(dnsNamespace); dir != "" {
		if err := ownNamespace(dir, files); err != nil {
			t.Skipf("this namespace cannot be set up: %v", err)
		}
		return dir, true
	}
	t.Parallel() // it waits more than it computes
	dir = t.TempDir()
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), self, "-test.run=^"+t.Name()+"$", "-test.v")
	cmd.Env = append(os.Environ(), dnsNamespace+"="+dir)
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET | syscall.CLONE_NEWNS}
	out, err := cmd.CombinedOutput()
	switch {
	case err == nil && bytes.Contains(out, []byte("--- PASS: "+t.Name())):
		t.Logf("%s", out)
	case errors.Is(err, syscall.EPERM) || bytes.Contains(out, []byte("--- SKIP")):
		lack(t, fmt.Sprintf("namespaces cannot be had here (not root?): %v\n%s", err, out))
	default:
		t.Errorf("in the namespace: %v\n%s", err, out)
	}
	return dir, false
}

// The whole way: /etc/resolv.conf and /etc/hosts, port 53, a replica.
func TestNamesInANamespaceOfItsOwn(t *testing.T) {
	if _, inside := inDNSNamespace(t, map[string]string{
		"resolv.conf": "nameserver 127.0.0.1\nnameserver 127.0.0.2\nnameserver ::1\nsearch corp.test test\noptions timeout:1\n",
		"hosts":       "127.0.0.1 filed filed.test\n",
	}); !inside {
		return
	}
	l := listenTCP(t, "tcp4", "127.0.0.1:0")
	_, port, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	records := zone("web.test. 127.0.0.1", "web.test. ::1", "six.test. ::1", "lonely.corp.test. 127.0.0.1")
	// The first nameserver is silent for AAAA, and for one name altogether.
	listenDNS(t, "127.0.0.1:53", func(q asked) []byte {
		if q.family == typeAAAA && !strings.HasPrefix(q.name, "six.") && !strings.HasPrefix(q.name, "gone.") || q.name == "web.test." {
			return nil
		}
		return records(q)
	}, nil)
	listenDNS(t, "127.0.0.2:53", records, framed(records))
	p := New("crisp-status-local/test")
	defer p.Close()
	for _, tt := range []struct {
		url    string
		health Health
	}{
		{"tcp://web.test:" + port, Healthy},
		{"tcp://web:" + port, Healthy},
		{"tcp://lonely:" + port, Healthy},
		{"tcp://filed:" + port, Healthy},
		{"tcp://any.localhost:" + port, Healthy},
		{"icmp://web.test", Healthy},
		{"icmp://six.test", Healthy},
		{"tcp://gone.test:" + port, Dead},
	} {
		c := Check{Target: mustParse(t, tt.url), Rules: &Rules{Retry: 1, DeadAfter: 20 * time.Second}}
		if r := p.probe(t.Context(), c, MaxProbe); r.Health != tt.health || tt.health == Dead && kindOf(r.Err) != KindDNS {
			t.Errorf("%s: got %q because %q, want %q", tt.url, r.Health, r.Reason(), tt.health)
		}
	}
}

// ownNamespace brings this process's loopback up and puts the files of dir in the
// place of those in /etc, for this process alone.
func ownNamespace(dir string, files map[string]string) error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return err
	}
	for name := range files {
		if err := unix.Mount(filepath.Join(dir, name), "/etc/"+name, "", unix.MS_BIND, ""); err != nil {
			return err
		}
	}
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	ifr, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	ifr.SetUint16(unix.IFF_UP)
	return unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, ifr)
}
