//go:build linux

package main

import (
	"fmt"
	"strings"

	"github.com/jedib0t/go-pretty/v6/text"

	"github.com/crisp-im/crisp-status-local/v2/internal/duty"
	"github.com/crisp-im/crisp-status-local/v2/internal/status"
)

var plights = map[duty.Plight]status.Plight{
	duty.Unreachable: status.Unreachable, duty.Excluded: status.Excluded, duty.Undecided: status.Undecided,
}

// clusterOf returns the state of the duty, as it is shown; nil without an engine.
func clusterOf(s duty.State) *status.Cluster {
	if s.Engine == "" || s.Engine == "none" {
		return nil
	}
	c := &status.Cluster{
		Engine: s.Engine, Group: s.Group, Member: s.Member, Scope: status.Scope(s.Scope.String()), Since: s.Since.UTC(), Why: s.Why,
		Holder: s.Holder, Takeovers: s.Takeovers, Members: make([]status.ClusterMember, 0, len(s.Members)), Trouble: s.Trouble, Warnings: s.Warnings,
		Conflict: s.Conflict, Unchecked: s.Unchecked,
	}
	if s.Trouble != "" {
		c.TroubleSince, c.TroubleKind = s.TroubleAt.UTC(), plights[s.Plight]
	}
	for _, m := range s.Members {
		c.Members = append(c.Members, status.ClusterMember{Name: m.Name, Version: m.Version, Healthy: m.Healthy, Sick: m.Sick, Dead: m.Dead, APIAnswers: m.API})
	}
	return c
}

// countOwn makes counts those of this daemon among the members of c, whose record may be
// up to duty.TellEvery old. c is nil without an engine. While the engine is in trouble, all
// members are shown as they were before.
func countOwn(c *status.Cluster, counts status.Counts) {
	if c == nil || c.HasTrouble() {
		return
	}
	for i := range c.Members {
		if m := &c.Members[i]; m.Name == c.Member {
			m.Healthy, m.Sick, m.Dead = counts.Healthy, counts.Sick, counts.Dead
		}
	}
}

// cluster returns the lines about the duty; none without an engine.
func (v statusView) cluster() string {
	c, now := v.snapshot.Cluster, v.snapshot.Now
	if c == nil {
		return ""
	}
	colour := map[status.Scope]text.Color{status.ReportsEverything: text.FgGreen, status.ReportsAlive: text.FgYellow, status.ReportsNothing: text.FgCyan}
	words := map[status.Scope]string{status.ReportsEverything: "on duty", status.ReportsAlive: "reports only healthy and sick", status.ReportsNothing: "standby"}
	word := words[c.Scope]
	if word == "" { // of another version
		word = printable(string(c.Scope))
	}
	line := v.screen.paint(word, colour[c.Scope]) + since(c.Since, now)
	if c.Why != "" {
		line += ": " + printable(c.Why)
	}
	switch {
	case c.Kept > 0 && c.Scope == status.ReportsNothing:
		line += "; " + count(c.Kept, "verdict is", "verdicts are") + " kept, to be sent on taking over"
	case c.Kept > 0 && c.Scope == status.ReportsAlive:
		line += "; " + count(c.Kept, "death is", "deaths are") + " left to the page"
	}
	if c.Takeovers > 0 {
		line += fmt.Sprintf("; taken over %s since the start", count(int(c.Takeovers), "time", "times"))
	}
	var lines strings.Builder
	lines.WriteString(v.screen.labelled("duty", line))
	about := "engine " + printable(c.Engine)
	if c.Group != "" {
		about += ", group " + printable(c.Group)
	}
	if c.Member != "" {
		about += ", member " + printable(c.Member)
	}
	if c.Trouble != "" {
		about += "; " + v.screen.paint(c.TroubleKind.String(), text.FgRed, text.Bold) + since(c.TroubleSince, now)
		if c.Trouble != c.Why { // which stands above
			about += ": " + printable(c.Trouble)
		}
	}
	if c.Conflict {
		about += "; " + v.screen.paint("the address is on two hosts", text.FgRed, text.Bold) + ": take it from one of them, or let VRRP pass between them (crisp-status-local check)"
	}
	if c.Unchecked != "" {
		about += "; not checked whether another host has the address, too: " + printable(c.Unchecked)
	}
	lines.WriteString(v.screen.labelled("cluster", about))
	for _, warning := range c.Warnings {
		lines.WriteString(v.screen.labelled("warning", v.screen.paint(printable(warning), text.FgYellow)))
	}
	for _, m := range c.Members {
		lines.WriteString(v.screen.labelled("member", v.member(m)))
	}
	return lines.String()
}

// member returns the line about a member of the group.
func (v statusView) member(m status.ClusterMember) string {
	c := v.snapshot.Cluster
	line := printable(m.Name)
	if m.Name == c.Member {
		line += " (this daemon)"
	}
	if m.Name == c.Holder {
		line += ", on duty"
	}
	line += fmt.Sprintf(": %d healthy, %d sick, %d dead", m.Healthy, m.Sick, m.Dead)
	if m.Name != c.Member && c.Trouble == "" {
		line += fmt.Sprintf(" up to %g s ago", duty.TellEvery.Seconds())
	}
	line += "; "
	if m.APIAnswers {
		line += "the Status API answers it"
	} else {
		line += v.screen.paint("the Status API does not answer it", text.FgRed)
	}
	if m.Version != "" && m.Version != v.snapshot.Version {
		line += "; version " + printable(m.Version)
	}
	if c.Trouble != "" {
		line += "; as of " + clock(c.TroubleSince, v.snapshot.Now)
	}
	return line
}
