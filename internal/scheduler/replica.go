package scheduler

import (
	"time"

	"github.com/crisp-im/crisp-status-local/v2/internal/probe"
	"github.com/crisp-im/crisp-status-local/v2/internal/status"
)

// phase is where a replica is between two turns. The package comment draws the
// transitions.
type phase uint8

const (
	idle       phase = iota // no probe, nothing withheld
	probing                 // its probe runs or waits for a place
	withheld                // it turned dead; whether many did is not known yet
	doubted                 // many did; its confirmation is scheduled
	confirming              // its confirmation runs or waits for a place
	gone                    // the map lost it
)

func isGone(r *replica) bool { return r.phase == gone }

// inPool reports whether a probe of the replica runs or waits for a place.
func (p phase) inPool() bool { return p == probing || p == confirming }

// replica is the state of one replica of the map.
type replica struct {
	check   *probe.Check  // of the current map
	health  probe.Health  // of its last verdict; Unknown before the first
	since   time.Time     // of health
	phase   phase         //
	recheck recheck       //
	inQueue inQueue       //
	cutOff  bool          // its death was not believed, as this host reached nobody; until the next verdict
	cohort  *cohort       // the group that its last probe started in; nil if it was dead then
	death   *pendingDeath // nil unless it is withheld, doubted or confirming
	history status.History
	repeats *repeats // nil while its last turn has a verdict, or none was repeated
}

// inQueue says in which queues of the Scheduler's a replica has a place, one at most: so
// they are never longer than the map, whatever keeps changing.
type inQueue struct{ rechecks, refreshes bool }

// pendingDeath is a dead verdict that is not reported yet.
type pendingDeath struct {
	result    probe.Result
	turn      time.Time // of the probe
	alone     bool      // this host heard of nobody else meanwhile: see diedAlone
	lone      bool      // it is doubted for that alone
	confirmAt time.Time // zero until a confirmation is scheduled
	confirmed bool      // by an attempt that followed
	final     bool      // the next confirmation is the last one
}

// comeBack puts a replica whose probe outlasted its absence from the map back
// in the phase it left. It is new to the page, so nothing is left to repeat.
func (r *replica) comeBack() {
	r.phase = probing
	if r.death != nil {
		r.phase = confirming
	}
	r.health, r.repeats, r.cutOff = probe.Unknown, nil, false
	r.inQueue = inQueue{} // remove has taken it out
	r.history.Forget()
}
