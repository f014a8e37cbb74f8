package status

import (
	"fmt"
	"strings"
	"time"
)

// Scope is how much a daemon may report, if several watch for one page.
type Scope string

// The scopes.
const (
	ReportsEverything Scope = "everything" // it is on duty
	ReportsAlive      Scope = "alive"      // healthy and sick; dead is left to the page
	ReportsNothing    Scope = "nothing"    // it stands by: another one is on duty
)

// Cluster is the state of the duty, if several daemons watch for one page.
type Cluster struct {
	Engine       string          `json:"engine"`                 // alive, address or etcd
	Group        string          `json:"group,omitempty"`        // of the daemons that share the duty; only with etcd
	Member       string          `json:"member,omitempty"`       // the name of this daemon among them
	Scope        Scope           `json:"scope"`                  // what it may report: everything, alive (healthy and sick) or nothing
	Since        time.Time       `json:"since,omitzero"`         // when the scope began
	Why          string          `json:"why,omitempty"`          // the reason for it
	Holder       string          `json:"holder,omitempty"`       // the member on duty, as far as it is known
	Takeovers    uint64          `json:"takeovers"`              // by this daemon, since its start
	Kept         int             `json:"kept"`                   // verdicts that the scope does not permit yet
	Members      []ClusterMember `json:"members"`                // all members of the group, also this daemon, as they said themselves up to 10 s ago; empty if the engine knows none
	Trouble      string          `json:"trouble,omitempty"`      // why the engine does not say who is on duty, and the cure
	TroubleKind  Plight          `json:"trouble_kind,omitempty"` // unreachable: the engine cannot be asked; excluded: it answers, and this daemon cannot take part; undecided: it answers, and nobody is on duty
	TroubleSince time.Time       `json:"trouble_since,omitzero"` // when that began
	Warnings     []string        `json:"warnings,omitempty"`     // what is to be mended although the duty goes on
	Conflict     bool            `json:"conflict,omitempty"`     // another host has the address that decides, too; why names it
	Unchecked    string          `json:"unchecked,omitempty"`    // why it cannot be known whether one has
}

// Plight is the kind of a trouble with the engine.
type Plight string

// The kinds.
const (
	Unreachable Plight = "unreachable" // the engine cannot be asked
	Excluded    Plight = "excluded"    // it answers, and this daemon cannot take part
	Undecided   Plight = "undecided"   // it answers, and nobody is on duty
)

// String returns what the engine does, a predicate.
func (p Plight) String() string {
	switch p {
	case Excluded:
		return "answers, but this daemon cannot take part"
	case Undecided:
		return "answers, but nobody is on duty"
	}
	return "cannot be asked"
}

// ClusterMember is a daemon of a group, as it said itself up to ten seconds ago.
type ClusterMember struct {
	Name       string `json:"name"`
	Version    string `json:"version,omitempty"`
	Healthy    int    `json:"healthy"`     // replicas that it sees healthy
	Sick       int    `json:"sick"`        // replicas that it sees sick
	Dead       int    `json:"dead"`        // replicas that it sees dead
	APIAnswers bool   `json:"api_answers"` // the Status API has answered it lately
}

// StandsBy reports whether another daemon is on duty, or may be. c is nil without an
// engine: then it is false.
func (c *Cluster) StandsBy() bool { return c != nil && c.Scope == ReportsNothing }

// LeavesDeaths reports whether dead is left to the page, which shows it by itself.
func (c *Cluster) LeavesDeaths() bool { return c != nil && c.Scope == ReportsAlive }

// HasTrouble reports whether the engine does not say who is on duty. c is nil without an
// engine: then it is false.
func (c *Cluster) HasTrouble() bool { return c != nil && c.Trouble != "" }

// Word returns a short clause about the duty.
func (c *Cluster) Word() string {
	switch {
	case c == nil:
		return ""
	case c.Scope == ReportsEverything:
		return "on duty"
	case c.Scope == ReportsAlive && c.Conflict:
		return "only healthy and sick are reported: " + c.Why
	case c.Scope == ReportsAlive:
		return "only healthy and sick are reported"
	case c.Why != "" && c.Why != c.Trouble: // which Note says
		return "standby: " + c.Why
	}
	return "standby"
}

// Note returns all about the duty that an operator is to know in one line: the word,
// what is wrong with the engine and since when, and what is to be mended. It is empty
// without an engine.
func (c *Cluster) Note() string {
	note := c.Word()
	if c.HasTrouble() {
		note += fmt.Sprintf("; the engine %v since %s: %s", c.TroubleKind, c.TroubleSince.Format(time.RFC3339), c.Trouble)
	}
	if c != nil && len(c.Warnings) > 0 {
		note += "; " + strings.Join(c.Warnings, "; ")
	}
	return note
}
