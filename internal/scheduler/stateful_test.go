package scheduler

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/crisp-im/crisp-status-local/v2/internal/pace"
	"github.com/crisp-im/crisp-status-local/v2/internal/probe"
	"github.com/crisp-im/crisp-status-local/v2/internal/statusapi"
)

// chaos is a rig to which everything happens. Its first 64 replicas, two groups,
// are in every map: per group 20 that are up at once, 8 that are up at any of
// their attempts, and 4 dead ones. The others come and go, and do what they like.
type chaos struct {
	*rig
	random  *rand.Rand
	others  []string
	current []string
	outage  time.Duration // when the last outage of this host began
	ends    map[string][]time.Duration
	reloads []time.Duration
	values  []time.Duration // of the interval
}

const always = 64

func newChaos(t *testing.T, seed uint64) *chaos {
	c := &chaos{
		rig:    newRig(t, nil),
		random: rand.New(rand.NewPCG(seed, 1)),
		others: names(1000, 150),
		outage: -time.Hour,
		ends:   make(map[string][]time.Duration),
	}
	c.current = names(0, always)
	c.rig.judge = c.probe
	c.rig.fetch = c.answerMap
	if c.random.IntN(3) == 0 {
		c.settings.Workers = 200
	}
	return c
}

// kind returns what a replica does: 0 up at once, 1 up late, 2 dead, 3 anything.
func kind(i int) int {
	switch {
	case i >= always:
		return 3
	case i%32 < 20:
		return 0
	case i%32 < 28:
		return 1
	}
	return 2
}

func (c *chaos) probe(ctx context.Context, task probe.Task) probe.Result {
	var i int
	id := task.Check.Target.ID()
	fmt.Sscanf(id, "tcp://r%d:1", &i)
	c.mu.Lock()
	k, takes, result := kind(i), time.Duration(0), healthy
	if k == 3 {
		k = c.random.IntN(4)
	}
	switch k {
	case 1:
		takes = time.Duration(c.random.Int64N(int64(35 * time.Second)))
	case 2:
		takes, result = time.Duration(c.random.IntN(2))*30400*time.Millisecond, dead
	case 3:
		takes, result = time.Duration(c.random.Int64N(int64(35*time.Second))), local
	}
	if c.now()-c.outage < 2*time.Second {
		takes, result = 400*time.Millisecond, dead
	}
	c.mu.Unlock()
	result = lasts(takes, result)(ctx, task)
	c.mu.Lock()
	defer c.mu.Unlock()
	if result.Health == probe.Healthy {
		c.ends[id] = append(c.ends[id], c.now())
	}
	return result
}

// answerMap answers a map request in any way.
func (c *chaos) answerMap(ctx context.Context, prev *statusapi.Map) (*statusapi.Map, error) {
	c.mu.Lock()
	n := c.random.IntN(10)
	current := slices.Clone(c.current)
	c.mu.Unlock()
	switch {
	case n == 0:
		return nil, errDown
	case n == 1:
		return nil, statusapi.ErrUnauthorized
	case n == 2 && prev != nil:
		return prev, nil
	case n == 3:
		return later(20*time.Second, mapOf(c.t, current...))(ctx, prev)
	}
	return mapOf(c.t, current...), nil
}

// pause returns how long nothing happens.
func (c *chaos) pause() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	return time.Duration(c.random.Int64N(int64(40 * time.Second)))
}

// happen makes something happen.
func (c *chaos) happen() {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch c.random.IntN(6) {
	case 0, 1:
		first := c.random.IntN(len(c.others))
		n := c.random.IntN(len(c.others) - first)
		c.current = append(names(0, always), c.others[first:first+n]...)
	case 2:
		c.unknown()
	case 3:
		if c.now()-c.outage > 5*time.Minute {
			c.outage = c.now()
		}
	case 4:
		s := c.settings
		s.Interval = []time.Duration{2, 10, 60, 120}[c.random.IntN(4)] * time.Second
		c.settings = s
		c.reloads, c.values = append(c.reloads, c.now()), append(c.values, s.Interval)
		c.mu.Unlock()
		c.reload(s)
		c.mu.Lock()
	case 5:
		c.mu.Unlock()
		c.reload(c.settings)
		c.mu.Lock()
	}
}

