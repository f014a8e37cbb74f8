package target

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"
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

func open(t *testing.T, raw string) (*Target, *http.Client) {
	t.Helper()
	spec, err := ParseSpec(raw)
	if err != nil {
		t.Fatal(err)
	}
	ca, err := NewAuthority()
	if err != nil {
		t.Fatal(err)
	}
	target, err := Open(spec, ca)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(target.Close)
	transport := trusting(t, ca.PEM())
	transport.DisableKeepAlives = true
	return target, &http.Client{Transport: transport}
}

func connect(ctx context.Context, t *testing.T, target *Target) error {
	t.Helper()
	u, err := url.Parse(target.URL())
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

func TestHTTPTargetsAnswer(t *testing.T) {
	for _, tt := range []struct {
		raw    string
		status int
		body   string
	}{
		{"target:http", 200, "ok\n"},
		{"target:https", 200, "ok\n"},
		{"target:http?body=maintenance", 200, "maintenance"},
		{"target:http-failing", 500, "ok\n"},
		{"target:https-failing?status=503", 503, "ok\n"},
	} {
		t.Run(tt.raw, func(t *testing.T) {
			target, client := open(t, tt.raw)
			for method, want := range map[string]string{"GET": tt.body, "HEAD": ""} {
				r, err := http.NewRequestWithContext(t.Context(), method, target.URL(), nil)
				if err != nil {
					t.Fatal(err)
				}
				res, err := client.Do(r)
				if err != nil {
					t.Fatal(err)
				}
				body, err := io.ReadAll(res.Body)
				res.Body.Close()
				if err != nil || res.StatusCode != tt.status || string(body) != want {
					t.Errorf("%s is answered %d %q, %v, want %d %q", method, res.StatusCode, body, err, tt.status, want)
				}
			}
		})
	}
}

func TestSlowTargetLetsClientsWait(t *testing.T) {
	target, client := open(t, "target:http-slow?delay=50ms")
	target.delay.Store(int64(target.spec.DelayUnder(Limits{DeadAfter: time.Second})))
	start := time.Now()
	res, err := client.Get(target.URL())
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if took := time.Since(start); took < 50*time.Millisecond {
		t.Errorf("the answer came after %v, want 50 ms or more", took)
	}
}

func TestBlackHoleNeverAnswers(t *testing.T) {
	for _, raw := range []string{"target:tcp-blackhole", "target:http-blackhole"} {
		t.Run(raw, func(t *testing.T) {
			target, _ := open(t, raw)
			for range 3 {
				ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
				err := connect(ctx, t, target)
				cancel()
				if !errors.Is(err, os.ErrDeadlineExceeded) && !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("connecting ended with %v, want a time-out", err)
				}
			}
		})
	}
}

func TestRefusingTargetRefuses(t *testing.T) {
	target, _ := open(t, "target:tcp-refusing")
	if err := connect(t.Context(), t, target); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("connecting ended with %v, want connection refused", err)
	}
	if target.CanStop() {
		t.Error("a target that refuses can be stopped, want not")
	}
}

func TestStoppedTargetRefusesUntilStarted(t *testing.T) {
	for _, raw := range []string{"target:tcp", "target:http", "target:https"} {
		t.Run(raw, func(t *testing.T) {
			target, _ := open(t, raw)
			before := target.URL()
			for range 3 {
				if err := connect(t.Context(), t, target); err != nil {
					t.Fatalf("connecting to a running target: %v", err)
				}
				if err := target.Stop(); err != nil {
					t.Fatal(err)
				}
				if err := connect(t.Context(), t, target); !errors.Is(err, syscall.ECONNREFUSED) {
					t.Errorf("connecting to a stopped target ended with %v, want connection refused", err)
				}
				if running, _ := target.Running(); running {
					t.Error("a stopped target says that it runs")
				}
				if err := target.Start(); err != nil {
					t.Fatal(err)
				}
			}
			if got := target.URL(); got != before {
				t.Errorf("its URL went from %s to %s, want it unchanged", before, got)
			}
		})
	}
}

