package probe

import (
	"context"
	"slices"
	"sync"
	"time"
)

// Pool makes probes, a bounded number at a time, each in a goroutine that is
// there only as long as the probe.
//
// Where the bound does not suffice, replicas that were dead the last time come
// last and never have more than three quarters of the places: who waits longest
// for an answer is kept from taking everybody else's turn.
//
// The zero Pool is not usable: Probe and Done must be set before Start.
type Pool struct {
	Probe func(ctx context.Context, c Check, budget time.Duration) Result
	Done  func(Result) // takes every result but of a probe that was cancelled, in its goroutine; it may block

	mu      sync.Mutex // protects all following fields
	limit   int
	budget  time.Duration
	running int // of them
	dead    int // were dead the last time
	queue   []job
	last    []job // those that come last
	wg      sync.WaitGroup
}

// job is a check that waits for its turn.
type job struct {
	ctx     context.Context // what its probe runs under
	check   Check
	wasDead bool
}

// Limit bounds how many probes run at a time, at least one, and how long each
// may take. It holds for the probes that begin from now on; where there are
// more places than before, what waits takes them.
func (p *Pool) Limit(probes int, budget time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.limit, p.budget = max(1, probes), budget
	p.begin()
}

// Start begins a probe of c, at once or as soon as there is a place; what still
// waits when ctx ends is not begun. wasDead says that c's last verdict was
// dead. Start does not block.
func (p *Pool) Start(ctx context.Context, c Check, wasDead bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if j := (job{ctx, c, wasDead}); wasDead {
		p.last = append(p.last, j)
	} else {
		p.queue = append(p.queue, j)
	}
	p.begin()
}

// begin begins what waits, as far as there are places. The caller holds the
// lock.
func (p *Pool) begin() {
	for j, ok := p.next(); ok; j, ok = p.next() {
		p.wg.Go(func() { p.work(j) })
	}
}

// Retain drops what waits for its turn, but for the replicas for which keep is
// true. No result comes of it.
func (p *Pool) Retain(keep func(ID) bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	gone := func(j job) bool { return !keep(j.check.ID()) }
	p.queue = slices.DeleteFunc(p.queue, gone)
	p.last = slices.DeleteFunc(p.last, gone)
}

// Wait waits until nothing runs and nothing waits.
func (p *Pool) Wait() { p.wg.Wait() }

// Running returns how many probes run or wait for their turn.
func (p *Pool) Running() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.running + len(p.queue) + len(p.last)
}

// work makes j, and then what waits.
func (p *Pool) work(j job) {
	for ok := true; ok; {
		p.mu.Lock()
		budget := p.budget
		p.mu.Unlock()
		if j.ctx.Err() == nil {
			if r := p.Probe(j.ctx, j.check, budget); r.Health != Unknown || j.ctx.Err() == nil {
				p.Done(r)
			}
		}
		p.mu.Lock()
		p.running--
		if j.wasDead {
			p.dead--
		}
		j, ok = p.next()
		p.mu.Unlock()
	}
}

// next takes the job whose turn it is, if there is a place for it. The caller
// holds the lock.
func (p *Pool) next() (job, bool) {
	from := &p.queue
	if len(p.queue) == 0 {
		from = &p.last
		if p.dead >= max(1, p.limit*3/4) {
			return job{}, false
		}
	}
	if len(*from) == 0 || p.running >= p.limit {
		return job{}, false
	}
	j := (*from)[0]
	(*from)[0] = job{}
	if *from = (*from)[1:]; len(*from) == 0 {
		*from = nil // so that a long queue of once does not stay in memory
	}
	p.running++
	if j.wasDead {
		p.dead++
	}
	return j, true
}
