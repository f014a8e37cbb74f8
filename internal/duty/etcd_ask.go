package duty

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/sirupsen/logrus"
)

// AskEtcd tries once whatever a daemon with these settings asks of etcd, and
// returns the group that it finds there. It does not join it, and leaves nothing
// behind. The error has the cure; the state is that of the group as far as it was
// read before.
func AskEtcd(ctx context.Context, s EtcdSettings, log logrus.FieldLogger) (State, error) {
	e, err := newEtcd(s, log, bootClock(), nil)
	if err != nil {
		return State{}, err
	}
	return e.tryAll(ctx)
}

func (e *etcd) tryAll(ctx context.Context) (State, error) {
	defer e.client.http.CloseIdleConnections()
	g, err := e.read(ctx)
	if err != nil {
		return e.State(), err
	}
	e.shown.Members, e.shown.Holder = g.shown(), g.names()[g.lead.Lease]
	if other := g.otherPage(0, e.s.Page); other != nil {
		return e.State(), &otherPageError{e.s.Group, other.Member}
	}
	if stray := g.stray(); stray != "" {
		return e.State(), errors.New(stray)
	}
	var a leaseAnswer
	if err := e.client.call(ctx, "/v3/lease/grant", grantRequest{number(e.s.TTL / time.Second)}, &a); err != nil {
		return e.State(), err
	}
	defer func() {
		last, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
		defer cancel()
		_ = e.client.call(last, "/v3/lease/revoke", leaseRequest{a.ID}, new(struct{}))
	}()
	var renewed renewAnswer
	if err := e.client.call(ctx, "/v3/lease/keepalive", leaseRequest{a.ID}, &renewed); err != nil {
		return e.State(), err
	}
	// Readers of the group pass over a key that is neither a member's nor of the
	// election.
	key := fmt.Appendf(nil, "%stry/%x", e.prefix, int64(a.ID))
	var q txnRequest
	q.Compare = []comparison{{"CREATE", key, 0}}
	q.put(putRequest{key, []byte(e.s.Member), a.ID})
	return e.State(), e.client.call(ctx, "/v3/kv/txn", q, new(struct{}))
}
