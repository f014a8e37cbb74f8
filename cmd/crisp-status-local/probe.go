//go:build linux

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/crisp-im/crisp-status-local/v2/internal/config"
	"github.com/crisp-im/crisp-status-local/v2/internal/pace"
	"github.com/crisp-im/crisp-status-local/v2/internal/probe"
	"github.com/crisp-im/crisp-status-local/v2/internal/status"
)

const probeLong = `Probe each URL as the daemon would, from here and now, and say how it ended:
the verdict, its reason, and per attempt the phases. Nothing is reported.

What a page sets for its replicas is given by the flags; without them the defaults
of a map hold. No file is read, so what [probe] allow and deny say does not count;
addresses that are denied by default (cloud metadata, multicast) are not probed.

Run it as the user of the daemon, in its container: names, routes, CA certificates
and the right to send ICMP are those of whoever runs it.

Exit status: 0 healthy, 1 sick, 2 dead, 3 not judged, since this host lacks
something or the address is denied; of several URLs the worst counts: dead, not
judged, sick. It is 64 for a wrong command line, or a URL that is none.`

// Exit statuses of the command probe.
const (
	exitHealthy   = 0
	exitSick      = 1
	exitDead      = 2
	exitNotJudged = 3
	exitBadProbe  = 64 // EX_USAGE of sysexits.h: 2 is a dead replica
)

// probeInterval is the interval whose budget a probe has: the default one.
const probeInterval = 120 * time.Second

// probeFlags are the rules of a probe.
type probeFlags struct {
	retry, deadAfter, sickAfter int // the latter in seconds, as the page sets them
	healthyMatch, deadMatch     string
	status                      string
	caFile                      string
	output                      string
}

func probeCommand(sys system) *cobra.Command {
	var o probeFlags
	defaults := probe.DefaultRules()
	cmd := &cobra.Command{
		Use:                   "probe [OPTION…] URL…",
		Short:                 "Probe a URL from here, as the daemon would",
		Long:                  probeLong,
		Example:               "  crisp-status-local probe https://10.0.0.7/health\n  crisp-status-local probe --retry 0 --delay-dead 5 tcp://10.0.0.5:3306 icmp://10.0.0.1",
		DisableFlagsInUseLine: true,
		ValidArgsFunction: cobra.FixedCompletions(schemePrefixes(),
			cobra.ShellCompDirectiveNoFileComp|cobra.ShellCompDirectiveNoSpace),
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usageError(exitBadProbe, "no URL, want one like https://10.0.0.7/health or tcp://10.0.0.5:3306")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error { return o.run(cmd.Context(), sys, args) },
	}
	cmd.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error { return flagError(cmd, err, exitBadProbe) })
	flags := cmd.Flags()
	flags.SortFlags = false
	flags.IntVar(&o.retry, "retry", defaults.Retry, "make up to `NUMBER` further attempts after one that was down")
	flags.IntVar(&o.deadAfter, "delay-dead", int(defaults.DeadAfter/time.Second), "an attempt that takes so many `SECONDS` is down")
	flags.IntVar(&o.sickAfter, "delay-sick", 0, "one that takes so many `SECONDS` is sick; 0: none is")
	flags.StringVar(&o.healthyMatch, "healthy-match", "", "the `TEXT` that the body must have")
	flags.StringVar(&o.deadMatch, "dead-match", "", "the `TEXT` that the body must not have")
	flags.StringVar(&o.status, "status", fmt.Sprintf("%d-%d", defaults.HealthyAbove, defaults.HealthyBelow-1), "the `RANGE` of healthy statuses")
	flags.StringVar(&o.caFile, "ca-file", "", "a PEM `FILE` of certificates to trust beside the system's")
	outputFlag(cmd, &o.output)
	return cmd
}

// schemePrefixes are what a URL can begin with.
func schemePrefixes() []string {
	var all []string
	for _, scheme := range probe.Schemes() {
		all = append(all, string(scheme)+"://")
	}
	return all
}

