package main

import (
	"bytes"
	"context"
	"debug/buildinfo"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/sirupsen/logrus"

	"github.com/crisp-im/crisp-status-local/v2/internal/config"
)

func write(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "config.cfg")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// started runs the program in this process until it ends, and returns what it
// wrote and its exit status.
func started(ctx context.Context, t *testing.T, args ...string) (stdout, stderr string, status int) {
	t.Helper()
	var out, log bytes.Buffer
	sys := system{lookupEnv: func(string) (string, bool) { return "", false }, stdout: &out, stderr: &log}
	status = exitStatus(run(ctx, args, sys), sys)
	return out.String(), log.String(), status
}

func TestCommandLine(t *testing.T) {
	sample := write(t, "[report]\ntoken = \"YOUR_CRISP_REPORTER_TOKEN\"\n")
	for _, tt := range []struct {
		name           string
		args           []string
		status         int
		stdout, stderr string
	}{
		{"short version", []string{"-V"}, 0, "crisp-status-local " + version, ""},
		{"long version", []string{"--version"}, 0, "crisp-status-local " + version, ""},
		{"short help", []string{"-h"}, 0, "Usage:", ""},
		{"long help", []string{"--help"}, 0, "--config FILE", ""},
		{"unknown flag", []string{"--verbose"}, exitUsage, "", "--help"},
		{"flag without its value", []string{"-c"}, exitUsage, "", "--help"},
		{"argument", []string{"config.cfg"}, exitUsage, "", `unexpected argument "config.cfg"`},
		{"missing file", []string{"-c", "/nowhere/config.cfg"}, exitConfig, "", "/nowhere/config.cfg"},
		{"sample token", []string{"-c", sample}, exitConfig, "", "report.token"},
		{"long name, with an equals sign", []string{"--config=" + sample}, exitConfig, "", "report.token"},
		{"short name, with an equals sign", []string{"-c=" + sample}, exitConfig, "", sample + ": report.token"},
		{"short name, joined to the file", []string{"-c" + sample}, exitConfig, "", sample + ": report.token"},
		{"short name, joined to a relative file", []string{"-conf/nowhere.cfg"}, exitConfig, "", "onf/nowhere.cfg: "},
		{"short name, last of several", []string{"-c/nowhere/config.cfg", "-c" + sample}, exitConfig, "", sample + ": report.token"},
		{"long name", []string{"--config", sample}, exitConfig, "", sample + ": report.token"},
		{"long name without its value", []string{"--config"}, exitUsage, "", "--help"},
		{"short names together", []string{"-Vc", sample}, 0, "crisp-status-local " + version, ""},
		{"help before anything else", []string{"-h", "--verbose"}, 0, "Usage:", ""},
		{"unknown short flag", []string{"-x"}, exitUsage, "", "--help"},
		{"a value for a question", []string{"--configured=perhaps"}, exitUsage, "", "--help"},
		{"configured, short name, joined to the file", []string{"--configured", "-c" + sample}, 1, "", "waiting for a token"},
		{"argument after the end of flags", []string{"--", sample}, exitUsage, "", "unexpected argument"},
		{"default file", nil, exitConfig, "", "./config.cfg"},
		{"configured, missing file", []string{"--configured", "-c", "/nowhere/config.cfg"}, 0, "", ""},
		{"configured, sample token", []string{"--configured", "-c", sample}, 1, "", "waiting for a token"},
		{"health of no daemon", []string{"--healthcheck", "-c", sample}, 1, "", "no daemon runs with " + sample},
		{"health of no daemon, no file", []string{"--healthcheck", "-c", "/nowhere/config.cfg"}, 1, "", "no daemon runs with /nowhere/config.cfg"},
		{"two questions", []string{"--configured", "--healthcheck"}, exitUsage, "", "want one"},
		{"a question and the version", []string{"--version", "--configured"}, exitUsage, "", "want one"},
		{"a question with an argument", []string{"--healthcheck", sample}, exitUsage, "", "unexpected argument"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			stdout, stderr, status := started(t.Context(), t, tt.args...)
			if status != tt.status {
				t.Errorf("exit status %d, want %d", status, tt.status)
			}
			if !strings.Contains(stdout, tt.stdout) || (tt.stdout == "") != (stdout == "") {
				t.Errorf("stdout is %q, want it to hold %q", stdout, tt.stdout)
			}
			if !strings.Contains(stderr, tt.stderr) || (tt.stderr == "") != (stderr == "") {
				t.Errorf("stderr is %q, want it to hold %q", stderr, tt.stderr)
			}
		})
	}
}

