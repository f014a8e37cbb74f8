package duty

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"syscall"
	"time"
)

// engineError is the reason for a failed request to etcd. Its text has the cure, if
// one is known, and is the same whenever the reason is, so that it is logged once.
type engineError struct {
	kind complaint
	text string
}

func (e *engineError) Error() string { return e.text }

// joined returns one error with the reasons of several, in their order, each once. It is
// of the kind of the first.
func joined(errs []error) error {
	var reasons []string
	for _, err := range errs {
		if reason := err.Error(); !slices.Contains(reasons, reason) {
			reasons = append(reasons, reason)
		}
	}
	first, ok := errors.AsType[*engineError](errs[0])
	if !ok {
		return errs[0]
	}
	return &engineError{first.kind, strings.Join(reasons, "; ")}
}

// complaint is a class of errors that are handled alike.
type complaint uint8

const (
	unreachable complaint = iota // of this endpoint: the next one may do it
	misnamed                     // this endpoint is none of the cluster: the next one may do it
	noLease                      // the lease is gone
	staleToken                   // log in again
	noUser                       // etcd asks for a user, none was named
	noAuth                       // etcd knows no users
	refused                      // by etcd: its other members say the same
)

// is reports whether err is a complaint of a kind.
func (c complaint) is(err error) bool {
	e, ok := errors.AsType[*engineError](err)
	return ok && e.kind == c
}

// plightOf returns the kind of the trouble that err is.
func plightOf(err error) Plight {
	if _, other := errors.AsType[*otherPageError](err); other {
		return Excluded
	}
	e, ofEngine := errors.AsType[*engineError](err)
	switch {
	case !ofEngine:
		return Undecided
	case e.kind == unreachable || e.kind == misnamed:
		return Unreachable
	}
	return Excluded
}

// ofEndpoint reports whether err is of one endpoint, so that the next one may do it.
func ofEndpoint(err error) bool { return unreachable.is(err) || misnamed.is(err) }

// gRPC's codes, as the gateway has them in its answers.
const (
	canceled           = 1
	invalidArgument    = 3
	notFound           = 5
	permissionDenied   = 7
	resourceExhausted  = 8
	failedPrecondition = 9
	unimplemented      = 12
	unauthenticated    = 16
)

// complain returns the error of an answer that is not 200.
func (c *etcdClient) complain(endpoint string, answer *http.Response, body []byte) error {
	var e errorAnswer
	if json.Unmarshal(body, &e) != nil || e.Message == "" {
		return c.notEtcd(endpoint, answer, body)
	}
	said := func(kind complaint, cure string) error {
		return &engineError{kind, fmt.Sprintf("etcd said %.200q: %s", e.Message, cure)}
	}
	has := func(words string) bool { return strings.Contains(e.Message, words) }
	switch {
	case e.Code == notFound && has("lease"):
		return said(noLease, "the lease has ended or was revoked")
	case e.Code == unauthenticated, has("invalid auth token"), has("revision of auth store is old"), has("revision in header is old"):
		return said(staleToken, "log in again")
	case has("user name is empty"), has("user name not found"), e.Code == permissionDenied && c.user == "":
		return said(noUser, "set user and password_file in [cluster] to a user of etcd; its JSON gateway knows none by a certificate")
	case e.Code == failedPrecondition && has("authentication is not enabled"):
		return said(noAuth, "leave out user and password_file in [cluster], or enable it by etcdctl auth enable")
	case e.Code == invalidArgument && has("authentication failed"):
		return said(refused, fmt.Sprintf("correct user (%q) or password_file in [cluster]", c.user))
	case e.Code == permissionDenied:
		return said(refused, fmt.Sprintf("grant the right to the role of user %q by: etcdctl role grant-permission ROLE readwrite --prefix=true %s", c.user, c.prefix))
	case e.Code == resourceExhausted && has("space"):
		return said(refused, "its database is full: compact and defragment it, then run: etcdctl alarm disarm")
	case e.Code == unimplemented:
		return said(misnamed, fmt.Sprintf("%s has not what is asked of it: endpoints in [cluster] are client URLs of etcd 3.4 or newer", endpoint))
	case e.Code == canceled && has("connection is closing"):
		return said(unreachable, endpoint+" is being stopped")
	}
	return said(unreachable, fmt.Sprintf("%s has no quorum, or is overloaded; look at: etcdctl endpoint status --cluster", endpoint))
}

