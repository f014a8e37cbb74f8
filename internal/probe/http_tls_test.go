//go:debug x509negativeserial=1

package probe

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"io"
	"math/big"
	"net"
	"slices"
	"strings"
	"testing"
	"time"
)

// authority is a certificate authority of the test's own.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pool *x509.CertPool
}

func newAuthority(t testing.TB) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test authority"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(cert)
	return &authority{cert, key, pool}
}

// config returns the configuration of a server that has a certificate for
// name, valid until then.
func (a *authority) config(t testing.TB, name string, until time.Time) *tls.Config {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return a.configWith(t, key, name, until)
}

// configWith does so for a certificate of that key.
func (a *authority) configWith(t testing.TB, key crypto.Signer, name string, until time.Time) *tls.Config {
	t.Helper()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-2 * time.Hour), NotAfter: until,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageKeyEncipherment, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	if ip := net.ParseIP(name); ip != nil {
		template.IPAddresses = []net.IP{ip}
	} else {
		template.DNSNames = []string{name}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, key.Public(), a.key)
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
}

// listen listens on loopback with a good certificate for name.
func (a *authority) listen(t testing.TB, name string) net.Listener {
	return tls.NewListener(loopback(t), a.config(t, name, time.Now().Add(time.Hour)))
}

func always(answer string) func(string) string { return func(string) string { return answer } }

func TestHTTPSCertificateIsVerified(t *testing.T) {
	a, stranger := newAuthority(t), newAuthority(t)
	later, earlier := time.Now().Add(time.Hour), time.Now().Add(-time.Hour)
	for _, tt := range []struct {
		name   string
		config *tls.Config
		trust  *x509.CertPool
		reason string
	}{
		{"by an authority that is trusted", a.config(t, "127.0.0.1", later), a.pool, ""},
		{"by the system's roots alone", a.config(t, "127.0.0.1", later), nil, "certificate signed by unknown authority"},
		{"by another authority", stranger.config(t, "127.0.0.1", later), a.pool, "certificate signed by unknown authority"},
		{"for another host", a.config(t, "web.test", later), a.pool, "cannot validate certificate for 127.0.0.1 because it doesn't contain any IP SANs"},
		{"for another address", a.config(t, "10.0.0.7", later), a.pool, "certificate is valid for 10.0.0.7, not 127.0.0.1"},
		{"expired", a.config(t, "127.0.0.1", earlier), a.pool, "certificate has expired or is not yet valid"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := serve(t, tls.NewListener(loopback(t), tt.config), "https", always(ok))
			p := testProber()
			p.TrustRoots(tt.trust)
			err := judge(t, p, s.url, Rules{})
			if tt.reason == "" && err != nil {
				t.Errorf("got %v, want up", err)
			} else if tt.reason != "" {
				wantFailure(t, err, KindTLS, tt.reason)
			}
		})
	}
	t.Run("for the name of the host", func(t *testing.T) {
		s := serve(t, a.listen(t, "web.test"), "https", always(ok))
		p := testProber()
		p.TrustRoots(a.pool)
		p.resolver = resolverOf(&nameserver{answer: addresses("127.0.0.1")})
		if err := judge(t, p, strings.Replace(s.url, "127.0.0.1", "Web.Test", 1), Rules{}); err != nil {
			t.Errorf("got %v, want up", err)
		}
		wantFailure(t, judge(t, p, strings.Replace(s.url, "127.0.0.1", "mail.test", 1), Rules{}), KindTLS, "certificate is valid for web.test, not mail.test")
	})
	t.Run("a set of authorities can change", func(t *testing.T) {
		s := serve(t, a.listen(t, "127.0.0.1"), "https", always(ok))
		p := testProber()
		p.TrustRoots(stranger.pool)
		if err := judge(t, p, s.url, Rules{}); err == nil {
			t.Error("got up, want the certificate refused")
		}
		p.TrustRoots(a.pool)
		if err := judge(t, p, s.url, Rules{}); err != nil {
			t.Errorf("got %v, want up", err)
		}
	})
}

