package probe

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"
	"syscall"
	"time"
)

// response is an answer after its head was read.
type response struct {
	answerHead
	conn    net.Conn
	reader  *bufio.Reader // nil until the request was sent
	release func() bool   // ends the watch over the context
}

func (r *response) close() {
	r.release()
	r.conn.Close()
	if r.reader != nil {
		r.reader.Reset(nil)
		readers.Put(r.reader)
	}
}

// readers pools buffers for answers. They are small, since thousands of probes may
// wait with one each.
var readers = sync.Pool{New: func() any { return bufio.NewReaderSize(nil, 1<<10) }}

// exchange sends one request on a connection of its own and reads the answer's
// head. The caller closes the response. The error is an *Error, or the cause
// of ctx's end.
func (p *Prober) exchange(ctx context.Context, method string, q request, jar cookies, a attempt) (*response, error) {
	addrs, err := p.addrs(ctx, q.target, a)
	if err != nil {
		return nil, err
	}
	started := time.Now()
	raw, err := race(ctx, p.extra, addrs, q.target.port, func(ctx context.Context, addr netip.AddrPort) (net.Conn, error) {
		return p.connectPermitted(ctx, q.target, addr, a)
	}, discardConn)
	a.connected(reached(raw), started)
	if err != nil {
		return nil, err
	}
	if err := raw.SetDeadline(a.deadline()); err != nil {
		raw.Close()
		return nil, fromSyscall("waiting for the answer", err)
	}
	// Not before the race is over: its own context ends with it.
	r := &response{conn: raw, release: expireWith(ctx, raw)}
	if err := p.ask(ctx, r, method, q, jar, a); err != nil {
		r.close()
		return nil, err
	}
	return r, nil
}

// ask sends one request on r's connection and reads the answer's head.
func (p *Prober) ask(ctx context.Context, r *response, method string, q request, jar cookies, a attempt) error {
	if q.target.Scheme() == HTTPS {
		session := tls.Client(r.conn, p.tlsConfig(ctx, q.target, a))
		started := time.Now()
		err := session.Handshake()
		a.secured(session, started, err)
		if err != nil {
			return fromHandshake(err, q, a)
		}
		r.conn = session
	}
	cookie := ""
	if len(jar) > 0 {
		cookie = jar.header(visitOf(q))
	}
	asked := time.Now()
	if _, err := r.conn.Write(p.head(method, q, cookie)); err != nil {
		return unanswered(err, q, a)
	}
	r.reader = readers.Get().(*bufio.Reader)
	r.reader.Reset(r.conn)
	h := headReader{from: r.reader}
	var err error
	r.answerHead, err = h.read()
	a.answered(r.status, asked)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, errHeadTooLong):
		return failure(KindHTTP, "header over %d MiB", maxHead>>20)
	case errors.Is(err, errNoStatusLine):
		return &Error{Kind: KindHTTP, Reason: fmt.Sprintf(`answer is not HTTP: it begins with "%s"`, printable(string(h.first), q)), Err: err}
	case h.begun:
		return fromConn(err, q, a)
	}
	return unanswered(err, q, a)
}

// unansweredError is the failure of a request that was answered by closing the
// connection.
type unansweredError struct{ failure *Error }

func (e unansweredError) Error() string { return e.failure.Reason }

func (e unansweredError) Unwrap() error { return e.failure }

// unanswered turns the error of a connection on which no answer has begun into
// a failure.
func unanswered(err error, q request, a attempt) error {
	e := fromConn(err, q, a)
	if e.Kind == KindBroken {
		return unansweredError{e}
	}
	return e
}

// reached returns the address at the other end of c; none if c is none.
func reached(c net.Conn) netip.Addr {
	if c, ok := c.(*conn); ok {
		return c.addr.Addr()
	}
	return netip.Addr{}
}

// discardConn closes a connection that lost the race.
func discardConn(c net.Conn) {
	if c, ok := c.(*conn); ok {
		c.reset()
		return
	}
	c.Close()
}

// curves are the key exchanges that HTTPS probes offer: no post-quantum hybrid,
// which costs half the handshake again and protects secrets against a later day; a
// probe sends none but those in its URL.
var curves = []tls.CurveID{tls.X25519, tls.CurveP256, tls.CurveP384, tls.CurveP521}

