package statusapi

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/crisp-im/crisp-status-local/v2/internal/pace"
	"github.com/crisp-im/crisp-status-local/v2/internal/probe"
)

// Map is the replicas of a status page that the daemon watches. It is immutable.
type Map struct {
	Checks []probe.Check

	// Problems are the replicas that were left out and the numbers that were
	// clamped, a sentence each, without secrets.
	Problems []string

	date string // as the API wrote it; empty if it gave none
}

// Edited reports whether the API gave m another date than it gave before: somebody has
// edited the page.
func (m *Map) Edited(before *Map) bool { return m.date != before.date }

const (
	maxValues   = 2 << 20   // in one map: a value of two bytes takes a hundred when it is decoded
	maxReplicas = 250_000   // README says what they cost
	maxAhead    = 128 << 10 // replicas for which memory is allocated before they are parsed
	maxProblems = 50        // lines about one map; more would fill the log
	maxID       = 1 << 10   // bytes of the id of a service or a node: it is part of each report's address
	maxDate     = 64        // bytes: it is part of the next request's address
	maxMatch    = probe.MaxMatch
	maxRetry    = 100
	maxSick     = 3600 // seconds
	maxStatus   = 1000 // one above the highest that an answer can have
)

var (
	errMapTooLarge = fmt.Errorf("map over %d MiB", maxMap>>20)
	errMapReplicas = fmt.Errorf("map of over %d replicas", maxReplicas)
	errMapTooMany  = fmt.Errorf("map of over %d values", maxValues)
)

// decodeMap reads a map, of at most maxMap bytes.
func decodeMap(body io.Reader) (*Map, error) {
	text, err := readMap(body)
	switch {
	case errors.Is(err, io.ErrUnexpectedEOF):
		return nil, errors.New("map breaks off before its end")
	case err != nil:
		return nil, err
	case bytes.Count(text, []byte{','}) > maxValues:
		return nil, errMapTooMany
	case bytes.Count(text, []byte("://")) > 2*maxReplicas:
		return nil, errMapReplicas // before it costs anything
	}
	var answer wireAnswer
	err = json.Unmarshal(text, &answer)
	switch {
	case err != nil:
		return nil, fmt.Errorf("map is not what the protocol has: %w", fieldError(err))
	case answer.Data == nil:
		return nil, errors.New("map has no data")
	case answer.Data.Services == nil:
		return nil, errors.New("map has no data.services")
	case len(answer.Data.Date.text) > maxDate:
		return nil, fmt.Errorf("map has a date of %d digits", len(answer.Data.Date.text))
	}
	n := replicas(*answer.Data.Services)
	if n > maxReplicas {
		return nil, errMapReplicas
	}
	n = min(n, maxAhead)
	b := &builder{
		m:    &Map{Checks: make([]probe.Check, 0, n), date: answer.Data.Date.text},
		seen: make(map[probe.ID]probe.Target, n),
	}
	b.rules = b.limits(answer.Data.Metrics)
	for i, s := range *answer.Data.Services {
		if err := b.service(i, s); err != nil {
			return nil, fmt.Errorf("map is not what the protocol has: %w", err)
		}
	}
	probe.NumberLookAlikes(b.m.Checks)
	for _, p := range b.problems {
		b.m.Problems = append(b.m.Problems, fmt.Sprintf(p.format, p.args...))
	}
	if b.more > 0 {
		b.m.Problems = append(b.m.Problems, fmt.Sprintf("and %d more like these", b.more))
	}
	return b.m, nil
}

// readMap reads body to its end; it fails above maxMap bytes. The pieces are joined
// once the size is known: a buffer that grows would leave the multiple of a map that
// is too large as garbage.
func readMap(body io.Reader) ([]byte, error) {
	const piece = 1 << 20
	var pieces [][]byte
	for size := 0; ; {
		if len(pieces) == 0 || len(pieces[len(pieces)-1]) == piece {
			pieces = append(pieces, make([]byte, 0, piece))
		}
		last := &pieces[len(pieces)-1]
		n, err := body.Read((*last)[len(*last):piece])
		*last = (*last)[:len(*last)+n]
		switch size += n; {
		case size > maxMap:
			return nil, errMapTooLarge
		case err == io.EOF:
			return slices.Concat(pieces...), nil
		case err != nil:
			return nil, err
		}
	}
}

// replicas returns how many replicas there are.
func replicas(services []wireService) int {
	n := 0
	for _, s := range services {
		if s.Nodes == nil {
			continue
		}
		for _, node := range *s.Nodes {
			n += len(node.Replicas)
		}
	}
	return n
}

// builder turns a decoded answer into a Map.
type builder struct {
	m     *Map
	rules *probe.Rules                 // of every node, without its http
	same  map[probe.Rules]*probe.Rules // of the nodes with an http, each once
	seen  map[probe.ID]probe.Target

	problems []problem
	more     int // problems beyond maxProblems
}

// problem is a line of Map.Problems. It is formatted at the end, when the
// targets that look alike have their numbers.
type problem struct {
	format string
	args   []any
}

func (b *builder) problem(format string, args ...any) {
	if len(b.problems) >= maxProblems {
		b.more++
		return
	}
	b.problems = append(b.problems, problem{format, args})
}

