// Devices have certificates whose serial number is random bytes, and so a negative
// number at times. Package x509 takes those only if it is told to.
//go:debug x509negativeserial=1

// Crisp-status-local watches the replicas that a hosted status page cannot
// reach: it fetches the map of them from the Status API, probes each one, and
// reports whether it is healthy, sick or dead.
//
//	crisp-status-local [-c FILE] [--configured | --healthcheck]
//
// SIGTERM and SIGINT end it in order, a second one at once; SIGHUP makes it
// read its configuration again. The exit status is 0 after an orderly end, 2
// for a wrong command line, 78 (EX_CONFIG) for a configuration that cannot
// work, and 1 for anything else.
//
// Two questions are for those who run it: --configured exits with 1 while the
// token is still the sample's and nothing else is wrong, so that a service
// manager can skip the service instead of failing it; --healthcheck asks the
// daemon that runs with the same file whether it is alive.
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
	"github.com/spf13/pflag"
	_ "golang.org/x/crypto/x509roots/fallback" // a host without any CA bundle reaches the Status API all the same

	"github.com/crisp-im/crisp-status-local/v2/internal/config"
	"github.com/crisp-im/crisp-status-local/v2/internal/service"
)

// version is what the program calls itself, everywhere.
const version = "2.0.0"

const usage = `Usage: crisp-status-local [-c FILE] [--configured | --healthcheck]

Watches the replicas that a Crisp Status page cannot reach, and reports on them.

Options:
  -c, --config FILE  the configuration file (default ./config.cfg)
      --configured   exit with 1 if all that is wrong with FILE is that its
                     token is still the sample's, else with 0
      --healthcheck  ask the daemon that runs with FILE whether it is alive,
                     print ok and exit, or say why not and exit with 1
  -V, --version      print the version and exit
  -h, --help         print this and exit

SIGHUP makes it read the file again.
`

// Exit statuses, besides 0 and 1.
const (
	exitUsage  = 2
	exitConfig = 78 // EX_CONFIG of sysexits.h: a restart will not help
)

func main() {
	ctx := untilSignal(os.Interrupt, syscall.SIGTERM)
	signal.Ignore(syscall.SIGPIPE) // whoever reads the log may leave
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
	if err == nil {
		return 0
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
	if errors.Is(err, errUsage) {
		return exitUsage
	}
	return 1
}

// system is what run needs of the world around it.
type system struct {
	lookupEnv      func(string) (string, bool)
	stdout, stderr io.Writer
	reloads        <-chan os.Signal // each makes it read its configuration again
}

// run is the program: it ends when ctx is done, or with an error.
func run(ctx context.Context, args []string, sys system) error {
	opts, err := parseFlags(args)
	switch {
	case err != nil:
		return err
	case opts.help:
		_, err := io.WriteString(sys.stdout, usage)
		return err
	case opts.version:
		_, err := fmt.Fprintln(sys.stdout, "crisp-status-local", version)
		return err
	case opts.configured:
		return checkConfigured(opts.config, sys)
	case opts.healthcheck:
		if err := service.CheckHealth(opts.config); err != nil {
			return err
		}
		_, err := fmt.Fprintln(sys.stdout, "ok")
		return err
	}
	c, err := config.Load(opts.config, sys.lookupEnv)
	if err != nil {
		return withWarnings(err, c.Warnings)
	}
	return newDaemon(c, sys).run(ctx)
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

type options struct {
	config                  string
	help, version           bool
	configured, healthcheck bool
}

var errUsage = errors.New("see crisp-status-local --help")

// parseFlags reads the command line as the original does: -c FILE, -cFILE,
// -c=FILE, --config FILE and --config=FILE are the same.
func parseFlags(args []string) (options, error) {
	var o options
	flags := pflag.NewFlagSet("crisp-status-local", pflag.ContinueOnError)
	flags.Usage = func() {} // what is wrong is one line
	flags.StringVarP(&o.config, "config", "c", "./config.cfg", "")
	flags.BoolVar(&o.configured, "configured", false, "")
	flags.BoolVar(&o.healthcheck, "healthcheck", false, "")
	flags.BoolVarP(&o.version, "version", "V", false, "")
	err := flags.Parse(args)
	switch {
	case errors.Is(err, pflag.ErrHelp):
		o.help = true
	case err != nil:
		return o, fmt.Errorf("%w: %w", err, errUsage)
	case flags.NArg() > 0:
		return o, fmt.Errorf("unexpected argument %q: %w", flags.Arg(0), errUsage)
	case o.version && o.configured, o.version && o.healthcheck, o.configured && o.healthcheck:
		return o, fmt.Errorf("got more than one of --version, --configured and --healthcheck, want one: %w", errUsage)
	}
	return o, nil
}
