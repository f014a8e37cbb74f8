package config

import (
	"errors"
	"net/netip"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
)

func TestPolicyIsTaken(t *testing.T) {
	vars := environment(map[string]string{"NETS": "10.0.0.0/8, 10.9.0.7:22", "NET": "10.0.0.0/8", "YES": "true"})
	for _, text := range []string{
		`allow = ["10.0.0.0/8"]` + "\nreport_denied = true",
		`allow = ["${NET}"]` + "\nreport_denied = ${YES}",
		`allow = ${NETS}` + "\n" + `report_denied = "${YES}"`,
		`allow = ["0.0.0.0/0"]` + "\n" + `deny = ["11.0.0.0/8"]` + "\nreport_denied = true",
	} {
		got, err := parse("config.cfg", []byte("[report]\n"+token+"[probe]\n"+text), vars)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		in, out := netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("11.0.0.1")
		if got.Policy.Check("", in, 80) != nil || got.Policy.Check("", out, 80) == nil || !got.ReportDenied {
			t.Errorf("%s: got another policy, want %v permitted, %v denied and said dead", text, in, out)
		}
	}
}

func TestPolicyComplaintsNameTheEntry(t *testing.T) {
	vars := environment(map[string]string{"HIDDEN": "10.0.0.1:s3cr3t", "NOTHING": " "})
	text := "[report]\n" + token + `[probe]
		allow = ["10.0.0.0/8", "10.0.0.1/8", 7, "${HIDDEN}", "${MISSING}"]
		deny = "10.0.0.1"
		report_denied = "yes"
	`
	_, err := parse("config.cfg", []byte(text), vars)
	got := complaints(t, err, "config.cfg")
	for i, want := range []string{
		`probe.allow[1]: "10.0.0.1/8" has an address within the network, want the network itself, 10.0.0.0/8`,
		`probe.allow[2]: an integer, want an array of strings, such as ["10.0.0.0/8"`,
		`probe.allow[3]: "${HIDDEN}" holds no entry, want an address, a CIDR or a host name`,
		`probe.allow[4]: variable MISSING is not set`,
		`probe.deny: a string, want an array of strings`,
		`probe.report_denied: a string, want true or false`,
	} {
		if i >= len(got) || !strings.HasPrefix(got[i], want) {
			t.Errorf("got complaints %q, want the one at %d to begin with %q", got, i, want)
		}
	}
	if strings.Contains(strings.Join(got, "\n"), "s3cr3t") {
		t.Errorf("got complaints %q, want nothing of what a variable holds", got)
	}
}

// TestExposedTokenIsAWarning: at every load, with the mode and the command that
// mends it.
func TestExposedTokenIsAWarning(t *testing.T) {
	inline := write(t, "config.cfg", "[report]\n"+token)
	fromFile := write(t, "config.cfg", "[report]\ntoken_file = '"+write(t, "my token", "t0k3n")+"'\n")
	fromEnvironment := write(t, "config.cfg", "[report]\ntoken = ${TOKEN}\n")
	tokenPath := strings.Split(text(t, fromFile), "'")[1]
	vars := environment(map[string]string{"TOKEN": "t0k3n"})
	for _, tt := range []struct {
		config, file string
		mode         os.FileMode
		want         []string
	}{
		{inline, inline, 0o644, []string{"report.token:", "0644", "chmod o-rwx " + inline}},
		{inline, inline, 0o604, []string{"0604"}},
		{inline, inline, 0o640, nil},
		{fromFile, fromFile, 0o644, nil}, // holds nothing
		{fromFile, tokenPath, 0o444, []string{"report.token_file:", "0444", "chmod o-rwx '" + tokenPath + "'"}},
		{fromFile, tokenPath, 0o400, nil},
		{fromEnvironment, fromEnvironment, 0o644, nil},
	} {
		if err := os.Chmod(tt.file, tt.mode); err != nil {
			t.Fatal(err)
		}
		got, err := Load(tt.config, vars)
		if err != nil {
			t.Fatal(err)
		}
		said := strings.Join(got.Warnings, "\n")
		if (said == "") != (tt.want == nil) || slices.ContainsFunc(tt.want, func(w string) bool { return !strings.Contains(said, w) }) {
			t.Errorf("%s with the mode %#o: got warnings %q, want %q in them", tt.file, tt.mode, said, tt.want)
		}
	}
}

func TestPlainEndpointIsAWarning(t *testing.T) {
	for endpoint, want := range map[string]bool{
		"https://report.lan/v1":    false,
		"http://report.lan/v1":     true,
		"HTTP://10.0.0.1":          true,
		"http://localhost:80":      false,
		"http://a.LOCALHOST.":      false,
		"http://127.1.2.3/v1":      false,
		"http://[::1]:8080":        false,
		"http://0.0.0.0":           true,
		"http://localhost.evil.de": true,
	} {
		got, err := parse("config.cfg", []byte("[report]\nendpoint = '"+endpoint+"'\n"+token), noVariables)
		if err != nil {
			t.Fatal(err)
		}
		if said := strings.Join(got.Warnings, "\n"); strings.Contains(said, "http:// is not encrypted") != want {
			t.Errorf("%s: got warnings %q, want one: %t", endpoint, said, want)
		}
	}
}

// TestPipe: a configuration that comes through a pipe is read; one that nobody
// writes ends as a complaint instead of never.
func TestPipe(t *testing.T) {
	path := write(t, "config.cfg", "")
	if err := errors.Join(os.Remove(path), syscall.Mkfifo(path, 0o600)); err != nil {
		t.Fatal(err)
	}
	written := make(chan error, 1)
	go func() { written <- os.WriteFile(path, []byte("[report]\n"+token), 0o600) }()
	if _, err := Load(path, noVariables); err != nil {
		t.Errorf("got %v of a pipe that is written, want it read", err)
	}
	if err := <-written; err != nil {
		t.Fatal(err)
	}
	_, err := Load(path, noVariables)
	if err == nil || !strings.Contains(err.Error(), errPipe.Error()) {
		t.Errorf("got %v of a pipe that nobody writes, want that it %v", err, errPipe)
	}
}
