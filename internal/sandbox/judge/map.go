package judge

import (
	"time"

	"github.com/crisp-im/crisp-status-local/v2/internal/sandbox/target"
)

// Map is a map in force, as the judge needs it. It belongs to the judge once it
// is installed, replicas included.
type Map struct {
	Date     int64 // as handed out
	Limits   target.Limits
	Services []Service

	all   []*Replica // in the map's order
	index map[NodeID]map[string]*Replica
}

// NodeID names a node by the ids of the Status API.
type NodeID struct{ Service, Node string }

// Service is a group of nodes.
type Service struct {
	ID, Name string
	Nodes    []Node
}

// Node is a group of replicas. A URL appears at most once in it.
type Node struct {
	ID, Name string
	Replicas []*Replica
}

// Replica is one entry of a map, with the judge's record of it. It stays small:
// there may be 100,000.
type Replica struct {
	URL         string
	Shown       string // URL without its password
	Note        string // for people: the behaviour of an own target
	Expectation Expectation
	Target      *target.Target // nil unless it is an own target by name

	entered  time.Time // when a map with the replica was first handed out; zero: not yet
	first    time.Time // the first accepted report; zero: none yet
	last     time.Time // the newest accepted report
	health   Health    // of the newest report
	by       string    // which of several daemons sent that
	interval time.Duration
	reports  int
	worst    time.Duration // the longest gap between two accepted reports
	late     int           // gaps that were late
	wrong    int           // verdicts that the target contradicts
	cycle    int           // the newest cycle with a report of the replica
}

// renewed returns the replica's record with the description from a newer map.
func (r *Replica) renewed(next Replica) Replica {
	renewed := *r
	renewed.Note, renewed.Expectation, renewed.Target = next.Note, next.Expectation, next.Target
	return renewed
}

// prompt reports whether the replica is up at its first attempt: by the target's
// expected health where it is known, else by the reported one.
func (r *Replica) prompt(want, health Health) bool {
	switch {
	case want != "":
		return want != Dead
	case r.Expectation.Own: // it just changed, or is at its limit: a second attempt may have been needed
		return false
	}
	return health != Dead
}

// fill makes the index of the map's replicas.
func (m *Map) fill() {
	m.all, m.index = nil, make(map[NodeID]map[string]*Replica)
	for _, service := range m.Services {
		for _, node := range service.Nodes {
			m.all = append(m.all, node.Replicas...)
			byURL := make(map[string]*Replica, len(node.Replicas))
			for _, r := range node.Replicas {
				byURL[r.URL] = r
			}
			m.index[NodeID{service.ID, node.ID}] = byURL
		}
	}
}
