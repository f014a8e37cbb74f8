package sandbox

import (
	"context"
	"time"

	"github.com/crisp-im/crisp-status-local/v2/internal/sandbox/judge"
)

// replicaKey names one replica of the map.
type replicaKey struct {
	node judge.NodeID
	url  string
}

// flight is a report that is not answered yet.
type flight struct {
	key       replicaKey
	ended     chan struct{} // closed when it ends
	abandoned bool          // by its client, before it was answered; set before ended is closed
}

// startReport records that a report of the replica is in flight. It returns the
// one that is in flight already, nil if there is none.
func (s *Server) startReport(key replicaKey) (*flight, *flight) {
	s.flightMu.Lock()
	defer s.flightMu.Unlock()
	f, before := &flight{key: key, ended: make(chan struct{})}, s.flights[key]
	s.flights[key] = f
	return f, before
}

// endReport records that a report is answered, or that ctx, its client's, ended.
func (s *Server) endReport(ctx context.Context, f *flight) {
	s.flightMu.Lock()
	defer s.flightMu.Unlock()
	f.abandoned = ctx.Err() != nil
	close(f.ended)
	if s.flights[f.key] == f {
		delete(s.flights, f.key)
	}
}

// awaitReport records a violation when a report came before the one before it
// about the same replica was answered. A client may give up a request and send
// the next: the sandbox learns of the first a moment later, so it waits for that.
func (s *Server) awaitReport(before *flight) {
	const longest = 10 * time.Second // to learn that a client has left
	select {
	case <-before.ended:
		if before.abandoned {
			return
		}
	case <-time.After(longest):
	}
	s.traffic.recordViolation("there must be only one request per replica at a time", mask(before.key.url))
}
