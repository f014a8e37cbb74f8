package scheduler

import (
	"slices"
	"time"

	"github.com/crisp-im/crisp-status-local/v2/internal/probe"
)

// leastMassFailure is the least number of deaths that makes a mass failure:
// fewer are reported at once, however few replicas there are.
const leastMassFailure = 5

// massThreshold returns how many of n replicas make a mass failure: half.
func massThreshold(n int) int { return max(leastMassFailure, (n+1)/2) }

// massFailure detects that many replicas die at once. The likely cause is then
// this host's own network, so each gets another attempt before it is reported.
//
// A death is withheld until its group of starts and its cycle are decided: many
// died in either, or too few can still die in both. The group detects a fault
// of two seconds, the cycle one that meets a part of every group or outlasts
// the confirmation of its first ones: while the cycle is undecided, a confirmed
// death is withheld further, and confirmed again should many die. A cycle keeps
// its count after the next one has started, so that a late result does not
// make two small failures of a large one.
//
//	cycle      group      not confirmed yet    confirmed
//	many       any        retry, then final    retry, then final
//	few        many       retry, then final    report
//	few        few        report               report
//	undecided  many       retry                wait
//	few        undecided  wait                 report
//	undecided  else       wait                 wait
//
// The type is pure: it is told what happens and returns what to do.
type massFailure struct {
	replicas int          // in the map
	cycle    *cycleCohort // the current one
	affected []*cohort    // groups that lost a member to a change of the map
}

// decision is what to do with deaths that were withheld.
type decision struct {
	report []*replica
	retry  []*replica // once more each
	died   int        // with retry: deaths of the group or cycle; 0 if few died, of a group that is doubted
}

// tally counts replicas that were not dead when their probes started.
type tally struct {
	expected int // results
	done     int // results so far
	died     int // of them, deaths
}

type outcome uint8

const (
	undecided outcome = iota
	few
	many
)

// outcome returns whether threshold deaths have happened, or still can.
func (t tally) outcome(threshold int) outcome {
	switch {
	case t.died >= threshold:
		return many
	case t.died+t.expected-t.done < threshold:
		return few
	}
	return undecided
}

// cohort is a group of replicas whose probes started together.
type cohort struct {
	tally
	turn     time.Time
	cycle    *cycleCohort
	withheld []*replica
	listed   bool // in cycle.undecided
	doubted  bool // each death is confirmed, as if many had died
}

// cycleCohort is all replicas whose probes started in one cycle.
type cycleCohort struct {
	tally
	started   int
	last      outcome
	undecided []*cohort // those with a withheld death, and perhaps some that had one
}

// withhold withholds the death of r.
func (c *cohort) withhold(r *replica) {
	if c.withheld = append(c.withheld, r); !c.listed {
		c.listed = true
		c.cycle.list(c)
	}
}

// list adds a group to the undecided ones. It drops those that are decided before the
// list would grow: a cycle may last for hours, and storms of reloads start groups all
// the time.
func (c *cycleCohort) list(group *cohort) {
	if n := len(c.undecided); n == cap(c.undecided) {
		c.dropDecided()
		c.undecided = slices.Grow(c.undecided, max(8, len(c.undecided)))
	}
	c.undecided = append(c.undecided, group)
}

// dropDecided drops the groups without a withheld death.
func (c *cycleCohort) dropDecided() {
	c.undecided = slices.DeleteFunc(c.undecided, func(group *cohort) bool {
		group.listed = len(group.withheld) > 0
		return !group.listed
	})
}

// startCycle starts the count again, with alive replicas expected to start. Of
// the cycle before, no more starts are expected.
func (m *massFailure) startCycle(alive int) decision {
	old := m.cycle
	m.cycle = &cycleCohort{tally: tally{expected: alive}}
	if old == nil {
		return decision{}
	}
	old.expected = old.started
	return m.decideCycle(old)
}

// restartCycle expects alive replicas to start once more in the current cycle.
func (m *massFailure) restartCycle(alive int) { m.cycle.expected = m.cycle.started + alive }

