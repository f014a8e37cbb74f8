package probe

import (
	"fmt"
	"time"
)

// Health is the state of a replica, in the Status API's spelling.
type Health string

// The healths. A result with the health Unknown is no verdict.
const (
	Unknown Health = ""
	Healthy Health = "healthy"
	Sick    Health = "sick"
	Dead    Health = "dead"
)

// Check is one replica and the rules to judge it by.
type Check struct {
	ServiceID string
	NodeID    string
	Target    Target
	Rules     *Rules // shared by the replicas of a node; nil means DefaultRules
}

// ID identifies a replica: the same URL in two nodes is two replicas. Replica may
// hold a password; formatted as a whole, an ID shows nothing that may be secret.
// It does not number look-alikes, since it is the same in every map and their
// numbers are not.
type ID struct{ Service, Node, Replica string }

// Format writes the ID under every verb, with every secret masked.
func (id ID) Format(f fmt.State, _ rune) {
	replica := Redact(id.Replica)
	if t, err := ParseTarget(id.Replica); err == nil {
		replica = t.String()
	}
	fmt.Fprintf(f, "%s/%s/%s", visible(id.Service), visible(id.Node), replica)
}

// ID returns the check's ID.
func (c Check) ID() ID { return ID{c.ServiceID, c.NodeID, c.Target.ID()} }

// Task is a check and the bounds of one probe of it.
type Task struct {
	Check    Check
	Budget   time.Duration // all attempts together; the first has DeadAfter whole even where that is more
	Attempts int           // that must fail for a dead verdict; 0 means the rules' Retry + 1
	Trace    bool          // the phases of attempts that were up are wanted, too
	Fresh    bool          // no look-up from before the task is used, since an earlier probe is in doubt
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

// DefaultRules returns the rules of a map that gives none.
func DefaultRules() *Rules {
	return &Rules{Retry: 2, DeadAfter: 20 * time.Second, HealthyAbove: 200, HealthyBelow: 400}
}

// Same reports whether both rules are the same, whether compiled or not.
func (rules *Rules) Same(other *Rules) bool {
	a, b := *rules, *other
	a.matches, b.matches = nil, nil
	return a == b
}

// retryPause is the pause between two attempts.
const retryPause = 200 * time.Millisecond

// Longest returns the longest time that a probe under these rules and that budget
// can take.
func (rules *Rules) Longest(budget time.Duration) time.Duration {
	all := time.Duration(rules.Retry+1)*rules.DeadAfter + time.Duration(rules.Retry)*retryPause
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

// Result is the outcome of a probe: a verdict, unless its Health is Unknown.
type Result struct {
	Check    Check
	Health   Health
	Latency  time.Duration // of the attempt that decided
	Attempts int           // the number of attempts, local failures included
	Err      error         // why the last attempt was not up; nil if it was
	Panic    *Error        // of an attempt, whatever the others came to; nil if there was none
	Notes    []string      // hints for the operator, once each
	Trace    []Attempt     // the attempts that were not up, with their phases; all of them where the task asks
	Expiry   time.Time     // when the first certificate of the target's chain expires; zero without one

	anomaly string // an oddity of that attempt: of its look-ups, or its answer
}

// Reason returns the cause of the health in words; it is empty for a healthy
// replica, unless its look-up or its answer was odd.
func (r Result) Reason() string {
	reason := r.anomaly
	switch {
	case r.Err != nil && (r.anomaly == "" || !isTimeout(r.Err)):
		return r.Err.Error()
	case r.Err != nil:
		reason = r.Err.Error()
	case r.Health == Sick:
		reason = fmt.Sprintf("answered after %v, sick from %v", rounded(r.Latency), r.Check.rules().SickAfter)
	}
	if r.anomaly != "" && reason != r.anomaly {
		reason += "; " + r.anomaly
	}
	return reason
}
