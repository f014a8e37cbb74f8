//go:build linux

package main

import (
	"fmt"
	"os/user"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"

	"github.com/crisp-im/crisp-status-local/v2/internal/service"
	"github.com/crisp-im/crisp-status-local/v2/internal/status"
)

// maxDetails is how many replicas are shown with all that is known of them.
const maxDetails = 10

// statusView is a state and where it is shown.
type statusView struct {
	screen   screen
	snapshot *status.Snapshot
	peer     service.Peer
}

// chosen returns the replicas that want holds for, dead ones first, and of each
// health what changed last.
func (v statusView) chosen(want func(*status.Replica) bool) []*status.Replica {
	var chosen []*status.Replica
	for i := range v.snapshot.Replicas {
		if r := &v.snapshot.Replicas[i]; want(r) {
			chosen = append(chosen, r)
		}
	}
	rank := []string{"dead", "sick", "unknown", "healthy"}
	slices.SortStableFunc(chosen, func(a, b *status.Replica) int {
		if order := slices.Index(rank, a.Health) - slices.Index(rank, b.Health); order != 0 {
			return order
		}
		return b.Since.Compare(a.Since)
	})
	return chosen
}

// head returns the state of daemon, host, Status API and promise.
func (v statusView) head() string {
	s := v.snapshot
	line := fmt.Sprintf("version %s, process %d of %s, up for %s, %s", printable(s.Version), v.peer.PID, userName(v.peer.UID), short(s.Now.Sub(s.Started)), printable(s.Config))
	if s.Version != version {
		line += fmt.Sprintf(" (this command is version %s: restart the daemon)", version)
	}
	c := s.Counts
	replicas := fmt.Sprintf("%d: %d healthy, %d sick, %d dead", c.Replicas, c.Healthy, c.Sick, c.Dead)
	if c.Unknown > 0 {
		replicas += fmt.Sprintf(", %d without a verdict", c.Unknown)
	}
	if c.Ignored > 0 {
		replicas += fmt.Sprintf("; %s of the map ignored (status --ignored)", count(c.Ignored, "entry", "entries"))
	}
	return v.screen.labelled("daemon", line) + v.host() + v.cluster() + v.screen.labelled("Status API", v.api()) +
		v.screen.labelled("promise", v.promise()) + v.server() + v.screen.labelled("replicas", replicas)
}

// server is a line if metrics and page are to be served and are not.
func (v statusView) server() string {
	s := v.snapshot.Server
	if s == nil || s.Error == "" {
		return ""
	}
	return v.screen.labelled("endpoint", v.screen.paint("is not served: "+printable(s.Error), text.FgRed)+"; it is tried again at the next reload (SIGHUP)")
}

// userName returns whose a process is.
func userName(uid int) string {
	if u, err := user.LookupId(strconv.Itoa(uid)); err == nil {
		return "user " + u.Username
	}
	return "uid " + strconv.Itoa(uid)
}

// host returns a line for each trouble of this host.
func (v statusView) host() string {
	trouble, now := v.snapshot.Host.Trouble, v.snapshot.Now
	if len(trouble) == 0 {
		return v.screen.labelled("this host", "lacks nothing")
	}
	var b strings.Builder
	for _, t := range trouble {
		line := v.screen.paint(printable(t.Reason), text.FgRed)
		if !t.Since.IsZero() {
			line += " since " + clock(t.Since, now)
		}
		line += fmt.Sprintf(" (%s without a verdict", count(t.Replicas, "replica", "replicas"))
		if !t.RepeatedUntil.IsZero() {
			line += "; the last verdict is repeated until " + clock(t.RepeatedUntil, now)
		}
		b.WriteString(v.screen.labelled("this host", line+")"))
	}
	return b.String()
}