// besides expects a group to start beside the turns of its members.
func (m *massFailure) besides(group []*replica) {
	for _, r := range group {
		if r.health != probe.Dead {
			m.cycle.expected++
		}
	}
}

// started counts the start of a group, and returns what its deaths are counted in.
func (m *massFailure) started(group []*replica, turn time.Time) *cohort {
	c := &cohort{turn: turn, cycle: m.cycle}
	for _, r := range group {
		if r.cohort = c; r.health == probe.Dead {
			r.cohort = nil
			continue
		}
		c.expected++
	}
	m.cycle.started += c.expected
	m.cycle.expected = max(m.cycle.expected, m.cycle.started)
	return c
}

// died counts the death of r and withholds it.
func (m *massFailure) died(r *replica) decision {
	c := r.cohort
	c.died++
	c.cycle.died++
	c.withhold(r)
	return m.survived(r)
}

// confirmed takes the death of r that another attempt has confirmed.
func (m *massFailure) confirmed(r *replica) decision {
	c := r.cohort
	if r.death.final || c == nil {
		return decision{report: []*replica{r}}
	}
	r.death.confirmed = true
	c.withhold(r)
	return m.decide(c)
}

// survived counts a result of r that is no death.
func (m *massFailure) survived(r *replica) decision {
	c := r.cohort
	if c == nil {
		return decision{}
	}
	c.done++
	c.cycle.done++
	if c.cycle.outcome(massThreshold(m.replicas)) != c.cycle.last {
		return m.decideCycle(c.cycle)
	}
	return m.decide(c)
}

// left forgets r, which the map lost. mapChanged must follow.
func (m *massFailure) left(r *replica) {
	c := r.cohort
	r.cohort = nil
	if r.health != probe.Dead && (c == nil || c.cycle != m.cycle) {
		m.cycle.expected = max(m.cycle.expected-1, m.cycle.started)
	}
	if c == nil {
		return
	}
	switch r.phase {
	case probing:
		c.done++
		c.cycle.done++
	case withheld:
		c.withheld = slices.DeleteFunc(c.withheld, func(w *replica) bool { return w == r })
	default:
		return
	}
	m.affected = append(m.affected, c)
}

// mapChanged takes up the size of a new map and how many of its replicas are
// expected to start besides.
func (m *massFailure) mapChanged(replicas, added int) decision {
	m.replicas = replicas
	m.cycle.expected += added
	d := m.decideCycle(m.cycle)
	for _, c := range m.affected {
		d.add(m.decideCycle(c.cycle))
	}
	m.affected = nil
	return d
}

// decideCycle decides every group of c that has a withheld death.
func (m *massFailure) decideCycle(c *cycleCohort) decision {
	var d decision
	c.last = c.outcome(massThreshold(m.replicas))
	for _, group := range c.undecided {
		d.add(m.decide(group))
	}
	c.dropDecided()
	return d
}

// decide releases the withheld deaths of c, as far as the table allows.
func (m *massFailure) decide(c *cohort) decision {
	if len(c.withheld) == 0 {
		return decision{}
	}
	var d decision
	var wait []*replica
	group, cycle := c.outcome(massThreshold(c.expected)), c.cycle.outcome(massThreshold(m.replicas))
	switch {
	case cycle == many:
		d.died = c.cycle.died
	case group == many:
		d.died = c.died
	case c.doubted:
		group = many
	}
	for _, r := range c.withheld {
		confirmed := r.death.confirmed
		switch {
		case cycle == many, group == many && !confirmed:
			r.death.final = cycle != undecided
			d.retry = append(d.retry, r)
		case cycle == few && (group == few || confirmed):
			d.report = append(d.report, r)
		default:
			wait = append(wait, r)
		}
	}
	c.withheld = wait
	return d
}

func (d *decision) add(other decision) {
	d.report = append(d.report, other.report...)
	d.retry = append(d.retry, other.retry...)
	d.died = max(d.died, other.died)
}
