package config

import (
	"crypto/x509"
	"errors"
	"fmt"
)

// LoadCertificates returns the system's roots with those of the PEM file at path
// added, as ca_file has it. The error does not repeat the path.
func LoadCertificates(path string) (*x509.CertPool, error) {
	data, err := readFile(path, maxCAsSize)
	switch {
	case errors.Is(err, errTooLarge):
		return nil, fmt.Errorf("%w, want at most %d bytes", err, maxCAsSize)
	case err != nil:
		return nil, fmt.Errorf("%w, want a file that %s can read", err, user(err))
	}
	pool, err := x509.SystemCertPool()
	if err != nil {
		return nil, fmt.Errorf("reading the system's certificates: %w, want them readable", err)
	}
	certificates, problems := parseCertificates(data)
	for _, certificate := range certificates {
		pool.AddCert(certificate)
	}
	switch {
	case len(certificates)+len(problems) == 0:
		return nil, fmt.Errorf("no certificate in it, want PEM with at least one (%s)", beginCertificate)
	case len(problems) > 0:
		return nil, errors.New(oneLine(listed(problems)) + ", want each in PEM and whole")
	}
	return pool, nil
}
