package scheduler_test

import (
	"fmt"
	"strings"
	"time"
)

// script is what happens to a daemon, its replicas, its API and its host, one thing
// after another. Any bytes are one: see parseScript.
type script struct {
	interval time.Duration
	promise  time.Duration
	rtt      time.Duration // of a report
	shared   bool          // the duty is: scopes change
	first    mapVariant
	events   []event
}

// event is something that happens so long after the one before.
type event struct {
	after time.Duration
	kind  kind
	a, b  byte
}

// kind is what happens.
type kind byte

const (
	nothing kind = iota
	mapChanges
	mapFails
	apiFails
	apiFailsAgain // twice in the list, since it is the likeliest
	replicasTurn
	replicasTurnToo
	manyDie
	reloads
	moves // to another page
	ends  // by SIGTERM, and begins again
	isKilled
	scopeChanges
	stalls
	isSuspended
	roundTripChanges
	kinds
)

var (
	pauses     = seconds(0, 0.1, 0.5, 1, 2, 3, 5, 8, 13, 20, 30, 40, 60, 90, 125, 240)
	lengths    = seconds(0.5, 2, 6, 15, 25, 40, 90, 300, 700)
	intervals  = seconds(10, 30, 60, 120)
	promises   = []float64{1, 1, 1.5, 2, 5}
	roundTrips = []time.Duration{0, 20 * time.Millisecond, 200 * time.Millisecond}
	workers    = []int{0, 0, 0, 4, 40}
)

func seconds(all ...float64) []time.Duration {
	var d []time.Duration
	for _, n := range all {
		d = append(d, time.Duration(n*float64(time.Second)))
	}
	return d
}

// of returns the element of list that b stands for.
func of[T any](list []T, b byte) T { return list[int(b)%len(list)] }

const (
	scriptHead = 3  // bytes
	mostEvents = 24 // the bytes of more are ignored
)

// parseScript returns the script that data stands for: three bytes for the settings,
// then three for each event. What is missing is zero.
func parseScript(data []byte) script {
	var head [scriptHead]byte
	data = data[copy(head[:], data):]
	s := script{
		interval: of(intervals, head[0]),
		rtt:      of(roundTrips, head[0]>>2),
		shared:   head[0]>>6 == 3,
		first:    mapVariant(head[2])<<8 | mapVariant(head[1]),
	}
	s.promise = promiseOf(s.interval, head[0]>>4&3)
	for len(data) > 0 && len(s.events) < mostEvents {
		var b [3]byte
		data = data[copy(b[:], data):]
		s.events = append(s.events, event{of(pauses, b[0]>>4) + time.Duration(b[1]%8)*137*time.Millisecond, kind(b[0] & 15), b[1], b[2]})
	}
	return s
}

func promiseOf(interval time.Duration, b byte) time.Duration {
	return min(time.Duration(of(promises, b)*float64(interval)), time.Hour)
}

// lasts returns how long the script may take: as many cycles as are cheap.
func (s script) lasts() time.Duration { return 40*s.interval + 5*time.Minute }

func (s script) String() string {
	var text strings.Builder
	fmt.Fprintf(&text, "interval %v, promise %v, round trip %v, shared %v, map %v", s.interval, s.promise, s.rtt, s.shared, s.first)
	for _, e := range s.events {
		fmt.Fprintf(&text, "\n  %v later: %v", e.after, e)
	}
	return text.String()
}

func (e event) String() string {
	switch e.kind {
	case mapChanges:
		return fmt.Sprintf("the map is %v", e.variant())
	case mapFails:
		return fmt.Sprintf("map requests: %s for %v", of(mapMoods, e.a), of(lengths, e.b&15))
	case apiFails, apiFailsAgain:
		return fmt.Sprintf("the API: %v for %v", e.mood(), of(lengths, e.b&15))
	case replicasTurn, replicasTurnToo:
		first, last, turns := e.turn()
		return fmt.Sprintf("replicas %d to %d turn %s", first, last-1, turns)
	case manyDie:
		return fmt.Sprintf("%d of 4 replicas die for %v", 1+e.a%4, of(lengths, e.b&15))
	case reloads, moves:
		page := "the same page"
		if e.kind == moves {
			page = "another page"
		}
		return fmt.Sprintf("a reload of %s, interval %v, promise %v, workers %d", page, e.interval(), promiseOf(e.interval(), e.b), e.workers())
	case ends:
		return fmt.Sprintf("SIGTERM, and a start %v later", of(lengths, e.b&15))
	case isKilled:
		return fmt.Sprintf("SIGKILL, and a start %v later", of(lengths, e.b&15))
	case scopeChanges:
		return fmt.Sprintf("the scope is %v", e.scope())
	case stalls:
		return fmt.Sprintf("the daemon stalls for %v", of(lengths, e.b&15))
	case isSuspended:
		return fmt.Sprintf("the host is suspended for %v", of(lengths, e.b&15))
	case roundTripChanges:
		return fmt.Sprintf("the round trip is %v", of(roundTrips, e.a))
	}
	return "nothing"
}

func (e event) variant() mapVariant     { return mapVariant(e.b)<<8 | mapVariant(e.a) }
func (e event) interval() time.Duration { return of(intervals, e.a) }
func (e event) workers() int            { return of(workers, e.a>>2) }

// turn returns the numbers of replicas, from the first to before the last, and what
// they are from now on.
func (e event) turn() (first, last int, turns behaviour) {
	first = int(e.a) % mostReplicas
	last = min(first+of([]int{1, 1, 3, 8, 16, mostReplicas}, e.b>>4), mostReplicas)
	return first, last, behaviour(e.b&15) % behaviours
}
