package config

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sirupsen/logrus"
)

// environment returns a lookup in vars.
func environment(vars map[string]string) func(string) (string, bool) {
	return func(name string) (string, bool) {
		value, ok := vars[name]
		return value, ok
	}
}

var noVariables = environment(nil)

// write writes content to a file called name in a folder of its own and
// returns its path.
func write(t *testing.T, name, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// complaints returns the lines of err without the path they begin with.
func complaints(t *testing.T, err error, path string) []string {
	t.Helper()
	if err == nil {
		return nil
	}
	all, ok := errors.AsType[Complaints](err)
	if !ok {
		t.Fatalf("got error of type %T, want Complaints", err)
	}
	var lines []string
	for _, line := range all {
		rest, ok := strings.CutPrefix(line, path+": ")
		if !ok {
			t.Errorf("got complaint %q, want it to begin with the file %q", line, path)
		}
		lines = append(lines, rest)
	}
	return lines
}

const token = "token = \"t0k3n-of-the-test\"\n"

func TestDefaults(t *testing.T) {
	got, err := parse("config.cfg", []byte("[report]\n"+token), noVariables)
	if err != nil {
		t.Fatal(err)
	}
	want := Config{
		Path:     "config.cfg",
		Level:    logrus.WarnLevel,
		Endpoint: "https://report.crisp.watch/v1",
		Token:    NewSecret("t0k3n-of-the-test"),
		Interval: 120 * time.Second,
		Cluster:  Cluster{Engine: NoEngine},
		Promise:  120 * time.Second,
	}
	if got.Token != want.Token || !equal(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

// equal reports whether two configurations are the same but for their roots.
func equal(a, b Config) bool {
	return a.Path == b.Path && a.Level == b.Level && a.Endpoint == b.Endpoint && a.Token == b.Token &&
		a.Interval == b.Interval && a.Promise == b.Promise && a.Workers == b.Workers && (a.RootCAs == nil) == (b.RootCAs == nil) &&
		a.Cluster.Equal(b.Cluster) && slices.Equal(a.Warnings, b.Warnings)
}

func TestEveryKeyIsTaken(t *testing.T) {
	got, err := parse("config.cfg", []byte(`
		[server]
		log_level = "info"
		[report]
		endpoint = "http://127.0.0.1:8080/v2/"
		token = "t0k3n"
		[probe]
		interval = 3600
		workers = 100_000
	`), noVariables)
	if err != nil {
		t.Fatal(err)
	}
	want := Config{
		Path:     "config.cfg",
		Level:    logrus.InfoLevel,
		Endpoint: "http://127.0.0.1:8080/v2",
		Token:    NewSecret("t0k3n"),
		Interval: time.Hour,
		Promise:  time.Hour,
		Workers:  100_000,
		Cluster:  Cluster{Engine: NoEngine},
	}
	if !equal(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func TestLevels(t *testing.T) {
	for name, want := range map[string]logrus.Level{
		"debug": logrus.DebugLevel, "info": logrus.InfoLevel, "warn": logrus.WarnLevel, "error": logrus.ErrorLevel,
		// Accepted by the original, so they must not stop this daemon.
		"WARN": logrus.WarnLevel, "Error": logrus.ErrorLevel, "trace": logrus.DebugLevel, "off": logrus.ErrorLevel,
	} {
		got, err := parse("config.cfg", []byte("[server]\nlog_level = '"+name+"'\n[report]\n"+token), noVariables)
		if err != nil || got.Level != want {
			t.Errorf("log_level %q: got %v, %v, want %v", name, got.Level, err, want)
		}
	}
}

func TestLogFormats(t *testing.T) {
	for written, want := range map[string]LogFormat{"": Text, "log_format = 'text'": Text, "log_format = 'json'": JSON, "log_format = 'JSON'": JSON} {
		got, err := parse("config.cfg", []byte("[server]\n"+written+"\n[report]\n"+token), noVariables)
		if err != nil || got.Format != want {
			t.Errorf("%s: got %q, %v, want %q", written, got.Format, err, want)
		}
	}
}

func TestEndpoints(t *testing.T) {
	for written, want := range map[string]string{
		"https://status.example.com":            "https://status.example.com",
		"https://status.example.com/":           "https://status.example.com",
		"https://status.example.com/v1//":       "https://status.example.com/v1",
		" https://status.example.com/v1/ ":      "https://status.example.com/v1",
		"http://[::1]:8080/v1":                  "http://[::1]:8080/v1",
		"HTTPS://status.example.com:8443/a@b/c": "HTTPS://status.example.com:8443/a@b/c",
	} {
		got, err := parse("config.cfg", []byte("[report]\nendpoint = '"+written+"'\n"+token), noVariables)
		if err != nil || got.Endpoint != want {
			t.Errorf("endpoint %q: got %q, %v, want %q", written, got.Endpoint, err, want)
		}
	}
}

// The sample has nothing wrong with it but that it lacks a token.
func TestSample(t *testing.T) {
	const path = "../../config.cfg"
	_, err := Load(path, noVariables)
	want := []string{"report.token: still the sample YOUR_CRISP_REPORTER_TOKEN, want the token of your Crisp Status reporter, from your Crisp dashboard"}
	if got := complaints(t, err, path); !slices.Equal(got, want) {
		t.Errorf("got complaints %q, want %q", got, want)
	}

	sample, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	got, err := parse(path, []byte(strings.Replace(string(sample), "YOUR_CRISP_REPORTER_TOKEN", "t0k3n", 1)), noVariables)
	if err != nil {
		t.Fatal(err)
	}
	defaults, err := parse(path, []byte("report.token = 't0k3n'"), noVariables)
	if err != nil {
		t.Fatal(err)
	}
	if !equal(got, defaults) {
		t.Errorf("got %+v, want the defaults %+v", got, defaults)
	}
}

// What the sample has as a comment is a key, with the default if it says one.
func TestSampleNamesEveryKey(t *testing.T) {
	sample, err := os.ReadFile("../../config.cfg")
	if err != nil {
		t.Fatal(err)
	}
	table := ""
	var got []string
	for line := range strings.Lines(string(sample)) {
		line = strings.TrimPrefix(strings.TrimSpace(line), "#")
		if name, ok := strings.CutPrefix(line, "["); ok {
			table = strings.TrimSuffix(name, "]")
		}
		name, _, ok := strings.Cut(line, " = ")
		if ok && !strings.HasPrefix(name, " ") && !slices.Contains(got, table+"."+name) {
			got = append(got, table+"."+name)
		}
	}
	if want := keys(); !slices.Equal(got, want) {
		t.Errorf("got the keys %q in config.cfg, want %q", got, want)
	}
}

func TestUnknownKeysAreWarnings(t *testing.T) {
	for _, tt := range []struct{ name, text, unknown string }{
		{"a letter too many", "[server]\nlog_levell = 'info'", "server.log_levell"},
		{"letters swapped", "[report]\ntokne = 'x'", "report.tokne"},
		{"a dash", "[report]\ntoken-file = 'x'", "report.token-file"},
		{"upper case", "[Report]\ntoken = 'x'", "Report"},
		{"no table", "token = 'x'", "token"},
		{"the wrong table", "[server]\nendpoint = 'x'", "server.endpoint"},
		{"a table", "[reports]\nendpoint = 'x'\ntoken = 'x'", "reports"},
		{"a table in a table", "[probe.workers_of]\nhttp = 3", "probe.workers_of"},
		{"an array of tables", "[[probes]]\na = 1\n[[probes]]\na = 1", "probes"},
		{"a bare variable", "[probe]\nworker = ${A}", "probe.worker"},
		{"quotes", "'report.token' = 'x'", `"report.token"`},
		{"a line break", `"inter\nval" = 3`, `"inter\nval"`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			want := "config.cfg: " + tt.unknown + " is unknown and ignored, known keys: server.log_level, server.log_format, server.inet, server.hosts, server.replica_metrics, report.endpoint, report.token, report.token_file, report.promise, probe.interval, probe.workers, probe.ca_file, probe.allow, probe.deny, probe.report_denied, " +
				"cluster.engine, cluster.group, cluster.member, cluster.address, cluster.endpoints, cluster.ca_file, cluster.cert_file, cluster.key_file, cluster.user, cluster.password_file, cluster.ttl"
			got, err := parse("config.cfg", []byte("report.endpoint = 'http://localhost'\n"+tt.text), noVariables)
			if err == nil {
				t.Fatal("got no complaint, want the one about the missing token")
			}
			if !slices.Equal(got.Warnings, []string{want}) {
				t.Errorf("got warnings %q, want %q", got.Warnings, want)
			}
		})
	}
}

func TestWarningsDoNotStopTheDaemon(t *testing.T) {
	got, err := parse("config.cfg", []byte("[report]\n"+token+"[page]\ncolour = 'red'\n[probe]\nspeed = 3"), noVariables)
	if err != nil {
		t.Fatal(err)
	}
	if len(got.Warnings) != 2 {
		t.Errorf("got warnings %q, want one about page and one about probe.speed", got.Warnings)
	}
}
