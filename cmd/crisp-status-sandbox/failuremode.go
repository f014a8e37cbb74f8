package main

import (
	"net/http"
	"slices"
	"sync"

	"github.com/crisp-im/crisp-status-local/v2/internal/sandbox"
)

// failureMode is a way for a person to break the API from the page.
type failureMode struct {
	Name  string
	Label string // completes "The API answers …"
	fault sandbox.Fault
}

var failureModes = []failureMode{
	{"normal", "as it should", nil},
	{"500", "with status 500", sandbox.Refuse(http.StatusInternalServerError, "")},
	{"401", "with status 401", sandbox.Refuse(http.StatusUnauthorized, "")},
	{"hang", "never", sandbox.Hang()},
	{"disconnect", "by closing the connection", sandbox.Disconnect()},
}

// breakage is the failure mode in force. Faults of others stay beside it.
type breakage struct {
	server *sandbox.Server

	mu   sync.Mutex // protects the following fields
	mode string
	heal func() // ends the mode; nil in normal mode
}

// set puts the named mode in force, and reports whether there is such a mode.
func (b *breakage) set(name string) bool {
	i := slices.IndexFunc(failureModes, func(m failureMode) bool { return m.Name == name })
	if i < 0 {
		return false
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.heal != nil {
		b.heal()
		b.heal = nil
	}
	if fault := failureModes[i].fault; fault != nil {
		b.heal = b.server.Break(sandbox.All, fault)
	}
	b.mode = name
	return true
}

// current returns the name of the mode in force.
func (b *breakage) current() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.mode
}
