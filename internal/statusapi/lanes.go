package statusapi

import (
	"net/http"
	"sync"
	"time"
)

const (
	apartEvery = 500 * time.Millisecond // at most, over HTTP/2: each is a handshake of TLS

	streams  = 100 // of an HTTP/2 connection at a time: RFC 9113, 6.5.2, has servers permit at least as many
	maxLanes = 256 // HTTP/2 connections: enough for a million replicas at a round trip of half a second
)

// lanes are the transports of reports to the API. Each has one HTTP/2 connection, which
// carries as many requests at a time as servers permit. A single transport would open
// another connection for each request above that: hundreds at a time, each with a TLS
// handshake, and more while those are under way.
//
// The number of lanes doubles when all are full: each new one is tried by a single
// report. With an API that speaks HTTP/1.1, there is only the first lane, with a
// connection for each request at a time.
type lanes struct {
	mu     sync.Mutex
	lanes  []*lane
	open   int          // lanes that have had an answer over HTTP/2
	afresh *http.Client // uses no connection twice; nil until it is needed
	apart  time.Time    // when a report last had a connection of its own beside a lane
}

// lane is one transport. The lock of lanes protects its fields, except the client.
type lane struct {
	client   *http.Client
	inFlight int
	open     bool
	apart    bool      // it is none: a report has a connection of its own
	answered time.Time // the last time
}

// carries returns how many requests lane i carries at a time. A lane is open, and known
// to have HTTP/2, from its first answer on; the first lane has HTTP/1.1 until then.
func (l *lanes) carries(i int) int {
	switch {
	case l.lanes[i].open:
		return streams
	case i == 0:
		return maxConns - spareConns
	}
	return 1
}

// enter returns the first lane that has room, if need be a new one; if there can be none,
// the first lane. The caller passes it to leave. It also returns the client for the request,
// that of the lane; or if afresh is true, one that uses no connection twice. Where the lane has
// HTTP/2, that is for one report in apartEvery.
func (l *lanes) enter(base *http.Client, afresh bool) (*lane, *http.Client) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.lanes) == 0 {
		l.lanes = append(l.lanes, &lane{client: base})
	}
	chosen := l.lanes[0]
	for i, lane := range l.lanes {
		if lane.inFlight < l.carries(i) {
			chosen = lane
			break
		}
	}
	transport, ok := base.Transport.(*http.Transport)
	if full := chosen.inFlight >= l.carries(0); full && ok && chosen.open && len(l.lanes) < min(2*l.open, maxLanes) {
		client := *base
		client.Transport = transport.Clone()
		chosen = &lane{client: &client}
		l.lanes = append(l.lanes, chosen)
	}
	if afresh && ok && chosen.open {
		if now := time.Now(); now.Sub(l.apart) >= apartEvery {
			l.apart = now
			return &lane{apart: true}, l.once(base)
		}
		afresh = false
	}
	chosen.inFlight++
	if afresh && ok {
		return chosen, l.once(base)
	}
	return chosen, chosen.client
}

// once returns the client that uses no connection twice. The caller holds the lock.
func (l *lanes) once(base *http.Client) *http.Client {
	if l.afresh == nil {
		client := *base
		transport := base.Transport.(*http.Transport).Clone()
		transport.DisableKeepAlives = true
		client.Transport = transport
		l.afresh = &client
	}
	return l.afresh
}

// onceFor is once, for a request that is no report. Without a transport of its own base is
// returned.
func (l *lanes) onceFor(base *http.Client) *http.Client {
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, ok := base.Transport.(*http.Transport); !ok {
		return base
	}
	return l.once(base)
}

// leave notes that a request over a lane, which began then, has ended, with resp or, if it
// is nil, without an answer. It reports whether the lane has answered none since.
func (l *lanes) leave(lane *lane, began time.Time, resp *http.Response) (mute bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if lane.apart {
		return false
	}
	lane.inFlight--
	if resp == nil {
		return lane.answered.Before(began)
	}
	lane.answered = time.Now()
	if lane.open == (resp.ProtoMajor == 2) {
		return false
	}
	if lane.open = !lane.open; lane.open {
		l.open++
	} else {
		l.open--
	}
	return false
}

// carry returns how many requests all lanes carry at a time, including those that try a
// new lane, and how many the largest number of lanes would carry.
func (l *lanes) carry() (now, most int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.lanes) == 0 || !l.lanes[0].open {
		return maxConns - spareConns, maxConns - spareConns
	}
	return l.open*streams + min(l.open, maxLanes-l.open), maxLanes * streams
}

// closeIdle closes the idle connections of all lanes except the first, whose transport is
// shared with other requests.
func (l *lanes) closeIdle() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, lane := range l.lanes[min(1, len(l.lanes)):] {
		lane.client.CloseIdleConnections()
	}
}
