package statusapi

import (
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"strings"
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
	rulesCost   = 4       // replicas, whose memory a node's own rules take
	matchCost   = 512     // bytes of a match that take as much as a replica: they are kept, and a table of them
	maxProblems = 50      // lines about one map; more would fill the log
	maxID       = 1 << 10 // bytes of the id of a service or a node: it is part of each report's address
	maxDate     = 64      // bytes: it is part of the next request's address
	maxMatch    = probe.MaxMatch
	maxRetry    = 100
	maxSick     = 3600 // seconds
	maxStatus   = 1000 // one above the highest that an answer can have
)

// decodeMap reads a map. Besides the map that it makes, it holds at most maxValue bytes
// of the text.
func decodeMap(body io.Reader, most bounds) (*Map, error) {
	b := &builder{
		read:  newMapReader(body, most),
		m:     &Map{},
		rules: probe.DefaultRules(),
		seed:  maphash.MakeSeed(),
		seen:  make(map[uint64]uint32),
	}
	if err := b.answer(); err != nil {
		return nil, err
	}
	probe.NumberLookAlikes(b.m.Checks)
	if b.unfit > 0 {
		b.m.Problems = append(b.m.Problems, most.left(b.unfit))
	}
	for _, p := range b.problems {
		b.m.Problems = append(b.m.Problems, fmt.Sprintf(p.format, p.args...))
	}
	if b.more > 0 {
		b.m.Problems = append(b.m.Problems, fmt.Sprintf("and %d more like these", b.more))
	}
	return b.m, nil
}

