package config

import (
	"bytes"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"
)

const beginCertificate = "-----BEGIN CERTIFICATE-----"

// parseCertificates returns the certificates of a PEM file, and a clause about each
// that cannot be read: its number, its subject, and the reason.
func parseCertificates(data []byte) (certificates []*x509.Certificate, problems []string) {
	parts := bytes.Split(data, []byte(beginCertificate))[1:]
	for i, part := range parts {
		certificate, subject, err := parseCertificate(append([]byte(beginCertificate), part...))
		if err != nil {
			problems = append(problems, fmt.Sprintf("certificate %d of %d%s cannot be read: %v", i+1, len(parts), subject, err))
			continue
		}
		certificates = append(certificates, certificate)
	}
	return certificates, problems
}

// parseCertificate returns the certificate that text begins with. With the error
// comes the subject, in brackets, if so much of it can be read.
func parseCertificate(text []byte) (*x509.Certificate, string, error) {
	block, _ := pem.Decode(text)
	if block == nil || block.Type != "CERTIFICATE" { // else it is the next one of another kind
		return nil, "", errors.New("it is cut short, or not in PEM")
	}
	certificate, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return nil, subjectOf(block.Bytes), errors.New(strings.TrimPrefix(err.Error(), "x509: "))
	}
	return certificate, "", nil
}

// subjectOf returns the subject of a certificate that package x509 does not take,
// in brackets, or nothing if that cannot be read either.
func subjectOf(der []byte) string {
	var certificate struct {
		TBS struct { // RFC 5280, 4.1; what follows the subject is passed over
			Version   int `asn1:"optional,explicit,tag:0"`
			Serial    asn1.RawValue
			Signature asn1.RawValue
			Issuer    asn1.RawValue
			Validity  asn1.RawValue
			Subject   pkix.RDNSequence
		}
	}
	if _, err := asn1.Unmarshal(der, &certificate); err != nil {
		return ""
	}
	const longest = 200 // bytes
	subject := certificate.TBS.Subject.String()
	return " (" + strings.ToValidUTF8(subject[:min(len(subject), longest)], "") + ")"
}

// listed joins the first clauses and the number of the others.
func listed(clauses []string) string {
	const most = 3
	if more := len(clauses) - most; more > 0 {
		clauses = append(clauses[:most:most], fmt.Sprintf("and %d more cannot", more))
	}
	return strings.Join(clauses, "; ")
}
