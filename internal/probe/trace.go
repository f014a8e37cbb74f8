package probe

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net/netip"
	"time"
)

// maxTrace bounds the attempts of one probe whose phases are kept: a map may ask
// for a hundred, and what the first ones and the last one show is enough.
const maxTrace = 8

// Attempt is one attempt with the time that each phase of it took; a phase that
// was not reached took none. Redirects add up; address, status and certificate
// are those of the last hop.
type Attempt struct {
	Addr      netip.Addr   // that was tried; invalid if there was none, or several and all failed
	Port      uint16       // 0 for ICMP
	Addrs     []netip.Addr // of the name, if it has several
	DNS       time.Duration
	Connect   time.Duration
	TLS       time.Duration
	FirstByte time.Duration // from the request to the head of the answer; the round trip of an echo
	Body      time.Duration
	Total     time.Duration
	Status    int // of the HTTP answer
	Session   Session
	Err       error // why it was not up; nil if it was
}

// Session is what a TLS handshake agreed on; zero without one. A certificate
// that is not trusted has no version beside it, since the handshake ended there.
type Session struct {
	Version, Cipher uint16
	Subject, Issuer string    // of the target's own certificate; empty without one
	NotAfter        time.Time // of it
	Expiry          time.Time // the first of its chain's certificates to expire

	certificate *x509.Certificate // until the attempt is kept: it takes kilobytes
}

// Names returns the version and the cipher suite in words.
func (s Session) Names() (version, cipher string) {
	if s.Version == 0 {
		return "", ""
	}
	return tls.VersionName(s.Version), tls.CipherSuiteName(s.Cipher)
}

// Kind returns what the attempt failed at, or "" if it was up.
func (a Attempt) Kind() Kind { return kindOf(a.Err) }

// Kind returns what the last attempt failed at, or "" if it was up.
func (r Result) Kind() Kind { return kindOf(r.Err) }

// looked notes the addresses that a look-up brought, which began then.
func (a attempt) looked(addrs []netip.Addr, port uint16, began time.Time) {
	if a.record == nil {
		return
	}
	p := &a.record.phases
	p.Addr, p.Addrs, p.Port = netip.Addr{}, nil, port
	if len(addrs) == 1 {
		p.Addr = addrs[0]
	} else {
		p.Addrs = addrs
	}
	if !began.IsZero() {
		p.DNS += time.Since(began)
	}
}

// connected notes that the connection that was begun then is there, or failed.
func (a attempt) connected(addr netip.Addr, began time.Time) {
	if a.record == nil {
		return
	}
	if a.record.phases.Connect += time.Since(began); addr.IsValid() {
		a.record.phases.Addr = addr
	}
}

// secured notes the end of a handshake, which began then and came to err.
func (a attempt) secured(session *tls.Conn, began time.Time, err error) {
	if a.record == nil {
		return
	}
	p := &a.record.phases
	p.TLS += time.Since(began)
	chain := []*x509.Certificate(nil)
	if err == nil {
		state := session.ConnectionState()
		p.Session = Session{Version: state.Version, Cipher: state.CipherSuite}
		chain = state.PeerCertificates
	} else if untrusted, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		p.Session, chain = Session{}, untrusted.UnverifiedCertificates
	}
	for i, certificate := range chain {
		if i == 0 {
			p.Session.certificate = certificate
		}
		if p.Session.Expiry.IsZero() || certificate.NotAfter.Before(p.Session.Expiry) {
			p.Session.Expiry = certificate.NotAfter
		}
	}
}

// answered notes that the head of an answer is there, of a request that began
// then; the status is 0 if it is not.
func (a attempt) answered(status int, began time.Time) {
	if a.record == nil {
		return
	}
	a.record.phases.FirstByte += time.Since(began)
	if status != 0 {
		a.record.phases.Status = status
	}
}

// searched notes that a body was searched, from then on.
func (a attempt) searched(began time.Time) {
	if a.record != nil {
		a.record.phases.Body += time.Since(began)
	}
}

// trace keeps the phases of an attempt, whose record is still its own. They are
// kept where it was not up, or where t asks for them: else they would cost
// memory in every probe.
func (r *Result) trace(t Task, a attempt) {
	p := &a.record.phases
	if r.Expiry = p.Session.Expiry; r.Err == nil && !t.Trace {
		return
	}
	p.Total, p.Err = a.latency(), r.Err
	if c := p.Session.certificate; c != nil {
		q := request{target: t.Check.Target, user: t.Check.Target.userinfo()}
		p.Session.Subject, p.Session.Issuer = printable(c.Subject.String(), q), printable(c.Issuer.String(), q)
		p.Session.NotAfter, p.Session.certificate = c.NotAfter, nil
	}
	if r.Err == nil && p.Total < r.Latency {
		p.Total = r.Latency
	}
	if len(r.Trace) == maxTrace {
		r.Trace[maxTrace-1] = *p
		return
	}
	r.Trace = append(r.Trace, *p)
}
