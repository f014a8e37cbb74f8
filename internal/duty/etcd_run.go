package duty

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"sync"
	"time"
)

const (
	leastWait     = 100 * time.Millisecond // between two passes, however often a watch calls
	takeoverPause = 200 * time.Millisecond // from being the first to being on duty
	progressIn    = time.Second            // for the scheduler and the outbox to show progress
)

func (e *etcd) Run(ctx context.Context) {
	wake := make(chan struct{}, 1)
	var (
		w         watch
		surveying sync.WaitGroup
		surveyed  = len(e.s.Endpoints) == 1
	)
	for ctx.Err() == nil {
		began := time.Now()
		e.pass(ctx, wake)
		if cluster := e.client.cluster; cluster != "" && !surveyed {
			surveyed = true
			surveying.Go(func() { e.survey(ctx, cluster) })
		}
		w.keep(ctx, e, wake)
		if !sleep(ctx, leastWait-time.Since(began), nil) {
			break
		}
		sleep(ctx, e.beat()-time.Since(began), wake)
	}
	w.stop()
	surveying.Wait()
	if e.trying != nil {
		<-e.trying
	}
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
	defer cancel()
	e.leave(last, "this daemon ends")
	e.client.http.CloseIdleConnections()
}

// call makes the next pass begin at once.
func call(wake chan<- struct{}) {
	select {
	case wake <- struct{}{}:
	default:
	}
}

// sleep waits, or until wake yields. It reports whether ctx is not done.
func sleep(ctx context.Context, wait time.Duration, wake <-chan struct{}) bool {
	t := time.NewTimer(wait)
	defer t.Stop()
	select {
	case <-t.C:
	case <-wake:
	case <-ctx.Done():
	}
	return ctx.Err() == nil
}

// pass renews the lease, reads the group, and acts on what it finds.
func (e *etcd) pass(ctx context.Context, wake chan<- struct{}) {
	if e.trying != nil {
		select {
		case err := <-e.trying:
			e.trying = nil
			e.apiFails = err != nil
			if err == nil {
				e.triedWell = time.Now()
			}
		default:
		}
	}
	// Without this limit, many silent endpoints, asked one after the other, would take
	// longer than the lease.
	inTime, cancel := context.WithTimeout(ctx, e.s.TTL)
	err := e.agree(inTime, wake)
	cancel()
	if err == nil || ctx.Err() != nil {
		e.askAPI(ctx, wake)
		return
	}
	e.undecided(err)
	s := standing{e.standing.Load().until, e.decided + e.giveUp()}
	if e.failures == 1 {
		// The process may have been stopped while this pass waited for its answers.
		// That is no silence of etcd, and the next pass comes at once.
		s.aliveFrom = max(s.aliveFrom, e.clock()+e.s.TTL)
	}
	var other *otherPageError
	if errors.As(err, &other) {
		s = standing{}
	} else if e.clock() >= s.aliveFrom && e.client.otherCluster(ctx) {
		e.log.Warn("all endpoints are of another cluster than before: following it")
		e.lease, s.until = 0, 0
	}
	e.publish(s)
}

// otherPageError says that the group is another page's.
type otherPageError struct{ group, member string }

func (e *otherPageError) Error() string {
	return fmt.Sprintf("group %q is of another page than this daemon's: %s has another token; give this page's daemons a group of their own in [cluster]", e.group, e.member)
}

// agree asks etcd who is on duty. The error says why that is not known.
func (e *etcd) agree(ctx context.Context, wake chan<- struct{}) error {
	inTime, cancel := context.WithTimeout(ctx, progressIn)
	stalled := e.s.Alive(inTime)
	cancel()
	e.stall(stalled)

	// A term is counted from here, whenever the answer is read: it may lie in the
	// socket while the process is stopped.
	sent, renewed := e.clock(), false
	if e.lease != 0 && stalled == nil {
		switch err := e.renew(ctx); {
		case noLease.is(err):
			e.forget()
		case err != nil:
			return err
		default:
			renewed = true
		}
	}
	var g group
	for changed, passes := true, 0; changed; passes++ {
		if passes == 5 {
			return errors.New("this member's keys vanish as soon as they are written: look for who deletes them, by etcdctl watch --prefix " + e.prefix)
		}
		var err error
		if g, err = e.read(ctx); err != nil {
			return err
		}
		if other := g.otherPage(e.lease, e.s.Page); other != nil {
			err := &otherPageError{e.s.Group, other.Member}
			if e.lease != 0 {
				e.leave(ctx, err.Error())
			}
			return err
		}
		if !g.mine && e.Scope() == Everything {
			// Somebody deleted the key, or revoked the lease: stop reporting before
			// anything else.
			e.giveUpDuty("its key was deleted from the election: seeking the duty again")
		}
		had := e.lease
		if changed, err = e.take(ctx, g, stalled == nil); err != nil {
			return err
		}
		renewed = renewed && had == e.lease || had == 0 && e.lease != 0
	}
	if err := e.conclude(g, sent, renewed, wake); err != nil {
		return err
	}
	e.tell(ctx, g)
	e.needAPI = e.recused || !g.mine && g.holder != nil && g.holder.InVain
	return nil
}