// negative returns the certificate with the serial number -127 in place of 2.
// Package x509 makes none, so the authority signs what it made once more.
func (a *authority) negative(t *testing.T, der []byte) []byte {
	t.Helper()
	var certificate struct { // RFC 5280, 4.1
		TBS       asn1.RawValue
		Algorithm asn1.RawValue
		Signature asn1.BitString
	}
	if _, err := asn1.Unmarshal(der, &certificate); err != nil {
		t.Fatal(err)
	}
	const version = "\xa0\x03\x02\x01\x02" // the serial number follows it
	tbs := bytes.Replace(certificate.TBS.FullBytes, []byte(version+"\x02\x01\x02"), []byte(version+"\x02\x01\x81"), 1)
	hash := sha256.Sum256(tbs)
	signature, err := ecdsa.SignASN1(rand.Reader, a.key, hash[:])
	if err != nil {
		t.Fatal(err)
	}
	certificate.TBS.FullBytes = tbs
	certificate.Signature = asn1.BitString{Bytes: signature, BitLength: 8 * len(signature)}
	signed, err := asn1.Marshal(certificate)
	if err != nil {
		t.Fatal(err)
	}
	if parsed, err := x509.ParseCertificate(signed); err != nil || parsed.SerialNumber.Int64() != -127 {
		t.Fatalf("got %v, %v, want a certificate of the serial number -127", parsed, err)
	}
	return signed
}

// Devices have serial numbers of random bytes.
func TestHTTPSCertificateWithANegativeSerialNumber(t *testing.T) {
	a, stranger := newAuthority(t), newAuthority(t)
	for _, tt := range []struct {
		name   string
		signer *authority
		reason string
	}{
		{"by an authority that is trusted", a, ""},
		{"by another authority", stranger, "certificate signed by unknown authority"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			config := tt.signer.config(t, "127.0.0.1", time.Now().Add(time.Hour))
			config.Certificates[0].Certificate[0] = tt.signer.negative(t, config.Certificates[0].Certificate[0])
			s := serve(t, tls.NewListener(loopback(t), config), "https", always(ok))
			p := testProber()
			p.TrustRoots(a.pool)
			err := judge(t, p, s.url, Rules{})
			if tt.reason == "" && err != nil {
				t.Errorf("got %v, want up", err)
			} else if tt.reason != "" {
				wantFailure(t, err, KindTLS, tt.reason)
			}
		})
	}
}

func TestHTTPSKeyExchange(t *testing.T) {
	a := newAuthority(t)
	p := testProber()
	p.TrustRoots(a.pool)
	for name, set := range map[string]func(*tls.Config){
		"any":               func(*tls.Config) {},
		"P-256 only":        func(c *tls.Config) { c.CurvePreferences = []tls.CurveID{tls.CurveP256} },
		"P-384 only":        func(c *tls.Config) { c.CurvePreferences = []tls.CurveID{tls.CurveP384} },
		"P-521 only":        func(c *tls.Config) { c.CurvePreferences = []tls.CurveID{tls.CurveP521} },
		"P-256 and TLS 1.2": func(c *tls.Config) { c.CurvePreferences, c.MaxVersion = []tls.CurveID{tls.CurveP256}, tls.VersionTLS12 },
	} {
		t.Run(name, func(t *testing.T) {
			config := a.config(t, "127.0.0.1", time.Now().Add(time.Hour))
			set(config)
			var offered []tls.CurveID
			var protocols []string
			config.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
				offered, protocols = hello.SupportedCurves, hello.SupportedProtos
				return nil, nil
			}
			s := serve(t, tls.NewListener(loopback(t), config), "https", always(ok))
			if err := judge(t, p, s.url, Rules{}); err != nil {
				t.Fatalf("got %v, want up", err)
			}
			slices.Sort(offered)
			if want := []tls.CurveID{tls.CurveP256, tls.CurveP384, tls.CurveP521, tls.X25519}; !slices.Equal(offered, want) {
				t.Errorf("offered %v, want %v and no hybrid", offered, want)
			}
			if !slices.Equal(protocols, []string{"http/1.1"}) {
				t.Errorf("offered the protocols %v, want HTTP/1.1", protocols)
			}
		})
	}
}

