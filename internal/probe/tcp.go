package probe

import (
	"context"
	"net/netip"
	"time"
)

// attemptTCP makes one attempt at a tcp:// target, which is up when a
// connection to any of its addresses can be established.
func (p *Prober) attemptTCP(ctx context.Context, c Check, a attempt) (time.Duration, error) {
	t := c.Target
	addrs, err := p.addrs(ctx, t, a)
	if err != nil {
		return a.targetTime(), err
	}
	began, limit, record := a.began, a.limit, a.record // all that a dial needs: thousands may wait, each with a copy
	started := time.Now()
	won, err := race(ctx, p.extra, addrs, t.port, func(ctx context.Context, addr netip.AddrPort) (_ netip.Addr, err error) {
		defer record.recoverPanic(&err)
		return addr.Addr(), p.connectHalfOpenPermitted(ctx, t, addr, attempt{began: began, limit: limit})
	}, func(netip.Addr) {})
	if err != nil {
		won = netip.Addr{}
	}
	a.connected(won, started)
	return a.targetTime(), err
}
