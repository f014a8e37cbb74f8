package probe

import (
	"context"
	"net/netip"
	"time"
)

// measureTCP makes one attempt at a tcp:// target, which is up when a
// connection to any of its addresses can be established.
func (p *Prober) measureTCP(ctx context.Context, t Target, a attempt) error {
	addrs, err := p.resolver.addrs(ctx, t, a)
	if err != nil {
		return err
	}
	began, limit := a.began, a.limit // all that the dials need: thousands of them may wait, each with its own
	started := time.Now()
	won, err := race(ctx, addrs, t.port, func(ctx context.Context, addr netip.AddrPort) (netip.Addr, error) {
		return addr.Addr(), p.touch(ctx, addr, attempt{began: began, limit: limit})
	}, func(netip.Addr) {})
	if err != nil {
		won = netip.Addr{}
	}
	a.connected(won, started)
	return err
}
