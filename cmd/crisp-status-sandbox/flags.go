//go:build linux

package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/crisp-im/crisp-status-local/v2/internal/sandbox"
)

// usageError is the error of an invalid command line.
type usageError struct{ error }

// settings describe one run.
type settings struct {
	mapFile   string
	generated *sandbox.Generated // nil unless a map is to be generated
	listen    string
	token     string
	tls       bool
	apiDelay  time.Duration
	interval  time.Duration // for the daemon's configuration
	promise   time.Duration // the same; 0: the interval
	logLevel  string        // for the daemon's configuration
	duration  time.Duration // 0: until a signal
	cycles    int           // 0: until a signal
	json      string        // file; empty: none
	members   int           // daemons of one group; 0: one daemon by itself
	engine    string        // of the group; empty: etcd where it is installed, else alive
	command   []string      // empty: no child
}

const usage = `Usage: crisp-status-sandbox [FLAG…] [-- COMMAND [ARG…]]

Serves a stand-in for the Status API on this machine, and a page of the reports
that it takes. Runs COMMAND beside it, with {config} in the arguments replaced by
the path of a configuration file for crisp-status-local; without COMMAND it prints
that configuration. Without --map and --replicas it serves a sample map.

`

// percent is a share of all replicas, 0 to 1, written as 50%.
type percent float64

func (p *percent) String() string { return strconv.FormatFloat(float64(*p)*100, 'g', -1, 64) + "%" }

func (p *percent) Set(text string) error {
	number, err := strconv.ParseFloat(strings.TrimSuffix(text, "%"), 64)
	if err != nil || math.IsNaN(number) || number < 0 || number > 100 {
		return errors.New("want 0% to 100%")
	}
	*p = percent(number / 100)
	return nil
}

// sizes are numbers of replicas, written as 1000,10000.
type sizes []int

func (s *sizes) String() string {
	var texts []string
	for _, size := range *s {
		texts = append(texts, strconv.Itoa(size))
	}
	return strings.Join(texts, ",")
}

func (s *sizes) Set(text string) error {
	*s = nil
	for part := range strings.SplitSeq(text, ",") {
		size, err := strconv.Atoi(part)
		if err != nil {
			return errors.New("want a number, or several with commas between them")
		}
		*s = append(*s, size)
	}
	return nil
}

// generatedFlags are the flags that describe a generated map.
type generatedFlags struct {
	replicas   sizes
	dead, slow percent
	kinds      string
	delayDead  time.Duration
}

func (e *generatedFlags) register(fs *flag.FlagSet) {
	fs.Var(&e.replicas, "replicas", "serve a generated map with this `number` of replicas on loopback; 1000,10000 makes two runs, one after the other")
	fs.Var(&e.dead, "dead", "the `share` of replicas of a generated map that never answer")
	fs.Var(&e.slow, "slow", "the `share` of replicas of a generated map that are sick")
	fs.StringVar(&e.kinds, "kinds", "tcp,http,icmp", "the `kinds` of replicas of a generated map: tcp, http, https, icmp")
	fs.DurationVar(&e.delayDead, "delay-dead", 10*time.Second, "the time limit of an attempt in a generated map, in whole seconds")
}

// maps returns the maps that the flags ask for, one for each size; none without
// --replicas.
func (e *generatedFlags) maps(fs *flag.FlagSet) ([]*sandbox.Generated, error) {
	var stray error
	fs.Visit(func(f *flag.Flag) {
		if len(e.replicas) == 0 && slices.Contains([]string{"dead", "slow", "kinds", "delay-dead"}, f.Name) {
			stray = fmt.Errorf("--%s is for a generated map: it needs --replicas", f.Name)
		}
	})
	switch {
	case len(e.replicas) == 0:
		return nil, stray
	case !whole(e.delayDead) || e.delayDead < time.Second || e.delayDead > 35*time.Second:
		return nil, fmt.Errorf("--delay-dead is %v, want 1s to 35s in whole seconds", e.delayDead)
	}
	var maps []*sandbox.Generated
	for _, size := range e.replicas {
		generated := &sandbox.Generated{
			Replicas: size,
			Kinds:    strings.Split(e.kinds, ","),
			Dead:     float64(e.dead),
			Slow:     float64(e.slow),
			Metrics:  sandbox.Metrics{Retry: new(2), DelayDead: new(int(e.delayDead.Seconds())), DelaySick: new(1)},
		}
		if err := generated.Check(); err != nil {
			return nil, err
		}
		maps = append(maps, generated)
	}
	return maps, nil
}