// api says how the Status API takes requests.
func (v statusView) api() string {
	a, now := v.snapshot.API, v.snapshot.Now
	var parts []string
	switch a.State {
	case status.APIAnswers:
		line := v.screen.paint("answers", text.FgGreen)
		if a.RTTSeconds > 0 {
			line += " (" + took(a.RTTSeconds) + ")"
		}
		parts = append(parts, line)
	case status.APIUnauthorized:
		parts = append(parts, v.screen.paint("does not accept the token", text.FgRed, text.Bold)+since(a.Since, now)+": check report.token")
	case status.APIUnknown:
		parts = append(parts, "has not answered yet")
	default:
		line := v.screen.paint(printable(string(a.State)), text.FgRed, text.Bold) + since(a.Since, now)
		if a.Error != "" {
			line += ": " + printable(a.Error)
		}
		parts = append(parts, line)
	}
	if !v.snapshot.Cluster.StandsBy() {
		parts = append(parts, count(a.Waiting, "verdict waits", "verdicts wait"))
	}
	if !a.NextTry.IsZero() && a.NextTry.After(now) {
		parts = append(parts, "next try in "+short(a.NextTry.Sub(now)))
	}
	said := a.MapError == "" || a.State == status.APIDown && a.MapError == a.Error
	switch {
	case a.MapAt.IsZero() && said:
		parts = append(parts, "no map yet")
	case a.MapAt.IsZero():
		parts = append(parts, "no map yet: "+printable(a.MapError))
	case a.MapError != "" && said:
		parts = append(parts, fmt.Sprintf("the map of %s stays in force", clock(a.MapAt, now)))
	case a.MapError != "":
		parts = append(parts, fmt.Sprintf("the map of %s stays in force: %s", clock(a.MapAt, now), printable(a.MapError)))
	default:
		parts = append(parts, fmt.Sprintf("map of %s (%s)", clock(a.MapAt, now), printable(string(a.MapOutcome))))
	}
	return strings.Join(parts, "; ")
}

func since(t, now time.Time) string {
	if t.IsZero() {
		return ""
	}
	return " since " + clock(t, now)
}

// promise says whether every replica is reported in time.
func (v statusView) promise() string {
	p, s := v.snapshot.Promise, v.snapshot
	if p.NextCycle.IsZero() {
		return "nothing is probed: there is no map yet"
	}
	parts := []string{v.screen.paint("no report was late", text.FgGreen)}
	if p.Late > 0 {
		parts[0] = v.screen.paint(count(p.Late, "report was late", "reports were late"), text.FgRed) + " since the start"
	}
	if s.Cluster.StandsBy() {
		parts[0] = "kept by another daemon"
		if s.Cluster.Holder == "" { // it may be that nobody is on duty
			parts[0] = "not kept by this daemon"
		}
	} else if p.WorstGapSeconds > 0 {
		parts = append(parts, fmt.Sprintf("worst gap %.1f s of the %g s promised", p.WorstGapSeconds, p.PromisedSeconds))
	}
	if p.ProbesNeeded > p.ProbesLimit {
		parts = append(parts, v.screen.paint(fmt.Sprintf("%d probes at a time are needed and %d allowed: raise the limit of open files, or probe.workers", p.ProbesNeeded, p.ProbesLimit), text.FgRed))
	}
	if p.NextCycle.After(s.Now) {
		parts = append(parts, "next cycle in "+short(p.NextCycle.Sub(s.Now)))
	}
	return strings.Join(parts, "; ")
}

