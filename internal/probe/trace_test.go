package probe

import (
	"context"
	"crypto/x509"
	"testing"
	"time"
)

// probed returns the result of one probe.
func probed(t *testing.T, p *Prober, task Task, url string) Result {
	t.Helper()
	task.Check.Target = mustParse(t, url)
	task.Budget = time.Minute
	return p.Probe(context.Background(), task)
}

func TestPhasesOfAttemptsThatWereDown(t *testing.T) {
	a := newAuthority(t)
	s := serve(t, a.listen(t, "127.0.0.1"), "https", always(status(503)))
	p := testProber()
	p.TrustRoots(a.pool)
	rules := &Rules{Retry: 1, DeadAfter: 20 * time.Second, HealthyAbove: 200, HealthyBelow: 400}

	r := probed(t, p, Task{Check: Check{Rules: rules}}, s.url)
	if r.Health != Dead || len(r.Trace) != 2 {
		t.Fatalf("got %s with the phases of %d attempts, want dead with those of two", r.Health, len(r.Trace))
	}
	for _, got := range r.Trace {
		version, cipher := got.Session.Names()
		if got.Addr.String() != "127.0.0.1" || got.Port == 0 || got.Status != 503 || got.Kind() != KindStatus || got.Err == nil ||
			got.Connect <= 0 || got.TLS <= 0 || got.FirstByte <= 0 || got.Total < got.Connect+got.TLS+got.FirstByte ||
			version != "TLS 1.3" || cipher == "" || got.Session.Subject == "" {
			t.Errorf("got the attempt %+v, want address, status, kind, all phases to the answer, and the session", got)
		}
	}
	if r.Expiry.IsZero() {
		t.Error("got no expiry of the certificate, want the first of its chain")
	}
}

func TestCertificateThatIsNotTrustedIsShown(t *testing.T) {
	a := newAuthority(t)
	s := serve(t, a.listen(t, "127.0.0.1"), "https", always(status(200)))
	p := testProber()
	p.TrustRoots(x509.NewCertPool())
	r := probed(t, p, Task{Attempts: 1}, s.url)
	if len(r.Trace) != 1 || r.Trace[0].Session.Issuer != "CN=test authority" {
		t.Errorf("got the attempts %+v, want one with the certificate and its issuer", r.Trace)
	}
}

func TestPhasesOfAttemptsThatWereUpAreKeptOnRequestAlone(t *testing.T) {
	s := serve(t, loopback(t), "http", always(status(200)))
	p := testProber()
	if r := probed(t, p, Task{}, s.url); r.Health != Healthy || r.Trace != nil {
		t.Errorf("got %s with the phases %+v, want healthy without any", r.Health, r.Trace)
	}
	r := probed(t, p, Task{Trace: true}, s.url)
	if len(r.Trace) != 1 || r.Trace[0].Err != nil || r.Trace[0].Status != 200 || r.Trace[0].FirstByte <= 0 {
		t.Errorf("got the attempts %+v, want one with its phases", r.Trace)
	}
	tcp := probed(t, p, Task{Trace: true}, "tcp"+s.url[len("http"):])
	if len(tcp.Trace) != 1 || tcp.Trace[0].Connect <= 0 || tcp.Trace[0].FirstByte != 0 || !tcp.Trace[0].Addr.IsValid() {
		t.Errorf("got the attempts %+v of tcp, want one with the time to connect alone", tcp.Trace)
	}
}

func TestPhasesOfNoMoreThanEightAttemptsAreKept(t *testing.T) {
	rules := &Rules{Retry: 20, DeadAfter: time.Second}
	r := probed(t, testProber(), Task{Check: Check{Rules: rules}}, "tcp://"+closedPort(t).String())
	if r.Attempts != 21 || len(r.Trace) != maxTrace {
		t.Errorf("got the phases of %d of %d attempts, want those of %d", len(r.Trace), r.Attempts, maxTrace)
	}
}
