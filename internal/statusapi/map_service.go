package statusapi

import (
	"cmp"
	"hash/maphash"
	"strings"
	"unicode/utf8"

	"github.com/crisp-im/crisp-status-local/v2/internal/probe"
)

// service reads the service with index i.
func (b *builder) service(i int) error {
	const place = "data.services"
	first, said, more := len(b.m.Checks), len(b.problems), b.more
	var id wireText
	var oddNodes *typeError
	nodes, n := false, -1
	_, err := b.read.object(place, func(name string) error {
		switch strings.ToLower(name) {
		case "id":
			return b.read.value(place+".id", &id)
		case "nodes":
			is, err := b.read.array(place+".nodes", func() error { n++; return b.node(&id, n) })
			nodes = nodes || is
			oddNodes, err = b.read.forgive(err)
			return err
		}
		return b.read.skip()
	})
	odd, err := b.read.forgive(err)
	if err != nil {
		return err
	}
	leave := func(format string, args ...any) {
		clear(b.m.Checks[first:])
		b.m.Checks, b.problems, b.more = b.m.Checks[:first], b.problems[:said], more
		b.problem(format+", its replicas are left out", args...)
	}
	switch {
	case odd != nil:
		b.shapeless = true
		leave("data.services[%d] is %s", i, odd.kind)
	case id.text == "":
		b.shapeless = true
		leave("data.services[%d] has %s", i, id.lack())
	case id.damaged:
		leave("service %.80q has an id that is not Unicode", id.text)
	case len(id.text) > maxID:
		leave("service %.80q has an id of %d bytes (allowed: %d)", id.text, len(id.text), maxID)
	case !nodes && oddNodes != nil:
		b.shapeless = true
		leave("service %.80q has %s in place of nodes", id.text, oddNodes.kind)
	case !nodes:
		b.shapeless = true
		leave("service %.80q has no nodes", id.text)
	default:
		if id.other != "" {
			b.problem("service %.80q has %s for an id, taken as text", id.text, id.other)
		}
		b.own(id.text, first)
	}
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

// node reads node n of a service, whose id may come after it.
func (b *builder) node(service *wireText, n int) error {
	const place = "data.services.nodes"
	var id wireText
	var http wireHTTP
	b.targets, b.odd, b.moreOdd = b.targets[:0], b.odd[:0], 0
	_, err := b.read.object(place, func(name string) error {
		switch strings.ToLower(name) {
		case "id":
			return b.read.value(place+".id", &id)
		case "http":
			odd, err := b.read.forgive(b.read.value(place+".http", &http))
			if odd != nil {
				b.isOdd("node %.80q: %s, want an object; taken as missing", strings.TrimPrefix(odd.place, place+".")+" is "+odd.kind)
			}
			return err
		case "replicas":
			return b.replicas(place + ".replicas")
		}
		return b.read.skip()
	})
	odd, err := b.read.forgive(err)
	switch {
	case err != nil:
		return err
	case odd != nil:
		b.shapeless = true
		b.problem("node %d of service %.80q is %s, its replicas are left out", n, service, odd.kind)
		return nil
	case id.text == "":
		b.shapeless = true
		b.problem("node %d of service %.80q has %s, its replicas are left out", n, service, id.lack())
		return nil
	}
	rules, ok := b.nodeRules(id, http)
	if !ok {
		return nil
	}
	if id.other != "" {
		b.problem("node %.80q has %s for an id, taken as text", id.text, id.other)
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
		return b.read.bounds.errReplicas()
	}
	return nil
}

// replicas reads the replicas of the node that is being read.
func (b *builder) replicas(place string) error {
	_, err := b.read.array(place, func() error {
		var r wireReplica
		if err := b.read.value(place, &r); err != nil {
			return err
		}
		return b.replica(r)
	})
	odd, err := b.read.forgive(err)
	if odd == nil {
		return err
	}
	only, ok := odd.first.(string)
	if !ok {
		b.shapeless = true
		b.isOdd("node %.80q: %s in place of its replicas, want an array of URLs; they are left out", odd.kind)
		return err
	}
	b.isOdd("node %.80q: replicas is %s, want an array of URLs; taken as the only one", odd.kind)
	damaged := strings.ContainsRune(only, utf8.RuneError) // what the decoder replaces looks like this
	return cmp.Or(err, b.replica(wireReplica{url: wireText{text: only, damaged: damaged}}))
}
