package probe

import (
	"fmt"
	"time"
)

// Health is what a verdict says of a replica, in the Status API's spelling.
type Health string

// The healths. A result with the health Unknown is no verdict.
const (
	Unknown Health = ""
	Healthy Health = "healthy"
	Sick    Health = "sick"
	Dead    Health = "dead"
)

// Check is one replica with all that is needed to judge it.
type Check struct {
	ServiceID string
	NodeID    string
	Target    Target
	Rules     *Rules // shared by the replicas of a node; nil means DefaultRules
}

// ID is what tells one replica from all others: the same URL in two nodes is
// two replicas. Replica may hold a password; formatted as a whole, an ID shows
// nothing that may be secret. Nor can it tell look-alikes apart: it is the same
// in every map, and their numbers are not.
type ID struct{ Service, Node, Replica string }

// Format writes the ID without what may be secret under every verb.
func (id ID) Format(f fmt.State, _ rune) {
	replica := Redact(id.Replica)
	if t, err := ParseTarget(id.Replica); err == nil {
		replica = t.String()
	}
	fmt.Fprintf(f, "%s/%s/%s", visible(id.Service), visible(id.Node), replica)
}

// ID returns the check's ID.
func (c Check) ID() ID { return ID{c.ServiceID, c.NodeID, c.Target.ID()} }

// Task is a check together with what one probe of it is allowed.
type Task struct {
	Check    Check
	Budget   time.Duration // all attempts together; the first has DeadAfter whole even where that is more
	Attempts int           // that must fail for a dead verdict; 0 means the rules' Retry + 1
	Fresh    bool          // the name is looked up anew, since an earlier probe of the replica is in doubt
}

// attempts returns how many attempts must fail for a dead verdict.
func (t Task) attempts() int {
	if t.Attempts > 0 {
		return t.Attempts
	}
	return t.Check.rules().Retry + 1
}

// rules returns the rules in force for c.
func (c Check) rules() *Rules {
	if c.Rules != nil {
		return c.Rules
	}
	return DefaultRules()
}

// Rules say when a replica is healthy, sick or dead.
type Rules struct {
	Retry     int           // further attempts after a first one that was down
	DeadAfter time.Duration // an attempt that takes this long is down; 1 to 35 s
	SickAfter time.Duration // an up attempt that takes this long is sick; 0 means never

	// For HTTP and HTTPS: the final status s is healthy when
	// HealthyAbove ≤ s < HealthyBelow; a match that is empty is no match.
	HealthyAbove int
	HealthyBelow int
	HealthyMatch string // must be in the body; MaxMatch at most
	DeadMatch    string // must not be in the body; MaxMatch at most

	matches *matches // set by Compile; nil: each probe makes them for itself
}

// DefaultRules returns what holds where a map says nothing.
func DefaultRules() *Rules {
	return &Rules{Retry: 2, DeadAfter: 20 * time.Second, HealthyAbove: 200, HealthyBelow: 400}
}

// Pause is how long a replica is left alone between two attempts.
const Pause = 200 * time.Millisecond

// MaxProbe bounds what one probe of a replica may take, whatever the map says.
// A replica that was up at its first attempt last time and at its last one
// this time is then still reported within the 40 s that a status page grants
// beyond the interval.
const MaxProbe = 35 * time.Second

// Longest returns the longest that a probe under these rules and that budget
// can take.
func (rules *Rules) Longest(budget time.Duration) time.Duration {
	all := time.Duration(rules.Retry+1)*rules.DeadAfter + time.Duration(rules.Retry)*Pause
	return min(all, max(budget, rules.DeadAfter))
}

// classify returns the health of a replica that was up after latency. A
// SickAfter at or above DeadAfter never applies.
func (rules *Rules) classify(latency time.Duration) Health {
	if rules.SickAfter > 0 && rules.SickAfter < rules.DeadAfter && latency >= rules.SickAfter {
		return Sick
	}
	return Healthy
}

// Result is what a probe found out about a replica: a verdict, unless its
// Health is Unknown.
type Result struct {
	Check    Check
	Health   Health
	Latency  time.Duration // of the attempt that decided
	Attempts int           // how many attempts were made, those that this host failed at included
	Err      error         // why the last attempt was not up; nil if it was
	Notes    []string      // what an operator should know beside, once each

	note string // what was odd about that attempt: its look-ups, or its answer
}

// Reason says in words why the health is what it is; it is empty for a healthy
// replica, but for what was odd about its look-up or its answer.
func (r Result) Reason() string {
	reason := r.note
	switch {
	case r.Err != nil && (r.note == "" || !isTimeout(r.Err)):
		return r.Err.Error()
	case r.Err != nil:
		reason = r.Err.Error()
	case r.Health == Sick:
		reason = fmt.Sprintf("answered after %v, sick from %v", readable(r.Latency), r.Check.rules().SickAfter)
	}
	if r.note != "" && reason != r.note {
		reason += "; " + r.note
	}
	return reason
}
