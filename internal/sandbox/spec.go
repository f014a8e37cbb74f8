package sandbox

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// ownPrefix marks a replica that the sandbox makes itself.
const ownPrefix = "target:"

// defaultBody is what own HTTP targets answer unless told otherwise.
const defaultBody = "ok\n"

// Spec says what one own target is. It is written
//
//	target:KIND[-STATE][?OPTION=VALUE[&…]][#LABEL]
//
// with a KIND of http, https, tcp or icmp and, from the table, a STATE:
//
//	(none)     answers at once             http, https, tcp, icmp
//	slow       answers after ?delay=1.5s   http, https       default: between delay_sick and delay_dead
//	failing    answers ?status=500         http, https
//	flapping   ?up=20s, then ?down=20s     http, https, tcp  down: connections are refused
//	blackhole  never answers               http, https, tcp
//	refusing   refuses connections         http, https, tcp
//
// HTTP targets that answer take ?body=TEXT too. There is no slow or failing
// tcp, since a connection is there or it is not, and no icmp but the answering
// one, since it is the kernel that answers. Two spellings that differ in
// anything, be it the label, are two targets.
type Spec struct {
	Kind   string
	State  string        // "" for a target that answers at once
	Label  string        // for people; may be empty
	Status int           // of the HTTP answer
	Body   string        // of the HTTP answer
	Delay  time.Duration // of slow; 0: chosen by the map's limits
	Up     time.Duration // of flapping
	Down   time.Duration // of flapping
	name   string        // as written
}

// String is the spelling that the Spec was read from.
func (s Spec) String() string { return s.name }

// ParseSpec reads the spelling of an own target.
func ParseSpec(raw string) (Spec, error) {
	s := Spec{name: raw, Status: http.StatusOK, Body: defaultBody, Up: 20 * time.Second, Down: 20 * time.Second}
	rest, ours := strings.CutPrefix(raw, ownPrefix)
	if !ours {
		return Spec{}, fmt.Errorf("reading target %q: it must start with %q", raw, ownPrefix)
	}
	rest, s.Label, _ = strings.Cut(rest, "#")
	rest, query, _ := strings.Cut(rest, "?")
	s.Kind, s.State, _ = strings.Cut(rest, "-")
	if s.State == "failing" {
		s.Status = http.StatusInternalServerError
	}
	if err := s.check(); err != nil {
		return Spec{}, fmt.Errorf("reading target %q: %w", raw, err)
	}
	options, err := url.ParseQuery(query)
	if err != nil {
		return Spec{}, fmt.Errorf("reading target %q: %w", raw, err)
	}
	for key, values := range options {
		if err := s.set(key, values[len(values)-1]); err != nil {
			return Spec{}, fmt.Errorf("reading target %q: %w", raw, err)
		}
	}
	return s, nil
}

func (s *Spec) isHTTP() bool { return s.Kind == "http" || s.Kind == "https" }

// check refuses the pairs of kind and state that cannot be.
func (s *Spec) check() error {
	if !s.isHTTP() && s.Kind != "tcp" && s.Kind != "icmp" {
		return fmt.Errorf("kind %q, want http, https, tcp or icmp", s.Kind)
	}
	states := []string{"", "slow", "failing", "flapping", "blackhole", "refusing"}
	switch {
	case !slices.Contains(states, s.State):
		return fmt.Errorf("state %q, want none or %s", s.State, strings.Join(states[1:], ", "))
	case s.Kind == "icmp" && s.State != "":
		return fmt.Errorf("icmp cannot be %s: on loopback the kernel answers every echo", s.State)
	case s.Kind == "tcp" && (s.State == "slow" || s.State == "failing"):
		return fmt.Errorf("tcp cannot be %s: a connection is there or it is not", s.State)
	}
	return nil
}

func (s *Spec) set(key, value string) error {
	var err error
	switch {
	case key == "delay" && s.State == "slow":
		s.Delay, err = positive(value)
	case key == "up" && s.State == "flapping":
		s.Up, err = positive(value)
	case key == "down" && s.State == "flapping":
		s.Down, err = positive(value)
	case key == "status" && s.State == "failing":
		s.Status, err = strconv.Atoi(value)
		if err != nil || s.Status < 200 || s.Status > 599 || s.Status == http.StatusNoContent || s.Status == http.StatusNotModified {
			return fmt.Errorf("status is %q, want 200 to 599 with a body", value)
		}
	case key == "body" && s.isHTTP() && s.answers():
		s.Body = value
	default:
		return fmt.Errorf("option %q is none of this kind and state", key)
	}
	if err != nil {
		return fmt.Errorf("%s is %q, want a duration such as 1.5s", key, value)
	}
	return nil
}

func positive(value string) (time.Duration, error) {
	d, err := time.ParseDuration(value)
	if err == nil && d <= 0 {
		err = strconv.ErrRange
	}
	return d, err
}

// answers says whether the target ever takes a connection.
func (s *Spec) answers() bool { return s.State != "blackhole" && s.State != "refusing" }

// delay is how long the target lets a client wait under these limits.
func (s *Spec) delay(l limits) time.Duration {
	switch {
	case s.State != "slow":
		return 0
	case s.Delay > 0:
		return s.Delay
	case l.sickAfter > 0 && l.sickAfter < l.deadAfter:
		return (l.sickAfter + l.deadAfter) / 2
	}
	return min(time.Second, l.deadAfter/2)
}

// health is what a probe must find while the target runs, or "" when nobody can
// say, because the delay is too near to a limit.
func (s *Spec) health(l limits, r Rules) Health {
	if !s.answers() {
		return Dead
	}
	if s.isHTTP() && !r.accept(s.Status, s.Body) {
		return Dead
	}
	delay := s.delay(l)
	for _, limit := range []time.Duration{l.deadAfter, l.sickAfter} {
		if delay > 0 && limit > 0 && (delay-limit).Abs() < 100*time.Millisecond {
			return ""
		}
	}
	switch {
	case delay > l.deadAfter:
		return Dead
	case l.sickAfter > 0 && delay > l.sickAfter:
		return Sick
	}
	return Healthy
}

// accept says whether an answer is up by the rules.
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

// describe says in a few words what a person may expect of the target.
func (s *Spec) describe(l limits) string {
	switch s.State {
	case "slow":
		return "answers after " + s.delay(l).String()
	case "failing":
		return "answers status " + strconv.Itoa(s.Status)
	case "flapping":
		return fmt.Sprintf("up for %v, down for %v", s.Up, s.Down)
	case "blackhole":
		return "never answers"
	case "refusing":
		return "refuses connections"
	}
	if s.isHTTP() && s.Body != defaultBody {
		return fmt.Sprintf("answers “%s”", s.Body)
	}
	return "answers at once"
}
