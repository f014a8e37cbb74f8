package sandbox

import (
	"errors"
	"fmt"
	"math"
	"net/netip"
	"slices"
	"strings"
)

// Estate describes a generated map: many replicas on loopback, each at an address
// of its own, in nodes of 100 and services of 10 nodes. Healthy, slow and dead
// ones are spread evenly. A few listeners serve them all.
type Estate struct {
	Replicas int
	Kinds    []string // of ParseSpec's; in turn
	Dead     float64  // the share, 0 to 1, that is black-holed; none of it is icmp, which always answers
	Slow     float64  // the share, 0 to 1, that is up but slow: http and https only
	Metrics  Metrics
}

const (
	nodeSize    = 100
	serviceSize = 10 // nodes
	mostEstate  = 1_000_000
)

// build makes the map, and the targets that serve it by scheme and port. The
// caller closes the targets.
func (e *Estate) build(ca *authority) (Map, map[string]*Target, error) {
	names, err := e.names()
	if err != nil {
		return Map{}, nil, err
	}
	farm := &farm{ca: ca, host: everyAddress, targets: make(map[string]*Target), of: make(map[string][]*Target)}
	m := Map{Metrics: e.Metrics}
	for i, name := range names {
		url, err := farm.url(name, i)
		if err != nil {
			for _, t := range farm.targets {
				t.Close()
			}
			return Map{}, nil, err
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
	l := e.Metrics.limits()
	for _, t := range farm.targets {
		t.delay.Store(int64(t.spec.delay(l)))
	}
	return m, farm.targets, nil
}

// Check complains of an estate that cannot be.
func (e *Estate) Check() error {
	_, err := e.names()
	return err
}

// names decides what every replica is, as a Spec's spelling.
func (e *Estate) names() ([]string, error) {
	if err := e.checkFields(); err != nil {
		return nil, err
	}
	names := make([]string, e.Replicas)
	for i := range names {
		names[i] = ownPrefix + e.Kinds[i%len(e.Kinds)]
	}
	dead := int(math.Round(e.Dead * float64(e.Replicas)))
	if left := turn(names, dead, "-blackhole", "tcp", "http", "https"); left > 0 {
		return nil, fmt.Errorf("%s cannot be dead: icmp on loopback always answers", plural(left, "replica", "replicas"))
	}
	slow := int(math.Round(e.Slow * float64(e.Replicas)))
	if left := turn(names, slow, "-slow", "http", "https"); left > 0 {
		return nil, fmt.Errorf("%s cannot be slow: only http and https that are not dead can", plural(left, "replica", "replicas"))
	}
	return names, nil
}

func (e *Estate) checkFields() error {
	var complaints []error
	if e.Replicas < 1 || e.Replicas > mostEstate {
		complaints = append(complaints, fmt.Errorf("%d replicas, want 1 to %d", e.Replicas, mostEstate))
	}
	if len(e.Kinds) == 0 {
		complaints = append(complaints, errors.New("no kinds, want some of tcp, http, https, icmp"))
	}
	for _, kind := range e.Kinds {
		if !slices.Contains([]string{"tcp", "http", "https", "icmp"}, kind) {
			complaints = append(complaints, fmt.Errorf("kind %q, want tcp, http, https or icmp", kind))
		}
	}
	if e.Dead < 0 || e.Slow < 0 || e.Dead+e.Slow > 1 {
		complaints = append(complaints, errors.New("dead and slow replicas are more than all of them"))
	}
	l := e.Metrics.limits()
	if e.Slow > 0 && (l.sickAfter == 0 || l.sickAfter >= l.deadAfter) {
		complaints = append(complaints, fmt.Errorf("slow replicas need a delay_sick above 0 and below delay_dead, which is %v", l.deadAfter))
	}
	return errors.Join(complaints...)
}

// turn gives count of the replicas of these kinds another state, evenly spaced
// among all that have none yet. It returns how many it found no replica for.
func turn(names []string, count int, state string, kinds ...string) int {
	var able []int
	for i, name := range names {
		if slices.Contains(kinds, strings.TrimPrefix(name, ownPrefix)) {
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

// farm serves a generated map from as few sockets as it can: one listener for
// every kind of target, on all addresses of loopback.
type farm struct {
	ca      *authority
	host    string
	targets map[string]*Target   // by scheme and port
	of      map[string][]*Target // by name
}

// url is the address of replica i, which is a target of that name. It opens
// what is not there yet.
func (f *farm) url(name string, i int) (string, error) {
	if len(f.of[name]) == 0 {
		if err := f.openAll(name); err != nil {
			return "", err
		}
	}
	able := f.of[name]
	t := able[i%len(able)]
	if f.host == oneAddress && t.spec.Kind != "icmp" {
		return t.URL(), nil
	}
	// 127.64.0.1 and up: 250 hosts in each of 250 networks, and so on.
	address := netip.AddrFrom4([4]byte{127, byte(64 + i/62500), byte(i / 250 % 250), byte(1 + i%250)})
	return t.urlAt(address.String()), nil
}

// openAll opens one target on all addresses, or where the kernel refuses that, a
// node's worth of them on one address.
func (f *farm) openAll(name string) error {
	spec, err := ParseSpec(name)
	if err != nil {
		return err
	}
	if f.host == everyAddress {
		t, err := openTarget(spec, everyAddress, f.ca)
		if err == nil {
			f.add(name, t)
			return nil
		}
		f.host = oneAddress
	}
	for range nodeSize {
		t, err := openTarget(spec, oneAddress, f.ca)
		if err != nil {
			return err
		}
		f.add(name, t)
	}
	return nil
}

func (f *farm) add(name string, t *Target) {
	f.of[name] = append(f.of[name], t)
	f.targets[door(t.URL())] = t
}

// door is what the replicas of one target have in common: scheme and port.
func door(url string) string {
	scheme, rest, _ := strings.Cut(strings.TrimSuffix(url, "/"), "://")
	_, port, _ := strings.Cut(rest, ":")
	return scheme + ":" + port
}

// generatedTarget is the target of a generated map that serves a URL, nil if there is none.
func (s *Server) generatedTarget(url string) *Target {
	if s.generated == nil {
		return nil
	}
	return s.generated[door(url)]
}
