package main

import (
	"cmp"
	"context"
	_ "embed"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/crisp-im/crisp-status-local/v2/internal/sandbox"
)

//go:embed sample.toml
var sample []byte

// outcome is what --json writes.
type outcome struct {
	sandbox.Summary
	SandboxCPU float64       `json:"sandbox_cpu"` // seconds, user and system: what the judging cost
	Child      *usageOfChild `json:"child,omitempty"`
}

// run does what the command line says, one run after another, until ctx is done or
// one of them fails. What the runs amount to is said in any case.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	runs, err := parse(args, stdout)
	if err != nil {
		return err
	}
	var (
		outcomes []outcome
		failed   error
	)
	for i, s := range runs {
		if i > 0 && ctx.Err() != nil {
			break
		}
		if len(runs) > 1 {
			fmt.Fprintf(stdout, "\nRun %d of %d: %d replicas\n", i+1, len(runs), s.estate.Replicas)
		}
		var o *outcome
		if o, failed = serve(ctx, s, stdout, stderr); o != nil {
			outcomes = append(outcomes, *o)
		}
		if failed != nil {
			break
		}
	}
	if len(runs) > 1 {
		failed = cmp.Or(failed, writeTable(stdout, outcomes))
	}
	return cmp.Or(failed, writeJSON(runs, outcomes))
}

// serve is one run, until ctx is done, --for or --cycles is over, or the child has
// ended by itself, which is an error. Everything that it made is gone when it
// returns. The outcome is nil if there was nothing to judge.
func serve(ctx context.Context, s settings, stdout, stderr io.Writer) (*outcome, error) {
	before := ownCPU()
	folder, err := os.MkdirTemp("", "crisp-status-sandbox-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(folder)
	if s.mapFile == "" && s.estate == nil {
		s.mapFile = filepath.Join(folder, "map.toml")
		if err := os.WriteFile(s.mapFile, sample, 0o644); err != nil {
			return nil, err
		}
	}
	server, err := sandbox.New(sandbox.Options{
		Token:    s.token,
		MapFile:  s.mapFile,
		Generate: s.estate,
		Listen:   s.listen,
		TLS:      s.tls,
		APIDelay: s.apiDelay,
		Grace:    s.grace,
		Log:      stderr,
	})
	if err != nil {
		return nil, err
	}
	// The child must be able to deliver what it holds after ctx is done.
	serving, stopServing := context.WithCancelCause(context.WithoutCancel(ctx))
	var work sync.WaitGroup
	work.Go(func() { stopServing(server.Run(serving)) })
	defer work.Wait()
	defer stopServing(nil)

	configFile, err := writeConfig(folder, server, s)
	if err != nil {
		return nil, err
	}
	greet(stdout, server, s, configFile)
	child, failed := watch(ctx, serving, server, s, configFile, stdout, stderr)
	o := outcome{server.Summary(), ownCPU() - before, child}
	if child != nil && o.Reports > 0 {
		child.FirstReport = o.Began.Sub(child.started).Seconds() + o.FirstReport
	}
	return &o, cmp.Or(failed, o.write(stdout))
}

// writeConfig writes what the daemon needs to find the sandbox.
func writeConfig(folder string, server *sandbox.Server, s settings) (string, error) {
	caFile := filepath.Join(folder, "ca.pem")
	if err := os.WriteFile(caFile, server.CA(), 0o644); err != nil {
		return "", err
	}
	text := fmt.Sprintf(`[server]
log_level = %q

[report]
endpoint = %q
token = %q

[probe]
interval = %d
ca_file = %q
`, s.logLevel, server.Endpoint(), server.Token(), int(s.interval.Seconds()), caFile)
	path := filepath.Join(folder, "config.cfg")
	return path, os.WriteFile(path, []byte(text), 0o600)
}

// greet tells a person where everything is, the page first.
func greet(w io.Writer, server *sandbox.Server, s settings, configFile string) {
	fmt.Fprintf(w, "\n  The page:  %s\n", server.URL())
	if s.mapFile != "" {
		fmt.Fprintf(w, "  The map:   %s   edit this file to add and remove replicas\n", s.mapFile)
	}
	fmt.Fprint(w, "  To stop:   Ctrl-C\n\n")
	if len(s.command) > 0 {
		return
	}
	text, err := os.ReadFile(configFile)
	if err != nil {
		return // it was written a moment ago, and its path is printed anyhow
	}
	fmt.Fprintf(w, "Start a daemon beside it:\n\n")
	if s.tls {
		fmt.Fprintf(w, "  SSL_CERT_FILE=%s \\\n", filepath.Join(filepath.Dir(configFile), "ca.pem"))
	}
	fmt.Fprintf(w, "  crisp-status-local -c %s\n\nor give this configuration to one:\n\n%s\n", configFile, text)
}

// watch runs the child, if there is to be one, until it is time to stop, and
// returns what it took.
func watch(ctx, serving context.Context, server *sandbox.Server, s settings, configFile string, stdout, stderr io.Writer) (*usageOfChild, error) {
	if s.lasts > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, s.lasts)
		defer cancel()
	}
	var (
		daemon *child
		died   <-chan struct{} // never, without a child
	)
	if len(s.command) > 0 {
		var err error
		if daemon, err = startChild(s, configFile, stdout, stderr); err != nil {
			return nil, err
		}
		died = daemon.ended
	}
	failed := wait(ctx, serving, server, s.cycles, daemon, died)
	if daemon == nil {
		return nil, failed
	}
	select {
	case <-daemon.ended:
	default:
		fmt.Fprintln(stdout, "\nstopping")
		daemon.sample(server.Progress())
		daemon.stop()
	}
	return daemon.usage(), failed
}

// wait returns nil when the run is over, and an error when it cannot go on.
func wait(ctx, serving context.Context, server *sandbox.Server, cycles int, daemon *child, died <-chan struct{}) error {
	tick := time.NewTicker(500 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-serving.Done():
			return context.Cause(serving)
		case <-died:
			return fmt.Errorf("command ended by itself: %s", daemon.status())
		case <-tick.C:
		}
		begun, complete := server.Progress()
		if daemon != nil {
			daemon.sample(begun, complete)
		}
		if cycles > 0 && (begun > cycles || begun == cycles && complete) {
			return nil
		}
	}
}

// write prints the outcome for people.
func (o outcome) write(w io.Writer) error {
	fmt.Fprintln(w)
	if err := o.Summary.Write(w); err != nil {
		return err
	}
	if o.Child != nil {
		if err := o.Child.write(w); err != nil {
			return err
		}
	}
	_, err := fmt.Fprintf(w, "sandbox         CPU %.2fs\n", o.SandboxCPU)
	return err
}

// writeJSON writes the outcome to a file if there is to be one, and an array of
// them if there was to be more than one run.
func writeJSON(runs []settings, outcomes []outcome) error {
	if runs[0].json == "" || len(outcomes) == 0 {
		return nil
	}
	var all any = outcomes
	if len(runs) == 1 {
		all = outcomes[0]
	}
	text, err := json.MarshalIndent(all, "", "  ")
	if err != nil {
		return fmt.Errorf("encoding summary: %w", err)
	}
	return os.WriteFile(runs[0].json, append(text, '\n'), 0o644)
}

// ownCPU is what this process has used, in seconds of user and system time.
func ownCPU() float64 {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		return 0
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano()).Seconds()
}
