// Package duty decides how much this daemon may report now, if several daemons
// watch for one status page.
//
// Only a dead report needs a lock. The page itself shows a replica dead when nobody
// reports it, so a daemon that is not sure of the duty may still report that a
// replica is up: at worst, another daemon reports the same. Hence three scopes:
//
//	Everything  on duty: healthy, sick and dead
//	Alive       no engine decides: healthy and sick
//	Nothing     another daemon is on duty: a hot standby
package duty

import (
	"context"
	"time"
)

// Scope is how much a daemon may report.
type Scope uint8

// The scopes, by how much they permit.
const (
	Nothing Scope = iota
	Alive
	Everything
)

// Permits reports whether a report may begin; dead says that the verdict is dead.
func (s Scope) Permits(dead bool) bool { return s == Everything || s == Alive && !dead }

// String returns the scope as log, JSON and metrics have it.
func (s Scope) String() string {
	switch s {
	case Everything:
		return "everything"
	case Alive:
		return "alive"
	}
	return "nothing"
}

// What each scope means, as it is logged after the reason.
const (
	reportsEverything = "everything is reported"
	reportsAlive      = "only healthy and sick are reported; dead is left to the page, which shows it by itself"
	reportsNothing    = "nothing is reported"
)

// Duty is the right to report. Its methods may be called by many goroutines.
type Duty interface {
	// Run seeks the duty and holds it until ctx is done. Then the scope is Nothing, and
	// Run returns. Where the engine can be told, as etcd, the duty was given back by
	// then, so that another daemon takes over at once; an address stays where it is.
	Run(ctx context.Context)

	// Scope returns how much may be reported now. It is called right before each
	// report begins, and never blocks for long.
	Scope() Scope

	// Changed returns a channel that yields a value after the scope has changed; nil
	// if it never does. It has one reader, and is never closed.
	Changed() <-chan struct{}

	// State returns the state, for people.
	State() State
}

// State is the state of a duty at one moment.
type State struct {
	Engine    string    // none, alive, address or etcd
	Scope     Scope     // of this daemon
	Since     time.Time // when the scope began
	Why       string    // the reason for the scope, a clause such as "host-b is on duty"
	Holder    string    // the member on duty; empty while none is known
	Member    string    // this one, as in Members; empty without an engine
	Group     string    // empty where the engine knows none
	Takeovers uint64    // by this daemon, since its start
	Members   []Member  // of the group, this one among them, by name; nil where the engine knows none
	Trouble   string    // why the engine does not say who is on duty, and the cure; empty while it does
	TroubleAt time.Time // when the trouble began; zero without one
	Plight    Plight    // the kind of Trouble
	Warnings  []string  // what is to be mended although the duty goes on, a sentence each
	Conflict  bool      // another host has the address that decides, too; Why names it
	Unchecked string    // why it cannot be known whether one has; empty if it can, or while this host has not the address
}

// Plight is the kind of a trouble with the engine.
type Plight string

// The kinds.
const (
	Unreachable Plight = ""          // the engine cannot be asked
	Excluded    Plight = "excluded"  // the engine answers, and this daemon cannot take part
	Undecided   Plight = "undecided" // the engine answers, and nobody is on duty
)

// Member is one daemon of a group.
type Member struct {
	Name    string
	Version string
	Healthy int // replicas, as this member sees them
	Sick    int
	Dead    int
	API     bool // the Status API has answered it lately
}
