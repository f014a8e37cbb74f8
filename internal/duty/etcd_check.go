package duty

import (
	"cmp"
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/sirupsen/logrus"
)

// EtcdCheck is the result of CheckEtcd.
type EtcdCheck struct {
	Answering int      // endpoints that answer
	Silent    []string // why others do not, a sentence each
	Misnamed  []string // why others are none of this etcd, a sentence each
	Members   []Member // of the group, this one among them while it runs
	Holder    string   // the member on duty; empty: nobody is
	OtherPage string   // the oldest member, if it watches for another page; this one would be left out
	Namesakes []string // names that more than one member has
	Userless  bool     // a user is named, and etcd asks nobody for one
	Stray     string   // why a key that is no member's keeps all from the duty
}

// lastWord bounds the removal of the lease and the key that a check has made.
const lastWord = 2 * time.Second

// CheckEtcd asks every endpoint for the group of s, and tries the rights that a
// member needs: a lease, and a key below the prefix of the group. Members ignore that
// key, and it is removed in the end. The error says why this daemon could not take
// part.
func CheckEtcd(ctx context.Context, s EtcdSettings) (EtcdCheck, error) {
	silent := logrus.New()
	silent.SetOutput(io.Discard)
	e, err := newEtcd(s, silent, bootClock(), nil)
	if err != nil {
		return EtcdCheck{}, err
	}
	defer e.client.http.CloseIdleConnections()
	return e.check(ctx)
}

func (e *etcd) check(ctx context.Context) (EtcdCheck, error) {
	var (
		found EtcdCheck
		first error
		c     = e.client
	)
	for i := range c.endpoints {
		err := c.try(ctx, i)
		switch {
		case ctx.Err() != nil:
			return found, context.Cause(ctx)
		case err == nil:
			found.Answering++
		case misnamed.is(err):
			found.Misnamed = append(found.Misnamed, err.Error())
			first = cmp.Or(first, err)
		case unreachable.is(err):
			found.Silent = append(found.Silent, err.Error())
			first = cmp.Or(first, err)
		default:
			return found, err // the other endpoints would say the same
		}
	}
	if found.Answering == 0 {
		return found, first
	}
	if err := e.tryRights(ctx); err != nil {
		return found, err
	}
	g, err := e.read(ctx)
	if err != nil {
		return found, err
	}
	found.Members, found.Holder, found.Stray = g.shown(), g.names()[g.lead.Lease], g.stray()
	if m := g.otherPage(0, e.s.Page); m != nil {
		found.OtherPage = m.Member
	}
	count := make(map[string]int)
	for _, m := range g.members {
		if count[m.Member]++; count[m.Member] == 2 {
			found.Namesakes = append(found.Namesakes, m.Member)
		}
	}
	slices.Sort(found.Namesakes)
	found.Userless = c.userless
	return found, nil
}

// try reads something of the group at one endpoint.
func (c *etcdClient) try(ctx context.Context, endpoint int) error {
	c.current, c.token = endpoint, "" // a token is of one member of etcd, where it is a simple one
	if err := c.logIn(ctx); err != nil {
		return err
	}
	return c.ask(ctx, "/v3/kv/range", rangeRequest{Key: []byte(c.prefix)}, new(rangeAnswer))
}

// survey says which endpoints are none of the cluster that decides. A daemon stays
// with the endpoint that answers, so one that is wrong would be noticed when it is
// needed; and of two clusters, two daemons would each be on duty in one.
func (e *etcd) survey(ctx context.Context, cluster string) {
	c := newEtcdClient(e.s, e.prefix, e.dial)
	defer c.http.CloseIdleConnections()
	c.cluster = cluster
	for i := range c.endpoints {
		if err := c.try(ctx, i); misnamed.is(err) {
			e.log.WithField("why", err.Error()).Warn("an endpoint is none of the etcd that decides who is on duty")
		}
	}
}

// tryRights does what a member does, with a key of its own.
func (e *etcd) tryRights(ctx context.Context) error {
	var lease leaseAnswer
	if err := e.client.call(ctx, "/v3/lease/grant", grantRequest{number(e.s.TTL.Seconds())}, &lease); err != nil {
		return fmt.Errorf("a lease: %w", err)
	}
	key := []byte(e.prefix + "check/" + strings.ToLower(rand.Text()[:8]))
	question := txnRequest{Compare: []comparison{{"CREATE", key, 0}}}
	question.put(putRequest{key, []byte(e.s.Member), lease.ID})
	err := e.client.call(ctx, "/v3/kv/txn", question, new(struct{}))
	if err != nil {
		err = fmt.Errorf("a key below %s: %w", e.prefix, err)
	} else if err = e.client.call(ctx, "/v3/lease/keepalive", leaseRequest{lease.ID}, new(renewAnswer)); err != nil {
		err = fmt.Errorf("the renewal of a lease: %w", err)
	}
	// This removes the key, too, even if ctx is done. If it fails, both end by
	// themselves.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastWord)
	defer cancel()
	if revoked := e.client.call(ctx, "/v3/lease/revoke", leaseRequest{lease.ID}, new(struct{})); err == nil && revoked != nil {
		err = fmt.Errorf("the end of a lease: %w", revoked)
	}
	return err
}