// number returns n between low and high, or missing if there is none.
func (b *builder) number(name string, n wireNumber, missing, low, high int) int {
	if n.text == "" {
		return missing
	}
	clamped := min(max(n.value, float64(low)), float64(high))
	if clamped != n.value {
		b.problem("%s is %.40s, taken as %d (allowed: %d to %d)", name, n.text, int(clamped), low, high)
	}
	return int(clamped)
}

// limits returns the rules for all nodes of the map, without their http.
func (b *builder) limits(metrics *wireMetrics) *probe.Rules {
	rules := probe.DefaultRules()
	if metrics == nil || metrics.Local == nil {
		return rules
	}
	local := metrics.Local
	rules.Retry = b.number("metrics.local.retry", local.Retry, rules.Retry, 0, maxRetry)
	longest := int(pace.LongestProbe / time.Second)
	dead := b.number("metrics.local.delay_dead", local.DelayDead, int(rules.DeadAfter/time.Second), 1, longest)
	rules.DeadAfter = time.Duration(dead) * time.Second
	sick := b.number("metrics.local.delay_sick", local.DelaySick, 0, 0, maxSick)
	rules.SickAfter = time.Duration(sick) * time.Second
	return rules
}

func (b *builder) service(i int, s wireService) error {
	switch {
	case s.ID.text == "":
		return fmt.Errorf("data.services[%d] has no id", i)
	case s.Nodes == nil:
		return fmt.Errorf("service %.80q has no nodes", s.ID.text)
	case s.ID.damaged:
		b.problem("service %.80q has an id that is not Unicode, its replicas are left out", s.ID.text)
		return nil
	case len(s.ID.text) > maxID:
		b.problem("service %.80q has an id of %d bytes (allowed: %d), its replicas are left out", s.ID.text, len(s.ID.text), maxID)
		return nil
	}
	for j, n := range *s.Nodes {
		if n.ID.text == "" {
			return fmt.Errorf("node %d of service %.80q has no id", j, s.ID.text)
		}
		rules, ok := b.nodeRules(n)
		if !ok {
			continue
		}
		for _, r := range n.Replicas {
			b.replica(s.ID.text, n.ID.text, rules, r)
		}
	}
	return nil
}

// nodeRules returns the rules of n's replicas, or false if they can have none.
func (b *builder) nodeRules(n wireNode) (*probe.Rules, bool) {
	id := n.ID.text
	switch {
	case n.ID.damaged:
		b.problem("node %.80q has an id that is not Unicode, its replicas are left out", id)
		return nil, false
	case len(id) > maxID:
		b.problem("node %.80q has an id of %d bytes (allowed: %d), its replicas are left out", id, len(id), maxID)
		return nil, false
	}
	if n.HTTP == nil {
		return b.rules, true
	}
	rules := *b.rules
	if s := n.HTTP.Status; s != nil {
		where := fmt.Sprintf("node %.80q: http.status.", id)
		rules.HealthyAbove = b.number(where+"healthy_above", s.HealthyAbove, rules.HealthyAbove, 0, maxStatus)
		rules.HealthyBelow = b.number(where+"healthy_below", s.HealthyBelow, rules.HealthyBelow, 0, maxStatus)
	}
	if body := n.HTTP.Body; body != nil {
		rules.HealthyMatch, rules.DeadMatch = body.HealthyMatch.text, body.DeadMatch.text
		if body.HealthyMatch.damaged || body.DeadMatch.damaged {
			b.problem("node %.80q: http.body has a match that is not Unicode, its replicas are left out", id)
			return nil, false
		}
		if longest := max(len(rules.HealthyMatch), len(rules.DeadMatch)); longest > maxMatch {
			b.problem("node %.80q: http.body has a match of %d bytes (allowed: %d), its replicas are left out", id, longest, maxMatch)
			return nil, false
		}
	}
	return b.shared(rules), true
}

// shared returns the one copy of rules that all nodes with the same ones share.
func (b *builder) shared(rules probe.Rules) *probe.Rules {
	if known := b.same[rules]; known != nil {
		return known
	}
	if b.same == nil {
		b.same = make(map[probe.Rules]*probe.Rules)
	}
	made := rules
	made.Compile()
	b.same[rules] = &made
	return &made
}

func (b *builder) replica(service, node string, rules *probe.Rules, r wireReplica) {
	if r.other != "" {
		b.problem("node %.80q: a replica is %s, want a URL; it is left out", node, r.other)
		return
	}
	if r.url.damaged {
		b.problem("node %.80q: replica %.400q is not Unicode, so it cannot be reported under its id; it is left out", node, probe.Redact(r.url.text))
		return
	}
	target, err := probe.ParseTarget(r.url.text)
	if err != nil {
		b.problem("node %.80q: replica %.400v; it is left out", node, err)
		return
	}
	c := probe.Check{ServiceID: service, NodeID: node, Target: target, Rules: rules}
	if first, ok := b.seen[c.ID()]; ok {
		b.problem("node %.80q: replica %v is there twice; it is watched once", node, first)
		return
	}
	b.seen[c.ID()] = target
	b.m.Checks = append(b.m.Checks, c)
}
