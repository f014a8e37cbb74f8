package sandbox

import (
	"time"

	"github.com/crisp-im/crisp-status-local/v2/internal/sandbox/judge"
)

// State is everything about a Server but its secrets: passwords in it are masked,
// and the token is not in it.
type State struct {
	Time     time.Time `json:"time"`
	Endpoint string    `json:"endpoint"`
	MapFile  string    `json:"map_file,omitempty"`
	MapError string    `json:"map_error,omitempty"` // the reason why the file as it is now is not in force
	Summary  Summary   `json:"summary"`
	Members  []Member  `json:"members,omitempty"` // where several daemons report
	judge.State
}

// Summary is the judgement of a run, and its traffic.
type Summary struct {
	judge.Summary
	Traffic
}

// State returns the state of this moment.
func (s *Server) State() State {
	now := time.Now()
	judged, summary := s.judge.State(now)
	s.mapMu.Lock()
	defer s.mapMu.Unlock()
	return State{
		Time:     now,
		Endpoint: s.Endpoint(),
		MapFile:  s.options.MapFile,
		MapError: s.mapError,
		Summary:  Summary{summary, s.traffic.snapshot()},
		Members:  s.members.list(),
		State:    judged,
	}
}

// Summary returns the judgement of the run so far.
func (s *Server) Summary() Summary {
	return Summary{s.judge.Summary(time.Now()), s.traffic.snapshot()}
}

// Replica returns the state of one replica, by its exact ids and URL, and whether
// the map in force has it.
func (s *Server) Replica(service, node, url string) (ReplicaState, bool) {
	return s.judge.Replica(judge.NodeID{Service: service, Node: node}, url, time.Now())
}

// Progress returns the number of cycles that have begun, and whether every
// replica of the map is reported in the newest. It costs next to nothing.
func (s *Server) Progress() (int, bool) { return s.judge.Progress() }
