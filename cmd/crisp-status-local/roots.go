//go:build linux

package main

import (
	"crypto/x509"
	"sync"

	"golang.org/x/crypto/x509roots/fallback/bundle"
)

// trustPublicRoots has a host without any CA bundle reach the Status API and public
// replicas all the same. To read our own bundle takes 3 ms and 0.7 MB, so it is read
// where the host has none, and by those who verify certificates: before the first
// of them, since the system's roots are looked at once.
var trustPublicRoots = sync.OnceFunc(func() {
	if system, err := x509.SystemCertPool(); err == nil && !system.Equal(x509.NewCertPool()) {
		return
	}
	roots := x509.NewCertPool()
	for root := range bundle.Roots() {
		certificate, err := x509.ParseCertificate(root.Certificate)
		switch {
		case err != nil: // the module's own tests parse them all
		case root.Constraint == nil:
			roots.AddCert(certificate)
		default:
			roots.AddCertWithConstraint(certificate, root.Constraint)
		}
	}
	x509.SetFallbackRoots(roots)
})
