package status

import "time"

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
	Withheld     int             `json:"withheld"`               // verdicts that the scope keeps from being sent
	Members      []ClusterMember `json:"members"`                // all members of the group, also this daemon; empty if the engine knows none
	Trouble      string          `json:"trouble,omitempty"`      // why the engine cannot be asked
	TroubleSince time.Time       `json:"trouble_since,omitzero"` // when that began
}

// ClusterMember is a daemon of a group, as it says itself.
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

// Alone reports whether c is without its engine, which decides who is on duty.
func (c *Cluster) Alone() bool { return c != nil && c.Trouble != "" }

// Word returns a clause about the duty, short enough for a status line and the page.
func (c *Cluster) Word() string {
	switch {
	case c == nil:
		return ""
	case c.Scope == ReportsEverything:
		return "on duty"
	case c.Scope == ReportsAlive:
		return "healthy and sick alone are reported"
	case c.Why != "":
		return "standby: " + c.Why
	}
	return "standby"
}
