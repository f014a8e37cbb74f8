package target

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Prefix marks the name of a target, among the URLs of a map.
const Prefix = "target:"

// defaultBody is the body of HTTP answers without ?body.
const defaultBody = "ok\n"

// Spec describes one target. It is written
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
// HTTP targets that answer take ?body=TEXT too. There is no slow or failing tcp,
// since a connection is established or not, and icmp has no state, since the
// kernel answers it. Two names that differ, if only in the label, are two targets.
type Spec struct {
	Kind   string
	State  string        // "" for a target that answers at once
	Label  string        // for people; may be empty
	Status int           // of the HTTP answer
	Body   string        // of the HTTP answer
	Delay  time.Duration // of slow; 0: between the limits of the map
	Up     time.Duration // of flapping
	Down   time.Duration // of flapping
	name   string        // as written
}

// String returns the name that the Spec was read from.
func (s Spec) String() string { return s.name }

// ParseSpec reads the name of a target.
func ParseSpec(raw string) (Spec, error) {
	s := Spec{name: raw, Status: http.StatusOK, Body: defaultBody, Up: 20 * time.Second, Down: 20 * time.Second}
	rest, ours := strings.CutPrefix(raw, Prefix)
	if !ours {
		return Spec{}, fmt.Errorf("reading target %q: it must start with %q", raw, Prefix)
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

// IsHTTP reports whether the target speaks HTTP, with or without TLS.
func (s *Spec) IsHTTP() bool { return s.Kind == "http" || s.Kind == "https" }

// check refuses impossible pairs of kind and state.
func (s *Spec) check() error {
	if !s.IsHTTP() && s.Kind != "tcp" && s.Kind != "icmp" {
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
	case key == "body" && s.IsHTTP() && s.Answers():
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

// Answers reports whether the target ever takes a connection.
func (s *Spec) Answers() bool { return s.State != "blackhole" && s.State != "refusing" }

// DelayUnder returns the delay before an answer, under the limits of a map.
func (s *Spec) DelayUnder(l Limits) time.Duration {
	switch {
	case s.State != "slow":
		return 0
	case s.Delay > 0:
		return s.Delay
	case l.SickAfter > 0 && l.SickAfter < l.DeadAfter:
		return (l.SickAfter + l.DeadAfter) / 2
	}
	return min(time.Second, l.DeadAfter/2)
}

// Describe returns the behaviour of the target in a few words, for people.
func (s *Spec) Describe(l Limits) string {
	switch s.State {
	case "slow":
		return "answers after " + s.DelayUnder(l).String()
	case "failing":
		return "answers status " + strconv.Itoa(s.Status)
	case "flapping":
		return fmt.Sprintf("up for %v, down for %v", s.Up, s.Down)
	case "blackhole":
		return "never answers"
	case "refusing":
		return "refuses connections"
	}
	if s.IsHTTP() && s.Body != defaultBody {
		return fmt.Sprintf("answers “%s”", s.Body)
	}
	return "answers at once"
}
