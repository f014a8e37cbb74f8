package duty

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"
)

// What does not do what etcd does is told with what to correct, and never with a
// cure for an etcd that is overloaded.
func TestWhatIsNotEtcd(t *testing.T) {
	const unknown = `{"error":"unknown service etcdserverpb.Lease","message":"unknown service etcdserverpb.Lease","code":12}`
	for _, tt := range []struct {
		name string
		way  http.Handler
		want string
	}{
		{"no gateway", answers(404, "text/plain; charset=utf-8", "404 page not found\n"), "is not etcd's JSON gateway"},
		{"no gateway, without a type", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header()["Content-Type"] = nil // else package http finds one
			w.WriteHeader(404)
		}), "is not etcd's JSON gateway, it answers 404 without a content type: "},
		{"a web server that knows no POST", answers(501, "text/html", "<html>"), "is not etcd's JSON gateway"},
		{"another one", answers(405, "text/html", "<html>"), "is not etcd's JSON gateway"},
		{"a captive portal", answers(200, "text/html; charset=utf-8", "<html>"), "it answers 200 with \"text/html\": endpoints in [cluster] are client URLs of etcd 3.4 or newer"},
		{"an API of others", answers(200, "application/json", `{"ok":true}`), "client URLs of etcd 3.4 or newer"},
		{"a gateway without the service", answers(501, "application/json", unknown), "client URLs of etcd 3.4 or newer"},
		{"an etcd that ends", answers(408, "application/json", `{"message":"grpc: the client connection is closing","code":1}`), "is being stopped"},
		{"a proxy in trouble", answers(502, "text/html", "<html>"), "is in trouble"},
		{"no quorum", answers(503, "application/json", `{"message":"etcdserver: request timed out","code":14}`), "has no quorum"},
	} {
		bubble(t, func(t *testing.T, _ *fakeEtcd) {
			a := newDaemon(t, "host-a", map[string]http.Handler{"e1": tt.way}, nil).start()
			wait(time.Minute)
			if got := a.State().Trouble; !strings.Contains(got, tt.want) {
				t.Errorf("%s: got %q, want words with %q", tt.name, got, tt.want)
			}
			a.said(t, "etcd does not say who is on duty", 1)
			expect(t, tt.name, Alive, a)
			a.stop()
		})
	}
}

func TestAnEtcdOfAnotherName(t *testing.T) {
	server := httptest.NewTLSServer(answers(200, "text/html", "<html>"))
	defer server.Close()
	roots := x509.NewCertPool()
	roots.AddCert(server.Certificate())
	endpoint := strings.Replace(server.URL, "127.0.0.1", "localhost", 1)
	c := newEtcdClient(EtcdSettings{Endpoints: []string{endpoint}, TTL: time.Minute, TLS: &tls.Config{RootCAs: roots}}, groupPrefix("office"),
		func(ctx context.Context, network, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, server.Listener.Addr().String())
		})
	defer c.http.CloseIdleConnections()
	if err := c.call(t.Context(), "/v3/kv/range", rangeRequest{}, new(rangeAnswer)); err == nil || !strings.Contains(err.Error(), "to a name that etcd's certificate has") {
		t.Errorf("got %v, want that endpoints are to name etcd as its certificate does", err)
	}
}

// A certificate whose time is over is named with its time, whoever of the two has it:
// what the other side says of it is only that it is bad.
func TestCertificatesThatAreNotValidNow(t *testing.T) {
	roots := x509.NewCertPool()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	validUntil := func(until time.Time) tls.Certificate {
		template := &x509.Certificate{SerialNumber: big.NewInt(until.Unix()), NotBefore: time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC), NotAfter: until,
			IsCA: true, BasicConstraintsValid: true, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, Subject: pkix.Name{CommonName: until.String()}}
		der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
		if err != nil {
			t.Fatal(err)
		}
		leaf, err := x509.ParseCertificate(der)
		if err != nil {
			t.Fatal(err)
		}
		roots.AddCert(leaf)
		return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}
	}
	fresh, old := validUntil(time.Now().Add(time.Hour)), validUntil(time.Date(2020, 2, 1, 0, 0, 0, 0, time.UTC))
	for _, tt := range []struct {
		name           string
		server, client tls.Certificate
		want           string
	}{
		{"etcd's", old, fresh, "the certificate of etcd is valid from 2020-01-01T00:00:00Z to 2020-02-01T00:00:00Z, and not by the clock of this host: renew it"},
		{"the client's", fresh, old, "cert_file in [cluster] is valid from 2020-01-01T00:00:00Z to 2020-02-01T00:00:00Z, and not by the clock of this host: renew it and reload"},
	} {
		server := httptest.NewUnstartedServer(answers(200, "text/html", "<html>"))
		server.Config.ErrorLog = log.New(io.Discard, "", 0)
		server.TLS = &tls.Config{Certificates: []tls.Certificate{tt.server}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: roots}
		server.StartTLS()
		c := newEtcdClient(EtcdSettings{Endpoints: []string{server.URL}, TTL: time.Minute, TLS: &tls.Config{RootCAs: roots, Certificates: []tls.Certificate{tt.client}}}, groupPrefix("office"), nil)
		if err := c.call(t.Context(), "/v3/kv/range", rangeRequest{}, new(rangeAnswer)); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: got %v, want an error with %q", tt.name, err, tt.want)
		}
		c.http.CloseIdleConnections()
		server.Close()
	}
}