// rules returns the rules that the flags make.
func (o *probeFlags) rules() (*probe.Rules, error) {
	longest := int(pace.LongestProbe / time.Second)
	switch {
	case o.retry < 0 || o.retry > 100:
		return nil, fmt.Errorf("--retry %d, want 0 to 100", o.retry)
	case o.deadAfter < 1 || o.deadAfter > longest:
		return nil, fmt.Errorf("--delay-dead %d, want 1 to %d seconds", o.deadAfter, longest)
	case o.sickAfter < 0 || o.sickAfter > 3600:
		return nil, fmt.Errorf("--delay-sick %d, want 0 to 3600 seconds", o.sickAfter)
	}
	for _, match := range []string{o.healthyMatch, o.deadMatch} {
		if len(match) > probe.MaxMatch {
			return nil, fmt.Errorf("a match of %d bytes, want at most %d", len(match), probe.MaxMatch)
		}
	}
	low, high, err := statusRange(o.status)
	if err != nil {
		return nil, err
	}
	return &probe.Rules{
		Retry:        o.retry,
		DeadAfter:    time.Duration(o.deadAfter) * time.Second,
		SickAfter:    time.Duration(o.sickAfter) * time.Second,
		HealthyAbove: low, HealthyBelow: high + 1,
		HealthyMatch: o.healthyMatch, DeadMatch: o.deadMatch,
	}, nil
}

// statusRange reads "200-399", or "200" alone.
func statusRange(text string) (low, high int, err error) {
	first, last, isRange := strings.Cut(text, "-")
	if !isRange {
		last = first
	}
	low, errLow := strconv.Atoi(first)
	high, errHigh := strconv.Atoi(last)
	if errLow != nil || errHigh != nil || low < 100 || high > 999 || low > high {
		return 0, 0, fmt.Errorf("--status %q, want a range of HTTP statuses like 200-399", probe.Redact(text))
	}
	return low, high, nil
}

func (o *probeFlags) run(ctx context.Context, sys system, urls []string) error {
	if err := wantForm(o.output, exitBadProbe); err != nil {
		return err
	}
	rules, err := o.rules()
	if err != nil {
		return usageError(exitBadProbe, "%w", err)
	}
	checks, err := checksOf(urls, rules)
	if err != nil {
		return usageError(exitBadProbe, "%w", err)
	}
	trustPublicRoots()
	prober := probe.New(userAgent)
	defer prober.Close()
	if o.caFile != "" {
		pool, err := config.LoadCertificates(o.caFile)
		if err != nil {
			return usageError(exitBadProbe, "--ca-file %s: %w", o.caFile, err)
		}
		prober.TrustRoots(pool)
	}
	asCommand()
	results := make([]probe.Result, len(checks))
	var probing sync.WaitGroup
	for i, check := range checks {
		probing.Go(func() { results[i] = prober.Probe(ctx, taskOf(check)) })
	}
	probing.Wait()
	return o.tell(sys, results)
}

// taskOf is one probe of check, of which everything is to be told.
func taskOf(check probe.Check) probe.Task {
	return probe.Task{Check: check, Budget: pace.Budget(probeInterval, check.Rules.DeadAfter), Trace: true}
}

// checksOf returns what urls, all of which must be some, are to be judged by.
func checksOf(urls []string, rules *probe.Rules) ([]probe.Check, error) {
	checks := make([]probe.Check, len(urls))
	var wrong []error
	for i, url := range urls {
		target, err := probe.ParseTarget(url)
		if err != nil {
			wrong = append(wrong, err)
			continue
		}
		checks[i] = probe.Check{Target: target, Rules: rules}
	}
	if len(wrong) > 0 {
		return nil, errors.Join(wrong...)
	}
	probe.NumberLookAlikes(checks)
	return checks, nil
}

// tell writes the results; the error has the exit status that they make.
func (o *probeFlags) tell(sys system, results []probe.Result) error {
	out := newScreen(sys.stdout, sys.lookupEnv)
	exit := exitHealthy
	for i, r := range results {
		exit = worse(exit, exitOf(r.Health))
		text := "\n"
		if i == 0 || o.output == "json" {
			text = ""
		}
		if o.output == "json" {
			encoded, err := json.MarshalIndent(probedOf(r), "", "  ")
			if err != nil {
				return err
			}
			text += string(encoded) + "\n"
		} else {
			text += resultText(out, r)
		}
		if err := emit(sys.stdout, text); err != nil {
			return err
		}
	}
	if exit == exitHealthy {
		return nil
	}
	return statusError{status: exit}
}