func TestConfigured(t *testing.T) {
	const sample = "YOUR_CRISP_REPORTER_TOKEN"
	file := write(t, sample+"\n")
	lookup := func(name string) (string, bool) { return sample, name == "TOKEN" }
	for _, tt := range []struct{ name, text, key string }{
		{"the sample's token", "report.token = '" + sample + "'", "report.token"},
		{"a variable that holds it", "report.token = ${TOKEN}", "report.token"},
		{"a file that holds it", "report.token_file = '" + file + "'", "report.token_file"},
		{"another token", "report.token = 't'", ""},
		{"no token", "", ""},
		{"a variable that is not set", "report.token = ${NOT_SET}", ""},
		{"a file that is not there", "report.token_file = '/nowhere/token'", ""},
		{"something else wrong besides", "report.token = '" + sample + "'\nprobe.interval = 0", ""},
		{"not TOML", "report.token = " + sample, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			path := write(t, tt.text)
			status, want := 0, ""
			if tt.key != "" {
				status = 1
				want = "crisp-status-local: " + path + ": waiting for a token: put that of your Crisp Status reporter, from your Crisp dashboard, at " +
					tt.key + ", then run: systemctl restart crisp-status-local\n"
			}
			var out, log bytes.Buffer
			sys := system{lookupEnv: lookup, stdout: &out, stderr: &log}
			if got := exitStatus(run(t.Context(), []string{"--configured", "-c", path}, sys), sys); got != status {
				t.Errorf("exit status %d, want %d", got, status)
			}
			if log.String() != want || out.Len() > 0 {
				t.Errorf("it wrote %q and %q, want nothing and %q", out.String(), log.String(), want)
			}
		})
	}
}

// TestNegativeSerialNumbersAreTaken: those who parse certificates test that by a
// directive of their own; the daemon needs it too.
func TestNegativeSerialNumbersAreTaken(t *testing.T) {
	if binary == "" {
		t.Skip("there is no Go toolchain to build the daemon with")
	}
	info, err := buildinfo.ReadFile(binary)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.ContainsFunc(info.Settings, func(s debug.BuildSetting) bool {
		return s.Key == "DefaultGODEBUG" && strings.Contains(s.Value, "x509negativeserial=1")
	}) {
		t.Errorf("the daemon is built with %v, want x509negativeserial=1 among it", info.Settings)
	}
}

func TestManualKnowsEveryExitStatus(t *testing.T) {
	manual, err := os.ReadFile("../../debian/crisp-status-local.8")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(manual), "\n.SH EXIT STATUS\n")
	section, _, _ = strings.Cut(section, "\n.SH ")
	for _, status := range []int{0, 1, exitUsage, exitConfig} {
		if !strings.Contains(section, fmt.Sprintf("\n.B %d\n", status)) {
			t.Errorf("the manual page says of the exit statuses\n%s\nwant %d among them", section, status)
		}
	}
}

func TestEveryComplaintIsALineOfItsOwn(t *testing.T) {
	path := write(t, "[report]\ntokne = \"x\"\nendpoint = \"ftp://x\"\n[probe]\ninterval = 0\nworkers = \"many\"\n")
	_, stderr, status := started(t.Context(), t, "-c", path)
	if status != exitConfig {
		t.Errorf("exit status %d, want %d", status, exitConfig)
	}
	lines := strings.Split(strings.TrimSpace(stderr), "\n")
	for i, key := range []string{"report.tokne", "report.endpoint", "report.token", "probe.interval", "probe.workers"} {
		if i >= len(lines) || !strings.HasPrefix(lines[i], "crisp-status-local: "+path+": "+key) {
			t.Errorf("line %d of\n%swant one about %s", i+1, stderr, key)
		}
	}
}

func TestEndsInOrderWhenToldTo(t *testing.T) {
	path := write(t, "[server]\nlog_level = \"info\"\n[report]\ntoken = \"t\"\nendpoint = \"http://127.0.0.1:1\"\n")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(fmt.Errorf("terminated"))
	_, log, status := started(ctx, t, "-c", path)
	if status != 0 {
		t.Errorf("exit status %d, want 0", status)
	}
	for _, line := range []string{"msg=starting", "msg=stopping cause=terminated", "msg=stopped"} {
		if !strings.Contains(log, line) {
			t.Errorf("the log lacks %q:\n%s", line, log)
		}
	}
}

