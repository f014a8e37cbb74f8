//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/user"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/crisp-im/crisp-status-local/v2/internal/config"
	"github.com/crisp-im/crisp-status-local/v2/internal/pace"
	"github.com/crisp-im/crisp-status-local/v2/internal/probe"
	"github.com/crisp-im/crisp-status-local/v2/internal/scheduler"
	"github.com/crisp-im/crisp-status-local/v2/internal/statusapi"
)

const checkLong = `Read FILE, ask the Status API for the map with its token, and say in words whether
all is right: the token, the map and its entries that are left out, the replicas that
[probe] denies by their URL (no name is looked up), the clock, ICMP, and whether the
promise to the page can be kept. Of several daemons ([cluster]): what decides who is
on duty, whether it answers and permits what a member does, who is in the group, and
the rate of the clock. Nothing is probed or reported.

Run it as the user of the daemon, with its limit of open files.

Without ./config.cfg, FILE is /etc/crisp-status-local.cfg.

What has a ✘ before it has to be mended; what has a ! works, but look at it.

Exit status: 0 if it works, though entries of the map may be left out; 1 if
something has to be mended; 78 for a file that cannot work.`

// maxClock is how far the clock may be from the API's: Date is in whole seconds,
// and old by the way it came.
const maxClock = 5 * time.Second

// retryCheck is the wait before another attempt at the map while somebody looks.
const retryCheck = 500 * time.Millisecond

func checkCommand(sys system) *cobra.Command {
	var path string
	cmd := &cobra.Command{
		Use:                   "check [-c FILE]",
		Short:                 "Say whether configuration, token and map are right",
		Long:                  checkLong,
		Example:               "  sudo -u crisp-status-local crisp-status-local check",
		Args:                  noArguments,
		DisableFlagsInUseLine: true,
		RunE: func(cmd *cobra.Command, _ []string) error {
			findConfig(cmd, &path)
			return runCheck(cmd.Context(), sys, path)
		},
	}
	configFlag(cmd, &path)
	return cmd
}

// checklist collects what is right and what is not, a line each.
type checklist struct {
	screen  screen
	text    strings.Builder
	left    int // entries that are left out: the page's matter
	failed  int // what somebody has to do something about
	noticed int // what is odd, and does no harm
}

// add adds a line.
func (l *checklist) add(m mark, label, format string, args ...any) {
	const column = 11
	line := fmt.Sprintf("%s %-*s%s", l.screen.mark(m), column-2, label, printable(fmt.Sprintf(format, args...)))
	l.text.WriteString(l.screen.fold(line, column))
}

// fail adds a line about what has to be mended.
func (l *checklist) fail(label, format string, args ...any) {
	l.failed++
	l.add(wrong, label, format, args...)
}

// notice adds a line about what is odd, and does no harm.
func (l *checklist) notice(label, format string, args ...any) {
	l.noticed++
	l.add(odd, label, format, args...)
}

