//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime/debug"
	"slices"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/crisp-im/crisp-status-local/v2/internal/config"
	"github.com/crisp-im/crisp-status-local/v2/internal/probe"
	"github.com/crisp-im/crisp-status-local/v2/internal/service"
)

const rootLong = `Watches the replicas that a Crisp Status page cannot reach, and reports on them.

Without a command it is the daemon: it runs in the foreground, logs to standard
error, and reads FILE again at SIGHUP.`

// options are the flags of the daemon itself.
type options struct {
	config                  string
	version                 bool
	configured, healthcheck bool
}

// errReaderGone is that nobody reads what a command writes any longer, as after
// "| head": there is nobody to tell.
var errReaderGone = errors.New("the reader of the output is gone")

// rootCommand returns the command line: the daemon and its commands. -c FILE,
// -cFILE, -c=FILE, --config FILE and --config=FILE are the same, as in the
// original.
func rootCommand(sys system) *cobra.Command {
	var o options
	root := &cobra.Command{
		Use:                        "crisp-status-local [-c FILE] [--configured | --healthcheck]",
		Short:                      "watches the hosts that a Crisp Status page cannot reach",
		Long:                       rootLong,
		Args:                       noArguments,
		DisableFlagsInUseLine:      true,
		SilenceUsage:               true, // what is wrong is one line
		SilenceErrors:              true,
		SuggestionsMinimumDistance: 2,
		CompletionOptions:          cobra.CompletionOptions{DisableDefaultCmd: true},
		RunE:                       func(cmd *cobra.Command, _ []string) error { return o.run(cmd.Context(), sys) },
	}
	flags := root.Flags()
	flags.SortFlags = false
	configFlag(root, &o.config)
	flags.BoolVar(&o.configured, "configured", false, "exit with 1 if FILE still has the sample's token, else with 0")
	flags.BoolVar(&o.healthcheck, "healthcheck", false, "ask the daemon that runs with FILE whether it is alive:\nprint ok, or say why not and exit with 1")
	flags.BoolVarP(&o.version, "version", "V", false, "print the version and exit")
	flags.BoolP("help", "h", false, "print this and exit")
	root.SetOut(sys.stdout)
	root.SetErr(sys.stderr)
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error { return flagError(cmd, err, exitUsage) })
	root.SetHelpCommand(helpCommand())
	root.SetHelpFunc(func(cmd *cobra.Command, _ []string) {
		asCommand()
		_ = emit(cmd.OutOrStdout(), newScreen(sys.stdout, sys.lookupEnv).foldHelp(helpText(cmd)))
	})
	root.AddCommand(statusCommand(sys), checkCommand(sys), probeCommand(sys), onceCommand(sys), completionCommand())
	return root
}

// Where the configuration is unless -c says so: of the daemon, and of the service
// that the Debian package installs.
const (
	defaultConfig = "./config.cfg"
	serviceConfig = "/etc/crisp-status-local.cfg"
)

// configFlag gives cmd the flag that names the configuration file.
func configFlag(cmd *cobra.Command, path *string) {
	cmd.Flags().StringVarP(path, "config", "c", defaultConfig, "the configuration `FILE`")
}

// findConfig makes a command that was given no file ask about the service's where
// there is no other.
func findConfig(cmd *cobra.Command, path *string) {
	if cmd.Flags().Changed("config") {
		return
	}
	if _, err := os.Stat(defaultConfig); err == nil {
		return
	}
	if _, err := os.Stat(serviceConfig); err == nil {
		*path = serviceConfig
	}
}

// flagError returns what a flag that cannot be read ends the program with. Help
// that was asked for before it comes first.
func flagError(cmd *cobra.Command, err error, status int) error {
	if help, _ := cmd.Flags().GetBool("help"); help {
		return pflag.ErrHelp
	}
	// The value may be a URL with a password, where the flag's own was forgotten.
	if invalid, ok := errors.AsType[*pflag.InvalidValueError](err); ok {
		err = fmt.Errorf("invalid argument %q for --%s: %w", probe.Redact(invalid.GetValue()), invalid.GetFlag().Name, errors.Unwrap(invalid))
	}
	return usageError(status, "%w", err)
}

