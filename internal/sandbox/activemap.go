package sandbox

import (
	"fmt"
	"strings"

	"github.com/crisp-im/crisp-status-local/v2/internal/sandbox/judge"
	"github.com/crisp-im/crisp-status-local/v2/internal/sandbox/target"
)

// activeMap is a map in force: the answer to a map request, the judge's map of
// it, and its own targets.
type activeMap struct {
	date    int64 // as handed out
	body    []byte
	limits  target.Limits
	judged  *judge.Map
	targets map[string]*target.Target // of the sandbox, by name
}

// newActiveMap makes the active map of m. It takes over the targets that prev
// has, and opens the others; on error it closes those again. It does not touch
// prev: the caller closes the targets that are left over there.
func (s *Server) newActiveMap(m Map, prev *activeMap, date int64) (*activeMap, error) {
	if err := m.normalize(); err != nil {
		return nil, err
	}
	next := &activeMap{date: date, limits: m.Metrics.limits(), targets: make(map[string]*target.Target)}
	next.judged = &judge.Map{Date: date, Limits: next.limits}
	wire := wireMap{wireData{Date: date, Metrics: wireMetrics{m.Metrics}, Services: make([]wireService, 0, len(m.Services))}}
	for _, service := range m.Services {
		judged := judge.Service{ID: service.ID, Name: service.Name}
		sent := wireService{ID: service.ID, Nodes: make([]wireNode, 0, len(service.Nodes))}
		for _, node := range service.Nodes {
			replicas, err := s.replicasOf(node, next, prev)
			if err != nil {
				next.closeTargets(prev.targets)
				return nil, fmt.Errorf("service %q, node %q: %w", service.ID, node.ID, err)
			}
			urls := make([]string, len(replicas))
			for i, r := range replicas {
				urls[i] = r.URL
			}
			judged.Nodes = append(judged.Nodes, judge.Node{ID: node.ID, Name: node.Name, Replicas: replicas})
			sent.Nodes = append(sent.Nodes, wireNode{node.ID, urls, wireRules(node.HTTP)})
		}
		next.judged.Services = append(next.judged.Services, judged)
		wire.Data.Services = append(wire.Data.Services, sent)
	}
	next.body = encode(wire)
	return next, nil
}

// replicasOf returns the replicas of one node, their own targets opened.
func (s *Server) replicasOf(node Node, next, prev *activeMap) ([]*judge.Replica, error) {
	replicas := make([]*judge.Replica, 0, len(node.Replicas))
	seen := make(map[string]bool, len(node.Replicas))
	for _, raw := range node.Replicas {
		r := &judge.Replica{URL: raw}
		own, byName := s.listeners.Target(raw), strings.HasPrefix(raw, target.Prefix)
		if byName {
			var err error
			if own, err = s.openTarget(raw, next, prev); err != nil {
				return nil, err
			}
			r.URL = own.URL()
		}
		r.Shown = mask(r.URL)
		if own != nil {
			r.Note = own.Spec().Describe(next.limits)
			r.Expectation = judge.Expectation{Own: true, Up: judge.Expect(own.Spec(), next.limits, node.HTTP)}
		}
		if byName {
			r.Target, r.Expectation.Target = own, own
		}
		if seen[r.URL] {
			return nil, fmt.Errorf("replica %q appears twice", r.Shown)
		}
		seen[r.URL] = true
		replicas = append(replicas, r)
	}
	return replicas, nil
}

// openTarget returns the target of that name for next: the one that next or
// prev has, or a new one.
func (s *Server) openTarget(name string, next, prev *activeMap) (*target.Target, error) {
	t := next.targets[name]
	if t == nil {
		t = prev.targets[name]
	}
	if t == nil {
		spec, err := target.ParseSpec(name)
		if err != nil {
			return nil, err
		}
		if t, err = target.Open(spec, s.authority); err != nil {
			return nil, err
		}
	}
	next.targets[name] = t
	return t, nil
}

// closeTargets closes all own targets but those to keep.
func (m *activeMap) closeTargets(keep map[string]*target.Target) {
	for name, t := range m.targets {
		if keep[name] != t {
			t.Close()
		}
	}
}
