//go:build linux

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/crisp-im/crisp-status-local/v2/internal/probe"
	"github.com/crisp-im/crisp-status-local/v2/internal/service"
	"github.com/crisp-im/crisp-status-local/v2/internal/status"
)

const statusLong = `Ask the daemon that runs with FILE how it is: this host, the Status API, the
promise to the page, and every replica that is not healthy, with the reason, what
the page last took of it, and by when it must take the next. Of several daemons
([cluster]): who is on duty and why, what is wrong with the engine that decides it,
and what to do about that.

With REPLICA, a URL or any part of one, it shows those replicas: their last ten
verdicts, and the last failure with the phases of its attempts.

The daemon answers its own user and root. The file need not be readable. Where
there is no ./config.cfg, it is /etc/crisp-status-local.cfg.

With -o json it prints all that the daemon says, whatever else is asked for; the
names in it are stable. Exit status: 0 if it was shown, 1 if no daemon answers or
no replica is called so, 2 for a wrong command line.`

// watchPause is the time between two pictures of --watch.
const watchPause = 2 * time.Second

// statusFlags are what is asked of a running daemon.
type statusFlags struct {
	config             string
	output             string
	all, dead, ignored bool
	watch              bool
	replicas           []string
}

func statusCommand(sys system) *cobra.Command {
	var o statusFlags
	cmd := &cobra.Command{
		Use:                   "status [-c FILE] [OPTION…] [REPLICA…]",
		Short:                 "Show what the running daemon knows, and why",
		Long:                  statusLong,
		Example:               "  crisp-status-local status\n  crisp-status-local status 10.0.0.5",
		DisableFlagsInUseLine: true,
		ValidArgsFunction:     cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, args []string) error {
			findConfig(cmd, &o.config)
			o.replicas = args
			return o.run(cmd.Context(), sys)
		},
	}
	flags := cmd.Flags()
	flags.SortFlags = false
	configFlag(cmd, &o.config)
	flags.BoolVar(&o.all, "all", false, "show healthy replicas too")
	flags.BoolVar(&o.dead, "dead", false, "show dead replicas alone")
	flags.BoolVar(&o.ignored, "ignored", false, "show the entries of the map that are not watched, and why")
	flags.BoolVar(&o.watch, "watch", false, "show it again every 2 s, on a terminal")
	outputFlag(cmd, &o.output)
	return cmd
}

// outputFlag gives cmd the flag that names the form of its output.
func outputFlag(cmd *cobra.Command, form *string) {
	cmd.Flags().StringVarP(form, "output", "o", "text", "the `FORM` of the output, text or json")
	// It fails for a flag that is not there.
	_ = cmd.RegisterFlagCompletionFunc("output", cobra.FixedCompletions([]string{"text", "json"}, cobra.ShellCompDirectiveNoFileComp))
}

// wantForm refuses a form of output that is none.
func wantForm(form string, exit int) error {
	if form != "text" && form != "json" {
		return usageError(exit, "output %q, want text or json", probe.Redact(form))
	}
	return nil
}

func (o *statusFlags) run(ctx context.Context, sys system) error {
	if err := wantForm(o.output, exitUsage); err != nil {
		return err
	}
	switch out := newScreen(sys.stdout, sys.lookupEnv); {
	case o.all && o.dead, o.all && o.ignored, o.dead && o.ignored:
		return usageError(exitUsage, "got more than one of --all, --dead and --ignored, want one")
	case o.watch && (o.output == "json" || !out.isTerminal()):
		return usageError(exitUsage, "--watch needs a terminal and the output text")
	}
	asCommand()
	if !o.watch {
		text, err := o.picture(ctx, sys)
		return errors.Join(emit(sys.stdout, text), err)
	}
	for {
		text, err := o.picture(ctx, sys)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			text = err.Error() + "\n"
		}
		const home = "\x1b[H\x1b[2J"
		if err := emit(sys.stdout, home+firstLines(text, newScreen(sys.stdout, sys.lookupEnv).height-1)); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(watchPause):
		}
	}
}

// firstLines returns as many lines of text, the last of them a note of the others.
func firstLines(text string, most int) string {
	lines := strings.SplitAfter(text, "\n")
	if len(lines)-1 <= most || most < 2 {
		return text
	}
	return strings.Join(lines[:most-1], "") + fmt.Sprintf("… %d more lines", len(lines)-most)
}

// picture asks the daemon and returns what is to be shown.
func (o *statusFlags) picture(ctx context.Context, sys system) (string, error) {
	body, peer, err := service.Ask(ctx, o.config, "/replicas.json?"+o.query().Encode())
	switch {
	case errors.Is(err, service.ErrNoDaemon):
		return "", fmt.Errorf("%w: start it by \"systemctl start crisp-status-local\", or \"crisp-status-local -c %s\" (a daemon with another file is asked by -c FILE)", err, o.config)
	case err != nil:
		return "", err
	}
	if !peer.MayRead(o.config) { // root alone comes to see the answer of another user
		text := fmt.Sprintf("process %d of %s answers, who may not read %s: it may be an impostor that took the daemon's name; see systemctl status crisp-status-local, end it, and restart the daemon", peer.PID, userName(peer.UID), o.config)
		if err := emit(sys.stderr, newScreen(sys.stderr, sys.lookupEnv).fold(printable(text), 2)); err != nil {
			return "", err
		}
	}
	if o.output == "json" {
		return indented(body)
	}
	snapshot, err := o.decode(body)
	if err != nil {
		return "", fmt.Errorf("the daemon's answer is not what version %s reads: restart the daemon (%w)", version, err)
	}
	v := statusView{screen: newScreen(sys.stdout, sys.lookupEnv), snapshot: snapshot, peer: peer}
	return o.show(v)
}

