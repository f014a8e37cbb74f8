package sandbox

import (
	"fmt"
	"maps"
	"strings"
	"time"
)

// replica is one place of the map, with all that the judge keeps of it. It stays
// small: there may be 100,000.
type replica struct {
	url    string
	note   string // what an own target does, for people
	truth  truth
	target *Target // nil unless it is an own target by name

	entered  time.Time // when a map that has it was first handed out; zero: not yet
	first    time.Time // the first accepted report; zero: none yet
	last     time.Time // the newest accepted report
	health   Health    // that it brought
	interval time.Duration
	reports  int
	worst    time.Duration // the longest gap between two accepted reports
	late     int           // gaps that were late
	wrong    int           // verdicts that the target contradicts
	cycle    int           // the last cycle that it was reported in
	busy     *inFlight     // the newest request for it; nil: there was none
}

// truth is what the sandbox knows of the thing behind a replica.
type truth struct {
	own    bool    // one of our targets
	up     Health  // what it must be judged while it runs; "": cannot be said
	target *Target // nil: it always runs
}

// at is the health that a verdict arriving now must have, or "" when that cannot
// be said: the target is not ours, or it changed less than settle ago, so that
// an honest verdict may be from before.
func (t truth) at(now time.Time, settle time.Duration) Health {
	if t.target == nil {
		return t.up
	}
	running, since := t.target.Running()
	switch {
	case now.Sub(since) < settle:
		return ""
	case !running:
		return Dead
	}
	return t.up
}

// roster is a map in force: the answer to a map request, and its replicas.
type roster struct {
	date     int64 // as handed out
	body     []byte
	limits   limits
	services []rosterService
	all      []*replica // in the map's order
	index    map[place]map[string]*replica
	targets  map[string]*Target // own targets by name
}

type (
	place         struct{ service, node string } // by id
	rosterService struct {
		id, name string
		nodes    []rosterNode
	}
	rosterNode struct {
		id, name string
		replicas []*replica
	}
)

// known finds the target behind a URL of a generated map; nil where there is none.
type known func(url string) *Target

// newRoster makes a roster of a map. Own targets that prev has are taken over as
// they are, others are opened; on error those are closed again. prev is not
// touched: the judge makes the change when it installs the new one.
func newRoster(m Map, prev *roster, ca *authority, find known, date int64) (*roster, error) {
	if err := m.normalize(); err != nil {
		return nil, err
	}
	next := &roster{
		date:    date,
		limits:  m.Metrics.limits(),
		index:   make(map[place]map[string]*replica),
		targets: make(map[string]*Target),
	}
	wire := wireMap{wireData{Date: date, Metrics: wireMetrics{m.Metrics}, Services: make([]wireService, 0, len(m.Services))}}
	for _, service := range m.Services {
		kept := rosterService{id: service.ID, name: service.Name}
		sent := wireService{ID: service.ID, Nodes: make([]wireNode, 0, len(service.Nodes))}
		for _, node := range service.Nodes {
			replicas, err := next.enter(place{service.ID, node.ID}, node, prev, ca, find)
			if err != nil {
				next.closeTargets(prev.targets)
				return nil, fmt.Errorf("service %q, node %q: %w", service.ID, node.ID, err)
			}
			urls := make([]string, len(replicas))
			for i, r := range replicas {
				urls[i] = r.url
			}
			kept.nodes = append(kept.nodes, rosterNode{node.ID, node.Name, replicas})
			sent.Nodes = append(sent.Nodes, wireNode{node.ID, urls, node.HTTP.wire()})
		}
		next.services = append(next.services, kept)
		wire.Data.Services = append(wire.Data.Services, sent)
	}
	next.body = encode(wire)
	return next, nil
}

// enter adds the replicas of one node.
func (ro *roster) enter(at place, node Node, prev *roster, ca *authority, find known) ([]*replica, error) {
	ro.index[at] = make(map[string]*replica, len(node.Replicas))
	replicas := make([]*replica, 0, len(node.Replicas))
	for _, raw := range node.Replicas {
		fresh := replica{url: raw}
		target, named := find(raw), false
		if strings.HasPrefix(raw, ownPrefix) {
			var err error
			if target, err = ro.target(raw, prev, ca); err != nil {
				return nil, err
			}
			fresh.url, named = target.URL(), true
		}
		if target != nil {
			fresh.note = target.spec.describe(ro.limits)
			fresh.truth = truth{own: true, up: target.spec.health(ro.limits, node.HTTP)}
		}
		if named {
			fresh.target, fresh.truth.target = target, target
		}
		if ro.index[at][fresh.url] != nil {
			return nil, fmt.Errorf("replica %q appears twice", mask(fresh.url))
		}
		ro.index[at][fresh.url] = &fresh
		replicas = append(replicas, &fresh)
	}
	ro.all = append(ro.all, replicas...)
	return replicas, nil
}

// target returns the own target of that name: the one that prev has, or a new one.
func (ro *roster) target(name string, prev *roster, ca *authority) (*Target, error) {
	if t := ro.targets[name]; t != nil {
		return t, nil
	}
	t := prev.targets[name]
	if t == nil {
		spec, err := ParseSpec(name)
		if err != nil {
			return nil, err
		}
		if t, err = openTarget(spec, oneAddress, ca); err != nil {
			return nil, err
		}
	}
	ro.targets[name] = t
	return t, nil
}

// closeTargets closes all targets but those to keep.
func (ro *roster) closeTargets(keep map[string]*Target) {
	for name, t := range maps.All(ro.targets) {
		if keep[name] != t {
			t.Close()
		}
	}
}
