package judge

import (
	"strings"
	"time"
)

// Status is the page's word for a replica: its health, or the reason why it has
// none.
type Status string

// Late and Silent are the statuses of a replica whose newest report is too old,
// and of one without any. The others are spelled as the healths are.
const (
	Late   Status = "late"
	Silent Status = "silent"
)

// State is the judge's knowledge of the map in force. Passwords in it are masked.
type State struct {
	MapDate  int64          `json:"map_date"`
	Notes    []string       `json:"notes,omitempty"`
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

// ReplicaState is the judge's record of one replica. Durations are seconds.
type ReplicaState struct {
	Replica    string  `json:"replica"`
	Target     string  `json:"target,omitempty"`   // the name of an own target
	Note       string  `json:"note,omitempty"`     // the behaviour of an own target
	Expected   Health  `json:"expected,omitempty"` // the right verdict now, where it is known
	Status     Status  `json:"status"`
	Health     Health  `json:"health,omitempty"` // in the newest report
	By         string  `json:"by,omitempty"`     // which of several daemons sent that
	Reports    int     `json:"reports"`
	Age        float64 `json:"age"`         // of the newest report
	Interval   float64 `json:"interval"`    // that it promised
	WorstGap   float64 `json:"worst_gap"`   // between two reports, or since the newest
	FirstAfter float64 `json:"first_after"` // from the map to the first report
	LateGaps   int     `json:"late_gaps"`   // including one that is still open
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

// State returns the record of every replica, and the summary of the same moment.
func (j *Judge) State(now time.Time) (State, Summary) {
	j.mu.Lock()
	state := j.stateLocked(now)
	sum, offsets := j.summaryLocked(now)
	j.mu.Unlock()
	sum.fillQuantiles(offsets)
	return state, sum
}

func (j *Judge) stateLocked(now time.Time) State {
	state := State{MapDate: j.current.Date, Notes: j.notesLocked()}
	for _, service := range j.current.Services {
		shown := ServiceState{ID: service.ID, Name: service.Name}
		for _, node := range service.Nodes {
			n := NodeState{ID: node.ID, Name: node.Name, Replicas: make([]ReplicaState, len(node.Replicas))}
			for i, r := range node.Replicas {
				n.Replicas[i] = j.replicaStateLocked(r, now)
				n.Counts.add(n.Replicas[i].Status)
			}
			shown.Nodes = append(shown.Nodes, n)
		}
		state.Services = append(state.Services, shown)
	}
	return state
}

// Replica returns the record of one replica, and whether the map in force has it.
func (j *Judge) Replica(id NodeID, url string, now time.Time) (ReplicaState, bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	r := j.current.index[id][url]
	if r == nil {
		return ReplicaState{}, false
	}
	return j.replicaStateLocked(r, now), true
}

// statusLocked applies the page's rule: the page calls a replica dead when its
// report is overdue, which is shown as late here.
func (j *Judge) statusLocked(r *Replica, now time.Time) Status {
	switch {
	case r.reports == 0 && (r.entered.IsZero() || now.Sub(r.entered) <= j.promisedLocked()+j.grace):
		return Silent
	case r.reports == 0, now.Sub(r.last) > r.interval+j.grace:
		return Late
	}
	return Status(r.health)
}

func (j *Judge) replicaStateLocked(r *Replica, now time.Time) ReplicaState {
	open := j.openGapLocked(r, now)
	state := ReplicaState{
		Replica:  r.Shown,
		Note:     r.Note,
		Expected: r.Expectation.at(now, j.settleLocked()),
		Status:   j.statusLocked(r, now),
		Health:   r.health,
		By:       r.by,
		Reports:  r.reports,
		Interval: r.interval.Seconds(),
		WorstGap: max(r.worst, open.length).Seconds(),
		LateGaps: r.late + open.count(),
		Wrong:    r.wrong,
	}
	if r.reports > 0 {
		state.Age = now.Sub(r.last).Seconds()
		state.FirstAfter = r.first.Sub(r.entered).Seconds()
	}
	if t := r.Target; t != nil {
		state.Target = t.Spec().String()
		state.CanStop = t.CanStop()
		state.Stopped = t.Stopped()
	}
	return state
}

// notesLocked explains a state that would puzzle a person.
func (j *Judge) notesLocked() []string {
	var ping, pingReported, otherReported bool
	for _, r := range j.current.all {
		switch isICMP := strings.HasPrefix(r.URL, "icmp:"); {
		case isICMP:
			ping = true
			pingReported = pingReported || r.reports > 0
		default:
			otherReported = otherReported || r.reports > 0
		}
	}
	if !ping || pingReported || !otherReported {
		return nil
	}
	return []string{"No ICMP replica has a report yet. If this lasts, the daemon has no ICMP socket: it needs the sysctl net.ipv4.ping_group_range or the capability CAP_NET_RAW. Its log names the one that is missing."}
}
