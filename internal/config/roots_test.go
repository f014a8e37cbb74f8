package config

import (
	"strings"
	"testing"
)

func TestCertificatesOfTheCommandLine(t *testing.T) {
	for path, want := range map[string]string{
		"/nowhere/ca.pem": "no such file",
		"/dev/null":       "no certificate in it",
		"/dev/zero":       "too large",
		"/":               "is a directory",
	} {
		if _, err := LoadCertificates(path); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", path, err, want)
		}
	}
}