// interval returns the one that was in force.
func (c *chaos) interval(at time.Duration) time.Duration {
	for i := len(c.reloads) - 1; i >= 0; i-- {
		if c.reloads[i] <= at {
			return c.values[i]
		}
	}
	return 120 * time.Second
}

func TestWhateverHappens(t *testing.T) {
	for seed := range uint64(6) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			c := newChaos(t, seed)
			c.run(func() {
				for c.now() < 25*time.Minute {
					time.Sleep(c.pause())
					synctest.Wait()
					c.happen()
					synctest.Wait()
					c.wantConsistent()
				}
				c.until(30 * time.Minute)
				c.wantConsistent()
			})
			c.wantReports()
		})
	}
}

// wantReports checks what the outbox was given of the replicas that were always
// in the map.
func (c *chaos) wantReports() {
	c.t.Helper()
	for i, id := range names(0, always) {
		puts := c.putsOf(id)
		if len(puts) == 0 {
			c.t.Errorf("%s: got no verdict", id)
			continue
		}
		if kind(i) == 2 {
			if last := puts[len(puts)-1]; last.health != probe.Dead {
				c.t.Errorf("%s: got %s at the end, want dead", id, last.health)
			}
			continue
		}
		reported := make(map[time.Duration]bool)
		for j, p := range puts {
			reported[p.at] = true
			if p.health == probe.Dead {
				c.t.Errorf("%s: reported dead at %v, want never", id, p.at)
			}
			if j == 0 {
				continue
			}
			if gap, most := p.at-puts[j-1].at, c.interval(puts[j-1].at)+pace.Repeat; gap > most {
				c.t.Errorf("%s: a gap of %v after %v, want %v at most", id, gap, puts[j-1].at, most)
			}
		}
		for _, at := range c.ends[id] {
			if !reported[at] {
				c.t.Errorf("%s: the verdict of %v is lost", id, at)
			}
		}
	}
}

// wantConsistent checks that all parts agree on where each replica is.
func (c *chaos) wantConsistent() {
	c.t.Helper()
	s := c.scheduler
	inGroups := make(map[*replica]int)
	for _, g := range s.schedule.groups {
		if len(g.members) == 0 || len(g.members) > groupSize {
			c.t.Errorf("at %v: a group of %d", c.now(), len(g.members))
		}
		for _, r := range g.members {
			inGroups[r]++
		}
	}
	dead, busy, size := 0, 0, 0
	for id, r := range s.replicas {
		if r.phase.inPool() || r.phase == gone {
			busy++
		}
		if r.phase != gone {
			size++
			if r.health == probe.Dead {
				dead++
			}
		}
		if want := 1; r.phase != gone && inGroups[r] != want || r.phase == gone && inGroups[r] != 0 {
			c.t.Errorf("at %v: %v is in %d groups", c.now(), id, inGroups[r])
		}
		ok := true
		switch r.phase {
		case idle, probing:
			ok = r.death == nil
		case withheld:
			ok = r.death != nil && slices.Contains(r.cohort.withheld, r)
		case doubted:
			ok = r.death != nil && slices.Contains(s.confirmations, r)
		case confirming:
			ok = r.death != nil
		}
		if !ok {
			c.t.Errorf("at %v: %v is in phase %d with the death %v", c.now(), id, r.phase, r.death)
		}
	}
	if s.mapSize() != size || len(inGroups) != size || s.dead != dead || s.pool.load() != busy {
		c.t.Errorf("at %v: a map of %d, %d in groups, %d dead and %d in the pool, want %d, %d, %d, %d",
			c.now(), s.mapSize(), len(inGroups), s.dead, s.pool.load(), size, size, dead, busy)
	}
	// The race detector is to know that the scheduler goes on after this.
	if err := s.Ping(context.Background()); err != nil {
		c.t.Error(err)
	}
}