// indented returns JSON as people read it. What a terminal would obey is escaped: the
// answer may be another user's.
func indented(body []byte) (string, error) {
	var text bytes.Buffer
	if err := json.Indent(&text, bytes.TrimSpace(body), "", "  "); err != nil {
		return "", fmt.Errorf("the daemon's answer is no JSON: %w", err)
	}
	return escaped(text.String()) + "\n", nil
}

// escaped returns JSON with the escapes of what cannot be printed. It can be in strings alone.
func escaped(text string) string {
	odd := func(r rune) bool { return r != '\n' && !unicode.IsPrint(r) }
	if utf8.ValidString(text) && strings.IndexFunc(text, odd) < 0 {
		return text
	}
	var b strings.Builder
	for _, r := range text {
		if !odd(r) {
			b.WriteRune(r) // U+FFFD for what is not Unicode
			continue
		}
		for _, half := range utf16.Encode([]rune{r}) {
			fmt.Fprintf(&b, `\u%04x`, half)
		}
	}
	return b.String()
}

// query returns what the daemon may leave out: of 10,000 replicas most are healthy,
// and to read of them takes longer than all the rest.
func (o *statusFlags) query() url.Values {
	q := make(url.Values)
	switch {
	case len(o.replicas) > 0:
		q["replica"] = names(o.replicas)
	case o.all || o.output == "json":
	case o.ignored:
		q.Set("health", "none")
	case o.dead:
		q.Set("health", "dead")
	default:
		q["health"] = []string{"dead", "sick", "unknown"}
	}
	return q
}

// overview is a Snapshot without the past of the replicas, which is most of it.
type overview struct {
	status.Snapshot
	Replicas []struct {
		status.Replica
		History     passedOver `json:"history"`
		LastFailure passedOver `json:"last_failure"`
	} `json:"replicas"`
}

// passedOver is a value of JSON that is not looked at.
type passedOver struct{}

func (*passedOver) UnmarshalJSON([]byte) error { return nil }

// decode reads as much of a Snapshot as is shown.
func (o *statusFlags) decode(body []byte) (*status.Snapshot, error) {
	if len(o.replicas) > 0 {
		var all status.Snapshot
		return &all, json.Unmarshal(body, &all)
	}
	var some overview
	if err := json.Unmarshal(body, &some); err != nil {
		return nil, err
	}
	some.Snapshot.Replicas = make([]status.Replica, len(some.Replicas))
	for i := range some.Replicas {
		some.Snapshot.Replicas[i] = some.Replicas[i].Replica
	}
	return &some.Snapshot, nil
}

// show returns the part of the state that is asked for.
func (o *statusFlags) show(v statusView) (string, error) {
	switch {
	case o.ignored:
		return v.ignored(), nil
	case len(o.replicas) > 0:
		wanted := names(o.replicas)
		chosen := v.chosen(func(r *status.Replica) bool { return namedBy(wanted, r) && (!o.dead || r.Health == "dead") })
		if len(chosen) == 0 && v.snapshot.API.MapAt.IsZero() {
			return "", fmt.Errorf("the daemon knows no replica called %s, since there is no map yet: see status", quoted(o.replicas))
		}
		if len(chosen) == 0 {
			return "", fmt.Errorf("the map in force has no replica called %s%s: see status --all, or status --ignored", quoted(o.replicas), o.restriction())
		}
		if len(chosen) > maxDetails {
			return v.replicas(chosen) + fmt.Sprintf("%d replicas are called so; name at most %d to see their last verdicts\n", len(chosen), maxDetails), nil
		}
		return v.details(chosen), nil
	case o.dead:
		return v.head() + v.replicas(v.chosen(func(r *status.Replica) bool { return r.Health == "dead" })), nil
	case o.all:
		return v.head() + v.replicas(v.chosen(func(*status.Replica) bool { return true })), nil
	}
	return v.head() + v.replicas(v.chosen(func(r *status.Replica) bool { return r.Health != "healthy" || r.Withheld })), nil
}

func (o *statusFlags) restriction() string {
	if o.dead {
		return " that is dead"
	}
	return ""
}

// names returns words with the form in which the daemon shows those that are whole
// URLs: people paste a URL from the page's settings, with a password and all.
func names(words []string) []string {
	all := slices.Clone(words)
	for _, word := range words {
		if target, err := probe.ParseTarget(word); err == nil && target.String() != word {
			all = append(all, target.String())
		}
	}
	return all
}

// quoted lists words for a message, as far as they are no secrets.
func quoted(words []string) string {
	shown := make([]string, len(words))
	for i, word := range words {
		shown[i] = probe.Redact(word)
	}
	return strings.Join(shown, " or ")
}

// namedBy reports whether r has one of the words in its URL.
func namedBy(words []string, r *status.Replica) bool {
	for _, word := range words {
		if strings.Contains(r.Replica, word) {
			return true
		}
	}
	return false
}
