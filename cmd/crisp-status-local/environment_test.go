package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/crisp-im/crisp-status-local/v2/internal/sandbox"
	"github.com/crisp-im/crisp-status-local/v2/internal/sandbox/target"
)

// hugeValue is about the longest that the kernel lets a variable be (MAX_ARG_STRLEN).
var hugeValue = strings.Repeat("z", 120<<10)

// An environment is whatever an engine, an image or a shell has left in it.
func TestOddEnvironmentIsNoMatter(t *testing.T) {
	t.Parallel()
	certificates := t.TempDir()
	for name, text := range map[string]string{"garbage.pem": "\x00\xff\x7fELF", "cut.pem": "-----BEGIN CERTIFICATE-----\nMIIB"} {
		if err := os.WriteFile(filepath.Join(certificates, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	w := newWorld(t, sandbox.Options{}, "target:http", "target:tcp")
	w.env = []string{
		"no equals sign", "=", "=hunter2", "==", "\xff\xfe=\x80\xff", "LANG=\xff", "TOKEN=hunter2\xff\n\x1b[2J",
		"TZ=No/Where", "SSL_CERT_FILE=/nonexistent.pem", "SSL_CERT_DIR=" + certificates + ":/nonexistent",
		"GOGC=hunter2", "GODEBUG=,=,hunter2,netdns=hunter2,x509usefallbackroots=hunter2", "GOMAXPROCS=-1", "GOTRACEBACK=hunter2",
		"HTTPS_PROXY=http://user:hunter2@[::bad", "NO_PROXY=,,\xff,[", "NOTIFY_SOCKET=nonsense", "WATCHDOG_USEC=nonsense",
		"JOURNAL_STREAM=hunter2", "CREDENTIALS_DIRECTORY=/nonexistent", "TERM=\xff", "COLUMNS=-1",
	}
	for i := range 12 { // of the 2 MiB that the kernel passes on
		w.env = append(w.env, fmt.Sprintf("FILLER_%d=%s", i, hugeValue))
	}
	for i := range 5000 {
		w.env = append(w.env, fmt.Sprintf("SMALL_%d=", i))
	}
	w.start(1)
	w.becomes("target:http", sandbox.Healthy)
	w.becomes("target:tcp", sandbox.Healthy)
	w.reports(w.url("target:tcp"), 2)
}

// Package x509 passes over such variables without a word, and every certificate is
// unknown from then on.
func TestVariablesThatNameNoRootsAreSaid(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	none, good := filepath.Join(folder, "none.pem"), filepath.Join(t.TempDir(), "good.pem")
	authority, err := target.NewAuthority()
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.WriteFile(none, []byte("no PEM"), 0o600), os.WriteFile(good, authority.PEM(), 0o600)); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		file, folders string
		want          []string
	}{
		{"", "", nil},
		{good, filepath.Dir(good), nil},
		{good, "/nonexistent:" + filepath.Dir(good), nil},
		{"/nonexistent.pem", "", []string{`SSL_CERT_FILE names "/nonexistent.pem", which cannot be read: no such file or directory; the `}},
		{folder, "", []string{`SSL_CERT_FILE names "` + folder + `", which cannot be read: it is a folder; the `}},
		{none, "", []string{`SSL_CERT_FILE names "` + none + `", in which no certificate is; the `}},
		{"/dev/null", "", []string{`SSL_CERT_FILE names "/dev/null", in which no certificate is; the `}},
		{none, folder + ":/nonexistent", []string{"SSL_CERT_FILE names", `SSL_CERT_DIR names "` + folder + `:/nonexistent", in which no certificate is; the `}},
	} {
		odd := oddRoots(func(name string) (string, bool) {
			value := map[string]string{"SSL_CERT_FILE": tt.file, "SSL_CERT_DIR": tt.folders}[name]
			return value, value != ""
		})
		said := len(odd) == len(tt.want)
		for i, want := range tt.want {
			said = said && strings.Contains(odd[i], want) && strings.HasSuffix(odd[i], " count")
		}
		if !said {
			t.Errorf("file %q, folders %q: got %q, want %q", tt.file, tt.folders, odd, tt.want)
		}
	}
}

// The daemon says at start, once, which certificates count instead.
func TestRootsThatAreBuiltInAreSaid(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sandbox.Options{}, "target:tcp")
	w.env = []string{"SSL_CERT_FILE=/nonexistent.pem", "SSL_CERT_DIR=/nonexistent"}
	w.start(1)
	w.becomes("target:tcp", sandbox.Healthy)
	for _, name := range []string{"SSL_CERT_FILE", "SSL_CERT_DIR"} {
		if n := strings.Count(w.out.String(), name+" names"); n != 1 || !strings.Contains(w.out.String(), "the public CAs that are built into this program count") {
			t.Errorf("got %d lines about %s in\n%s, want one, and what counts instead", n, name, w.out.String())
		}
	}
}

