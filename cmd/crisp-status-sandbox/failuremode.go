//go:build linux

package main

import (
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/crisp-im/crisp-status-local/v2/internal/sandbox"
)

// failureMode is a way for a person to break the API from the page.
type failureMode struct {
	Name  string
	Label string // completes "The API answers …"
	fault sandbox.Fault
}

// failureModes are the modes of the page's buttons. The first is the healthy API.
var failureModes = []failureMode{
	{"normal", "as it should", nil},
	{"401", "with status 401", sandbox.Refuse(http.StatusUnauthorized, "")},
	{"403", "403", sandbox.Refuse(http.StatusForbidden, "")},
	{"404", "404", sandbox.Refuse(http.StatusNotFound, "")},
	{"422", "422", sandbox.Refuse(http.StatusUnprocessableEntity, "")},
	{"429", "429", sandbox.Refuse(http.StatusTooManyRequests, "")},
	{"500", "500", sandbox.Refuse(http.StatusInternalServerError, "")},
	{"502", "502", sandbox.Refuse(http.StatusBadGateway, "")},
	{"503", "503", sandbox.Refuse(http.StatusServiceUnavailable, "")},
	{"503-retry-after", "503, Retry-After: 3600", sandbox.Refuse(http.StatusServiceUnavailable, "3600")},
	{"hang", "never", sandbox.Hang()},
	{"hang-in-head", "half a head", sandbox.HangInHead()},
	{"hang-in-body", "without an end", sandbox.HangInBody()},
	{"hang-after", "once a connection", sandbox.HangAfter()},
	{"disconnect", "by closing the connection", sandbox.Disconnect()},
}

// breakage is the failure mode in force. It leaves faults from elsewhere alone.
type breakage struct {
	server *sandbox.Server

	mu    sync.Mutex // protects the following fields
	mode  string
	until time.Time // zero: until another mode is set
	heal  func()    // ends the mode; nil in normal mode
}

// set puts the named mode in force for d, or if d is 0 until the next call, and
// reports whether there is such a mode.
func (b *breakage) set(name string, d time.Duration) bool {
	i := slices.IndexFunc(failureModes, func(m failureMode) bool { return m.Name == name })
	if i < 0 {
		return false
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.heal != nil {
		b.heal()
	}
	b.mode, b.until, b.heal = name, time.Time{}, nil
	fault := failureModes[i].fault
	switch {
	case fault == nil:
	case d > 0:
		b.until = time.Now().Add(d)
		b.heal = b.server.BreakFor(d, sandbox.All, fault)
	default:
		b.heal = b.server.Break(sandbox.All, fault)
	}
	return true
}

// current returns the name of the mode in force, and its end: zero if it has none.
func (b *breakage) current() (string, time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.until.IsZero() && !time.Now().Before(b.until) {
		b.mode, b.until = failureModes[0].Name, time.Time{}
	}
	return b.mode, b.until
}