// builder makes a Map of the values of its reader. Fields may come in any order, so
// values that depend on a later field are set at the end of its object: the id of a
// service in its checks, the limits of the map in all rules.
type builder struct {
	read  *mapReader
	m     *Map
	rules *probe.Rules                 // of every node without an http
	same  map[probe.Rules]*probe.Rules // of the nodes with an http, each once
	cost  int                          // of these, in replicas
	seed  maphash.Seed
	seen  map[uint64]uint32 // the indices in m.Checks by their hashes, or the next free numbers

	targets  []probe.Target // of the node that is being read
	odd      []problem      // of its replicas, the first argument of each to be its id
	moreOdd  int
	unfit    int // replicas that are left out for want of memory
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

// answer reads the whole document.
func (b *builder) answer() error {
	var date wireNumber
	var metrics wireMetrics
	services, data := false, false
	_, err := b.read.object("", func(name string) error {
		if !strings.EqualFold(name, "data") {
			return b.read.skip()
		}
		is, err := b.read.object("data", func(name string) error {
			switch strings.ToLower(name) {
			case "date":
				return b.read.value("data.date", &date)
			case "metrics":
				return b.read.value("data.metrics", &metrics)
			case "services":
				i := -1
				is, err := b.read.array("data.services", func() error { i++; return b.service(i) })
				services = services || is
				return err
			}
			return b.read.skip()
		})
		data = data || is
		return err
	})
	switch {
	case err != nil:
		return err
	case !data:
		return errors.New("map has no data")
	case !services:
		return errors.New("map has no data.services")
	case len(date.text) > maxDate:
		return fmt.Errorf("map has a date of %d digits", len(date.text))
	}
	b.m.date = date.text
	b.limits(metrics)
	return b.read.end()
}

// limits sets the limits of the map in all rules.
func (b *builder) limits(metrics wireMetrics) {
	said, more := b.problems, b.more
	b.problems, b.more = nil, 0
	if local := metrics.Local; local != nil {
		rules := b.rules
		rules.Retry = b.number("metrics.local.retry", local.Retry, rules.Retry, 0, maxRetry)
		longest := int(pace.LongestProbe / time.Second)
		dead := b.number("metrics.local.delay_dead", local.DelayDead, int(rules.DeadAfter/time.Second), 1, longest)
		rules.DeadAfter = time.Duration(dead) * time.Second
		sick := b.number("metrics.local.delay_sick", local.DelaySick, 0, 0, maxSick)
		rules.SickAfter = time.Duration(sick) * time.Second
	}
	b.problems, b.more = append(b.problems, said...), more // these first: they are about all
	for _, rules := range b.same {
		rules.Retry, rules.DeadAfter, rules.SickAfter = b.rules.Retry, b.rules.DeadAfter, b.rules.SickAfter
	}
}

// service reads the service with index i.
func (b *builder) service(i int) error {
	const place = "data.services"
	first, said, more := len(b.m.Checks), len(b.problems), b.more
	var id wireText
	nodes, n, nameless := false, 0, -1
	_, err := b.read.object(place, func(name string) error {
		switch strings.ToLower(name) {
		case "id":
			return b.read.value(place+".id", &id)
		case "nodes":
			is, err := b.read.array(place+".nodes", func() error {
				named, err := b.node()
				if !named && nameless < 0 {
					nameless = n
				}
				n++
				return err
			})
			nodes = nodes || is
			return err
		}
		return b.read.skip()
	})
	switch {
	case err != nil:
		return err
	case id.text == "":
		return protocolError(fmt.Errorf("data.services[%d] has no id", i))
	case !nodes:
		return protocolError(fmt.Errorf("service %.80q has no nodes", id.text))
	case id.damaged, len(id.text) > maxID:
		clear(b.m.Checks[first:])
		b.m.Checks, b.problems, b.more = b.m.Checks[:first], b.problems[:said], more
		if id.damaged {
			b.problem("service %.80q has an id that is not Unicode, its replicas are left out", id.text)
		} else {
			b.problem("service %.80q has an id of %d bytes (allowed: %d), its replicas are left out", id.text, len(id.text), maxID)
		}
		return nil
	case nameless >= 0:
		return protocolError(fmt.Errorf("node %d of service %.80q has no id", nameless, id.text))
	}
	b.own(id.text, first)
	return nil
}

// own gives the checks from first on to a service, and leaves out those that it has
// already.
func (b *builder) own(service string, first int) {
	checks := b.m.Checks[first:]
	b.m.Checks = b.m.Checks[:first]
	for _, c := range checks {
		c.ServiceID = service
		if twice := b.find(c.ID()); twice != nil {
			b.problem("node %.80q: replica %v is there twice; it is watched once", c.NodeID, twice.Target)
			continue
		}
		b.m.Checks = append(b.m.Checks, c)
	}
	clear(checks[len(b.m.Checks)-first:])
}

// find returns the check that has the id. If there is none, it returns nil, and counts
// the check that is appended next as the one with that id.
func (b *builder) find(id probe.ID) *probe.Check {
	for hash := maphash.Comparable(b.seed, id); ; hash++ {
		i, taken := b.seen[hash]
		if !taken {
			b.seen[hash] = uint32(len(b.m.Checks))
			return nil
		}
		if c := &b.m.Checks[i]; c.ID() == id {
			return c
		}
	}
}

// node reads a node, and reports whether it has an id.
func (b *builder) node() (named bool, err error) {
	const place = "data.services.nodes"
	var id wireText
	var http wireHTTP
	b.targets, b.odd, b.moreOdd = b.targets[:0], b.odd[:0], 0
	_, err = b.read.object(place, func(name string) error {
		switch strings.ToLower(name) {
		case "id":
			return b.read.value(place+".id", &id)
		case "http":
			return b.read.value(place+".http", &http)
		case "replicas":
			_, err := b.read.array(place+".replicas", func() error {
				var r wireReplica
				if err := b.read.value(place+".replicas", &r); err != nil {
					return err
				}
				return b.replica(r)
			})
			return err
		}
		return b.read.skip()
	})
	if err != nil || id.text == "" {
		return false, err
	}
	rules, ok := b.nodeRules(id, http)
	if !ok {
		return true, nil
	}
	for _, p := range b.odd {
		p.args[0] = id.text
		b.problem(p.format, p.args...)
	}
	b.more += b.moreOdd
	for _, t := range b.targets {
		b.m.Checks = append(b.m.Checks, probe.Check{NodeID: id.text, Target: t, Rules: rules})
	}
	if b.over(0) {
		return true, b.read.bounds.errReplicas()
	}
	return true, nil
}

// over reports whether so many more replicas would exceed the bounds of the map.
func (b *builder) over(replicas int) bool {
	return len(b.m.Checks)+replicas+b.cost > b.read.bounds.replicas
}

// nodeRules returns the rules of a node's replicas, or false if they can have none.
func (b *builder) nodeRules(id wireText, http wireHTTP) (*probe.Rules, bool) {
	switch {
	case id.damaged:
		b.problem("node %.80q has an id that is not Unicode, its replicas are left out", id.text)
		return nil, false
	case len(id.text) > maxID:
		b.problem("node %.80q has an id of %d bytes (allowed: %d), its replicas are left out", id.text, len(id.text), maxID)
		return nil, false
	}
	if http.Status == nil && http.Body == nil {
		return b.rules, true
	}
	rules := *probe.DefaultRules()
	if s := http.Status; s != nil {
		where := fmt.Sprintf("node %.80q: http.status.", id.text)
		rules.HealthyAbove = b.number(where+"healthy_above", s.HealthyAbove, rules.HealthyAbove, 0, maxStatus)
		rules.HealthyBelow = b.number(where+"healthy_below", s.HealthyBelow, rules.HealthyBelow, 0, maxStatus)
	}
	if body := http.Body; body != nil {
		rules.HealthyMatch, rules.DeadMatch = body.HealthyMatch.text, body.DeadMatch.text
		if body.HealthyMatch.damaged || body.DeadMatch.damaged {
			b.problem("node %.80q: http.body has a match that is not Unicode, its replicas are left out", id.text)
			return nil, false
		}
		if longest := max(len(rules.HealthyMatch), len(rules.DeadMatch)); longest > maxMatch {
			b.problem("node %.80q: http.body has a match of %d bytes (allowed: %d), its replicas are left out", id.text, longest, maxMatch)
			return nil, false
		}
	}
	return b.shared(rules)
}

// shared returns the one copy of rules that all nodes with the same ones share; false if
// there is no memory for one more, which leaves the node's replicas out.
func (b *builder) shared(rules probe.Rules) (*probe.Rules, bool) {
	if known := b.same[rules]; known != nil {
		return known, true
	}
	cost := rulesCost + (len(rules.HealthyMatch)+len(rules.DeadMatch))/matchCost
	if b.read.bounds.byMemory && b.over(len(b.targets)+cost) {
		b.unfit += len(b.targets)
		return nil, false
	}
	if b.same == nil {
		b.same = make(map[probe.Rules]*probe.Rules)
	}
	b.cost += cost
	made := rules
	made.Compile()
	b.same[rules] = &made
	return &made, true
}

// replica takes a replica of the node that is being read.
func (b *builder) replica(r wireReplica) error {
	switch most := b.read.bounds; {
	case !b.over(len(b.targets) + 1):
	case !most.byMemory:
		return most.errReplicas()
	default:
		b.unfit++
		return nil
	}
	if r.other != "" {
		b.isOdd("node %.80q: a replica is %s, want a URL; it is left out", r.other)
		return nil
	}
	if r.url.damaged {
		b.isOdd("node %.80q: replica %.400q is not Unicode, so it cannot be reported under its id; it is left out", probe.Redact(r.url.text))
		return nil
	}
	target, err := probe.ParseTarget(r.url.text)
	if err != nil {
		b.isOdd("node %.80q: replica %.400v; it is left out", err)
		return nil
	}
	b.targets = append(b.targets, target)
	return nil
}

// isOdd notes a problem of a replica of the node that is being read.
func (b *builder) isOdd(format string, what any) {
	if len(b.odd) >= maxProblems {
		b.moreOdd++
		return
	}
	b.odd = append(b.odd, problem{format, []any{nil, what}})
}