// exitOf returns the exit status of a verdict.
func exitOf(h probe.Health) int {
	switch h {
	case probe.Healthy:
		return exitHealthy
	case probe.Sick:
		return exitSick
	case probe.Dead:
		return exitDead
	}
	return exitNotJudged
}

// worse returns the exit status that counts of two.
func worse(a, b int) int {
	rank := func(exit int) int { return strings.IndexByte("0132", byte('0'+exit)) }
	if rank(b) > rank(a) {
		return b
	}
	return a
}

// probed is a result in the form of -o json.
type probed struct {
	Replica        string           `json:"replica"`
	Scheme         string           `json:"scheme"`
	Health         string           `json:"health"` // healthy, sick, dead or unknown
	Reason         string           `json:"reason,omitempty"`
	Kind           string           `json:"kind,omitempty"`
	Hint           string           `json:"hint,omitempty"`
	Notes          []string         `json:"notes,omitempty"`
	LatencySeconds float64          `json:"latency_seconds,omitempty"`
	Attempts       []status.Attempt `json:"attempts"`
}

func probedOf(r probe.Result) probed {
	p := probed{
		Replica: r.Check.Target.String(), Scheme: string(r.Check.Target.Scheme()), Health: status.HealthName(r.Health),
		Reason: r.Reason(), Kind: string(r.Kind()), Notes: r.Notes, Attempts: status.Attempts(time.Now(), r.Trace),
		LatencySeconds: r.Latency.Seconds(),
	}
	p.Hint = hint(p)
	return p
}

// resultText returns a result for people.
func resultText(s screen, r probe.Result) string {
	p := probedOf(r)
	title := p.Replica + "   " + s.health(p.Health)
	if p.Health == "unknown" {
		title = p.Replica + "   " + s.health("not judged")
	}
	if p.Reason != "" {
		title += "   " + printable(p.Reason)
	} else {
		title += "   " + took(p.LatencySeconds)
	}
	var text strings.Builder
	text.WriteString(s.fold(title, 2) + attemptsText(s, p.Attempts))
	for _, note := range p.Notes {
		text.WriteString(s.fold("  note         "+printable(note), 15))
	}
	if p.Hint != "" {
		text.WriteString(s.fold("  hint         "+p.Hint, 15))
	}
	return text.String()
}

// hint returns what helps against a failure, where that is known; what this host
// lacks says so itself.
func hint(p probed) string {
	switch probe.Kind(p.Kind) {
	case probe.KindDNS:
		return "only /etc/hosts and DNS are asked: if \"getent hosts NAME\" knows it from elsewhere, put it into one of them"
	case probe.KindRefused:
		return "nothing listens there, or a firewall rejects it: look at the port, and at \"ss -ltn\" on the target"
	case probe.KindTimeout:
		return timeoutHint(p)
	case probe.KindUnreachable:
		return "a router or firewall on the way says so: look at \"ip route get ADDRESS\""
	case probe.KindStatus:
		return "if that status is right, set the node's range on the page, here --status"
	case probe.KindBody:
		return "compare the body with the match: \"curl -s URL\""
	case probe.KindPolicy:
		return "the daemon probes it only if [probe] allow lists that very address; what is reported of it says [probe] report_denied"
	case probe.KindTLS:
		switch {
		case strings.Contains(p.Reason, "unknown authority"):
			return "put that CA's certificate into [probe] ca_file, here --ca-file"
		case strings.Contains(p.Reason, "expired"):
			return "renew the certificate, or set the clock of this host"
		case strings.Contains(p.Reason, "valid for"):
			return "use a host name that the certificate has"
		}
	}
	return ""
}

// timeoutHint returns what helps where no answer came. Whoever accepted the
// connection is behind no firewall that drops it.
func timeoutHint(p probed) string {
	if p.Scheme == string(probe.ICMP) {
		return "the target is down, or a firewall, of this host too, drops echoes: try \"ping HOST\" from here"
	}
	if n := len(p.Attempts); n > 0 {
		if last := p.Attempts[n-1]; last.TLSSeconds+last.FirstByteSeconds+last.BodySeconds > 0 {
			return "it accepts the connection, and the rest takes too long: look at the load and the log of the server, or allow more time by delay_dead, here --delay-dead"
		}
	}
	return "the target is down or overloaded, or a firewall, of this host too, drops it: try \"nc -vz HOST PORT\" from here"
}
