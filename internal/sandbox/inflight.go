package sandbox

import (
	"time"

	"github.com/crisp-im/crisp-status-local/v2/internal/sandbox/judge"
)

// replicaKey names one replica of the map, as one of several daemons reports it.
type replicaKey struct {
	member string
	node   judge.NodeID
	url    string
}

// flight is a report that is not answered yet.
type flight struct {
	key   replicaKey
	ended chan struct{} // closed when it ends
	err   error         // nil: it was answered before its client left; set before ended is closed
}

// startReport records that a report of the replica is in flight. It returns the
// one that is in flight already, nil if there is none.
func (s *Server) startReport(key replicaKey) (*flight, *flight) {
	s.flightMu.Lock()
	defer s.flightMu.Unlock()
	own, before := &flight{key: key, ended: make(chan struct{})}, s.flights[key]
	s.flights[key] = own
	return own, before
}

// endReport records that a report has ended, with nil if it was answered. Only the
// first call for a report counts.
func (s *Server) endReport(own *flight, err error) {
	s.flightMu.Lock()
	defer s.flightMu.Unlock()
	select {
	case <-own.ended:
		return
	default:
	}
	own.err = err
	close(own.ended)
	if s.flights[own.key] == own {
		delete(s.flights, own.key)
	}
}

// awaitReport records a violation when a report came before the one before it
// about the same replica was answered. A client may give up a request and send
// the next: the sandbox learns of the first a moment later, so it waits for that.
func (s *Server) awaitReport(before *flight) {
	const longest = 10 * time.Second // to learn that a client has left
	select {
	case <-before.ended:
		if before.err != nil {
			return
		}
	case <-time.After(longest):
	}
	s.traffic.recordViolation("there must be only one request per replica at a time", mask(before.key.url))
}
