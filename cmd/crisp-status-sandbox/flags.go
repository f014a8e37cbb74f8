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

// usageError is a command line that makes no sense.
type usageError struct{ error }

// settings are what one run is to be: the command line, checked.
type settings struct {
	mapFile  string
	estate   *sandbox.Estate // nil unless a map is to be generated
	listen   string
	token    string
	tls      bool
	apiDelay time.Duration
	grace    time.Duration
	interval time.Duration // for the daemon's configuration
	logLevel string        // for the daemon's configuration
	lasts    time.Duration // 0: until a signal
	cycles   int           // 0: until a signal
	json     string        // file; empty: none
	command  []string      // empty: no child
}

const usage = `Usage: crisp-status-sandbox [FLAG…] [-- COMMAND [ARG…]]

A stand-in for the Status API on this machine, and a page that shows what is
reported to it. COMMAND is run beside it; in its arguments {config} becomes the
path of a configuration file for crisp-status-local. Without COMMAND that
configuration is printed. Without --map and --replicas a sample map is served.

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

// estateFlags are the flags that describe a generated map.
type estateFlags struct {
	replicas             sizes
	retry                int
	dead, slow           percent
	kinds                string
	delayDead, delaySick time.Duration
}

func (e *estateFlags) register(fs *flag.FlagSet) {
	fs.Var(&e.replicas, "replicas", "serve a generated map of this `many` replicas on loopback; 1000,10000 is two runs, one after the other")
	fs.Var(&e.dead, "dead", "of a generated map: the `share` of replicas that never answer")
	fs.Var(&e.slow, "slow", "of a generated map: the `share` of replicas that are sick")
	fs.StringVar(&e.kinds, "kinds", "tcp,http,icmp", "of a generated map: `kinds` of replicas: tcp, http, https, icmp")
	fs.DurationVar(&e.delayDead, "delay-dead", 10*time.Second, "of a generated map: how long an attempt may take, in whole seconds")
	fs.DurationVar(&e.delaySick, "delay-sick", time.Second, "of a generated map: how long a healthy replica may take, in whole seconds; 0: never sick")
	fs.IntVar(&e.retry, "retry", 2, "of a generated map: further attempts before a replica is dead")
}

// estates are the maps that the flags ask for, one for each size; none if they ask
// for none.
func (e *estateFlags) estates(fs *flag.FlagSet) ([]*sandbox.Estate, error) {
	var stray error
	fs.Visit(func(f *flag.Flag) {
		if len(e.replicas) == 0 && slices.Contains([]string{"dead", "slow", "kinds", "delay-dead", "delay-sick", "retry"}, f.Name) {
			stray = fmt.Errorf("--%s is for a generated map: it needs --replicas", f.Name)
		}
	})
	switch {
	case len(e.replicas) == 0:
		return nil, stray
	case !whole(e.delayDead) || e.delayDead < time.Second || e.delayDead > 35*time.Second:
		return nil, fmt.Errorf("--delay-dead is %v, want 1s to 35s in whole seconds", e.delayDead)
	case !whole(e.delaySick) || e.delaySick < 0:
		return nil, fmt.Errorf("--delay-sick is %v, want whole seconds", e.delaySick)
	case e.retry < 0:
		return nil, fmt.Errorf("--retry is %d, want 0 or more", e.retry)
	}
	var estates []*sandbox.Estate
	for _, size := range e.replicas {
		estate := &sandbox.Estate{
			Replicas: size,
			Kinds:    strings.Split(e.kinds, ","),
			Dead:     float64(e.dead),
			Slow:     float64(e.slow),
			Metrics:  sandbox.Metrics{Retry: &e.retry, DelayDead: new(int(e.delayDead.Seconds())), DelaySick: new(int(e.delaySick.Seconds()))},
		}
		if err := estate.Check(); err != nil {
			return nil, err
		}
		estates = append(estates, estate)
	}
	return estates, nil
}

func (s *settings) register(fs *flag.FlagSet) {
	fs.StringVar(&s.mapFile, "map", "", "serve the map in this `file`, which may be edited meanwhile")
	fs.StringVar(&s.listen, "listen", "127.0.0.1:0", "`address` of the page and the API; port 0 is a free one")
	fs.StringVar(&s.token, "token", "", "the token that is accepted; a random one without it")
	fs.BoolVar(&s.tls, "tls", false, "serve the API over HTTPS, with HTTP/2")
	fs.DurationVar(&s.apiDelay, "api-delay", 0, "let every answer of the API take this long")
	fs.DurationVar(&s.grace, "grace", 40*time.Second, "how long after its interval a report may come before the replica is late")
	fs.DurationVar(&s.interval, "interval", 120*time.Second, "for the configuration: how often to probe, in whole seconds")
	fs.StringVar(&s.logLevel, "log-level", "info", "for the configuration: debug, info, warn or error")
	fs.DurationVar(&s.lasts, "for", 0, "stop after this long")
	fs.IntVar(&s.cycles, "cycles", 0, "stop when this many cycles are complete")
	fs.StringVar(&s.json, "json", "", "write the summary to this `file` too")
}

// parse reads the command line, and returns at least one run. The error is
// flag.ErrHelp, after the usage was written to out, or a usageError.
func parse(args []string, out io.Writer) ([]settings, error) {
	var (
		s         settings
		generated estateFlags
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
	estates, err := generated.estates(fs)
	if err == nil {
		err = s.check(len(estates))
	}
	if err != nil {
		return nil, usageError{err}
	}
	if len(estates) == 0 {
		return []settings{s}, nil
	}
	var runs []settings
	for _, s.estate = range estates {
		runs = append(runs, s)
	}
	return runs, nil
}

// check refuses what flags alone cannot, given how many maps are to be generated.
func (s *settings) check(estates int) error {
	switch {
	case s.mapFile != "" && estates > 0:
		return errors.New("--map and --replicas: want one of them")
	case estates > 1 && s.lasts == 0 && s.cycles == 0:
		return fmt.Errorf("--replicas has %d sizes, and a run without an end is never followed by another: want --cycles or --for", estates)
	case !whole(s.interval) || s.interval < time.Second || s.interval > time.Hour:
		return fmt.Errorf("--interval is %v, want 1s to 1h in whole seconds", s.interval)
	case !slices.Contains([]string{"debug", "info", "warn", "error"}, s.logLevel):
		return fmt.Errorf("--log-level is %q, want debug, info, warn or error", s.logLevel)
	case s.apiDelay < 0 || s.grace <= 0 || s.lasts < 0 || s.cycles < 0:
		return errors.New("--api-delay, --grace, --for and --cycles: want nothing below 0, and some grace")
	case strings.ContainsAny(s.token, "\"\\$\n\r") || strings.TrimSpace(s.token) != s.token:
		return errors.New("--token: want no blanks around it, quotes, backslashes, dollars or line feeds")
	}
	return nil
}

func whole(d time.Duration) bool { return d%time.Second == 0 }
