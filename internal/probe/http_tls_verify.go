package probe

import (
	"context"
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"time"
)

// What of a chain of certificates is verified at all. Package x509 checks up to a
// hundred signatures for one chain, and a server may choose those that take
// longest.
const (
	maxChain     = 10       // certificates; the paths of the web have four at most
	maxChainSize = 64 << 10 // bytes
	maxRSA       = 8192     // bits
	maxNamesakes = 3        // certificates of one subject: each is tried as the issuer
)

// Costs of the check of a signature, by the key, in those of P-256 or RSA.
const (
	costP384 = 5
	costP521 = 15

	// costlyChain is more than what chains of P-384, or of two P-521, come to.
	costlyChain = 30
)

// verify returns nil if chain, which a server of t presented, is one that p
// trusts. Else the error is an *Error or a *tls.CertificateVerificationError.
func (p *Prober) verify(ctx context.Context, t Target, chain []*x509.Certificate, a attempt) error {
	// Some servers send all certificates that they have: what lies behind those
	// of the path is of no use.
	looked := chain[:min(len(chain), maxChain)]
	if err := boundChain(looked); err != nil {
		return err
	}
	if chainCost(looked) > costlyChain {
		release, err := p.awaitTurn(ctx, a)
		if err != nil {
			return err
		}
		defer release()
	}
	options := x509.VerifyOptions{Roots: p.roots.Load(), DNSName: t.hostname(), Intermediates: x509.NewCertPool()}
	for _, c := range looked[1:] {
		options.Intermediates.AddCert(c)
	}
	_, err := looked[0].Verify(options)
	switch {
	case err == nil:
		return nil
	case len(looked) < len(chain):
		err = fmt.Errorf("%w (of %d certificates the first %d are looked at)", err, len(chain), len(looked))
	}
	return &tls.CertificateVerificationError{UnverifiedCertificates: chain, Err: err}
}

// boundChain returns an *Error if to verify chain could cost too much.
func boundChain(chain []*x509.Certificate) error {
	size, namesakes := 0, make(map[string]int)
	for _, c := range chain {
		if size += len(c.Raw); size > maxChainSize {
			return failure(KindTLS, "TLS: certificates of over %d KiB, want less", maxChainSize>>10)
		}
		if key, ok := c.PublicKey.(*rsa.PublicKey); ok && key.N.BitLen() > maxRSA {
			return failure(KindTLS, "TLS: a certificate with an RSA key of %d bits, want at most %d", key.N.BitLen(), maxRSA)
		}
		if namesakes[string(c.RawSubject)]++; namesakes[string(c.RawSubject)] > maxNamesakes {
			return failure(KindTLS, "TLS: more than %d certificates of one subject, want at most so many", maxNamesakes)
		}
	}
	return nil
}

// chainCost estimates what it costs to verify chain.
func chainCost(chain []*x509.Certificate) int {
	cost := 0
	for _, c := range chain {
		switch key := c.PublicKey.(type) {
		case *ecdsa.PublicKey:
			switch bits := key.Params().BitSize; {
			case bits > 384:
				cost += costP521
			case bits > 256:
				cost += costP384
			default:
				cost++
			}
		default:
			cost++
		}
	}
	return cost
}

// awaitTurn waits until no other costly chain is verified: they may take long, but
// not the time of those that are not. The wait is no part of the latency; one that
// takes all the time there is, is this host's trouble. The caller calls release.
func (p *Prober) awaitTurn(ctx context.Context, a attempt) (release func(), err error) {
	began := time.Now()
	timeout := time.NewTimer(a.left())
	defer timeout.Stop()
	select {
	case p.costly <- struct{}{}:
		a.addWait(time.Since(began))
		return func() { <-p.costly }, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	case <-timeout.C:
		return nil, failure(KindLocal, "this process was busy with costly certificates of other replicas for %v", rounded(time.Since(began)))
	}
}
