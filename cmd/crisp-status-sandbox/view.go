//go:build linux

package main

import (
	"cmp"
	"fmt"
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
}

// view is a state, arranged for the template.
type view struct {
	pageState
	Level        judge.Status // the worst status of any replica: it colours the headline
	Head         string
	DaemonOnAPI  string  // the daemon's words about an API that takes no reports
	OpenGap      float64 // seconds since the report that is the oldest of all newest ones
	Large        bool    // by node, not by replica
	Refresh      int     // milliseconds until the page is fetched again
	Trouble      []row   // of a large map: some that are not healthy
	Sample       []row   // of a large map: some that are
	FailureModes []failureMode
	Tiles        []tile

	told map[toldKey]toldReplica
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
	return row{r, service.Name, node.Name, v.told[toldKey{service.ID, node.ID, r.Replica}]}
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

// newView arranges a state and the daemon's words, which are nil where it has none.
func newView(state pageState, words *told) view {
	c := state.Summary.Counts
	v := view{
		pageState:    state,
		Large:        c.Replicas > mostRows,
		Refresh:      1000,
		FailureModes: failureModes,
		Tiles:        []tile{{healthy, c.Healthy}, {sick, c.Sick}, {dead, c.Dead}, {judge.Late, c.Late}, {judge.Silent, c.Silent}},
		DaemonOnAPI:  words.api(),
		OpenGap:      openGap(state.Services),
		told:         make(map[toldKey]toldReplica),
	}
	if words != nil {
		for _, r := range words.Replicas {
			v.told[toldKey{r.Service, r.Node, r.Replica}] = r
		}
	}
	v.Level, v.Head = headline(state.Summary)
	if v.Large {
		v.Refresh = 5000 // a large page takes longer to make
		v.Trouble, v.Sample = pick(state.Services)
	}
	return v
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
