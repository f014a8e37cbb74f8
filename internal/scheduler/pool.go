package scheduler

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/crisp-im/crisp-status-local/v2/internal/pace"
	"github.com/crisp-im/crisp-status-local/v2/internal/probe"
)

// pool runs a bounded number of probes, each in a goroutine of its own. One
// goroutine calls its methods and receives from done, so it has no lock.
//
// Where the bound does not suffice, replicas whose last verdict was dead wait
// behind all others and take at most three quarters of the places: they hold a
// place for longest, and healthy replicas must not wait for them.
type pool struct {
	probe func(context.Context, probe.Task) probe.Result
	done  chan<- *job // receives every job that ran

	limit       int
	interval    time.Duration
	running     int
	runningDead int // of them, those of replicas that were dead
	queue       []*job
	deadQueue   []*job // served when queue is empty
	goroutines  sync.WaitGroup
}

// job is one probe of a replica.
type job struct {
	replica      *replica
	turn         time.Time
	confirmation bool // a single attempt, with names looked up again
	wasDead      bool // yields to other jobs
	result       probe.Result
}

// task returns what the prober is asked for.
func (j *job) task(interval time.Duration) probe.Task {
	check := j.replica.check
	t := probe.Task{Check: *check, Budget: pace.Budget(interval, rulesOf(check).DeadAfter)}
	if j.confirmation {
		t.Attempts, t.Fresh = 1, true
	}
	return t
}

// rulesOf returns the rules in force for c.
func rulesOf(c *probe.Check) *probe.Rules {
	if c.Rules != nil {
		return c.Rules
	}
	return probe.DefaultRules()
}

// resize bounds the number of probes, at least one, and the time of each by the
// interval. Probes that run already keep their place and their time.
func (p *pool) resize(ctx context.Context, limit int, interval time.Duration) {
	p.limit, p.interval = max(1, limit), interval
	p.dispatch(ctx)
}

// start runs j, at once or when there is a place.
func (p *pool) start(ctx context.Context, j *job) {
	if j.wasDead {
		p.deadQueue = append(p.deadQueue, j)
	} else {
		p.queue = append(p.queue, j)
	}
	p.dispatch(ctx)
}

// release frees the place of a job that came back from done.
func (p *pool) release(ctx context.Context, j *job) {
	p.running--
	if j.wasDead {
		p.runningDead--
	}
	p.dispatch(ctx)
}

// dispatch runs waiting jobs as far as there are places. After the end of ctx
// it runs none.
func (p *pool) dispatch(ctx context.Context) {
	for ctx.Err() == nil && p.running < p.limit {
		j := p.next()
		if j == nil {
			return
		}
		p.running++
		if j.wasDead {
			p.runningDead++
		}
		task := j.task(p.interval)
		p.goroutines.Go(func() {
			j.result = p.run(ctx, task)
			p.done <- j
		})
	}
}

// run probes a replica. A panic is the failure of that probe, and not the end of
// all others.
func (p *pool) run(ctx context.Context, task probe.Task) (r probe.Result) {
	defer func() {
		if fault := recover(); fault != nil {
			failed := probe.Panicked(fault)
			r = probe.Result{Check: task.Check, Attempts: 1, Err: failed, Panic: failed}
		}
	}()
	return p.probe(ctx, task)
}

// next takes the first waiting job that may run; nil if there is none.
func (p *pool) next() *job {
	switch {
	case len(p.queue) > 0:
		return dequeue(&p.queue)
	case len(p.deadQueue) > 0 && p.runningDead < max(1, p.limit*3/4):
		return dequeue(&p.deadQueue)
	}
	return nil
}

func dequeue(queue *[]*job) *job {
	j := (*queue)[0]
	(*queue)[0] = nil
	if *queue = (*queue)[1:]; len(*queue) == 0 {
		*queue = nil // releases the memory of a queue that was long once
	}
	return j
}

// prune drops the waiting jobs of replicas that are gone and returns them.
func (p *pool) prune() []*job {
	var dropped []*job
	isGone := func(j *job) bool {
		if j.replica.phase != gone {
			return false
		}
		dropped = append(dropped, j)
		return true
	}
	p.queue = slices.DeleteFunc(p.queue, isGone)
	p.deadQueue = slices.DeleteFunc(p.deadQueue, isGone)
	return dropped
}

// load returns the number of probes that run or wait.
func (p *pool) load() int { return p.running + len(p.queue) + len(p.deadQueue) }
