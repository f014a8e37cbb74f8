//go:build linux

package main

import (
	"context"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/jedib0t/go-pretty/v6/progress"
	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"
	"github.com/sirupsen/logrus"
	"github.com/spf13/cobra"

	"github.com/crisp-im/crisp-status-local/v2/internal/config"
	"github.com/crisp-im/crisp-status-local/v2/internal/duty"
	"github.com/crisp-im/crisp-status-local/v2/internal/pace"
	"github.com/crisp-im/crisp-status-local/v2/internal/probe"
	"github.com/crisp-im/crisp-status-local/v2/internal/report"
	"github.com/crisp-im/crisp-status-local/v2/internal/scheduler"
	"github.com/crisp-im/crisp-status-local/v2/internal/status"
	"github.com/crisp-im/crisp-status-local/v2/internal/statusapi"
)

const onceLong = `Fetch the map, probe every replica once, and show what the daemon would report
now. Nothing is reported without --report; the page is then promised the next
report within [report] promise, so it is for where something runs it as often.

Unlike the daemon it tries nothing once more when many replicas turn out dead.
What [probe] allow and deny forbid is not probed. Entries of the map that are left
out, or not taken as they are, are said on stderr.

Without ./config.cfg, FILE is /etc/crisp-status-local.cfg.

Exit status: 0 if every replica was judged, whatever the verdicts are, and with
--report if all were taken; else 1; 78 for a file that cannot work.`

// reportTimeout is how long the page may take to take all verdicts.
const reportTimeout = 30 * time.Second

type onceFlags struct {
	config string
	report bool
}

func onceCommand(sys system) *cobra.Command {
	var o onceFlags
	cmd := &cobra.Command{
		Use:                   "once [-c FILE] [--report]",
		Short:                 "Probe every replica of the map once, and show the verdicts",
		Long:                  onceLong,
		Args:                  noArguments,
		DisableFlagsInUseLine: true,
		RunE: func(cmd *cobra.Command, _ []string) error {
			findConfig(cmd, &o.config)
			return o.run(cmd.Context(), sys)
		},
	}
	cmd.Flags().SortFlags = false
	configFlag(cmd, &o.config)
	cmd.Flags().BoolVar(&o.report, "report", false, "report the verdicts to the page")
	return cmd
}

func (o *onceFlags) run(ctx context.Context, sys system) error {
	trustPublicRoots()
	c, err := config.Load(o.config, sys.lookupEnv)
	if err != nil {
		return withWarnings(err, c.Warnings)
	}
	asCommand()
	client := newClient(c)
	defer client.Close()
	m, err := client.FetchMap(ctx, nil)
	if err != nil {
		return err
	}
	prober := probe.New(userAgent)
	defer prober.Close()
	prober.TrustRoots(c.RootCAs)
	prober.Restrict(c.Policy)
	results := probeAll(ctx, prober, m, c, newBar(sys, len(m.Checks)))
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	out, unjudged := newScreen(sys.stdout, sys.lookupEnv), 0
	for _, r := range results {
		if r.Health == probe.Unknown {
			unjudged++
		}
	}
	if err := emit(sys.stderr, problemsText(newScreen(sys.stderr, sys.lookupEnv), m.Problems)); err != nil {
		return err
	}
	if err := emit(sys.stdout, verdictsText(out, results, len(m.Problems))); err != nil {
		return err
	}
	if o.report {
		if err := deliver(ctx, client, c, results); err != nil {
			return err
		}
	}
	if unjudged > 0 {
		return fmt.Errorf("%s not judged: this host lacks something, or [probe] forbids it", count(unjudged, "replica was", "replicas were"))
	}
	return nil
}

// probeAll probes every replica of m, as many at a time as the daemon would.
func probeAll(ctx context.Context, prober *probe.Prober, m *statusapi.Map, c config.Config, done bar) []probe.Result {
	defer done.end()
	results := make([]probe.Result, len(m.Checks))
	allowed := scheduler.PlacesOf(m, scheduler.Settings{Interval: c.Interval, Workers: c.Workers, Files: openFiles()}).Allowed
	places := make(chan struct{}, max(1, allowed))
	var probing sync.WaitGroup
	for i, check := range m.Checks {
		places <- struct{}{}
		probing.Go(func() {
			defer func() { <-places }()
			rules := check.Rules
			if rules == nil {
				rules = probe.DefaultRules()
			}
			results[i] = prober.Probe(ctx, probe.Task{Check: check, Budget: pace.Budget(c.Interval, rules.DeadAfter)})
			if c.ReportDenied && probe.IsDenied(results[i].Err) {
				results[i].Health = probe.Dead
			}
			done.step()
		})
	}
	probing.Wait()
	return results
}

