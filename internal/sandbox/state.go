package sandbox

import (
	"slices"
	"strings"
	"time"
)

// Status is what the page shows of a replica: its health, or why it has none.
type Status string

// Late and Silent are the statuses of a replica whose last report is too old, and
// of one that never had any. The others are spelled as the healths are.
const (
	Late   Status = "late"
	Silent Status = "silent"
)

// State is everything that the page shows. Passwords in it are masked, and the
// token is not in it.
type State struct {
	Time     time.Time      `json:"time"`
	Endpoint string         `json:"endpoint"`
	MapFile  string         `json:"map_file,omitempty"`
	MapDate  int64          `json:"map_date"`
	MapError string         `json:"map_error,omitempty"` // why the file as it is now is not in force
	Mood     string         `json:"mood"`                // how the API was told to answer; normal unless a person chose another
	Notes    []string       `json:"notes,omitempty"`
	Summary  Summary        `json:"summary"`
	Services []ServiceState `json:"services"`
}

// ServiceState is a service of the map in force.
type ServiceState struct {
	ID    string      `json:"id"`
	Name  string      `json:"name"`
	Nodes []NodeState `json:"nodes"`
}

// NodeState is a node of the map in force.
type NodeState struct {
	ID       string         `json:"id"`
	Name     string         `json:"name"`
	Counts   Counts         `json:"counts"`
	Replicas []ReplicaState `json:"replicas"`
}

// ReplicaState is what the judge holds of one replica. Durations are seconds.
type ReplicaState struct {
	Replica    string  `json:"replica"`
	Target     string  `json:"target,omitempty"`   // the name of an own target
	Note       string  `json:"note,omitempty"`     // what an own target does
	Expected   Health  `json:"expected,omitempty"` // what it must be judged now, where that is known
	Status     Status  `json:"status"`
	Health     Health  `json:"health,omitempty"` // as last reported
	Reports    int     `json:"reports"`
	Age        float64 `json:"age"`         // of the last report
	Interval   float64 `json:"interval"`    // that it promised
	WorstGap   float64 `json:"worst_gap"`   // between two reports
	FirstAfter float64 `json:"first_after"` // from the map to the first report
	LateGaps   int     `json:"late_gaps"`   // with one that is still open
	Wrong      int     `json:"wrong"`       // verdicts that the target contradicts
	CanStop    bool    `json:"can_stop,omitempty"`
	Stopped    bool    `json:"stopped,omitempty"` // by a person
}

// Counts are numbers of replicas by status.
type Counts struct {
	Replicas int `json:"replicas"`
	Healthy  int `json:"healthy"`
	Sick     int `json:"sick"`
	Dead     int `json:"dead"`
	Late     int `json:"late"`
	Silent   int `json:"silent"`
}

func (c *Counts) add(s Status) {
	c.Replicas++
	switch s {
	case Status(Healthy):
		c.Healthy++
	case Status(Sick):
		c.Sick++
	case Status(Dead):
		c.Dead++
	case Late:
		c.Late++
	case Silent:
		c.Silent++
	}
}

// Trouble is the number of replicas that are anything but healthy.
func (c Counts) Trouble() int { return c.Replicas - c.Healthy }

// State returns what the page shows now.
func (s *Server) State() State {
	state := s.judge.state(time.Now())
	state.Endpoint = s.Endpoint()
	state.Mood = s.currentMood().Name
	state.MapFile = s.options.MapFile
	s.loadMu.Lock()
	state.MapError = s.broken
	s.loadMu.Unlock()
	s.traffic.fill(&state.Summary)
	return state
}

// Replica returns the state of one replica, by its exact ids and URL, and whether
// the map in force has it.
func (s *Server) Replica(service, node, url string) (ReplicaState, bool) {
	s.judge.mu.Lock()
	defer s.judge.mu.Unlock()
	r := s.judge.roster.index[place{service, node}][url]
	if r == nil {
		return ReplicaState{}, false
	}
	return s.judge.replicaStateLocked(r, time.Now()), true
}

// state fills in all that the judge knows.
func (j *judge) state(now time.Time) State {
	j.mu.Lock()
	defer j.mu.Unlock()
	state := State{Time: now, MapDate: j.roster.date, Summary: j.summaryLocked(now)}
	for _, service := range j.roster.services {
		shown := ServiceState{ID: service.id, Name: service.name}
		for _, node := range service.nodes {
			n := NodeState{ID: node.id, Name: node.name, Replicas: make([]ReplicaState, len(node.replicas))}
			for i, r := range node.replicas {
				n.Replicas[i] = j.replicaStateLocked(r, now)
				n.Counts.add(n.Replicas[i].Status)
			}
			shown.Nodes = append(shown.Nodes, n)
		}
		state.Services = append(state.Services, shown)
	}
	state.Notes = j.notesLocked()
	return state
}

// statusLocked applies the page's rule: a replica whose report is overdue is
// dead to the page, and shown as late.
func (j *judge) statusLocked(r *replica, now time.Time) Status {
	switch {
	case r.reports == 0 && (r.entered.IsZero() || now.Sub(r.entered) <= j.promisedLocked()+j.grace):
		return Silent
	case r.reports == 0, now.Sub(r.last) > r.interval+j.grace:
		return Late
	}
	return Status(r.health)
}

func (j *judge) replicaStateLocked(r *replica, now time.Time) ReplicaState {
	state := ReplicaState{
		Replica:  mask(r.url),
		Note:     r.note,
		Expected: r.truth.at(now, j.settleLocked()),
		Status:   j.statusLocked(r, now),
		Health:   r.health,
		Reports:  r.reports,
		Interval: r.interval.Seconds(),
		WorstGap: r.worst.Seconds(),
		LateGaps: r.late,
		Wrong:    r.wrong,
	}
	if _, late := j.openGapLocked(r, now); late {
		state.LateGaps++
	}
	if r.reports > 0 {
		state.Age = now.Sub(r.last).Seconds()
		state.FirstAfter = r.first.Sub(r.entered).Seconds()
	}
	if t := r.target; t != nil {
		state.Target = t.spec.String()
		state.CanStop = t.CanStop()
		state.Stopped = t.Stopped()
	}
	return state
}

// notesLocked explains what would puzzle a person.
func (j *judge) notesLocked() []string {
	if j.accepted == 0 {
		return nil
	}
	silent := func(r *replica) bool { return r.reports == 0 }
	isICMP := func(r *replica) bool { return strings.HasPrefix(r.url, "icmp:") }
	ping := slices.DeleteFunc(slices.Clone(j.roster.all), func(r *replica) bool { return !isICMP(r) })
	if len(ping) == 0 || slices.ContainsFunc(ping, func(r *replica) bool { return !silent(r) }) {
		return nil
	}
	if !slices.ContainsFunc(j.roster.all, func(r *replica) bool { return !isICMP(r) && !silent(r) }) {
		return nil
	}
	return []string{"No ICMP replica has a report yet. If that lasts, the daemon was given no ICMP socket: it needs the sysctl net.ipv4.ping_group_range or the capability CAP_NET_RAW, and its log says which."}
}