// conclude puts in force who is on duty by g. renewed says that the lease was renewed
// before g was read, by a request sent at that time on the clock.
func (e *etcd) conclude(g group, sent time.Duration, renewed bool, wake chan<- struct{}) error {
	s := standing{aliveFrom: never}
	if !g.mine {
		e.first = never
	} else if e.first == never {
		e.first = e.clock()
		time.AfterFunc(takeoverPause, func() { call(wake) })
	}
	switch {
	case g.stray() != "":
		return errors.New(g.stray())
	case g.holder == nil:
		return errors.New("nobody of the group takes the duty")
	case g.mine && !renewed:
		s = standing{e.standing.Load().until, e.decided + e.giveUp()}
	case g.mine:
		// The renewal lengthened the lease, and the key of this lease was first in a
		// later reading that a majority of etcd confirmed. So the key stays first
		// until the lease ends.
		if e.clock()-e.first < takeoverPause {
			// A holder whose lease was revoked by hand learns it from its watch, and
			// has stopped before this one begins.
			return nil
		}
		e.decided = sent
		s.until = sent + termOf(min(e.s.TTL, e.granted))
	default:
		e.decided = sent
	}
	e.decidedBy(g)
	e.publish(s)
	e.lookForNamesake(g)
	e.lookForUser()
	return nil
}

// renew lengthens the lease.
func (e *etcd) renew(ctx context.Context) error {
	var a renewAnswer
	if err := e.client.call(ctx, "/v3/lease/keepalive", leaseRequest{e.lease}, &a); err != nil {
		return err
	}
	if a.Result.ID != e.lease || a.Result.TTL <= 0 {
		return &engineError{noLease, "the lease has ended"}
	}
	e.granted = time.Duration(a.Result.TTL) * time.Second
	return nil
}

// read reads the group.
func (e *etcd) read(ctx context.Context) (group, error) {
	var a rangeAnswer
	err := e.client.call(ctx, "/v3/kv/range", rangeRequest{
		Key: []byte(e.prefix), End: prefixEnd(e.prefix), Limit: maxMembers, Order: "ASCEND", Target: "CREATE",
	}, &a)
	if err != nil {
		return group{}, err
	}
	g := readGroup(e.prefix, a.KVs, e.lease)
	e.seen.see(g, e.clock(), !e.began)
	e.began = true
	return g, nil
}

// take gets the lease and the keys of a member that are missing, or gives them up if
// this member yields. It reports whether the group has changed. Without progress it
// gets nothing.
func (e *etcd) take(ctx context.Context, g group, progress bool) (bool, error) {
	e.reconsider(g)
	if e.lease != 0 && g.queued && e.yields(g) {
		e.recuse(g)
		e.leave(ctx, "the Status API does not answer here, but answers another member")
		return true, nil
	}
	if !progress {
		return false, nil
	}
	if e.lease == 0 {
		var a leaseAnswer
		if err := e.client.call(ctx, "/v3/lease/grant", grantRequest{number(e.s.TTL / time.Second)}, &a); err != nil {
			return false, err
		}
		if a.ID == 0 || a.TTL <= 0 {
			return false, &engineError{unreachable, "etcd granted no lease"}
		}
		e.lease, e.granted = a.ID, time.Duration(a.TTL)*time.Second
		g.joined, g.queued = false, false
	}
	var question txnRequest
	if !g.joined {
		e.said, e.saidAt = e.say(), time.Now()
		question.put(putRequest{e.recordKey(), marshal(e.said), e.lease})
	}
	if !g.queued && !e.recused {
		key := fmt.Appendf(nil, "%selection/%x", e.prefix, int64(e.lease))
		question.Compare = []comparison{{"CREATE", key, 0}}
		question.put(putRequest{key, []byte(e.s.Member), e.lease})
	}
	if question.Success == nil {
		return false, nil
	}
	err := e.client.call(ctx, "/v3/kv/txn", question, new(struct{}))
	if noLease.is(err) {
		e.forget()
		return true, nil
	}
	return true, err
}

func (q *txnRequest) put(p putRequest) {
	q.Success = append(q.Success, putOperation{p})
}

// forget gives up a lease that is gone.
func (e *etcd) forget() {
	e.lease = 0
	e.giveUpDuty("its lease ended or was revoked: seeking the duty again")
}

// leave stops reporting and then gives up the lease with all its keys, so that the
// next member takes over at once. The lease is never used again, so a revocation that
// arrives late does no harm.
func (e *etcd) leave(ctx context.Context, why string) {
	e.giveUpDuty(why)
	lease := e.lease
	if e.lease = 0; lease == 0 {
		return
	}
	// If that fails, the lease ends by itself.
	_ = e.client.call(ctx, "/v3/lease/revoke", leaseRequest{lease}, new(struct{}))
}

// recordKey returns the key of this member's record. It has the lease in it, so that the
// record of an earlier lease, which ends with that lease, is another one.
func (e *etcd) recordKey() []byte {
	return fmt.Appendf(nil, "%smembers/%s/%x", e.prefix, url.PathEscape(e.s.Member), int64(e.lease))
}

// NoUsers is the warning of a user that etcd does not ask for.
const NoUsers = "etcd asks nobody for a user, so user and password_file in [cluster] have no effect: enable its authentication by etcdctl auth enable, or leave them out"

// lookForUser warns of a user that etcd does not ask for.
func (e *etcd) lookForUser() {
	if !e.client.userless {
		e.settle(ofUser)
		return
	}
	e.warn(ofUser, NoUsers, "whoever reaches etcd can change who is on duty")
}

// lookForNamesake warns if another daemon has the name of this one for longer than a
// lease: the record of an earlier run that was killed ends with its lease.
func (e *etcd) lookForNamesake(g group) {
	for _, m := range g.members {
		if m.Member != e.s.Member || m.lease == e.lease || m.Instance == e.id {
			continue
		}
		if e.doubled = min(e.doubled, e.clock()); e.clock()-e.doubled >= e.giveUp() {
			e.warn(ofName, fmt.Sprintf("another daemon of the group is called %q, too: give each its own name by member in [cluster]", e.s.Member),
				"both go on, and are told apart by "+e.id+" and "+m.Instance)
		}
		return
	}
	e.doubled = never
	e.settle(ofName)
}
