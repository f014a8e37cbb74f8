package duty

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sirupsen/logrus"
)

// The tests of this file ask the etcd of the distribution, on loopback.

// lack skips the test, for want of what why says. Where CRISP_REQUIRE_TOOLS is
// set, that is a failure.
func lack(t *testing.T, why string) {
	t.Helper()
	if os.Getenv("CRISP_REQUIRE_TOOLS") != "" {
		t.Fatal(why)
	}
	t.Skip(why)
}

// realEtcd is a cluster of processes.
type realEtcd struct {
	t         *testing.T
	nodes     []*exec.Cmd
	arguments [][]string
	endpoints []string
	logs      []*syncBuffer
}

// freePorts returns ports of loopback that nobody listens on.
func freePorts(t *testing.T, n int) []int {
	t.Helper()
	var ports []int
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		ports = append(ports, l.Addr().(*net.TCPAddr).Port)
	}
	return ports
}

// startEtcd starts a cluster of some nodes, with further arguments.
func startEtcd(t *testing.T, nodes int, scheme string, more ...string) *realEtcd {
	t.Helper()
	path, err := exec.LookPath("etcd")
	if err != nil {
		lack(t, "etcd is not installed: apt-get install etcd-server")
	}
	c := &realEtcd{t: t}
	ports := freePorts(t, 2*nodes)
	var members []string
	for i := range nodes {
		members = append(members, fmt.Sprintf("n%d=http://127.0.0.1:%d", i, ports[2*i]))
	}
	for i := range nodes {
		client, peer := fmt.Sprintf("%s://127.0.0.1:%d", scheme, ports[2*i+1]), fmt.Sprintf("http://127.0.0.1:%d", ports[2*i])
		c.endpoints = append(c.endpoints, client)
		c.arguments = append(c.arguments, append([]string{path, "--name", fmt.Sprintf("n%d", i), "--data-dir", filepath.Join(t.TempDir(), "data"),
			"--listen-client-urls", client, "--advertise-client-urls", client,
			"--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer,
			"--initial-cluster", strings.Join(members, ",")}, more...))
		c.nodes, c.logs = append(c.nodes, nil), append(c.logs, new(syncBuffer))
		c.run(i)
	}
	t.Cleanup(func() {
		for _, n := range c.nodes {
			n.Process.Kill()
			n.Wait()
		}
	})
	return c
}

// run starts one node.
func (c *realEtcd) run(i int) {
	c.t.Helper()
	n := exec.Command(c.arguments[i][0], c.arguments[i][1:]...)
	n.Env = append(os.Environ(), "ETCD_UNSUPPORTED_ARCH="+runtime.GOARCH)
	n.Stdout, n.Stderr = c.logs[i], c.logs[i]
	if err := n.Start(); err != nil {
		c.t.Fatal(err)
	}
	c.nodes[i] = n
}

func (c *realEtcd) kill(i int) {
	c.nodes[i].Process.Kill()
	c.nodes[i].Wait()
}

// etcdctl runs a command until it succeeds, and returns its output.
func (c *realEtcd) etcdctl(arguments ...string) string {
	c.t.Helper()
	path, err := exec.LookPath("etcdctl")
	if err != nil {
		lack(c.t, "etcdctl is not installed: apt-get install etcd-client")
	}
	var out []byte
	for range 30 {
		ctl := exec.Command(path, append([]string{"--endpoints", strings.Join(c.endpoints, ",")}, arguments...)...)
		ctl.Env = append(os.Environ(), "ETCDCTL_API=3")
		var wrong bytes.Buffer
		ctl.Stderr = &wrong
		if out, err = ctl.Output(); err == nil {
			return string(out)
		}
		out = append(out, wrong.Bytes()...)
		time.Sleep(time.Second)
	}
	c.t.Fatalf("etcdctl %v: %v\n%s\n%s", arguments, err, out, c.logs[0])
	return ""
}

