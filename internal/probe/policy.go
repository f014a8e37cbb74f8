package probe

import (
	"context"
	"net"
	"net/netip"
	"time"

	"github.com/crisp-im/crisp-status-local/v2/internal/policy"
)

// Restrict sets which addresses attempts may connect to; nil means all but those
// that are denied by default. It holds for whatever is begun from now on.
func (p *Prober) Restrict(allowed *policy.Policy) { p.policy.Store(allowed) }

// IsDenied reports whether err is that the policy denies what an attempt needs.
func IsDenied(err error) bool { return kindOf(err) == KindPolicy }

// addrs returns the addresses of t's host, as resolver.addrs does, unless the
// policy denies the name whatever its addresses are.
func (p *Prober) addrs(ctx context.Context, t Target, a attempt) ([]netip.Addr, error) {
	if !t.addr.IsValid() {
		if err := t.Denial(p.policy.Load()); err != nil {
			return nil, denied(err)
		}
	}
	return p.resolver.addrs(ctx, t, a)
}

// Denial returns why allowed permits no connection to the host and port of the URL, a
// [*policy.Denied]. It is nil if it permits one, and if the addresses of a name decide,
// which are not looked up.
func (t Target) Denial(allowed *policy.Policy) error {
	if t.addr.IsValid() {
		return allowed.Check("", t.addr, t.port)
	}
	return allowed.CheckName(t.host, t.port)
}

// permitAlias returns an *Error of KindPolicy if an entry of deny matches the name,
// which is an alias that the look-up of another name led to; else nil.
func (p *Prober) permitAlias(name string, port uint16) error {
	if err := p.policy.Load().CheckAlias(name, port); err != nil {
		return denied(err)
	}
	return nil
}

// permit returns an *Error of KindPolicy unless an attempt for t may connect to
// that address. It is asked right before, so that neither a name that changes,
// nor a CNAME, nor a redirect leads around it.
func (p *Prober) permit(t Target, addr netip.Addr) error {
	name := t.host
	if t.addr.IsValid() {
		name = ""
	}
	if err := p.policy.Load().Check(name, addr, t.port); err != nil {
		return denied(err)
	}
	return nil
}

func denied(err error) *Error {
	return &Error{Kind: KindPolicy, Reason: err.Error(), Err: err, lasting: true}
}

// The only ways of an attempt to the network but for DNS:

func (p *Prober) connectHalfOpenPermitted(ctx context.Context, t Target, addr netip.AddrPort, a attempt) error {
	if err := p.permit(t, addr.Addr()); err != nil {
		return err
	}
	return p.connectHalfOpen(ctx, addr, a)
}

func (p *Prober) connectPermitted(ctx context.Context, t Target, addr netip.AddrPort, a attempt) (conn net.Conn, err error) {
	defer a.record.recoverPanic(&err)
	if err := p.permit(t, addr.Addr()); err != nil {
		return nil, err
	}
	return p.connect(ctx, addr, a)
}

func (p *Prober) pingPermitted(ctx context.Context, t Target, addr netip.Addr, limit time.Duration, a attempt) (answer pong, err error) {
	defer a.record.recoverPanic(&err)
	if err := p.permit(t, addr); err != nil {
		return pong{}, err
	}
	return p.ping(ctx, addr, limit)
}
