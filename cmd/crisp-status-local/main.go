//go:build linux

// Devices have certificates whose serial number is random bytes, and so a negative
// number at times. Package x509 takes those only if it is told to.
//go:debug x509negativeserial=1

// Crisp-status-local watches the replicas that a hosted status page cannot
// reach: it fetches the map of them from the Status API, probes each one, and
// reports whether it is healthy, sick or dead.
//
//	crisp-status-local [-c FILE] [--configured | --healthcheck]
//	crisp-status-local status | check | probe | once | completion
//
// SIGTERM and SIGINT end it in order, a second one at once; SIGHUP makes it
// read its configuration again. The exit status is 0 after an orderly end, 2
// for a wrong command line, 78 (EX_CONFIG) for a configuration that cannot
// work, and 1 for anything else.
//
// Two questions are for those who run it: --configured exits with 1 while the
// token is still the sample's and nothing else is wrong, so that a service
// manager can skip the service instead of failing it; --healthcheck asks the
// daemon that runs with the same file whether it is alive. The commands are for
// people: each is a constructor in a file of its own, and of their definitions
// the completions and the manual page are made.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"syscall"

	"github.com/sirupsen/logrus"
	"github.com/spf13/cobra"

	"github.com/crisp-im/crisp-status-local/v2/internal/config"
)

// version is what the program calls itself, everywhere.
const version = "2.1.0"

// commit is the one that a release is built from. The linker sets it: Go's own stamp
// would make the bytes depend on the tags and the folders of whoever builds.
var commit string

// Exit statuses, besides 0 and 1.
const (
	exitUsage  = 2
	exitConfig = 78 // EX_CONFIG of sysexits.h: a restart will not help
	exitPipe   = 128 + int(syscall.SIGPIPE)
)

func main() {
	ctx := untilSignal(os.Interrupt, syscall.SIGTERM)
	reloads := make(chan os.Signal, 1)
	signal.Notify(reloads, syscall.SIGHUP)

	sys := system{os.LookupEnv, os.Stdout, os.Stderr, reloads}
	err := run(ctx, os.Args[1:], sys)
	os.Exit(exitStatus(err, sys))
}

// untilSignal returns a context that the first of the signals ends. From then on
// they do again what they do by themselves, so that a second one ends the program
// at once. That holds before anyone sees the context done, which
// [signal.NotifyContext] cannot promise.
func untilSignal(signals ...os.Signal) context.Context {
	ctx, cancel := context.WithCancelCause(context.Background())
	received := make(chan os.Signal, 1)
	signal.Notify(received, signals...)
	go func() {
		s := <-received
		signal.Stop(received)
		cancel(fmt.Errorf("%v signal received", s))
	}()
	return ctx
}

// exitStatus writes what is wrong, a line for each complaint, and returns the
// exit status that says so.
func exitStatus(err error, sys system) int {
	switch {
	case err == nil:
		return 0
	case errors.Is(err, errReaderGone):
		return exitPipe
	}
	status := 1
	if e, ok := errors.AsType[statusError](err); ok {
		if status = e.status; e.error == nil {
			return status
		}
	}
	name, severity := "crisp-status-local:", priority(logrus.ErrorLevel)
	if errors.Is(err, errWaiting) {
		severity = notice
	}
	if toJournal(sys) {
		name = fmt.Sprintf("<%d>%s", severity, name)
	}
	if complaints, ok := errors.AsType[config.Complaints](err); ok {
		for _, complaint := range complaints {
			fmt.Fprintln(sys.stderr, name, complaint)
		}
		return exitConfig
	}
	fmt.Fprintln(sys.stderr, name, err)
	return status
}

// statusError ends the program with an exit status of its own. Without an error
// in it, the command has said everything.
type statusError struct {
	error
	status int
}

func (e statusError) Error() string {
	if e.error == nil {
		return fmt.Sprintf("exit status %d", e.status)
	}
	return e.error.Error()
}

func (e statusError) Unwrap() error { return e.error }

// system is what run needs of the world around it.
type system struct {
	lookupEnv      func(string) (string, bool)
	stdout, stderr io.Writer
	reloads        <-chan os.Signal // each makes it read its configuration again
}

// run is the program: it ends when ctx is done, or with an error.
func run(ctx context.Context, args []string, sys system) error {
	root := rootCommand(sys)
	root.SetArgs(append([]string{}, args...)) // without any, cobra takes those of the process
	if len(args) > 0 && args[0] == cobra.ShellCompRequestCmd {
		unquoteUsage(root)
	}
	out := &stdout{Writer: sys.stdout}
	root.SetOut(out)
	cmd, err := root.ExecuteContextC(ctx)
	if out.gone {
		return errReaderGone
	}
	return withHelp(err, cmd)
}

var errWaiting = errors.New("waiting for a token")

// checkConfigured returns errWaiting if nobody has configured the file at path
// yet. Whatever else is wrong with it is not said: the daemon, when it starts,
// says it all.
func checkConfigured(path string, sys system) error {
	_, err := config.Load(path, sys.lookupEnv)
	if sample, ok := errors.AsType[config.SampleToken](err); ok {
		return fmt.Errorf("%s: %w: put that of your Crisp Status reporter, from your Crisp dashboard, at %s, then run: systemctl restart crisp-status-local",
			path, errWaiting, sample.Key)
	}
	return nil
}

// withWarnings adds what was odd about a configuration to what is wrong with
// it: a misspelt key is often why another one is missing. What is wrong comes
// last, since the last lines are those that systemctl status shows.
func withWarnings(err error, warnings []string) error {
	if complaints, ok := errors.AsType[config.Complaints](err); ok {
		return slices.Concat(config.Complaints(warnings), complaints)
	}
	return err
}