// Management boards and older web servers agree to one of these, and to no other.
func TestHTTPSCipherSuites(t *testing.T) {
	a := newAuthority(t)
	p := testProber()
	p.TrustRoots(a.pool)
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		only  uint16
		taken bool
	}{
		{tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256, true},
		{tls.TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA, true},
		{tls.TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA256, true},
		{tls.TLS_RSA_WITH_AES_128_GCM_SHA256, true},
		{tls.TLS_RSA_WITH_AES_256_GCM_SHA384, true},
		{tls.TLS_RSA_WITH_AES_128_CBC_SHA256, true},
		{tls.TLS_RSA_WITH_AES_128_CBC_SHA, true},
		{tls.TLS_RSA_WITH_AES_256_CBC_SHA, true},
		{tls.TLS_RSA_WITH_3DES_EDE_CBC_SHA, false},
		{tls.TLS_ECDHE_RSA_WITH_RC4_128_SHA, false},
	} {
		t.Run(tls.CipherSuiteName(tt.only), func(t *testing.T) {
			config := a.configWith(t, key, "127.0.0.1", time.Now().Add(time.Hour))
			config.MaxVersion, config.CipherSuites = tls.VersionTLS12, []uint16{tt.only}
			s := serve(t, tls.NewListener(loopback(t), config), "https", always(ok))
			err := judge(t, p, s.url, Rules{})
			if tt.taken && err != nil {
				t.Errorf("got %v, want up", err)
			} else if !tt.taken {
				wantFailure(t, err, KindTLS, "handshake failure")
			}
		})
	}
	t.Run("the best that both have", func(t *testing.T) {
		config := a.configWith(t, key, "127.0.0.1", time.Now().Add(time.Hour))
		config.MaxVersion, config.CipherSuites = tls.VersionTLS12, suites
		var agreed uint16
		config.VerifyConnection = func(s tls.ConnectionState) error {
			agreed = s.CipherSuite
			return nil
		}
		s := serve(t, tls.NewListener(loopback(t), config), "https", always(ok))
		if err := judge(t, p, s.url, Rules{}); err != nil {
			t.Fatalf("got %v, want up", err)
		}
		if slices.ContainsFunc(tls.InsecureCipherSuites(), func(s *tls.CipherSuite) bool { return s.ID == agreed }) {
			t.Errorf("agreed to %s, want one that package tls calls secure", tls.CipherSuiteName(agreed))
		}
	})
}

func TestHTTPSAnswersThatAreNot(t *testing.T) {
	t.Parallel()
	a := newAuthority(t)
	p := testProber()
	p.TrustRoots(a.pool)
	raw := func(answer func(net.Conn)) string {
		l := loopback(t)
		go func() {
			for c, err := l.Accept(); err == nil; c, err = l.Accept() {
				go func() {
					defer c.Close()
					answer(c)
				}()
			}
		}()
		return "https://" + l.Addr().String()
	}
	t.Run("plain HTTP", func(t *testing.T) {
		url := raw(func(c net.Conn) {
			io.ReadFull(c, make([]byte, 64))
			io.WriteString(c, "HTTP/1.0 400 Bad Request\r\n\r\n")
			io.Copy(io.Discard, c)
		})
		wantFailure(t, judge(t, p, url, Rules{}), KindTLS, "answer is not TLS")
	})
	t.Run("closed in the handshake", func(t *testing.T) {
		url := raw(func(c net.Conn) {
			c.Read(make([]byte, 4096))
		})
		wantFailure(t, judge(t, p, url, Rules{}), KindBroken, "(in the TLS handshake)")
	})
	t.Run("silent in the handshake", func(t *testing.T) {
		url := raw(func(c net.Conn) { io.Copy(io.Discard, c) })
		wantFailure(t, attemptAt(t, p, url, time.Second), KindTimeout, "no answer within 1s (in the TLS handshake)")
	})
	t.Run("an alert", func(t *testing.T) {
		config := a.config(t, "127.0.0.1", time.Now().Add(time.Hour))
		config.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) { return nil, io.EOF }
		s := serve(t, tls.NewListener(loopback(t), config), "https", always(ok))
		wantFailure(t, judge(t, p, s.url, Rules{}), KindTLS, "remote error: tls: internal error")
	})
	t.Run("a client certificate wanted", func(t *testing.T) {
		config := a.config(t, "127.0.0.1", time.Now().Add(time.Hour))
		config.ClientAuth = tls.RequireAnyClientCert
		l := tls.NewListener(loopback(t), config)
		go func() {
			for c, err := l.Accept(); err == nil; c, err = l.Accept() {
				go func() {
					defer c.Close()
					c.(*tls.Conn).Handshake()
					io.Copy(io.Discard, c.(*tls.Conn).NetConn())
				}()
			}
		}()
		wantFailure(t, judge(t, p, "https://"+l.Addr().String(), Rules{}), KindTLS, "tls: certificate required")
	})
}
