package main

import (
	"github.com/crisp-im/crisp-status-local/v2/internal/probe"
	"github.com/crisp-im/crisp-status-local/v2/internal/report"
	"github.com/crisp-im/crisp-status-local/v2/internal/statusapi"
)

// verdicts is the outbox as the scheduler sees it.
type verdicts struct{ *report.Outbox }

// Put hands on what a result says to the page.
func (v verdicts) Put(r probe.Result) {
	v.Outbox.Put(statusapi.Verdict{ID: r.Check.ID(), Health: r.Health})
}

// Stale reports, once, whether the map in hand is not the API's.
func (v verdicts) Stale() bool { return v.MapOutdated() }

// Resume does nothing: the outbox tries the token by itself.
func (verdicts) Resume() {}