func TestFlappingTargetGoesDownAndComesBack(t *testing.T) {
	target, _ := open(t, "target:tcp-flapping?up=30ms&down=30ms")
	for _, want := range []bool{true, false, true, false} {
		for {
			err := connect(t.Context(), t, target)
			if err != nil && !errors.Is(err, syscall.ECONNREFUSED) && !errors.Is(err, syscall.ECONNRESET) {
				t.Fatal(err)
			}
			if (err == nil) == want {
				break
			}
			select { // the test's own deadline is the bound
			case <-t.Context().Done():
				t.Fatal("it never flapped")
			case <-time.After(time.Millisecond):
			}
		}
	}
}

func TestStoppingEndsAnAnswerUnderWay(t *testing.T) {
	target, client := open(t, "target:http-slow?delay=1h")
	target.delay.Store(int64(time.Hour))
	failed := make(chan error)
	go func() {
		res, err := client.Get(target.URL())
		if err == nil {
			res.Body.Close()
		}
		failed <- err
	}()
	for connected := false; !connected; {
		target.mu.Lock()
		a := target.open.(*targetServer)
		target.mu.Unlock()
		a.mu.Lock()
		connected = len(a.open) > 0
		a.mu.Unlock()
	}
	if err := target.Stop(); err != nil {
		t.Fatal(err)
	}
	if err := <-failed; err == nil {
		t.Error("a stopped target still answered")
	}
}

func TestStoppingEndsAConnectionThatAsksNothing(t *testing.T) {
	target, _ := open(t, "target:http")
	conn, err := net.Dial("tcp", strings.TrimSuffix(strings.TrimPrefix(target.URL(), "http://"), "/"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	// Half of the target's own time-out.
	if err := conn.SetReadDeadline(time.Now().Add(clientTimeout / 2)); err != nil {
		t.Fatal(err)
	}
	stopped := make(chan error)
	go func() { stopped <- target.Stop() }()
	if _, err := conn.Read(make([]byte, 1)); errors.Is(err, os.ErrDeadlineExceeded) {
		t.Error("the connection is still open")
	}
	if err := <-stopped; err != nil {
		t.Error(err)
	}
}

func TestHeadIsAnsweredWithoutABody(t *testing.T) {
	target, _ := open(t, "target:http")
	conn, err := net.Dial("tcp", strings.TrimSuffix(strings.TrimPrefix(target.URL(), "http://"), "/"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, "HEAD / HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(conn)
	if err != nil || !strings.Contains(string(got), "Content-Length: 3\r\n") || !strings.HasSuffix(string(got), "\r\n\r\n") {
		t.Errorf("HEAD is answered %q, %v, want a header only", got, err)
	}
}

// A half-open probe resets the connection before the application could take it.
func TestTCPTargetSurvivesHalfOpenProbes(t *testing.T) {
	target, _ := open(t, "target:tcp")
	dialer := net.Dialer{Control: func(_, _ string, c syscall.RawConn) error {
		return c.Control(func(fd uintptr) {
			_ = syscall.SetsockoptLinger(int(fd), syscall.SOL_SOCKET, syscall.SO_LINGER, &syscall.Linger{Onoff: 1})
		})
	}}
	for range 200 {
		conn, err := dialer.DialContext(t.Context(), "tcp", strings.TrimPrefix(target.URL(), "tcp://"))
		if err != nil {
			t.Fatalf("half-open connecting: %v", err)
		}
		conn.Close()
	}
	if err := connect(t.Context(), t, target); err != nil {
		t.Errorf("connecting after half-open probes: %v", err)
	}
}

func TestTargetOnEveryLoopbackAddress(t *testing.T) {
	spec, err := ParseSpec("target:tcp")
	if err != nil {
		t.Fatal(err)
	}
	target, err := openOn(spec, everyAddress, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer target.Close()
	for _, address := range []string{"127.0.0.1", "127.64.3.9", "127.200.255.254"} {
		conn, err := net.Dial("tcp", strings.TrimPrefix(target.urlAt(address), "tcp://"))
		if err != nil {
			t.Errorf("connecting to %s: %v", address, err)
			continue
		}
		conn.Close()
	}
}

func TestClosedTargetLeavesItsPort(t *testing.T) {
	target, _ := open(t, "target:http")
	address := strings.TrimSuffix(strings.TrimPrefix(target.URL(), "http://"), "/")
	target.Close()
	target.Close()
	ln, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatalf("listening where a closed target was: %v", err)
	}
	ln.Close()
}
