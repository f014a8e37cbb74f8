//go:build linux

package main

import (
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"golang.org/x/crypto/x509roots/fallback/bundle"
)

// trustPublicRoots lets a host without a CA bundle reach the Status API and public
// replicas, and reports whether this is one. Our own bundle takes 3 ms and 0.7 MB, so it
// is read only if the host has none, and only by commands that verify certificates. It must
// be called before the first verification, since package x509 loads the system's roots once.
var trustPublicRoots = sync.OnceValue(func() bool {
	if system, err := x509.SystemCertPool(); err == nil && !system.Equal(x509.NewCertPool()) {
		return false
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
	return true
})

// The variables by which package x509 finds the system's roots, in place of the files and
// the folders that it knows.
const (
	rootsFile    = "SSL_CERT_FILE"
	rootsFolders = "SSL_CERT_DIR" // with a colon between
)

// oddRoots returns a sentence for each of these variables that names no certificate, which
// package x509 passes over, and says which ones count instead.
func oddRoots(lookupEnv func(string) (string, bool)) []string {
	instead := "the other certificates of the system count"
	if trustPublicRoots() {
		instead = "the public CAs that are built into this program count"
	}
	var odd []string
	if path, _ := lookupEnv(rootsFile); path != "" {
		switch found, err := hasCertificate(path); {
		case err != nil:
			odd = append(odd, fmt.Sprintf("%s names %.200q, which cannot be read: %v; %s", rootsFile, path, err, instead))
		case !found:
			odd = append(odd, fmt.Sprintf("%s names %.200q, in which no certificate is; %s", rootsFile, path, instead))
		}
	}
	if folders, _ := lookupEnv(rootsFolders); folders != "" && !haveCertificates(strings.Split(folders, ":")) {
		odd = append(odd, fmt.Sprintf("%s names %.200q, in which no certificate is; %s", rootsFolders, folders, instead))
	}
	return odd
}

// haveCertificates reports whether a file in one of the folders has a certificate.
func haveCertificates(folders []string) bool {
	for _, folder := range folders {
		files, _ := os.ReadDir(folder)
		for _, file := range files {
			if found, _ := hasCertificate(filepath.Join(folder, file.Name())); found {
				return true
			}
		}
	}
	return false
}

// hasCertificate reports whether the file at path has a certificate. The error does not
// repeat the path.
func hasCertificate(path string) (bool, error) {
	info, err := os.Stat(path)
	if err == nil && info.IsDir() {
		err = errors.New("it is a folder")
	}
	if err == nil && !info.Mode().IsRegular() { // to read a pipe may take for ever
		return false, nil
	}
	var data []byte
	if err == nil {
		data, err = os.ReadFile(path)
	}
	if wrong, ok := errors.AsType[*fs.PathError](err); ok {
		err = wrong.Err
	}
	return err == nil && x509.NewCertPool().AppendCertsFromPEM(data), err
}