func (s *settings) register(fs *flag.FlagSet) {
	fs.StringVar(&s.mapFile, "map", "", "serve the map in this `file`; edits take effect at the next map request")
	fs.StringVar(&s.listen, "listen", "127.0.0.1:0", "the `address` of the page and the API; port 0 picks a free port")
	fs.StringVar(&s.token, "token", "", "the token to accept (default: a random one)")
	fs.BoolVar(&s.tls, "tls", false, "serve the API over HTTPS, with HTTP/2")
	fs.DurationVar(&s.apiDelay, "api-delay", 0, "delay every answer of the API by this much")
	fs.DurationVar(&s.interval, "interval", 120*time.Second, "the probe interval of the configuration, in whole seconds")
	fs.DurationVar(&s.promise, "promise", 0, "the promise of the configuration, in whole seconds; cycles are then counted by it (default: the interval)")
	fs.StringVar(&s.logLevel, "log-level", "info", "the log level of the configuration: debug, info, warn or error")
	fs.DurationVar(&s.duration, "for", 0, "stop after this time")
	fs.IntVar(&s.cycles, "cycles", 0, "stop when this number of cycles is complete")
	fs.IntVar(&s.members, "members", 0, "run this `number` of COMMANDs beside each other, a group of which one is on duty; the page can stop and start each")
	fs.StringVar(&s.engine, "engine", "", "what decides who of the group is on duty: `etcd or alive` (default: etcd where it is installed)")
	fs.StringVar(&s.json, "json", "", "also write the summary to this `file`")
}

// parse reads the command line, and returns at least one run. The error is
// flag.ErrHelp, after the usage was written to out, or a usageError.
func parse(args []string, out io.Writer) ([]settings, error) {
	var (
		s         settings
		generated generatedFlags
	)
	fs := flag.NewFlagSet("crisp-status-sandbox", flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	s.register(fs)
	generated.register(fs)
	if i := slices.Index(args, "--"); i >= 0 {
		args, s.command = args[:i], args[i+1:]
		if len(s.command) == 0 {
			return nil, usageError{errors.New("a command is missing after --")}
		}
	}
	switch err := fs.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		fmt.Fprint(out, usage)
		fs.SetOutput(out)
		fs.PrintDefaults()
		return nil, err
	case err != nil:
		return nil, usageError{err}
	case fs.NArg() > 0:
		return nil, usageError{fmt.Errorf("unexpected argument %q: a command comes after --", fs.Arg(0))}
	}
	maps, err := generated.maps(fs)
	if err == nil {
		err = s.check(len(maps))
	}
	if err != nil {
		return nil, usageError{err}
	}
	if len(maps) == 0 {
		return []settings{s}, nil
	}
	var runs []settings
	for _, s.generated = range maps {
		runs = append(runs, s)
	}
	return runs, nil
}

// check refuses impossible settings, given the number of generated maps.
func (s *settings) check(maps int) error {
	switch {
	case s.mapFile != "" && maps > 0:
		return errors.New("--map and --replicas: want one of them")
	case maps > 1 && s.duration == 0 && s.cycles == 0:
		return fmt.Errorf("--replicas has %d sizes, and a run without an end is never followed by another: want --cycles or --for", maps)
	case !whole(s.interval) || s.interval < time.Second || s.interval > time.Hour:
		return fmt.Errorf("--interval is %v, want 1s to 1h in whole seconds", s.interval)
	case s.promise != 0 && (!whole(s.promise) || s.promise < s.interval || s.promise > time.Hour):
		return fmt.Errorf("--promise is %v, want --interval (%v) to 1h in whole seconds", s.promise, s.interval)
	case !slices.Contains([]string{"debug", "info", "warn", "error"}, s.logLevel):
		return fmt.Errorf("--log-level is %q, want debug, info, warn or error", s.logLevel)
	case s.engine != "" && s.engine != engineEtcd && s.engine != engineAlive:
		return fmt.Errorf("--engine is %q, want etcd or alive", s.engine)
	case s.engine != "" && s.members == 0:
		return errors.New("--engine is for a group: it needs --members")
	case s.members < 0 || s.members > mostMembers:
		return fmt.Errorf("--members is %d, want 1 to %d", s.members, mostMembers)
	case s.members > 0 && len(s.command) == 0:
		return errors.New("--members: want a command after --")
	case s.members > 0 && maps > 0:
		return errors.New("--members and --replicas: want one of them")
	case s.apiDelay < 0 || s.duration < 0 || s.cycles < 0:
		return errors.New("--api-delay, --for and --cycles: want nothing below 0")
	case strings.ContainsAny(s.token, "\"\\$\n\r") || strings.TrimSpace(s.token) != s.token:
		return errors.New("--token: want no blanks around it, quotes, backslashes, dollars or line feeds")
	}
	return nil
}

func whole(d time.Duration) bool { return d%time.Second == 0 }