// A value that a key cannot have is said by the name of its variable: the value may be a
// secret that was meant for another key.
func TestValueOfTheEnvironmentIsNotSaid(t *testing.T) {
	t.Parallel()
	const report = "[report]\nendpoint = \"http://127.0.0.1:9/v1\"\n"
	for _, tt := range []struct{ name, config, value, want string }{
		{"a huge token", report + "token = \"${VALUE}\"\n", hugeValue, "report.token: longer than 4096 bytes"},
		{"a token that is no text", report + "token = \"${VALUE}\"\n", "hunter2\xff", "report.token: not UTF-8"},
		{"a token of two lines", report + "token = \"${VALUE}\"\n", "hunter2\nhunter2", "report.token: has a control character in it"},
		{"an empty token", report + "token = \"${VALUE}\"\n", "", "report.token"},
		{"a huge number", report + "token = \"t\"\n[probe]\ninterval = ${VALUE}\n", strings.Repeat("9", 100<<10), `probe.interval: "${VALUE}" holds no whole number`},
		{"a huge address", "[server]\ninet = \"${VALUE}\"\n" + report + "token = \"t\"\n", hugeValue, `server.inet: "${VALUE}" has no port`},
		{"an endpoint that is not Unicode", "[report]\nendpoint = \"${VALUE}\"\ntoken = \"t\"\n", "https://hunter2\xff/", "report.endpoint: "},
		{"a huge endpoint", "[report]\nendpoint = \"${VALUE}\"\ntoken = \"t\"\n", "https://user:hunter2@" + hugeValue, `report.endpoint: "${VALUE}" has a user or password`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			out, status := runWith(t, tt.config, "VALUE="+tt.value)
			if status != exitConfig || !strings.Contains(out, tt.want) {
				t.Errorf("got exit status %d and %.500q, want %d and %q", status, out, exitConfig, tt.want)
			}
			if len(out) > 1000 || strings.Contains(out, "hunter2") || strings.Contains(out, "zzzz") || strings.Contains(out, "9999") {
				t.Errorf("got %.500q, want nothing of the value in it", out)
			}
		})
	}
}

// The address of a proxy may hold a password anywhere.
func TestProxyThatIsNoURLIsNotSaid(t *testing.T) {
	t.Parallel()
	const config = "[report]\nendpoint = \"https://status.invalid/v1\"\ntoken = \"t\"\n"
	out, status := runWith(t, config, "HTTPS_PROXY=http://user:hunter2@[::bad", "check")
	if status != 1 || !strings.Contains(out, "HTTPS_PROXY in the environment is not a URL") || strings.Contains(out, "hunter2") {
		t.Errorf("got exit status %d and %q, want 1, the variable named and nothing of its value", status, out)
	}
}

// Go ends the program before its first line runs: its own words name the variable.
func TestMemoryLimitThatIsNoneIsNamed(t *testing.T) {
	t.Parallel()
	out, status := runWith(t, "", "GOMEMLIMIT=a lot")
	if status == 0 || !strings.HasPrefix(out, "GOMEMLIMIT=a lot\nfatal error: malformed GOMEMLIMIT") {
		t.Errorf("got exit status %d and %.500q, want the variable named first", status, out)
	}
}

// runWith runs the daemon, or a command, with a configuration and one more variable, until
// it ends by itself. It returns what it wrote, and its exit status.
func runWith(t *testing.T, config, variable string, command ...string) (out string, status int) {
	t.Helper()
	if binary == "" {
		t.Skip("there is no Go toolchain to build the daemon with")
	}
	path := filepath.Join(t.TempDir(), "config.cfg")
	if err := os.WriteFile(path, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, binary, append(command, "-c", path)...)
	cmd.Env = append(os.Environ(), variable)
	written, err := cmd.CombinedOutput()
	if _, exited := errors.AsType[*exec.ExitError](err); err != nil && !exited {
		t.Fatal(err)
	}
	return string(written), cmd.ProcessState.ExitCode()
}
