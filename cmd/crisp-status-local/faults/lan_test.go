//go:build faults

package faults

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/crisp-im/crisp-status-local/v2/internal/sandbox"
)

// What every LAN has, in the far namespace: replicas that are up, some that are
// not, and two that change while the fault lasts.
var (
	up = []string{
		"tcp://10.9.1.1:80", "tcp://[fd09:1::1]:80", "tcp://db.lan:80",
		"http://10.9.1.2/", "http://web.lan/", "http://[fd09:1::2]/", "https://10.9.1.3/",
		"icmp://10.9.1.4", "icmp://[fd09:1::4]", "icmp://web.lan",
	}
	down = []string{"tcp://10.9.1.100:81", "http://10.9.1.101/failing"}
	goes = "http://10.9.1.102/goes" // up until the fault begins
	come = "http://10.9.1.103/come" // down until the fault begins
)

// lan is the targets.
type lan struct {
	authority *authority
	changed   atomic.Bool // goes and come have changed
}

func newLAN(t *testing.T) *lan {
	t.Helper()
	l := &lan{authority: newAuthority(t)}
	mux := http.NewServeMux()
	answer := func(up func() bool) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			if !up() {
				w.WriteHeader(http.StatusServiceUnavailable)
			}
		}
	}
	mux.HandleFunc("/", answer(func() bool { return true }))
	mux.HandleFunc("/failing", answer(func() bool { return false }))
	mux.HandleFunc("/goes", answer(func() bool { return !l.changed.Load() }))
	mux.HandleFunc("/come", answer(l.changed.Load))
	plain := &http.Server{Handler: mux, ErrorLog: log.New(io.Discard, "", 0)}
	secure := &http.Server{Handler: mux, ErrorLog: log.New(io.Discard, "", 0), TLSConfig: &tls.Config{
		Certificates: []tls.Certificate{*l.authority.certificate(t, time.Now().AddDate(0, 1, 0))},
	}}
	var serving sync.WaitGroup
	on80, on443 := listen(t, ":80"), listen(t, ":443")
	serving.Go(func() { _ = plain.Serve(on80) })
	serving.Go(func() { _ = secure.ServeTLS(on443, "", "") })
	t.Cleanup(func() { plain.Close(); secure.Close(); serving.Wait() })
	return l
}

func listen(t *testing.T, address string) net.Listener {
	t.Helper()
	listener, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	return listener
}

// lanMap is the map of a LAN, with more replicas if there are any, the seconds after
// which an attempt is down, and how often one is repeated.
func lanMap(delayDead, retry int, more ...string) sandbox.Map {
	replicas := slices.Concat(up, down, []string{goes, come}, more)
	return sandbox.Map{
		Metrics:  sandbox.Metrics{Retry: new(retry), DelayDead: new(delayDead)},
		Services: []sandbox.Service{{ID: "service", Nodes: []sandbox.Node{{ID: "node", Replicas: replicas}}}},
	}
}

// authority signs the certificates of targets and API.
type authority struct {
	root *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "a private CA"},
		NotBefore: time.Now().AddDate(-1, 0, 0), NotAfter: time.Now().AddDate(1, 0, 0),
		KeyUsage: x509.KeyUsageCertSign, BasicConstraintsValid: true, IsCA: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	root, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &authority{root, key}
}

// pem is what ca_file and SSL_CERT_FILE take.
func (a *authority) pem() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.root.Raw})
}

// certificate returns one for all addresses here, that ends then.
func (a *authority) certificate(t *testing.T, ends time.Time) *tls.Certificate {
	t.Helper()
	addresses := []net.IP{net.ParseIP(farAddress)}
	for i := range 255 {
		addresses = append(addresses, net.IPv4(10, 9, 1, byte(i)))
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: "a server"},
		NotBefore: time.Now().AddDate(0, -1, 0), NotAfter: ends,
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		IPAddresses: addresses,
		DNSNames:    []string{"web.lan"},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.root, a.key.Public(), a.key)
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: a.key}
}
