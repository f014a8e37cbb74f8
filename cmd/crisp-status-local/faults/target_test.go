//go:build faults

package faults

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"math/big"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/crisp-im/crisp-status-local/v2/cmd/crisp-status-local/namespaces"
	"github.com/crisp-im/crisp-status-local/v2/internal/sandbox"
)

// The ports of the targets that misbehave.
const (
	resetting = ":7001" // accepts, and resets
	silent    = ":7002" // accepts, and never answers
	breaking  = ":7003" // ends in the middle of the TLS handshake
	dripping  = ":7004" // sends a byte of an endless head a second
)

// TestTargets holds that targets which misbehave in every way are judged as they
// are, for long, and at nobody else's cost.
func TestTargets(t *testing.T) {
	t.Parallel()
	if !namespaces.Inside(t) {
		return
	}
	full := "tcp://10.9.1.20:7005"
	verdicts := map[string]sandbox.Health{
		"http://10.9.1.20" + resetting: sandbox.Dead,
		"http://10.9.1.20" + silent:    sandbox.Dead,
		"http://10.9.1.20" + dripping:  sandbox.Dead,
		"https://10.9.1.20" + breaking: sandbox.Dead,
		"https://10.9.1.20" + silent:   sandbox.Dead,
		"tcp://10.9.1.20" + resetting:  sandbox.Healthy,
		"tcp://10.9.1.20" + silent:     sandbox.Healthy,
		full:                           sandbox.Dead,
	}
	var replicas []string
	for replica := range verdicts {
		replicas = append(replicas, replica)
	}
	misbehave(t)
	fill(t, 7005)
	f := fault{
		name: "targets that misbehave", lasts: 30 * time.Second, options: options{replicas: replicas},
		begin: func(l *lab) func() { return func() { l.expect(verdicts) } },
	}
	f.run(t)
}

// TestCostlyCertificates holds that targets whose certificates take long to verify, as
// many as they like to send, take no other replica's time.
func TestCostlyCertificates(t *testing.T) {
	t.Parallel()
	if !namespaces.Inside(t) {
		return
	}
	chain := costlyChain(t, 110)
	listener := tls.NewListener(listen(t, ":7006"), &tls.Config{Certificates: []tls.Certificate{chain}})
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() { _ = conn.(*tls.Conn).HandshakeContext(t.Context()); conn.Close() }()
		}
	})
	t.Cleanup(func() { listener.Close(); serving.Wait() })
	f := fault{
		name: "40 targets with 110 certificates of P-521", lasts: 20 * time.Second,
		options: options{
			delaySick: 1, replicas: spread(40, "https://%s:7006/"),
			healthy: slices.Concat(spread(20, "tcp://%s:80"), spread(20, "http://%s/"), spread(20, "https://%s/"), spread(20, "icmp://%s")),
		},
		begin: func(*lab) func() { return func() {} },
	}
	f.run(t)
}

// costlyChain returns a certificate behind so many others, each of which signs the one
// before it, with keys that take long to check.
func costlyChain(t *testing.T, n int) tls.Certificate {
	t.Helper()
	var chain tls.Certificate
	var parent *x509.Certificate
	var parentKey *ecdsa.PrivateKey
	for i := range n {
		key, err := ecdsa.GenerateKey(elliptic.P521(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		template := &x509.Certificate{
			SerialNumber: big.NewInt(int64(i + 1)), Subject: pkix.Name{CommonName: fmt.Sprintf("number %d", i)},
			NotBefore: time.Now().AddDate(-1, 0, 0), NotAfter: time.Now().AddDate(1, 0, 0),
			KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature, BasicConstraintsValid: true, IsCA: true,
		}
		if parent == nil {
			parent, parentKey = template, key
		}
		der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), parentKey)
		if err != nil {
			t.Fatal(err)
		}
		chain.Certificate = append([][]byte{der}, chain.Certificate...)
		parent, parentKey = template, key
	}
	chain.PrivateKey = parentKey
	return chain
}

// expect checks that a replica never had another verdict.
func (l *lab) expect(verdicts map[string]sandbox.Health) {
	l.t.Helper()
	for replica, health := range verdicts {
		l.reported(replica, health, time.Time{})
		for _, report := range l.api.of(replica) {
			if report.health != health {
				l.t.Errorf("%s was reported %s, want %s", replica, report.health, health)
			}
		}
	}
}

// misbehave serves the targets that accept.
func misbehave(t *testing.T) {
	t.Helper()
	serve(t, resetting, func(conn *net.TCPConn) { _ = conn.SetLinger(0) })
	serve(t, silent, func(conn *net.TCPConn) { _, _ = conn.Read(make([]byte, 1)); _, _ = conn.Read(make([]byte, 1<<16)) })
	serve(t, breaking, func(conn *net.TCPConn) {
		hello := make([]byte, 1<<12)
		_, _ = conn.Read(hello)
		_, _ = conn.Write([]byte{22, byte(tls.VersionTLS12 >> 8), byte(tls.VersionTLS12 & 0xff), 2, 0, 2, 0}) // the head of a record, and no more
	})
	serve(t, dripping, func(conn *net.TCPConn) {
		for _, err := conn.Write([]byte("HTTP/1.1 200 OK\r\nX: ")); err == nil; _, err = conn.Write([]byte("x")) {
			time.Sleep(time.Second)
		}
	})
}

// serve gives every connection to an address to handle, and then closes it.
func serve(t *testing.T, address string, handle func(*net.TCPConn)) {
	t.Helper()
	listener := listen(t, address)
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() { defer conn.Close(); handle(conn.(*net.TCPConn)) }()
		}
	})
	t.Cleanup(func() { listener.Close(); serving.Wait() })
}

// fill makes a listener whose accept queue is full, so that the kernel drops what
// comes.
func fill(t *testing.T, port int) {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	if err := unix.Bind(fd, &unix.SockaddrInet4{Port: port}); err != nil {
		t.Fatal(err)
	}
	if err := unix.Listen(fd, 0); err != nil {
		t.Fatal(err)
	}
	here(t, "ip link set lo up")
	for range 3 {
		dialer := net.Dialer{Timeout: time.Second}
		if conn, err := dialer.DialContext(t.Context(), "tcp", net.JoinHostPort("127.0.0.1", "7005")); err == nil {
			t.Cleanup(func() { conn.Close() })
		}
	}
}