// TestAServerThatSpeaksFirst, before the request was sent, gets the cure, too.
func TestAServerThatSpeaksFirst(t *testing.T) {
	c := newEtcdClient(EtcdSettings{Endpoints: []string{"http://etcd:22"}, TTL: time.Minute}, groupPrefix("office"), nil)
	var none error
	err := c.unanswered("http://etcd:22", &url.Error{Op: "Post", URL: "http://etcd:22/v3/kv/range", Err: fmt.Errorf("net/http: HTTP/1.x transport connection broken: readLoopPeekFailLocked: %v", none)})
	if !misnamed.is(err) || !strings.Contains(err.Error(), "does not speak HTTP/1.1") {
		t.Errorf("got %v, want an error that it does not speak HTTP/1.1", err)
	}
}

func TestAnEtcdOfTheOtherScheme(t *testing.T) {
	web := httptest.NewServer(answers(200, "text/html", "<html>"))
	defer web.Close()
	closes, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer closes.Close()
	go func() { // as etcd does with a greeting of TLS where it has none
		for {
			c, err := closes.Accept()
			if err != nil {
				return
			}
			c.Read(make([]byte, 1<<16))
			c.Close()
		}
	}()
	speaks := func(what string) string { // first, as a server of SSH does
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { l.Close() })
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				c.Write([]byte(what))
				c.Read(make([]byte, 1<<16))
				c.Close()
			}
		}()
		return l.Addr().String()
	}
	refuses := freePorts(t, 1)[0]
	ssh := speaks("SSH-2.0-OpenSSH_9.2p1 Debian-2+deb12u3\r\n")
	for endpoint, want := range map[string]string{
		"http://" + ssh:  "does not speak HTTP/1.1: endpoints in [cluster] are client URLs of etcd",
		"https://" + ssh: "does not speak TLS: if it is etcd without, write http in endpoints",
		"http://" + speaks("\x00\x00\x06\x04\x00\x00\x00\x00\x00\x00\x05\x00\x00@\x00"): "does not speak HTTP/1.1: endpoints in [cluster] are client URLs of etcd",
		fmt.Sprintf("http://127.0.0.1:%d", refuses):                                     "connection refused: look whether etcd runs there, and listens on that address",
		"https://" + web.Listener.Addr().String():                                       "wants http: correct endpoints",
		"https://" + closes.Addr().String():                                             "if it wants http, correct endpoints",
		"http://" + closes.Addr().String():                                              "if it wants https, correct endpoints",
	} {
		c := newEtcdClient(EtcdSettings{Endpoints: []string{endpoint}, TTL: time.Minute}, groupPrefix("office"), nil)
		if err := c.call(t.Context(), "/v3/kv/range", rangeRequest{}, new(rangeAnswer)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want an error with %q", endpoint, err, want)
		}
		c.http.CloseIdleConnections()
	}
}

// An endpoint that is wrong is named though another one answers: of two daemons that
// name two clusters in different order, each would be on duty in its own.
func TestAnEndpointThatIsWrongBesideOneThatAnswers(t *testing.T) {
	bubble(t, func(t *testing.T, f *fakeEtcd) {
		other := newFakeEtcd(t)
		other.cluster = "8"
		ways := map[string]http.Handler{"e1": f, "e2": other, "e3": answers(404, "text/plain", "404"), "e4": answers(503, "text/html", "<html>"), "e5": silent}
		a := newDaemon(t, "host-a", ways, nil).start()
		wait(time.Minute)
		expect(t, "one endpoint is right", Everything, a)
		a.said(t, "http://e2 is of cluster 8, the others are of ", 1)
		a.said(t, "http://e3 is not etcd's JSON gateway", 1)
		a.said(t, "an endpoint is none of the etcd", 2) // the others may be down for a while
		a.stop()
	})
}
