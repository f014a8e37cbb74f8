//go:build linux

package main

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/crisp-im/crisp-status-local/v2/internal/sandbox"
	"github.com/crisp-im/crisp-status-local/v2/internal/sandbox/judge"
)

// The size of the lists on the page of a large map: nobody reads 100,000 rows.
const (
	mostRows    = 500 // a larger map is shown by node
	mostTrouble = 30  // replicas that are not healthy
	sampleSize  = 20  // healthy replicas
)

// The page's words for healths, as statuses.
const (
	healthy = judge.Status(judge.Healthy)
	sick    = judge.Status(judge.Sick)
	dead    = judge.Status(judge.Dead)
)

// pageState is the state of the server and of the page's own buttons.
type pageState struct {
	sandbox.State
	FailureMode  string    `json:"failure_mode"`           // normal unless a person chose another
	FailureUntil time.Time `json:"failure_until,omitzero"` // zero: until a person chooses another

	Programs []programState `json:"programs,omitempty"` // of a group
}

// view is a state, arranged for the template.
type view struct {
	pageState
	Level        judge.Status // the worst status of any replica: it colours the headline
	Head         string
	DaemonOnAPI  []string     // the daemons' words about an API that takes no reports
	Reporter     string       // who sent the newest report: a daemon's name, or "the daemon"
	Daemons      []daemonView // the daemons of a group
	Servers      []programState
	OpenGap      float64 // seconds since the report that is the oldest of all newest ones
	Large        bool    // by node, not by replica
	Refresh      int     // milliseconds until the page is fetched again
	Trouble      []row   // of a large map: some that are not healthy
	Sample       []row   // of a large map: some that are
	FailureModes []failureMode
	Tiles        []tile

	told map[string]map[toldKey]toldReplica // by daemon
}

// daemonView is a daemon of a group as the page shows it: its process, its reports and
// its own words.
type daemonView struct {
	sandbox.Member
	Program programState
	Duty    string // in its own words
	OnDuty  bool
	Trouble string  // why its engine does not say who is on duty
	Age     float64 // of its newest report, in seconds
	Dead    int     // reports that a replica is dead
}

// toldKey finds the daemon's words about a replica.
type toldKey struct{ service, node, replica string }

type row struct {
	judge.ReplicaState
	Service, Node string
	Told          toldReplica // zero: the daemon says nothing
}

// Row returns a replica with what the daemon says about it.
func (v view) Row(service judge.ServiceState, node judge.NodeState, r judge.ReplicaState) row {
	key := toldKey{service.ID, node.ID, r.Replica}
	said, ok := v.told[r.By][key]
	if !ok { // who reported it last is gone: any other will do
		for _, name := range slices.Sorted(maps.Keys(v.told)) {
			if said, ok = v.told[name][key]; ok {
				break
			}
		}
	}
	return row{r, service.Name, node.Name, said}
}

type tile struct {
	Status judge.Status
	Count  int
}

// word returns the page's word for a status.
func word(status judge.Status) string {
	switch status {
	case healthy:
		return "Healthy"
	case sick:
		return "Sick"
	case dead:
		return "Dead"
	case judge.Late:
		return "Late"
	}
	return "No report yet"
}

// newView arranges a state and the words of the daemons, by their names.
func newView(state pageState, words map[string]*told) view {
	c := state.Summary.Counts
	v := view{
		pageState:    state,
		Large:        c.Replicas > mostRows,
		Refresh:      1000,
		FailureModes: failureModes,
		Tiles:        []tile{{healthy, c.Healthy}, {sick, c.Sick}, {dead, c.Dead}, {judge.Late, c.Late}, {judge.Silent, c.Silent}},
		OpenGap:      openGap(state.Services),
		told:         make(map[string]map[toldKey]toldReplica),
	}
	for _, name := range slices.Sorted(maps.Keys(words)) {
		v.told[name] = make(map[toldKey]toldReplica)
		for _, r := range words[name].Replicas {
			v.told[name][toldKey{r.Service, r.Node, r.Replica}] = r
		}
		if said := words[name].api(); said != "" {
			v.DaemonOnAPI = append(v.DaemonOnAPI, cmp.Or(name, "The daemon")+" says: "+said)
		}
	}
	v.arrangeGroup(words)
	v.Level, v.Head = headline(state.Summary)
	if v.Large {
		v.Refresh = 5000 // a large page takes longer to make
		v.Trouble, v.Sample = pick(state.Services)
	}
	return v
}