// usageMistake is something wrong with the command line.
type usageMistake struct{ error }

func (e usageMistake) Unwrap() error { return e.error }

// usageError says what is wrong with the command line.
func usageError(status int, format string, args ...any) error {
	return statusError{usageMistake{fmt.Errorf(format, args...)}, status}
}

// withHelp adds to what is wrong with the command line where the help of cmd is.
func withHelp(err error, cmd *cobra.Command) error {
	if _, ok := errors.AsType[usageMistake](err); !ok {
		return err
	}
	status, _ := errors.AsType[statusError](err)
	if cmd.Name() == "help" {
		cmd = cmd.Root()
	}
	return statusError{fmt.Errorf("%w: see %s --help", err, cmd.CommandPath()), status.status}
}

// noArguments refuses arguments. One may be a URL with a password, meant for another
// command.
func noArguments(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
		return usageError(exitUsage, "unexpected argument %q, did you mean the command %s?", probe.Redact(args[0]), near[0])
	}
	return usageError(exitUsage, "unexpected argument %q", probe.Redact(args[0]))
}

// run is the daemon, or the answer to a question about it.
func (o *options) run(ctx context.Context, sys system) error {
	if o.version || o.configured || o.healthcheck {
		asCommand()
	}
	switch {
	case o.version && o.configured, o.version && o.healthcheck, o.configured && o.healthcheck:
		return usageError(exitUsage, "got more than one of --version, --configured and --healthcheck, want one")
	case o.version:
		info, known := debug.ReadBuildInfo()
		return say(sys, "crisp-status-local "+versionText(commit, info, known))
	case o.configured:
		return checkConfigured(o.config, sys)
	case o.healthcheck:
		if err := service.CheckHealth(o.config); err != nil {
			return err
		}
		return say(sys, "ok")
	}
	trustPublicRoots()
	c, err := config.Load(o.config, sys.lookupEnv)
	if err != nil {
		return withWarnings(err, c.Warnings)
	}
	signal.Ignore(syscall.SIGPIPE) // whoever reads the log may leave
	return newDaemon(c, sys).run(ctx)
}

// versionText returns the version, with the commit and the Go that it was built
// from where that is known; a commit with a + is one whose files were changed.
func versionText(commit string, info *debug.BuildInfo, ok bool) string {
	if !ok {
		return version
	}
	stamp := make(map[string]string)
	for _, s := range info.Settings {
		stamp[s.Key] = s.Value
	}
	if revision := stamp["vcs.revision"]; commit == "" && len(revision) >= 12 {
		commit = revision[:12]
		if stamp["vcs.modified"] == "true" {
			commit += "+"
		}
	}
	if commit == "" {
		return version + " (" + info.GoVersion + ")"
	}
	return version + " (commit " + commit + ", " + info.GoVersion + ")"
}

// asCommand makes SIGHUP, by which a daemon reads its configuration again, that of
// a command: it ends with its terminal.
func asCommand() { signal.Reset(syscall.SIGHUP) }

// stdout is the standard output, for those who return no error to say that its
// reader is gone.
type stdout struct {
	io.Writer
	gone bool
}

func (o *stdout) Write(b []byte) (int, error) {
	n, err := o.Writer.Write(b)
	o.gone = o.gone || errors.Is(err, syscall.EPIPE)
	return n, err
}

// say writes a line to the standard output.
func say(sys system, line string) error { return emit(sys.stdout, line+"\n") }

// emit writes text whole, or says that nobody reads it.
func emit(w io.Writer, text string) error {
	_, err := io.WriteString(w, text)
	if errors.Is(err, syscall.EPIPE) {
		return errReaderGone
	}
	return err
}