func TestToldToReloadAsItStarts(t *testing.T) {
	path := write(t, "[server]\nlog_level = \"info\"\n[report]\ntoken = \"t\"\nendpoint = \"http://127.0.0.1:1\"\n")
	reloads := make(chan os.Signal, 1)
	reloads <- syscall.SIGHUP
	ctx, cancel := context.WithCancel(t.Context())
	reloaded := writerFunc(func(line []byte) {
		if bytes.Contains(line, []byte("msg=reloaded")) {
			cancel()
		}
	})
	sys := system{func(string) (string, bool) { return "", false }, io.Discard, reloaded, reloads}
	if err := run(ctx, []string{"-c", path}, sys); err != nil {
		t.Error(err)
	}
}

// writerFunc is a log that looks at what is written to it.
type writerFunc func(line []byte)

func (f writerFunc) Write(line []byte) (int, error) {
	f(line)
	return len(line), nil
}

func TestLinesForTheJournalCarryTheirPriorityAndNoTime(t *testing.T) {
	stderr, err := os.Create(filepath.Join(t.TempDir(), "journal"))
	if err != nil {
		t.Fatal(err)
	}
	defer stderr.Close()
	info, err := stderr.Stat()
	if err != nil {
		t.Fatal(err)
	}
	stat := info.Sys().(*syscall.Stat_t)
	stream := fmt.Sprintf("%d:%d", stat.Dev, stat.Ino)
	for _, tt := range []struct{ name, stream, want string }{
		{"the journal", stream, "<4>level=warning"},
		{"inherited from one that logs there", "1:1", "time="},
		{"none", "", "time="},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if err := stderr.Truncate(0); err != nil {
				t.Fatal(err)
			}
			stderr.Seek(0, io.SeekStart)
			env := func(name string) (string, bool) { return tt.stream, name == "JOURNAL_STREAM" }
			log, _, writer := newLog(system{lookupEnv: env, stderr: stderr}, config.Config{Level: logrus.DebugLevel})
			log.WithField("replica", "tcp://db:1").Warn("health changed")
			writer.Close(patience)
			got, err := os.ReadFile(stderr.Name())
			if err != nil {
				t.Fatal(err)
			}
			if !strings.HasPrefix(string(got), tt.want) || strings.Count(string(got), "\n") != 1 {
				t.Errorf("the line is %q, want it to begin with %q", got, tt.want)
			}
			if status := exitStatus(errors.New("no such thing"), system{lookupEnv: env, stderr: stderr}); status != 1 {
				t.Errorf("exit status %d, want 1", status)
			}
			if both, err := os.ReadFile(stderr.Name()); err != nil || strings.HasPrefix(tt.want, "<") != strings.Contains(string(both), "\n<3>crisp-status-local: ") {
				t.Errorf("what it ends with is %q (%v), want its priority before it in the journal alone", both, err)
			}
			exitStatus(errWaiting, system{lookupEnv: env, stderr: stderr})
			if all, err := os.ReadFile(stderr.Name()); err != nil || strings.HasPrefix(tt.want, "<") != strings.Contains(string(all), "\n<5>crisp-status-local: waiting") {
				t.Errorf("what it waits with is %q (%v), want it a notice in the journal alone", all, err)
			}
			if strings.HasPrefix(tt.want, "<") && strings.Contains(string(got), "time=") {
				t.Errorf("the line %q has a time of its own", got)
			}
		})
	}
}

func TestPrioritiesAreThoseOfSyslog(t *testing.T) {
	for level, want := range map[logrus.Level]int{
		logrus.ErrorLevel: 3, logrus.WarnLevel: 4, logrus.InfoLevel: 6, logrus.DebugLevel: 7,
	} {
		if got := priority(level); got != want {
			t.Errorf("priority of %v: got %d, want %d", level, got, want)
		}
	}
}

func TestProcessorsAreBounded(t *testing.T) {
	defer runtime.SetDefaultGOMAXPROCS()
	set := false
	d := &daemon{sys: system{lookupEnv: func(string) (string, bool) { return "3", set }}}
	for _, tt := range []struct{ has, want int }{{1, 1}, {maxProcessors, maxProcessors}, {maxProcessors + 6, maxProcessors}} {
		runtime.GOMAXPROCS(tt.has)
		if d.limitProcessors(); runtime.GOMAXPROCS(0) != tt.want {
			t.Errorf("of %d processors: got %d, want %d", tt.has, runtime.GOMAXPROCS(0), tt.want)
		}
	}
	set = true
	runtime.GOMAXPROCS(maxProcessors + 1)
	if d.limitProcessors(); runtime.GOMAXPROCS(0) != maxProcessors+1 {
		t.Error("got other processors although the environment says how many, want nothing changed")
	}
}