// notEtcd returns the error of an answer that cannot be etcd's.
func (c *etcdClient) notEtcd(endpoint string, answer *http.Response, body []byte) error {
	if answer.StatusCode == http.StatusBadRequest && bytes.Contains(body, []byte("HTTPS server")) {
		return &engineError{misnamed, endpoint + " wants https: correct endpoints in [cluster]"}
	}
	if answer.StatusCode >= 500 && answer.StatusCode != http.StatusNotImplemented {
		return &engineError{unreachable, fmt.Sprintf("%s answers %d: etcd, or what is before it, is in trouble", endpoint, answer.StatusCode)}
	}
	with := "without a content type"
	if kind, _, _ := strings.Cut(answer.Header.Get("Content-Type"), ";"); kind != "" {
		with = fmt.Sprintf("with %.40q", kind)
	}
	return &engineError{misnamed, fmt.Sprintf("%s is not etcd's JSON gateway, it answers %d %s: endpoints in [cluster] are client URLs of etcd 3.4 or newer, which runs with --enable-grpc-gateway (its default)",
		endpoint, answer.StatusCode, with)}
}

// outdated returns the complaint about a client certificate that is not valid now;
// empty if it is, or there is none.
func (c *etcdClient) outdated() string {
	if c.certificate == nil {
		return ""
	}
	if now := time.Now(); now.Before(c.certificate.NotBefore) || now.After(c.certificate.NotAfter) {
		return fmt.Sprintf("cert_file in [cluster] is valid from %s to %s, and not by the clock of this host: renew it and reload, or correct the clock",
			day(c.certificate.NotBefore), day(c.certificate.NotAfter))
	}
	return ""
}

func day(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// unanswered returns the error of a request without an answer.
func (c *etcdClient) unanswered(endpoint string, err error) error {
	var (
		unknown  x509.UnknownAuthorityError
		host     x509.HostnameError
		invalid  x509.CertificateInvalidError
		noTLS    tls.RecordHeaderError
		noLookup *net.DNSError
		alert    *net.OpError // package tls has no other type for what a peer objects to
		text     string
	)
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		text = fmt.Sprintf("%s does not answer within %v", endpoint, c.wait)
	case errors.Is(err, syscall.ECONNREFUSED):
		text = endpoint + ": connection refused: look whether etcd runs there, and listens on that address (--listen-client-urls)"
	case errors.As(err, &noLookup) && noLookup.IsNotFound:
		text = fmt.Sprintf("%s: no such host: correct endpoints in [cluster]", endpoint)
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		text = fmt.Sprintf("%s: the certificate of etcd is valid from %s to %s, and not by the clock of this host: renew it, or correct the clock",
			endpoint, day(invalid.Cert.NotBefore), day(invalid.Cert.NotAfter))
	case errors.As(err, &unknown):
		text = fmt.Sprintf("%s: %v: set ca_file in [cluster] to the CA of etcd's certificate", endpoint, unknown)
	case errors.As(err, &host):
		text = fmt.Sprintf("%s: %v: correct endpoints in [cluster] to a name that etcd's certificate has", endpoint, host)
	case errors.As(err, &alert) && alert.Op == "remote error" && c.outdated() != "":
		text = fmt.Sprintf("%s: %v: %s", endpoint, alert, c.outdated())
	case errors.As(err, &alert) && alert.Op == "remote error":
		text = fmt.Sprintf("%s: %v: set cert_file and key_file in [cluster] to a client certificate that etcd accepts", endpoint, alert)
	case errors.Is(err, http.ErrSchemeMismatch):
		return &engineError{misnamed, endpoint + " wants http: correct endpoints in [cluster]"}
	case errors.As(err, &noTLS):
		return &engineError{misnamed, endpoint + " does not speak TLS: if it is etcd without, write http in endpoints in [cluster]; else name client URLs of etcd there"}
	case strings.Contains(err.Error(), "malformed HTTP"), // package http has no type for it
		strings.Contains(err.Error(), "readLoopPeekFail"): // it spoke before it was asked
		return &engineError{misnamed, endpoint + " does not speak HTTP/1.1: endpoints in [cluster] are client URLs of etcd 3.4 or newer"}
	case errors.Is(err, io.EOF):
		other := "https"
		if strings.HasPrefix(endpoint, "https:") {
			other = "http"
		}
		text = fmt.Sprintf("%s closes the connection: if it wants %s, correct endpoints in [cluster]", endpoint, other)
	default:
		// An error of http.Client repeats the URL and the method.
		for inner := errors.Unwrap(err); inner != nil && strings.HasPrefix(err.Error(), "Post "); inner = errors.Unwrap(err) {
			err = inner
		}
		text = fmt.Sprintf("%s: %v", endpoint, err)
	}
	return &engineError{unreachable, text}
}
