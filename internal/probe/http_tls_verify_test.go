package probe

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"math/big"
	"net"
	"testing"
	"testing/synctest"
	"time"
)

// issue returns a chain of n certificates for 127.0.0.1, leaf first, whose keys
// are of that curve, up to one that a has signed. name names the i-th authority
// in it.
func (a *authority) issue(t testing.TB, curve elliptic.Curve, n int, name func(i int) string) (chain [][]byte, key *ecdsa.PrivateKey) {
	t.Helper()
	parent, signer := a.cert, a.key
	for i := n - 1; i >= 0; i-- {
		key, err := ecdsa.GenerateKey(curve, rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		template := &x509.Certificate{
			SerialNumber: big.NewInt(int64(i) + 10), Subject: pkix.Name{CommonName: name(i)},
			NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
			IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
		}
		if i == 0 {
			template.IsCA, template.KeyUsage = false, x509.KeyUsageDigitalSignature
			template.IPAddresses = []net.IP{net.IPv4(127, 0, 0, 1)}
		}
		der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer)
		if err != nil {
			t.Fatal(err)
		}
		if parent, err = x509.ParseCertificate(der); err != nil {
			t.Fatal(err)
		}
		chain, signer = append([][]byte{der}, chain...), key
	}
	return chain, signer
}

func numbered(i int) string { return fmt.Sprint("authority ", i) }

func parsed(t testing.TB, chain [][]byte) (all []*x509.Certificate) {
	t.Helper()
	for _, der := range chain {
		c, err := x509.ParseCertificate(der)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, c)
	}
	return all
}

// TestChainsAreBoundedBeforeTheyAreVerified: whatever a server sends, ten
// certificates of it are looked at, and those that could take long not at all.
func TestChainsAreBoundedBeforeTheyAreVerified(t *testing.T) {
	a := newAuthority(t)
	short, shortKey := a.issue(t, elliptic.P256(), 3, numbered)
	most, mostKey := a.issue(t, elliptic.P256(), maxChain, numbered)
	long, longKey := a.issue(t, elliptic.P521(), 110, numbered)
	same, sameKey := a.issue(t, elliptic.P256(), 6, func(i int) string { return fmt.Sprint("authority ", min(i, 1)) })
	for _, tt := range []struct {
		name   string
		chain  [][]byte
		key    *ecdsa.PrivateKey
		reason string
	}{
		{"of three", short, shortKey, ""},
		{"of as many as are looked at", most, mostKey, ""},
		{"of three, and all that the server has besides", append(short[:3:3], long[1:]...), shortKey, ""},
		{"of 110", long, longKey, "certificate signed by unknown authority (of 110 certificates the first 10 are looked at)"},
		{"of namesakes", same, sameKey, "TLS: more than 3 certificates of one subject, want at most so many"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			config := &tls.Config{Certificates: []tls.Certificate{{Certificate: tt.chain, PrivateKey: tt.key}}}
			s := serve(t, tls.NewListener(loopback(t), config), "https", always(ok))
			p := testProber()
			p.TrustRoots(a.pool)
			err := judge(t, p, s.url, Rules{DeadAfter: 20 * time.Second})
			if tt.reason == "" && err != nil {
				t.Errorf("got %v, want up", err)
			} else if tt.reason != "" {
				wantFailure(t, err, KindTLS, tt.reason)
			}
		})
	}
	large := parsed(t, short)
	large[1].Raw = make([]byte, maxChainSize)
	wantFailure(t, boundChain(large), KindTLS, "TLS: certificates of over 64 KiB, want less")
	for bits, reason := range map[uint]string{8191: "", 8192: "TLS: a certificate with an RSA key of 8193 bits, want at most 8192"} {
		key := &rsa.PublicKey{N: new(big.Int).Lsh(big.NewInt(1), bits), E: 65537}
		switch err := boundChain([]*x509.Certificate{{PublicKey: key}}); {
		case reason != "":
			wantFailure(t, err, KindTLS, reason)
		case err != nil:
			t.Errorf("got %v for an RSA key of %d bits, want it looked at", err, bits+1)
		}
	}
}

// TestCostlyChainsWaitForEachOther: one at a time, and chains as the web has them
// for none of them. The wait is no latency, and no verdict.
func TestCostlyChainsWaitForEachOther(t *testing.T) {
	a := newAuthority(t)
	leaf, _ := a.issue(t, elliptic.P384(), 3, numbered)
	costly, _ := a.issue(t, elliptic.P521(), 5, numbered)
	usual, unusual := parsed(t, leaf), parsed(t, costly)
	p := testProber()
	p.TrustRoots(a.pool)
	target := mustParse(t, "https://127.0.0.1/")
	// In a bubble it is the year 2000, so that verified is said not to be valid yet.
	verified := func(err error) bool {
		_, ok := errors.AsType[*tls.CertificateVerificationError](err)
		return ok
	}
	synctest.Test(t, func(t *testing.T) {
		p.costly = make(chan struct{}, 1)
		p.costly <- struct{}{} // another one is verified
		if err := p.verify(t.Context(), target, usual, within(time.Second)); !verified(err) {
			t.Errorf("a usual chain: got %v, want it verified at once", err)
		}
		began := time.Now()
		err := p.verify(t.Context(), target, unusual, within(time.Second))
		if wantFailure(t, err, KindLocal, "busy with costly certificates"); time.Since(began) != time.Second {
			t.Errorf("a costly chain was given up after %v, want 1s", time.Since(began))
		}
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		if err := p.verify(ctx, target, unusual, within(time.Minute)); err != context.Canceled {
			t.Errorf("got %v when the probe is cancelled, want that", err)
		}
		time.AfterFunc(time.Second, func() { <-p.costly })
		attempt := within(time.Minute)
		attempt.record = &record{stalls: &stalls{clock: func() time.Duration { return 0 }}} // never late
		attempt.lookups = &attempt.record.lookups
		err = p.verify(t.Context(), target, unusual, attempt)
		if waited, latency := time.Since(attempt.began), attempt.targetTime(); !verified(err) || waited != time.Second || latency != 0 {
			t.Errorf("got %v after %v with a latency of %v, want it verified after 1s that is no latency", err, waited, latency)
		}
		if len(p.costly) != 0 {
			t.Error("the place is not given back")
		}
	})
}