// leader returns the node that leads.
func (c *realEtcd) leader() int {
	c.t.Helper()
	var nodes []struct {
		Endpoint string
		Status   struct {
			Header struct {
				Member uint64 `json:"member_id"`
			} `json:"header"`
			Leader uint64 `json:"leader"`
		}
	}
	if err := json.Unmarshal([]byte(c.etcdctl("endpoint", "status", "-w", "json")), &nodes); err != nil {
		c.t.Fatal(err)
	}
	for _, n := range nodes {
		if n.Status.Leader == n.Status.Header.Member {
			return slices.Index(c.endpoints, n.Endpoint)
		}
	}
	c.t.Fatalf("nobody leads: %+v", nodes)
	return 0
}

// join starts a daemon of the group.
func (c *realEtcd) join(name string, mend func(*EtcdSettings)) *daemon {
	c.t.Helper()
	d := &daemon{name: name, log: new(syncBuffer)}
	s := EtcdSettings{Endpoints: c.endpoints, Group: "office", Member: name, Version: "2.1.0", Page: "page", TTL: 5 * time.Second}
	if mend != nil {
		mend(&s)
	}
	log := logrus.New()
	log.SetOutput(d.log)
	made, err := NewEtcd(s, log)
	if err != nil {
		c.t.Fatal(err)
	}
	d.etcd = made.(*etcd)
	d.start()
	c.t.Cleanup(d.stop)
	return d
}

// await waits until something holds, and sees to it that never two are on duty.
func await(t *testing.T, what string, holds func() bool, daemons ...*daemon) time.Duration {
	t.Helper()
	began := time.Now()
	for !holds() {
		if time.Since(began) > time.Minute {
			for _, d := range daemons {
				t.Logf("%s: %+v\n%s", d.name, d.State(), d.log)
			}
			t.Fatalf("%s: not within a minute", what)
		}
		on := 0
		for _, d := range daemons {
			if d.Scope() == Everything {
				on++
			}
		}
		if on > 1 {
			t.Fatalf("%s: %d on duty", what, on)
		}
		time.Sleep(5 * time.Millisecond)
	}
	took := time.Since(began)
	t.Logf("%s: after %v", what, took.Round(time.Millisecond))
	return took
}

// are reports whether daemons have scopes, in any order.
func are(daemons []*daemon, want ...Scope) func() bool {
	return func() bool {
		left := make(map[Scope]int)
		for _, s := range want {
			left[s]++
		}
		for _, d := range daemons {
			left[d.Scope()]--
		}
		for _, n := range left {
			if n != 0 {
				return false
			}
		}
		return true
	}
}

func TestRealEtcd(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes half a minute")
	}
	t.Parallel()
	c := startEtcd(t, 3, "http")
	a := c.join("host-a", nil)
	await(t, "the first one is on duty", are([]*daemon{a}, Everything), a)
	b, d := c.join("host-b", nil), c.join("host-c", nil)
	all := []*daemon{a, b, d}
	one := are(all, Everything, Nothing, Nothing)
	await(t, "all are members", func() bool { return len(a.State().Members) == 3 && len(b.State().Members) == 3 }, all...)
	if a.Scope() != Everything {
		t.Errorf("the first one lost the duty:\n%s", a.log)
	}
	await(t, "the others stand by", one, all...)

	first := strings.Fields(c.etcdctl("get", "--prefix", "--keys-only", "--sort-by=CREATE", groupPrefix("office")+"election/"))[0]
	lease := first[strings.LastIndexByte(first, '/')+1:]
	c.etcdctl("lease", "revoke", lease)
	await(t, "after a revocation by hand", func() bool { return a.Scope() == Nothing && one() }, all...)
	c.etcdctl("del", "--prefix", groupPrefix("office"))
	deleted := time.Now()
	await(t, "after a deletion by hand", func() bool { return time.Since(deleted) > 2*time.Second && one() }, all...)

	// An etcd that is stopped still accepts connections: whoever asked it goes on
	// with another one.
	leader := c.nodes[c.leader()]
	leader.Process.Signal(syscall.SIGSTOP)
	stopped := time.Now()
	await(t, "the leader of etcd is stopped", func() bool { return time.Since(stopped) > 6*time.Second && one() }, all...)
	leader.Process.Signal(syscall.SIGCONT)
	await(t, "it goes on", one, all...)

	c.kill(0)
	c.kill(1)
	await(t, "no majority is left", are(all, Alive, Alive, Alive), all...)
	await(t, "each has said so", func() bool {
		for _, m := range all {
			if !strings.Contains(m.log.String(), "no engine says") {
				return false
			}
		}
		return true
	}, all...)
	c.run(0)
	c.run(1)
	await(t, "it is back", one, all...)
}

