package duty

import (
	"context"
	"time"
)

// What follows where the Status API answers some of the members only. The holder
// says in its record that reports wait and are tried in vain; while it says so, the
// others ask the API, and say in theirs that it answered; then the holder leaves
// the line. So an idle group costs the API nothing.

const (
	askAPIEvery  = 5 * time.Second  // by a standby, while the holder is in trouble
	tellEvery    = 10 * time.Second // what is shown to people alone
	firstPenance = 15 * time.Second
	mostPenance  = 5 * time.Minute
)

// say returns what this member puts into its record.
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

// worthTelling reports whether a record is put in place of the last one. Each one
// is a write to etcd's disks, so an idle group writes nothing.
func (e *etcd) worthTelling(r record) bool {
	if r.API != e.said.API || r.InVain != e.said.InVain {
		return true
	}
	if r.API && !e.triedWell.Before(e.saidAt) {
		return true // it was asked for the sake of those who read this
	}
	r.APIAge = e.said.APIAge
	return r != e.said && time.Since(e.saidAt) >= tellEvery
}

// tell puts the record, if it has something new. The duty does not hang on it.
func (e *etcd) tell(ctx context.Context, g group) {
	r := e.say()
	if e.lease == 0 || !g.joined || !e.worthTelling(r) {
		return
	}
	at := time.Now()
	if err := e.client.call(ctx, "/v3/kv/put", putRequest{e.recordKey(), marshal(r), e.lease}, new(struct{})); err != nil {
		if !noLease.is(err) && ctx.Err() == nil {
			e.notice("the record of this member cannot be written", err.Error())
		}
		return
	}
	e.said, e.saidAt = r, at
}

// yields reports whether this member leaves the line, for one that waits in it and
// that the Status API has answered a short time ago.
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

// recuse leaves the line.
func (e *etcd) recuse(g group) {
	if e.s.API().Taken.After(e.recusedAt) {
		e.yielded = 0
	}
	if g.mine {
		e.yielded++
	}
	e.recused, e.recusedAt = true, time.Now()
}

// penance is how long this member stays out of the line at least, unless nobody else
// is in it. What is asked for is the map: an API that gives it and takes no report
// would have the duty go to and fro.
func (e *etcd) penance() time.Duration {
	if e.yielded < 2 {
		return 0
	}
	return min(firstPenance<<min(e.yielded-2, 8), mostPenance)
}

// reconsider ends what was concluded from an API that did not answer here: it
// answers again, or nobody else waits for the duty.
func (e *etcd) reconsider(g group) {
	answers := e.triedWell.After(e.recusedAt) || e.s.API().Answered.After(e.recusedAt)
	if e.recused && (g.lead.Key == nil || answers && time.Since(e.recusedAt) >= e.penance()) {
		e.recused = false
	}
	if !e.recused && time.Since(e.triedAt) >= apiFresh {
		e.apiFails = false // that was then
	}
}

// askAPI asks the Status API beside the passes, while a standby needs to know
// whether it answers here.
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