// bar shows on a terminal how far the work is.
type bar struct {
	writer  progress.Writer // nil: nobody looks
	tracker *progress.Tracker
	drawn   chan struct{}
}

// newBar returns a bar of so many steps, drawn on the terminal that stderr is;
// none otherwise.
func newBar(sys system, steps int) bar {
	if !newScreen(sys.stderr, sys.lookupEnv).isTerminal() || steps == 0 {
		return bar{}
	}
	b := bar{progress.NewWriter(), &progress.Tracker{Message: "probing", Total: int64(steps)}, make(chan struct{})}
	b.writer.SetOutputWriter(sys.stderr)
	b.writer.SetTrackerLength(20)
	b.writer.SetUpdateFrequency(100 * time.Millisecond)
	b.writer.SetAutoStop(false)
	b.writer.AppendTracker(b.tracker)
	go func() {
		defer close(b.drawn)
		b.writer.Render()
	}()
	return b
}

func (b bar) step() {
	if b.writer != nil {
		b.tracker.Increment(1)
	}
}

// end draws the bar a last time and leaves the terminal to others.
func (b bar) end() {
	if b.writer == nil {
		return
	}
	b.writer.Stop()
	<-b.drawn
}

// problemsText returns a line for each entry of the map that is left out, or taken as
// something else. It is not among the verdicts, which may be read by a program.
func problemsText(s screen, problems []string) string {
	var lines strings.Builder
	for _, problem := range problems {
		lines.WriteString(s.fold("entry of the map: "+printable(problem), 2))
	}
	return lines.String()
}

// verdictsText returns a table of results, and their number by health and that of the
// entries of the map with a problem.
func verdictsText(s screen, results []probe.Result, problems int) string {
	t := newTable("health", "replica", "latency", "reason")
	longest := 0
	for _, r := range results {
		longest = max(longest, text.StringWidthWithoutEscSequences(r.Check.Target.String()))
	}
	const others = 26 // columns of the other cells
	s.wrap(t, 2, 4, others, longest)
	counts := make(map[string]int)
	var lines strings.Builder
	for _, r := range results {
		health := status.HealthName(r.Health)
		counts[health]++
		if s.narrow() {
			lines.WriteString(s.fold(fmt.Sprintf("%s   %s   %s", r.Check.Target, s.health(health), printable(r.Reason())), 2))
			continue
		}
		t.AppendRow(table.Row{s.health(health), r.Check.Target.String(), took(r.Latency.Seconds()), printable(r.Reason())})
	}
	summary := fmt.Sprintf("%s: %d healthy, %d sick, %d dead, %d not judged",
		count(len(results), "replica", "replicas"), counts["healthy"], counts["sick"], counts["dead"], counts["unknown"])
	if problems > 0 {
		summary += "; " + notAsItIs(problems)
	}
	return lines.String() + rendered(t) + s.fold(summary, 2)
}

// deliver reports the verdicts, with the patience that a person has.
func deliver(ctx context.Context, client *statusapi.Client, c config.Config, results []probe.Result) error {
	log := logrus.New()
	log.SetOutput(io.Discard) // what the page did not take is said at the end
	outbox := report.New(client, terms(c), log)
	if c.Cluster.Engine != config.NoEngine {
		outbox.Obey(duty.AliveOnly(c.Cluster.Member)) // who is on duty is another one's affair
	}
	sending, stop := context.WithTimeout(ctx, reportTimeout)
	defer stop()
	var running sync.WaitGroup
	running.Go(func() { outbox.Run(sending) })
	sent := 0
	for _, r := range results {
		if r.Health != probe.Unknown {
			outbox.Put(statusapi.Verdict{ID: r.Check.ID(), Health: r.Health})
			sent++
		}
	}
	waiting := time.NewTicker(50 * time.Millisecond)
	defer waiting.Stop()
	for outbox.Waiting() > 0 && sending.Err() == nil {
		select {
		case <-waiting.C:
		case <-sending.Done():
		}
	}
	stop()
	running.Wait()
	if left := outbox.Waiting(); left > 0 {
		return fmt.Errorf("the page took %d of %s within %v", sent-left, count(sent, "report", "reports"), reportTimeout)
	}
	return nil
}