func TestRealEtcdHandsOver(t *testing.T) {
	t.Parallel()
	c := startEtcd(t, 1, "http")
	a := c.join("host-a", nil)
	await(t, "the first one is on duty", are([]*daemon{a}, Everything), a)
	b := c.join("host-b", nil)
	await(t, "the other one stands by", func() bool { return b.State().Holder == "host-a" }, a, b)
	ctx, cancel := context.WithCancel(context.Background())
	go func() { a.stop(); cancel() }()
	await(t, "the other one takes over", are([]*daemon{b}, Everything), a, b)
	<-ctx.Done()
	if keys := c.etcdctl("get", "--prefix", "--keys-only", groupPrefix("office")); strings.Count(keys, "members/") != 1 {
		t.Errorf("keys: %s", keys)
	}
}

// certify makes a CA, and a certificate that serves and asks, in files.
func certify(t *testing.T) (ca, cert, key string) {
	t.Helper()
	folder := t.TempDir()
	write := func(name, kind string, der []byte) string {
		path := filepath.Join(folder, name)
		if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	root := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "a CA"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	rootDER, err := x509.CreateCertificate(rand.Reader, root, root, &private.PublicKey, private)
	if err != nil {
		t.Fatal(err)
	}
	leaf := &x509.Certificate{SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: ""}, NotBefore: root.NotBefore, NotAfter: root.NotAfter,
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}
	leafDER, err := x509.CreateCertificate(rand.Reader, leaf, root, &private.PublicKey, private)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalECPrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return write("ca.pem", "CERTIFICATE", rootDER), write("cert.pem", "CERTIFICATE", leafDER), write("key.pem", "EC PRIVATE KEY", keyDER)
}

func TestRealEtcdWithTLSAndUsers(t *testing.T) {
	t.Parallel()
	ca, cert, key := certify(t)
	c := startEtcd(t, 1, "https", "--cert-file", cert, "--key-file", key, "--trusted-ca-file", ca, "--client-cert-auth")
	secure := []string{"--cacert", ca, "--cert", cert, "--key", key}
	root := append([]string{"--user", "root:secret"}, secure...)
	for _, line := range []string{"user add root:secret", "user grant-role root root", "role add csl",
		"user add u:secret", "user grant-role u csl", "auth enable"} {
		c.etcdctl(append(secure, strings.Fields(line)...)...)
	}
	pem, err := os.ReadFile(ca)
	if err != nil {
		t.Fatal(err)
	}
	pair, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	full := &tls.Config{RootCAs: roots, Certificates: []tls.Certificate{pair}}
	user := func(name, password string, conf *tls.Config) func(*EtcdSettings) {
		return func(s *EtcdSettings) {
			s.User, s.Password, s.TLS = name, func() (string, error) { return password, nil }, conf
		}
	}
	complaints := map[string]*daemon{
		"set ca_file":                           c.join("no-ca", user("u", "secret", nil)),
		"set cert_file and key_file":            c.join("no-cert", user("u", "secret", &tls.Config{RootCAs: roots})),
		"wants https":                           c.join("no-tls", func(s *EtcdSettings) { s.Endpoints = []string{strings.Replace(c.endpoints[0], "https", "http", 1)} }),
		"correct user":                          c.join("no-password", user("u", "wrong", full)),
		"set user and password_file":            c.join("no-user", func(s *EtcdSettings) { s.TLS = full }),
		"etcdctl role grant-permission ROLE re": c.join("no-rights", user("u", "secret", full)),
	}
	for words, d := range complaints {
		await(t, words, func() bool { return strings.Contains(d.State().Trouble, words) }, d)
	}
	c.etcdctl(append(root, "role", "grant-permission", "csl", "readwrite", "--prefix=true", groupPrefix("office"))...)
	a := complaints["etcdctl role grant-permission ROLE re"]
	await(t, "with rights", are([]*daemon{a}, Everything), a)
	b := c.join("host-b", user("u", "secret", full))
	await(t, "the other one stands by", func() bool { return b.State().Holder == a.name && b.Scope() == Nothing }, a, b)
}