// runCheck is the command check.
func runCheck(ctx context.Context, sys system, path string) error {
	trustPublicRoots()
	c, err := config.Load(path, sys.lookupEnv)
	if err != nil {
		return withWarnings(err, c.Warnings)
	}
	asCommand()
	l := &checklist{screen: newScreen(sys.stdout, sys.lookupEnv)}
	l.file(c)
	for _, odd := range oddRoots(sys.lookupEnv) {
		l.notice("roots", "%s", odd)
	}
	l.cluster(ctx, c)
	if m := l.fetch(ctx, c); m != nil {
		l.entries(m)
		l.denied(m, c)
		l.icmp(m)
		l.promise(m, c)
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	l.text.WriteString(l.screen.fold(l.summary(), 0))
	if err := emit(sys.stdout, l.text.String()); err != nil {
		return err
	}
	if l.failed > 0 {
		return statusError{status: 1}
	}
	return nil
}

// file says what was read, and who else can read it.
func (l *checklist) file(c config.Config) {
	mode, open := "", false
	if info, err := os.Stat(c.Path); err == nil {
		mode = fmt.Sprintf("; %04o", info.Mode().Perm())
		if stat, ok := info.Sys().(*syscall.Stat_t); ok {
			mode += " " + ownerName(stat.Uid) + ":" + groupName(stat.Gid)
		}
		open = info.Mode().Perm()&0o004 != 0
	}
	l.add(right, "file", "%s read%s", c.Path, mode)
	if open {
		l.notice("file", "everybody on this host can read it, token included: chmod o= %s", c.Path)
	}
	for _, warning := range c.Warnings {
		l.notice("file", "%s", warning)
	}
}

func ownerName(uid uint32) string {
	id := strconv.FormatUint(uint64(uid), 10)
	if u, err := user.LookupId(id); err == nil {
		return u.Username
	}
	return id
}

func groupName(gid uint32) string {
	id := strconv.FormatUint(uint64(gid), 10)
	if g, err := user.LookupGroupId(id); err == nil {
		return g.Name
	}
	return id
}

// fetch asks for the map and says what came; nil if none did.
func (l *checklist) fetch(ctx context.Context, c config.Config) *statusapi.Map {
	client := statusapi.New(c.Endpoint, c.Token.Reveal(), userAgent, func(time.Duration) time.Duration { return retryCheck })
	defer client.Close()
	began := time.Now()
	m, err := client.FetchMap(ctx, nil)
	l.clock(client)
	switch {
	case errors.Is(err, statusapi.ErrUnauthorized):
		l.fail("token", "%v: get your reporter token from the Crisp dashboard, under Status", err)
		return nil
	case err != nil:
		l.fail("map", "%v", err)
		return nil
	}
	l.add(right, "map", "200 in %s from %s; %s", took(time.Since(began).Seconds()), c.Endpoint, mapText(m.Checks))
	if len(m.Checks) == 0 {
		l.notice("map", "nothing is to be watched: add replicas of the kind \"local\" to nodes of the page")
	}
	return m
}

// mapText counts what is in a map.
func mapText(checks []probe.Check) string {
	type node struct{ service, node string }
	services, nodes, schemes := make(map[string]bool), make(map[node]bool), make(map[probe.Scheme]int)
	for _, c := range checks {
		services[c.ServiceID], nodes[node{c.ServiceID, c.NodeID}] = true, true
		schemes[c.Target.Scheme()]++
	}
	var parts []string
	for _, scheme := range probe.Schemes() {
		if n := schemes[scheme]; n > 0 {
			parts = append(parts, fmt.Sprintf("%s %d", scheme, n))
		}
	}
	text := fmt.Sprintf("%s, %s, %s", count(len(services), "service", "services"), count(len(nodes), "node", "nodes"), count(len(checks), "replica", "replicas"))
	if len(parts) > 0 {
		text += " (" + strings.Join(parts, ", ") + ")"
	}
	return text
}

// clock compares the clocks.
func (l *checklist) clock(client *statusapi.Client) {
	ahead, known := client.ClockAhead()
	if !known {
		return
	}
	switch ahead = ahead.Round(time.Second); {
	case ahead.Abs() <= maxClock:
		l.add(right, "clock", "that of the Status API, to %v", maxClock)
	case ahead > 0:
		l.notice("clock", "%s ahead of the Status API's: certificates and times in the log are judged by it (timedatectl)", short(ahead))
	default:
		l.notice("clock", "%s behind the Status API's: certificates and times in the log are judged by it (timedatectl)", short(-ahead))
	}
}

// entries says what of the map is left out, or taken as something else.
func (l *checklist) entries(m *statusapi.Map) {
	for _, problem := range m.Problems {
		l.left++
		l.add(odd, "entry", "%s", problem)
	}
}

// denied says how many replicas [probe] denies by their URL.
func (l *checklist) denied(m *statusapi.Map, c config.Config) {
	var n int
	var first error
	for _, check := range m.Checks {
		if err := check.Target.Denial(c.Policy); err != nil {
			if n++; first == nil {
				first = err
			}
		}
	}
	if n == 0 {
		return
	}
	follows := "neither probed nor reported"
	if c.ReportDenied {
		follows = "not probed, and reported dead"
	}
	are := "are"
	if n == 1 {
		are = "is"
	}
	l.notice("denied", "%d of %s %s %s (`status` lists them while the daemon runs, `once` at any time); the first one: %v", n, count(len(m.Checks), "replica", "replicas"), are, follows, first)
}

// icmp says by which sockets ICMP is sent.
func (l *checklist) icmp(m *statusapi.Map) {
	needed := slices.ContainsFunc(m.Checks, func(c probe.Check) bool { return c.Target.Scheme() == probe.ICMP })
	prober := probe.New(userAgent)
	defer prober.Close()
	for _, trouble := range prober.Trouble() {
		if needed {
			l.fail("icmp", "%v", trouble)
		}
	}
	if kind := prober.ICMP(); kind != "" {
		l.add(right, "icmp", "%s", kind)
	} else if !needed {
		l.add(right, "icmp", "not permitted here, and no replica needs it")
	}
}

// promise says whether every replica can be reported in time.
func (l *checklist) promise(m *statusapi.Map, c config.Config) {
	files := openFiles()
	p := scheduler.PlacesOf(m, scheduler.Settings{Interval: c.Interval, Workers: c.Workers, Files: files})
	kept := p.Allowed >= p.Needed
	if !kept {
		l.fail("probes", "%d at a time are needed, and %s allows %d", p.Needed, p.By, p.Allowed)
		l.add(wrong, "promise", "replicas are reported late if most others stop answering")
		return
	}
	l.add(right, "probes", "at most %d at a time are needed, %d open files are allowed", p.Needed, files)
	others := ""
	if n := len(m.Checks); n > 1 {
		others = fmt.Sprintf(" even if %d of them stop answering", n-1)
	}
	l.add(right, "promise", "every replica within %g s%s%s", c.Promise.Seconds(), others, absences(c))
}

// absences returns how long the daemon may be away before the page shows it, in words;
// empty unless the promise is longer than the interval.
func absences(c config.Config) string {
	if c.Promise == c.Interval {
		return ""
	}
	unplanned := pace.Absence(c.Interval, c.Promise)
	return fmt.Sprintf("; probed every %g s; this daemon may be away for %g s if it is told to end, for %g s if it is not",
		c.Interval.Seconds(), max(c.Promise, unplanned).Seconds(), unplanned.Seconds())
}

// summary says in a line what is to be done.
func (l *checklist) summary() string {
	rest := "everything works"
	if l.left+l.noticed > 0 {
		rest = "everything else works"
	}
	if l.failed > 0 {
		rest = count(l.failed, "thing has", "things have") + " to be mended"
	}
	var parts []string
	if l.left > 0 {
		parts = append(parts, notAsItIs(l.left))
	}
	if l.noticed > 0 {
		parts = append(parts, count(l.noticed, "thing is odd", "things are odd"))
	}
	return strings.Join(append(parts, rest), "; ")
}

// notAsItIs counts the entries of a map that are left out, or taken as something else.
func notAsItIs(entries int) string {
	return count(entries, "entry of the map is not taken as it is", "entries of the map are not taken as they are")
}