// suites are the cipher suites that HTTPS probes offer below TLS 1.3: those that
// package tls offers, and those that it leaves out though browsers or curl connect
// to a server that has no other, as older devices do. Package tls orders them by
// itself, and the handshake protects the choice: a server that has a better one
// uses it. RC4 and 3DES, which curl does not offer either, are not among them.
var suites = append(defaultSuites(),
	tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA256,
	tls.TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA256,
	tls.TLS_RSA_WITH_AES_128_GCM_SHA256,
	tls.TLS_RSA_WITH_AES_256_GCM_SHA384,
	tls.TLS_RSA_WITH_AES_128_CBC_SHA256,
	tls.TLS_RSA_WITH_AES_128_CBC_SHA,
	tls.TLS_RSA_WITH_AES_256_CBC_SHA,
)

func defaultSuites() (all []uint16) {
	for _, s := range tls.CipherSuites() {
		all = append(all, s.ID)
	}
	return all
}

// tlsConfig returns the configuration of one handshake. Sessions are not resumed,
// which would skip the certificate.
func (p *Prober) tlsConfig(ctx context.Context, t Target, a attempt) *tls.Config {
	return &tls.Config{
		ServerName: t.hostname(),
		// Not by package tls, which verifies whatever comes: see verify.
		InsecureSkipVerify: true,
		VerifyConnection: func(s tls.ConnectionState) error {
			return p.verify(ctx, t, s.PeerCertificates, a)
		},
		CurvePreferences:       curves,
		CipherSuites:           suites,
		NextProtos:             []string{"http/1.1"},
		SessionTicketsDisabled: true,
		Renegotiation:          tls.RenegotiateOnceAsClient, // IIS asks for it once it has seen the path
	}
}

// head returns the bytes of the request. The cookie may be "".
func (p *Prober) head(method string, q request, cookie string) []byte {
	b := make([]byte, 0, 256)
	b = append(b, method...)
	b = append(b, ' ')
	b = append(b, q.target.uri...)
	b = append(b, " HTTP/1.1\r\nHost: "...)
	b = q.target.appendAuthority(b, q.target.hostname())
	b = append(b, "\r\nUser-Agent: "...)
	b = append(b, p.userAgent...)
	b = append(b, "\r\nAccept: */*\r\nConnection: close\r\n"...)
	if q.user != nil {
		b = append(b, "Authorization: Basic "...)
		b = base64.StdEncoding.AppendEncode(b, []byte(q.user.name+":"+q.user.password))
		b = append(b, "\r\n"...)
	}
	if cookie != "" {
		b = append(b, "Cookie: "...)
		b = append(b, cookie...)
		b = append(b, "\r\n"...)
	}
	return append(b, "\r\n"...)
}

// fromConn turns the error of a connection, or of the parsing of an answer, into a
// failure.
func fromConn(err error, q request, a attempt) *Error {
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return noAnswer(a.limit)
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return &Error{Kind: KindBroken, Reason: "connection closed before the answer was complete", Err: err}
	}
	if errno, ok := errors.AsType[syscall.Errno](err); ok {
		return fromSocket(errno)
	}
	// Package tls wraps the alerts of both sides so ("remote error: tls: …").
	if alert, ok := errors.AsType[*net.OpError](err); ok {
		return &Error{Kind: KindTLS, Reason: "TLS: " + printable(alert.Error(), q), Err: err}
	}
	return &Error{Kind: KindHTTP, Reason: "answer is not HTTP: " + printable(err.Error(), q), Err: err}
}

// fromHandshake turns the error of a TLS handshake into a failure.
func fromHandshake(err error, q request, a attempt) error {
	if e, ok := errors.AsType[*Error](err); ok {
		return e // verify's
	}
	if cert, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		kind := KindTLS
		if _, ok := errors.AsType[x509.SystemRootsError](cert.Err); ok {
			kind = KindLocal // this host has nothing to verify against
		}
		reason := strings.TrimPrefix(cert.Err.Error(), "x509: ")
		return &Error{Kind: kind, Reason: printable(reason, q), Err: err}
	}
	if _, ok := errors.AsType[tls.RecordHeaderError](err); ok {
		return &Error{Kind: KindTLS, Reason: "answer is not TLS", Err: err}
	}
	e := fromConn(err, q, a)
	switch e.Kind {
	case KindTimeout, KindBroken:
		e.Reason += " (in the TLS handshake)"
	case KindHTTP:
		e = &Error{Kind: KindTLS, Reason: "TLS handshake: " + printable(strings.TrimPrefix(err.Error(), "tls: "), q), Err: err}
	}
	return e
}

// printable quotes text of the target, with the secrets of q masked, which the
// target may repeat.
func printable(text string, q request) string { return q.masker().Quote(text) }
