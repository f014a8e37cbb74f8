package statusapi

import (
	"net/http"
	"sync"
)

const (
	streams  = 100 // of an HTTP/2 connection at a time; servers permit as many (RFC 9113, 6.5.2, and those in use)
	maxLanes = 256 // HTTP/2 connections: the reports of a million replicas half a second away
)

// lanes are the ways of reports to the API, of which each has one HTTP/2 connection
// with as many requests at a time as servers permit. By itself the transport opens a
// connection for each request above that: hundreds at a time, each a TLS handshake,
// and more while those take their time.
//
// There are as many as the reports need: where all are full, as many are tried as there
// are, by one report each. An API that speaks HTTP/1.1 has the first lane alone, and in
// it a connection for each request at a time.
type lanes struct {
	mu    sync.Mutex
	lanes []*lane
	open  int // lanes that have had an answer over HTTP/2
}

// lane is one of them. The lock of lanes protects its fields, but for the client.
type lane struct {
	client   *http.Client
	inFlight int
	open     bool
}

// carries returns how many requests a lane carries at a time. Whether the first one has
// HTTP/2 is known by its first answer.
func (l *lanes) carries(i int) int {
	switch {
	case l.lanes[i].open:
		return streams
	case i == 0:
		return maxConns - spareConns
	}
	return 1
}

// enter returns the first lane that has room, of those that there are or a new one; if
// none has, the first.
func (l *lanes) enter(base *http.Client) *lane {
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
	chosen.inFlight++
	return chosen
}

// leave notes that a request over a lane has its answer; nil if there was none.
func (l *lanes) leave(lane *lane, resp *http.Response) {
	l.mu.Lock()
	defer l.mu.Unlock()
	lane.inFlight--
	if resp == nil || lane.open == (resp.ProtoMajor == 2) {
		return
	}
	if lane.open = !lane.open; lane.open {
		l.open++
	} else {
		l.open--
	}
}

// carry returns how many requests all lanes carry at a time, those included by which new
// ones are tried, and how many they would once there are as many as there may be.
func (l *lanes) carry() (now, most int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.lanes) == 0 || !l.lanes[0].open {
		return maxConns - spareConns, maxConns - spareConns
	}
	return l.open*streams + min(l.open, maxLanes-l.open), maxLanes * streams
}

// closeIdle closes the connections that no request uses, but for those of the first lane,
// which others have, too.
func (l *lanes) closeIdle() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, lane := range l.lanes[min(1, len(l.lanes)):] {
		lane.client.CloseIdleConnections()
	}
}
