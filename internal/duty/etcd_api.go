package duty

import (
	"context"
	"time"
)

// If the Status API answers only some of the members, the duty moves to one of them.
// The holder writes into its record that its reports fail; meanwhile the others ask
// the API, and write into theirs that it answered; then the holder leaves the line.
// So an idle group costs the API nothing.

const (
	askAPIEvery    = 5 * time.Second // by a standby, while the holder's reports fail
	firstExclusion = 15 * time.Second
	mostExclusion  = 5 * time.Minute
)

// TellEvery is the least time between two writes of what a member sees of the replicas,
// which only people read: so old may Healthy, Sick and Dead of State's Members be.
const TellEvery = 10 * time.Second

// say returns the record of this member as it is now.
func (e *etcd) say() record {
	api := e.s.API()
	r := record{Format: recordFormat, Version: e.s.Version, Member: e.s.Member, Instance: e.id, Page: e.s.Page, InVain: api.InVain}
	r.Healthy, r.Sick, r.Dead = e.s.Seen()
	answered := api.Answered
	if e.triedWell.After(answered) {
		answered = e.triedWell
	}
	if !answered.IsZero() && !api.InVain && !e.apiFails {
		r.API, r.APIAge = true, time.Since(answered).Seconds()
	}
	return r
}

// worthTelling reports whether r is written in place of the last record. Each is a
// write to etcd's disks, so an idle group writes none.
func (e *etcd) worthTelling(r record) bool {
	if r.API != e.said.API || r.InVain != e.said.InVain {
		return true
	}
	if r.API && !e.triedWell.Before(e.saidAt) {
		return true // the API was asked because the other members wait for this
	}
	r.APIAge = e.said.APIAge
	return r != e.said && time.Since(e.saidAt) >= TellEvery
}

// tell writes the record if it is worth it. The duty does not depend on its success.
func (e *etcd) tell(ctx context.Context, g group) {
	r := e.say()
	if e.lease == 0 || !g.joined || !e.worthTelling(r) {
		return
	}
	at := time.Now()
	if err := e.client.call(ctx, "/v3/kv/put", putRequest{e.recordKey(), marshal(r), e.lease}, new(struct{})); err != nil {
		if !noLease.is(err) && ctx.Err() == nil {
			e.warn(ofRecord, "the record of this member cannot be written, by which the others know what it sees: "+err.Error(), "the duty goes on")
		}
		return
	}
	e.settle(ofRecord)
	e.said, e.saidAt = r, at
}

// yields reports whether this member leaves the line, because the Status API does not
// answer it, and has recently answered another member in the line.
func (e *etcd) yields(g group) bool {
	if !e.apiFails && !(g.mine && e.s.API().InVain) {
		return false
	}
	now := e.clock()
	for _, m := range g.members {
		if m.lease != e.lease && m.queued && e.seen.fresh(m, now) {
			return true
		}
	}
	return false
}

// recuse notes that this member leaves the line, and how often it has done so.
func (e *etcd) recuse(g group) {
	if e.s.API().Taken.After(e.recusedAt) {
		e.yielded = 0
	}
	if g.mine {
		e.yielded++
	}
	e.recused, e.recusedAt = true, time.Now()
}

// exclusion returns how long this member stays out of the line at least, unless nobody
// else is in it. TryAPI only requests the map: with an API that gives the map and
// takes no report, the duty would otherwise keep changing hands.
func (e *etcd) exclusion() time.Duration {
	if e.yielded < 2 {
		return 0
	}
	return min(firstExclusion<<min(e.yielded-2, 8), mostExclusion)
}

// reconsider lets this member back into the line, if the Status API answers it again
// or nobody else waits for the duty; and forgets an old failure of TryAPI.
func (e *etcd) reconsider(g group) {
	answers := e.triedWell.After(e.recusedAt) || e.s.API().Answered.After(e.recusedAt)
	if e.recused && (g.lead.Key == nil || answers && time.Since(e.recusedAt) >= e.exclusion()) {
		e.recused = false
	}
	if !e.recused && time.Since(e.triedAt) >= apiFresh {
		e.apiFails = false
	}
}

// askAPI calls TryAPI beside the passes, while needAPI is set. Its result arrives at
// e.trying.
func (e *etcd) askAPI(ctx context.Context, wake chan<- struct{}) {
	if !e.needAPI || e.s.TryAPI == nil || e.trying != nil || time.Since(e.triedAt) < askAPIEvery {
		return
	}
	e.triedAt = time.Now()
	trying := make(chan error, 1)
	e.trying = trying
	go func() {
		inTime, cancel := context.WithTimeout(ctx, askAPIEvery)
		defer cancel()
		trying <- e.s.TryAPI(inTime)
		call(wake)
	}()
}
