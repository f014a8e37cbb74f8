package sandbox

import (
	"time"

	"github.com/crisp-im/crisp-status-local/v2/internal/sandbox/judge"
	"github.com/crisp-im/crisp-status-local/v2/internal/sandbox/target"
)

// Health is judge.Health.
type Health = judge.Health

// Rules are judge.Rules.
type Rules = judge.Rules

// ReplicaState is judge.ReplicaState.
type ReplicaState = judge.ReplicaState

// The three healths that a report may carry.
const (
	Healthy = judge.Healthy
	Sick    = judge.Sick
	Dead    = judge.Dead
)

// Map is the content of a map file, and of the map that the API hands out.
type Map struct {
	Metrics  Metrics   `toml:"metrics"`
	Services []Service `toml:"service"`
}

// Metrics are the limits that the map asks for. They are handed out as they
// are, in range or not; nil fields are handed out as null.
type Metrics struct {
	Retry     *int `toml:"retry" json:"retry"`
	DelayDead *int `toml:"delay_dead" json:"delay_dead"` // seconds
	DelaySick *int `toml:"delay_sick" json:"delay_sick"` // seconds
}

// limits returns the metrics as the daemon must understand them: defaults filled
// in, numbers clamped.
func (m Metrics) limits() target.Limits {
	l := target.Limits{Retry: 2, DeadAfter: 20 * time.Second}
	if m.Retry != nil {
		l.Retry = max(*m.Retry, 0)
	}
	if m.DelayDead != nil {
		l.DeadAfter = time.Duration(min(max(*m.DelayDead, 1), 35)) * time.Second
	}
	if m.DelaySick != nil {
		l.SickAfter = time.Duration(min(max(*m.DelaySick, 0), 3600)) * time.Second
	}
	return l
}

// Service is a group of nodes. Without an ID its Name is its id, and the other
// way round; the API knows ids only, names are for people.
type Service struct {
	ID    string `toml:"id"`
	Name  string `toml:"name"`
	Nodes []Node `toml:"node"`
}

// Node is a group of replicas that share HTTP rules. ID and Name are as in Service.
type Node struct {
	ID       string   `toml:"id"`
	Name     string   `toml:"name"`
	Replicas []string `toml:"replicas"` // URLs, handed out unchanged, or own targets as target.ParseSpec reads them
	HTTP     Rules    `toml:"http"`
}
