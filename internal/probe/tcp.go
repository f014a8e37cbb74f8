package probe

import (
	"context"
	"net/netip"
)

// measureTCP makes one attempt at a tcp:// target, which is up when a
// connection to any of its addresses can be established.
func (p *Prober) measureTCP(ctx context.Context, t Target, a attempt) error {
	addrs, err := p.addrs(ctx, t, a)
	if err != nil {
		return err
	}
	began, limit := a.began, a.limit // all that the dials need: thousands of them may wait, each with its own
	_, err = race(ctx, p.extra, addrs, t.port, func(ctx context.Context, addr netip.AddrPort) (struct{}, error) {
		return struct{}{}, p.touchPermitted(ctx, t, addr, attempt{began: began, limit: limit})
	}, func(struct{}) {})
	return err
}
