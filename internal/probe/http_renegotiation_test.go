package probe

import (
	"bufio"
	"context"
	"crypto/x509"
	"encoding/pem"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// renegotiated is a connection that says when a handshake on it is over: the
// server answers the second thing that the client writes in it.
type renegotiated struct {
	net.Conn
	armed  atomic.Bool
	writes atomic.Int32 // since it was armed
	over   chan struct{}
}

func (r *renegotiated) Write(b []byte) (int, error) {
	if r.armed.Load() {
		r.writes.Add(1)
	}
	return r.Conn.Write(b)
}

func (r *renegotiated) Read(b []byte) (int, error) {
	n, err := r.Conn.Read(b)
	if n > 0 && r.writes.Load() >= 2 && r.armed.CompareAndSwap(true, false) {
		close(r.over)
	}
	return n, err
}

// Go's own server cannot ask for a renegotiation, so OpenSSL's does, as IIS
// would: once it has seen the request, and before it answers.
func TestHTTPSRenegotiatesOnce(t *testing.T) {
	openssl := needTool(t, "openssl")
	a := newAuthority(t)
	cert := a.config(t, "127.0.0.1", time.Now().Add(time.Hour)).Certificates[0]
	key, err := x509.MarshalPKCS8PrivateKey(cert.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "server.pem")
	text := append(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Certificate[0]}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key})...)
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	server := exec.CommandContext(t.Context(), openssl, "s_server", "-tls1_2", "-accept", "127.0.0.1:0", "-cert", file, "-key", file)
	commands, err := server.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	output, err := server.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	defer server.Wait()
	defer server.Process.Kill()
	lines := bufio.NewScanner(output)
	address := ""
	for address == "" && lines.Scan() {
		address, _ = strings.CutPrefix(lines.Text(), "ACCEPT ")
		if address == lines.Text() {
			address = ""
		}
	}

	p := testProber()
	p.TrustRoots(a.pool)
	session := &renegotiated{over: make(chan struct{})}
	connect := p.connect
	p.connect = func(ctx context.Context, addr netip.AddrPort, a attempt) (net.Conn, error) {
		c, err := connect(ctx, addr, a)
		session.Conn = c
		return session, err
	}
	go func() {
		for lines.Scan() {
			if strings.HasPrefix(lines.Text(), "Connection: close") { // the request is there
				session.armed.Store(true)
				io.WriteString(commands, "r\n")
				<-session.over
				io.WriteString(commands, "HTTP/1.1 200 OK\n\n")
			}
		}
	}()
	if err := judge(t, p, "https://"+address, Rules{}); err != nil {
		t.Errorf("got %v, want up after a renegotiation", err)
	}
	select {
	case <-session.over:
	default:
		t.Error("no handshake came before the answer, want a renegotiation")
	}
}