// arrangeGroup arranges the daemons of a group, and says who reported last.
func (v *view) arrangeGroup(words map[string]*told) {
	v.Reporter = "the daemon"
	var newest time.Time
	programs := make(map[string]programState)
	for _, p := range v.Programs {
		programs[p.Name] = p
	}
	for _, m := range v.Members {
		c := daemonView{Member: m, Program: programs[m.Name], Duty: words[m.Name].Duty(), Dead: m.ByHealth[sandbox.Dead]}
		if t := words[m.Name]; t != nil && t.Cluster != nil {
			c.OnDuty = t.Cluster.Scope == "everything"
			if t.Cluster.Trouble != t.Cluster.Why { // which is among its words
				c.Trouble = t.Cluster.Trouble
			}
		}
		if !m.LastReport.IsZero() {
			c.Age = v.Time.Sub(m.LastReport).Seconds()
		}
		if m.LastReport.After(newest) {
			newest, v.Reporter = m.LastReport, m.Name
		}
		v.Daemons = append(v.Daemons, c)
		delete(programs, m.Name)
	}
	for _, p := range v.Programs {
		if _, server := programs[p.Name]; server {
			v.Servers = append(v.Servers, p)
		}
	}
}

// headline sums up the page in one line.
func headline(sum sandbox.Summary) (judge.Status, string) {
	c := sum.Counts
	down := c.Dead + c.Late
	switch {
	case c.Replicas == 0:
		return judge.Silent, "The map is empty"
	case sum.Reports == 0 && c.Late == 0:
		return judge.Silent, "Waiting for the first report"
	case down > 0:
		level := dead
		if c.Dead == 0 {
			level = judge.Late
		}
		return level, fmt.Sprintf("%s of %s down", count(down), plural(c.Replicas, "replica is", "replicas are"))
	case c.Sick > 0:
		return sick, fmt.Sprintf("%s of %s sick", count(c.Sick), plural(c.Replicas, "replica is", "replicas are"))
	case c.Silent > 0:
		return judge.Silent, fmt.Sprintf("%s not been reported yet", plural(c.Silent, "replica has", "replicas have"))
	}
	return healthy, "All replicas are healthy"
}

// pick returns the worst replicas of a large map, and a sample of the healthy ones
// from all over it.
func pick(services []judge.ServiceState) ([]row, []row) {
	var fine, trouble, sample []row
	for _, service := range services {
		for _, node := range service.Nodes {
			for _, r := range node.Replicas {
				if r.Status == healthy && r.Wrong == 0 && r.LateGaps == 0 {
					fine = append(fine, row{ReplicaState: r, Service: service.Name, Node: node.Name})
				} else {
					trouble = append(trouble, row{ReplicaState: r, Service: service.Name, Node: node.Name})
				}
			}
		}
	}
	rank := map[judge.Status]int{judge.Late: -4, judge.Silent: -3, dead: -2, sick: -1}
	slices.SortStableFunc(trouble, func(a, b row) int {
		return cmp.Or(cmp.Compare(b.Wrong+b.LateGaps, a.Wrong+a.LateGaps), cmp.Compare(rank[a.Status], rank[b.Status]))
	})
	trouble = trouble[:min(len(trouble), mostTrouble)]
	n := min(len(fine), sampleSize)
	for i := range n {
		sample = append(sample, fine[i*len(fine)/n])
	}
	return trouble, sample
}

func total(parts ...int) int {
	all := 0
	for _, part := range parts {
		all += part
	}
	return all
}

// openGap returns the longest time that a replica waits for its next report now.
func openGap(services []judge.ServiceState) float64 {
	longest := 0.0
	for _, service := range services {
		for _, node := range service.Nodes {
			for _, r := range node.Replicas {
				longest = max(longest, r.Age)
			}
		}
	}
	return longest
}