// helpText returns the help of cmd.
func helpText(cmd *cobra.Command) string {
	var b strings.Builder
	b.WriteString(cmd.Long + "\n\nUsage:\n")
	if cmd.HasParent() {
		b.WriteString("  crisp-status-local " + cmd.Use + "\n")
	} else {
		b.WriteString("  " + cmd.Use + "\n  crisp-status-local COMMAND\n\nCommands:\n")
		for _, c := range commandsOf(cmd) {
			fmt.Fprintf(&b, "  %-12s%s\n", c.Name(), c.Short)
		}
	}
	if flags := cmd.LocalFlags(); flags.HasFlags() {
		b.WriteString("\nOptions:\n" + optionsText(flags))
	}
	if cmd.Example != "" {
		b.WriteString("\nExamples:\n" + cmd.Example + "\n")
	}
	if !cmd.HasParent() {
		b.WriteString("\n\"crisp-status-local help COMMAND\" says more of a command.\n")
	}
	return b.String()
}

// optionsText returns the lines about flags, without what pflag writes of those
// that take no value.
func optionsText(flags *pflag.FlagSet) string {
	const noValue = "[=true|false]"
	return strings.ReplaceAll(flags.FlagUsages(), noValue, strings.Repeat(" ", len(noValue)))
}

// commandsOf returns the commands that people are told of.
func commandsOf(root *cobra.Command) []*cobra.Command {
	return slices.DeleteFunc(slices.Clone(root.Commands()), func(c *cobra.Command) bool { return !c.IsAvailableCommand() && c.Name() != "help" })
}

// helpCommand is "help COMMAND", the same as "COMMAND --help".
func helpCommand() *cobra.Command {
	return &cobra.Command{
		Use:                   "help [COMMAND]",
		Short:                 "Print the help of a command",
		DisableFlagsInUseLine: true,
		ValidArgsFunction: func(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
			var names []string
			for _, c := range commandsOf(cmd.Root()) {
				if len(args) == 0 {
					names = append(names, cobra.CompletionWithDesc(c.Name(), c.Short))
				}
			}
			return names, cobra.ShellCompDirectiveNoFileComp
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			asked, rest, err := cmd.Root().Find(args)
			if err != nil || len(rest) > 0 {
				return usageError(exitUsage, "no command is called %q", probe.Redact(args[len(args)-1]))
			}
			asked.InitDefaultHelpFlag()
			return asked.Help()
		},
	}
}

// completionCommand prints what a shell needs to complete the command line.
func completionCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "completion bash|zsh|fish",
		Short: "Print the completion script of a shell",
		Long: `Print the script by which bash, zsh or fish complete the command line. The Debian
package has all three. In a running bash:

  . <(crisp-status-local completion bash)`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return usageError(exitUsage, "%d shells, want one of bash, zsh and fish", len(args))
			}
			return nil
		},
		ValidArgs:             []string{"bash", "zsh", "fish"},
		DisableFlagsInUseLine: true,
		RunE: func(cmd *cobra.Command, args []string) error {
			asCommand()
			return completion(cmd.Root(), args[0], cmd.OutOrStdout())
		},
	}
}

// unquoteUsage takes the quotes from the words about flags by which pflag knows the
// name of a value: a shell would show them.
func unquoteUsage(root *cobra.Command) {
	for _, cmd := range append(root.Commands(), root) {
		cmd.LocalFlags().VisitAll(func(f *pflag.Flag) { f.Usage = strings.ReplaceAll(f.Usage, "`", "") })
	}
}

// completion writes the completion script of shell to w.
func completion(root *cobra.Command, shell string, w io.Writer) error {
	switch shell {
	case "bash":
		return root.GenBashCompletionV2(w, true)
	case "zsh":
		return root.GenZshCompletion(w)
	case "fish":
		return root.GenFishCompletion(w, true)
	}
	return usageError(exitUsage, "the shell %q is not known, want bash, zsh or fish", probe.Redact(shell))
}
