package config

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"strings"
	"testing"
	"unicode/utf8"
)

// FuzzCertificates holds whatever a file of certificates has to this: each that begins is
// one, or is named as one that cannot be read, in a line of words.
func FuzzCertificates(f *testing.F) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		f.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(7), Subject: pkix.Name{CommonName: "an authority"}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		f.Fatal(err)
	}
	for _, text := range []string{
		string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})),
		string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der[:len(der)-9]})),
		string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Headers: map[string]string{"a": "b"}, Bytes: append([]byte{0}, der...)})),
		beginCertificate, beginCertificate + "\nMIIB\n-----END CERTIFICATE-----", beginCertificate + "\n\n-----END CERTIFICATE-----\n" + beginCertificate, "\x00\xff\x7fELF",
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		certificates, problems := parseCertificates(data)
		if began := strings.Count(string(data), beginCertificate); len(certificates)+len(problems) != began {
			t.Errorf("got %d certificates and %d problems of the %d that begin", len(certificates), len(problems), began)
		}
		for _, problem := range problems {
			if !strings.HasPrefix(problem, "certificate ") || !strings.Contains(problem, " cannot be read: ") || !utf8.ValidString(problem) || len(problem) > 1000 {
				t.Errorf("got the problem %q, want which certificate, and why", problem)
			}
		}
		if text := oneLine(listed(problems)); strings.ContainsAny(text, "\n\r") {
			t.Errorf("got %q, want a line", text)
		}
	})
}