// replicas returns a table of them, or where the screen has no room for one a
// few lines for each.
func (v statusView) replicas(chosen []*status.Replica) string {
	if len(chosen) == 0 {
		return ""
	}
	if v.screen.narrow() {
		var b strings.Builder
		for _, r := range chosen {
			b.WriteString("\n" + v.screen.fold(v.title(r), 2) + v.screen.fold("  "+v.taken(r), 2))
		}
		return b.String()
	}
	t := newTable("health", "for", "replica", "reason", "the page took", "at", "next by")
	longest := 0
	for _, r := range chosen {
		longest = max(longest, text.StringWidthWithoutEscSequences(printable(r.Replica)))
	}
	const others = 58 // columns of all the other cells
	v.screen.wrap(t, 3, 4, others, longest)
	now := v.snapshot.Now
	for _, r := range chosen {
		row := table.Row{v.health(r), v.age(r), printable(r.Replica), printable(r.Reason), "nothing", "–", "–"}
		if v.snapshot.Cluster.StandsBy() {
			row[4] = "–"
		} else if r.Reported != nil {
			row[4], row[5], row[6] = printable(r.Reported.Health), clock(r.Reported.At, now), clock(r.Reported.Due, now)
		}
		t.AppendRow(row)
	}
	return "\n" + rendered(t)
}

// health returns the health of r, and whether a death awaits confirmation.
func (v statusView) health(r *status.Replica) string {
	if r.Withheld {
		return v.screen.health(printable(r.Health)) + ", dead?"
	}
	return v.screen.health(printable(r.Health))
}

// age returns for how long r has been so.
func (v statusView) age(r *status.Replica) string {
	if r.Since.IsZero() {
		return "–"
	}
	return short(v.snapshot.Now.Sub(r.Since))
}

// title says in a line how r is, and why.
func (v statusView) title(r *status.Replica) string {
	title := printable(r.Replica) + "   " + v.health(r)
	if !r.Since.IsZero() {
		title += " for " + v.age(r)
	}
	if r.Reason != "" {
		title += "   " + printable(r.Reason)
	}
	return title
}

// taken says what the page last took of r.
func (v statusView) taken(r *status.Replica) string {
	switch {
	case v.snapshot.Cluster.StandsBy() && v.snapshot.Cluster.Holder == "":
		return "this daemon does not report it"
	case v.snapshot.Cluster.StandsBy():
		return "another daemon reports it"
	case r.Health == "dead" && v.snapshot.Cluster.LeavesDeaths():
		return "its death is left to the page, which shows it 40 s after the next report is due"
	case r.Reported == nil:
		return "the page has taken nothing yet"
	}
	now := v.snapshot.Now
	return fmt.Sprintf("the page took %s at %s, and must take the next by %s", printable(r.Reported.Health), clock(r.Reported.At, now), clock(r.Reported.Due, now))
}

// details returns all that is known of replicas.
func (v statusView) details(chosen []*status.Replica) string {
	var b strings.Builder
	now := v.snapshot.Now
	for i, r := range chosen {
		if i > 0 {
			b.WriteString("\n")
		}
		b.WriteString(v.screen.fold(v.title(r), 2))
		b.WriteString(v.screen.fold("  service "+printable(r.Service)+"   node "+printable(r.Node), 2))
		b.WriteString(v.screen.fold("  "+v.taken(r), 2))
		t := newTable()
		for _, h := range r.History {
			t.AppendRow(table.Row{"  " + clock(h.At, now), v.screen.health(printable(h.Health)), took(h.LatencySeconds), tries(h.Attempts)})
		}
		b.WriteString(rendered(t))
		if f := r.LastFailure; f != nil {
			b.WriteString(v.screen.fold(fmt.Sprintf("  last failure %s: %s", clock(f.At, now), printable(f.Reason)), 2))
			b.WriteString(attemptsText(v.screen, f.Attempts))
		}
	}
	return b.String()
}

func tries(n int) string {
	if n <= 1 {
		return ""
	}
	return fmt.Sprintf("%d attempts", n)
}

// ignored returns the entries of the map that are not watched.
func (v statusView) ignored() string {
	entries := v.snapshot.Ignored
	if len(entries) == 0 {
		return "every entry of the map is watched\n"
	}
	var b strings.Builder
	for _, e := range entries {
		b.WriteString(v.screen.fold(printable(e.Entry)+"   "+printable(e.Reason), 2))
	}
	return b.String()
}
