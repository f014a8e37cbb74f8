package sandbox

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/crisp-im/crisp-status-local/v2/internal/sandbox/target"
)

// Generated describes a generated map: many replicas on loopback, each at an
// address of its own, in nodes of 100 and services of 10 nodes. Healthy, slow and
// dead ones are spread evenly.
type Generated struct {
	Replicas int
	Kinds    []string // of target.ParseSpec; in turn
	Dead     float64  // the share, 0 to 1, that is black-holed; none of it is icmp, which always answers
	Slow     float64  // the share, 0 to 1, that is up but slow: http and https only
	Metrics  Metrics
}

const (
	nodeSize      = 100
	serviceSize   = 10 // nodes
	mostGenerated = 1_000_000
)

// build makes the map, and opens the targets that it needs.
func (g *Generated) build(listeners *target.Listeners) (Map, error) {
	names, err := g.names()
	if err != nil {
		return Map{}, err
	}
	m := Map{Metrics: g.Metrics}
	for i, name := range names {
		url, err := listeners.URL(name, i)
		if err != nil {
			return Map{}, err
		}
		if i%(nodeSize*serviceSize) == 0 {
			m.Services = append(m.Services, Service{Name: fmt.Sprintf("Service %d", len(m.Services)+1)})
		}
		service := &m.Services[len(m.Services)-1]
		if i%nodeSize == 0 {
			service.Nodes = append(service.Nodes, Node{Name: fmt.Sprintf("Node %d.%d", len(m.Services), len(service.Nodes)+1)})
		}
		node := &service.Nodes[len(service.Nodes)-1]
		node.Replicas = append(node.Replicas, url)
	}
	listeners.SetLimits(g.Metrics.limits())
	return m, nil
}

// Check returns every complaint about a description that cannot be met.
func (g *Generated) Check() error {
	_, err := g.names()
	return err
}

// names returns the spelling of every replica's target.Spec.
func (g *Generated) names() ([]string, error) {
	if err := g.checkFields(); err != nil {
		return nil, err
	}
	names := make([]string, g.Replicas)
	for i := range names {
		names[i] = target.Prefix + g.Kinds[i%len(g.Kinds)]
	}
	dead := int(math.Round(g.Dead * float64(g.Replicas)))
	if left := setState(names, dead, "-blackhole", "tcp", "http", "https"); left > 0 {
		return nil, fmt.Errorf("%s cannot be dead: icmp on loopback always answers", replicas(left))
	}
	slow := int(math.Round(g.Slow * float64(g.Replicas)))
	if left := setState(names, slow, "-slow", "http", "https"); left > 0 {
		return nil, fmt.Errorf("%s cannot be slow: only http and https that are not dead can", replicas(left))
	}
	return names, nil
}

func (g *Generated) checkFields() error {
	var complaints []error
	if g.Replicas < 1 || g.Replicas > mostGenerated {
		complaints = append(complaints, fmt.Errorf("%d replicas, want 1 to %d", g.Replicas, mostGenerated))
	}
	if len(g.Kinds) == 0 {
		complaints = append(complaints, errors.New("no kinds, want some of tcp, http, https, icmp"))
	}
	for _, kind := range g.Kinds {
		if !slices.Contains([]string{"tcp", "http", "https", "icmp"}, kind) {
			complaints = append(complaints, fmt.Errorf("kind %q, want tcp, http, https or icmp", kind))
		}
	}
	if g.Dead < 0 || g.Slow < 0 || g.Dead+g.Slow > 1 {
		complaints = append(complaints, errors.New("dead and slow replicas are more than all of them"))
	}
	l := g.Metrics.limits()
	if g.Slow > 0 && (l.SickAfter == 0 || l.SickAfter >= l.DeadAfter) {
		complaints = append(complaints, fmt.Errorf("slow replicas need a delay_sick above 0 and below delay_dead, which is %v", l.DeadAfter))
	}
	return errors.Join(complaints...)
}

// setState gives count of the replicas of these kinds another state, evenly
// spaced among all that have none yet. It returns the number of replicas that it
// lacks.
func setState(names []string, count int, state string, kinds ...string) int {
	var able []int
	for i, name := range names {
		if slices.Contains(kinds, strings.TrimPrefix(name, target.Prefix)) {
			able = append(able, i)
		}
	}
	n := min(count, len(able))
	for k := range n {
		i := able[k*len(able)/n]
		names[i] += state
	}
	return count - n
}

func replicas(n int) string {
	if n == 1 {
		return "1 replica"
	}
	return fmt.Sprintf("%d replicas", n)
}
