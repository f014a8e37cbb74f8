package probe

import (
	"crypto/elliptic"
	"crypto/x509"
	"errors"
	"strings"
	"testing"
	"time"
)

// FuzzCertificateChain holds whatever certificates a server presents, as far as package x509
// reads them, to this: they are bounded, and it is said in words why they are not trusted.
func FuzzCertificateChain(f *testing.F) {
	a := newAuthority(f)
	for _, curve := range []elliptic.Curve{elliptic.P256(), elliptic.P521()} {
		chain, _ := a.issue(f, curve, 3, numbered)
		f.Add(chain[0], chain[1], chain[2], uint8(1))
		f.Add(chain[0], chain[1], chain[1], uint8(12))
	}
	p := testProber()
	p.TrustRoots(a.pool)
	target := mustParse(f, "https://127.0.0.1/")
	f.Fuzz(func(t *testing.T, first, second, third []byte, times uint8) {
		var chain []*x509.Certificate
		for range max(times, 1) {
			for _, der := range [][]byte{first, second, third} {
				if c, err := x509.ParseCertificate(der); err == nil {
					chain = append(chain, c)
				}
			}
		}
		if len(chain) == 0 {
			return // package tls ends the handshake
		}
		looked := chain[:min(len(chain), maxChain)]
		if cost := chainCost(looked); cost < len(looked) || cost > maxChain*costP521 {
			t.Errorf("got a cost of %d for %d certificates", cost, len(looked))
		}
		limits := within(time.Minute)
		if err := p.verify(t.Context(), target, chain, limits); err != nil {
			e, ok := errors.AsType[*Error](fromHandshake(err, request{target: target}, limits))
			if !ok || e.Kind != KindTLS || e.Reason == "" || strings.ContainsAny(e.Reason, "\n\r\x00\x1b") {
				t.Errorf("got %#v of %v, want a failure of the target in words", e, err)
			}
		}
		if len(p.costly) != 0 {
			t.Error("the place for costly chains is not given back")
		}
	})
}
