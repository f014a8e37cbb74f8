package judge

import (
	"net/http"
	"strings"
	"time"

	"github.com/crisp-im/crisp-status-local/v2/internal/sandbox/target"
)

// Health is the health that a report gives a replica, in the spelling of the
// Status API.
type Health string

// The three healths that a report may carry.
const (
	Healthy Health = "healthy"
	Sick    Health = "sick"
	Dead    Health = "dead"
)

// Rules say which HTTP answers are up. A nil field is handed out as null: the
// daemon's default holds.
type Rules struct {
	HealthyAbove *int    `toml:"healthy_above"` // the lowest status that is up
	HealthyBelow *int    `toml:"healthy_below"` // the lowest status above those that are up
	HealthyMatch *string `toml:"healthy_match"`
	DeadMatch    *string `toml:"dead_match"`
}

// accept reports whether an answer is up by the rules.
func (r Rules) accept(status int, body string) bool {
	above, below := http.StatusOK, http.StatusBadRequest
	if r.HealthyAbove != nil {
		above = *r.HealthyAbove
	}
	if r.HealthyBelow != nil {
		below = *r.HealthyBelow
	}
	if status < above || status >= below {
		return false
	}
	if r.DeadMatch != nil && *r.DeadMatch != "" && strings.Contains(body, *r.DeadMatch) {
		return false
	}
	return r.HealthyMatch == nil || strings.Contains(body, *r.HealthyMatch)
}

// Expectation is the right verdict on a replica, as far as the sandbox knows it.
// The zero value expects nothing: the replica is not ours.
type Expectation struct {
	Own    bool           // the replica is a target of the sandbox
	Up     Health         // the right verdict while the target runs; "": not known
	Target *target.Target // nil: the target always runs
}

// at returns the right verdict for a report that arrives now, or "" if it is not
// known: the target is not ours, or it changed less than settle ago, so that an
// honest verdict may be older than the change.
func (e Expectation) at(now time.Time, settle time.Duration) Health {
	if e.Target == nil {
		return e.Up
	}
	running, since := e.Target.Running()
	switch {
	case now.Sub(since) < settle:
		return ""
	case !running:
		return Dead
	}
	return e.Up
}

// Expect returns the right verdict on a target while it runs, or "" if its delay
// is too near to a limit to tell.
func Expect(s *target.Spec, l target.Limits, r Rules) Health {
	if !s.Answers() {
		return Dead
	}
	if s.IsHTTP() && !r.accept(s.Status, s.Body) {
		return Dead
	}
	delay := s.DelayUnder(l)
	for _, limit := range []time.Duration{l.DeadAfter, l.SickAfter} {
		if delay > 0 && limit > 0 && (delay-limit).Abs() < 100*time.Millisecond {
			return ""
		}
	}
	switch {
	case delay > l.DeadAfter:
		return Dead
	case l.SickAfter > 0 && delay > l.SickAfter:
		return Sick
	}
	return Healthy
}

// worstProbe returns the longest duration of one probe: every attempt times out,
// up to the 35 s at which the protocol cuts.
func worstProbe(l target.Limits) time.Duration {
	attempts := time.Duration(min(l.Retry, 100) + 1)
	return min(attempts*l.DeadAfter+(attempts-1)*200*time.Millisecond, 35*time.Second)
}
