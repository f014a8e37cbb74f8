//go:build faults

package faults

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"io"
	"log"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/crisp-im/crisp-status-local/v2/internal/sandbox"
)

const token = "a-token-that-nobody-may-see"

// taken is a report that the page has.
type taken struct {
	at     time.Time
	health sandbox.Health
}

// statusAPI is a Status API in the far namespace that remembers every report that
// it took.
type statusAPI struct {
	*sandbox.Server
	endpoint    string
	server      *http.Server
	certificate atomic.Pointer[tls.Certificate] // over HTTPS
	handshakes  atomic.Pointer[context.Context] // until it is done none ends; nil: all go on
	garbler     atomic.Pointer[garbler]         // nil: nothing is garbled, and a map is sent if it is another
	mu          sync.Mutex                      // protects all following fields
	reports     map[string][]taken              // by replica
	connections map[net.Conn]bool
}

// newStatusAPI serves the map; over HTTPS if a certificate is given.
func newStatusAPI(t *testing.T, m sandbox.Map, certificate *tls.Certificate) *statusAPI {
	t.Helper()
	listener, err := net.Listen("tcp", farAddress+":0")
	if err != nil {
		t.Fatal(err)
	}
	fake, err := sandbox.New(sandbox.Options{Token: token, Map: m})
	if err != nil {
		t.Fatal(err)
	}
	a := &statusAPI{Server: fake, endpoint: "http://" + listener.Addr().String() + "/v1", reports: make(map[string][]taken), connections: make(map[net.Conn]bool)}
	a.server = &http.Server{Handler: http.HandlerFunc(a.serve), ErrorLog: log.New(io.Discard, "", 0), ConnState: a.track}
	garbled := garbledListener{listener, func(conn net.Conn) net.Conn { return a.garbler.Load().conn(conn, certificate != nil) }}
	serve := func() { _ = a.server.Serve(garbled) }
	if certificate != nil {
		a.certificate.Store(certificate)
		a.endpoint = "https" + strings.TrimPrefix(a.endpoint, "http")
		a.server.TLSConfig = &tls.Config{GetCertificate: func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
			if until := a.handshakes.Load(); until != nil {
				select {
				case <-(*until).Done():
				case <-hello.Context().Done():
				}
			}
			return a.certificate.Load(), nil
		}}
		serve = func() { _ = a.server.ServeTLS(garbled, "", "") }
	}
	var serving sync.WaitGroup
	serving.Go(serve)
	t.Cleanup(func() { a.server.Close(); serving.Wait(); fake.Close() })
	return a
}

// serve answers as the sandbox does, and remembers what the page has taken.
func (a *statusAPI) serve(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	if g := a.garbler.Load(); g != nil && r.Method == http.MethodGet {
		a.serveGarbled(w, r, g)
		return
	}
	a.Handler().ServeHTTP(&acceptance{ResponseWriter: w, accepted: func() { a.remember(r, body) }}, r)
}

// remember keeps a report that is being answered with 2xx.
func (a *statusAPI) remember(r *http.Request, body []byte) {
	var report struct {
		ReplicaID string         `json:"replica_id"`
		Health    sandbox.Health `json:"health"`
	}
	if r.Method != http.MethodPost || json.Unmarshal(body, &report) != nil {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.reports[report.ReplicaID] = append(a.reports[report.ReplicaID], taken{time.Now(), report.Health})
}

// of returns the reports of a replica so far.
func (a *statusAPI) of(replica string) []taken {
	a.mu.Lock()
	defer a.mu.Unlock()
	return append([]taken(nil), a.reports[replica]...)
}

// acceptance calls accepted when the answer is the API's own 2xx, no proxy's page.
type acceptance struct {
	http.ResponseWriter
	accepted func()
	begun    bool
}

func (w *acceptance) WriteHeader(code int) {
	if !w.begun && code/100 == 2 && !strings.HasPrefix(w.Header().Get("Content-Type"), "text/html") {
		w.accepted()
	}
	w.begun = true
	w.ResponseWriter.WriteHeader(code)
}

func (w *acceptance) Write(b []byte) (int, error) {
	if !w.begun {
		w.WriteHeader(http.StatusOK)
	}
	return w.ResponseWriter.Write(b)
}

// Unwrap leads [http.ResponseController] to the writer behind it.
func (w *acceptance) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// endConnections closes those that are open.
func (a *statusAPI) endConnections() {
	a.mu.Lock()
	defer a.mu.Unlock()
	for conn := range a.connections {
		conn.Close()
	}
}

// ports returns those of the clients of the connections that are open.
func (a *statusAPI) ports() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	var ports []string
	for conn := range a.connections {
		if _, port, err := net.SplitHostPort(conn.RemoteAddr().String()); err == nil {
			ports = append(ports, port)
		}
	}
	return ports
}

// track keeps the connections that are open.
func (a *statusAPI) track(conn net.Conn, state http.ConnState) {
	a.mu.Lock()
	defer a.mu.Unlock()
	switch state {
	case http.StateNew:
		a.connections[conn] = true
	case http.StateClosed, http.StateHijacked:
		delete(a.connections, conn)
	}
}
