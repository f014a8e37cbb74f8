package sandbox

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"net/http"
	"net/url"
	"syscall"
	"testing"

	"github.com/crisp-im/crisp-status-local/v2/internal/sandbox/target"
)

// trusting is a transport that trusts one CA only, and keeps no connection.
func trusting(t *testing.T, ca []byte) *http.Transport {
	t.Helper()
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(ca) {
		t.Fatal("the CA is not PEM")
	}
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}, ForceAttemptHTTP2: true}
	t.Cleanup(transport.CloseIdleConnections)
	return transport
}

func connect(ctx context.Context, t *testing.T, own *target.Target) error {
	t.Helper()
	u, err := url.Parse(own.URL())
	if err != nil {
		t.Fatal(err)
	}
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", u.Host)
	if err == nil {
		conn.Close()
	}
	return err
}

func TestTargetThatLeftTheMapIsClosed(t *testing.T) {
	s, err := New(Options{Map: mapOf("target:tcp#stays", "target:tcp#goes")})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	stays, _ := s.Target("target:tcp#stays")
	goes, _ := s.Target("target:tcp#goes")
	if err := s.SetMap(mapOf("target:tcp#stays")); err != nil {
		t.Fatal(err)
	}
	if err := connect(t.Context(), t, stays); err != nil {
		t.Errorf("connecting to the target that stayed: %v", err)
	}
	if err := connect(t.Context(), t, goes); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("connecting to the target that left ended with %v, want connection refused", err)
	}
}
