package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime/debug"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jedib0t/go-pretty/v6/text"

	"github.com/crisp-im/crisp-status-local/v2/internal/sandbox"
	"github.com/crisp-im/crisp-status-local/v2/internal/service"
	"github.com/crisp-im/crisp-status-local/v2/internal/status"
)

// state is a state with every kind of trouble in it.
func state() *status.Snapshot {
	now := time.Date(2026, 11, 26, 12, 17, 1, 0, time.Local)
	dead := status.Replica{
		Service: "shop", Node: "database", Replica: "tcp://10.0.0.5:3306", Scheme: "tcp", Health: "dead",
		Since: now.Add(-14 * time.Minute), Reason: "connection refused", Kind: "refused", Attempts: 3,
		Reported: &status.Report{Health: "dead", At: now.Add(-13 * time.Second), Due: now.Add(147 * time.Second)},
		History: []status.Verdict{
			{At: now.Add(-13 * time.Second), Health: "dead", Attempts: 3},
			{At: now.Add(-14 * time.Minute), Health: "healthy", LatencySeconds: 0.0004, Attempts: 1},
		},
		LastFailure: &status.LastFailure{At: now.Add(-13 * time.Second), Reason: "connection refused", Attempts: []status.Attempt{
			{Address: "10.0.0.5:3306", ConnectSeconds: 0.0003, TotalSeconds: 0.0003, Reason: "connection refused"},
			{Address: "10.0.0.5:3306", ConnectSeconds: 0.0002, TotalSeconds: 0.0002, Reason: "connection refused"},
		}},
	}
	return &status.Snapshot{
		Version: version, Started: now.Add(-49 * time.Hour), Now: now, Config: "/etc/x.cfg", IntervalSeconds: 120,
		Host:    status.Host{Trouble: []status.Trouble{{Reason: "no route to 10.1.0.0/16", Replicas: 35, Since: now.Add(-time.Minute), RepeatedUntil: now.Add(time.Minute)}}},
		API:     status.API{State: status.APIDown, Since: now.Add(-time.Minute), Error: "status 503", Waiting: 212, NextTry: now.Add(12 * time.Second), MapAt: now.Add(-time.Minute), MapOutcome: status.MapUnchanged},
		Promise: status.Promise{PromisedSeconds: 120, WorstGapSeconds: 120.1, Late: 2, NextCycle: now.Add(43 * time.Second)},
		Counts:  status.Counts{Replicas: 3, Healthy: 1, Sick: 1, Dead: 1, Ignored: 1},
		Ignored: []status.Ignored{{Entry: "tcp://10.0.0.9", Reason: "has no port"}},
		Server:  &status.Server{Inet: "127.0.0.1:8112", Error: "127.0.0.1:8112 is in use"},
		Replicas: []status.Replica{
			{Replica: "http://a/", Health: "healthy", Since: now.Add(-time.Hour)},
			{Replica: "http://b/?token=…", Health: "sick", Since: now.Add(-time.Hour), Reason: "answered after 1.5s, \x1b[2Jsick from 1s"},
			dead,
		},
	}
}

// asked serves the state where a daemon with the file at path would.
func asked(t *testing.T, path string, snapshot *status.Snapshot) {
	t.Helper()
	namespace, err := os.Readlink("/proc/self/ns/pid")
	if err != nil {
		t.Fatal(err)
	}
	hash := sha256.Sum256([]byte(namespace + "\x00" + path))
	listener, err := net.ListenUnix("unix", &net.UnixAddr{Net: "unix", Name: fmt.Sprintf("@crisp-status-local-%x", hash[:16])})
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/replicas.json" {
			http.NotFound(w, r)
			return
		}
		json.NewEncoder(w).Encode(snapshot)
	})}
	var serving sync.WaitGroup
	serving.Go(func() { server.Serve(listener) })
	t.Cleanup(func() {
		server.Close()
		serving.Wait()
	})
}

func TestStatusOfARunningDaemon(t *testing.T) {
	path := write(t, "")
	asked(t, path, state())
	for _, tt := range []struct {
		name   string
		args   []string
		want   []string
		absent []string
		status int
	}{
		{"what is wrong", nil, []string{
			"no route to 10.1.0.0/16 since 12:16:01 (35 replicas without a verdict; the last verdict is repeated until 12:18:01)",
			"down since 12:16:01: status 503; 212 verdicts wait; next try in 12s; map of 12:16:01 (unchanged)",
			"2 reports were late since the start; worst gap 120.1 s of the 120 s promised; next cycle in 43s",
			"endpoint    is not served: 127.0.0.1:8112 is in use; it is tried again at the next reload",
			"3: 1 healthy, 1 sick, 1 dead; 1 entry of the map ignored",
			"dead    14m   tcp://10.0.0.5:3306", "connection refused", "12:16:48", "12:19:28", "http://b/?token=…",
		}, []string{"http://a/", "\x1b"}, 0},
		{"all", []string{"--all"}, []string{"http://a/", "http://b/"}, nil, 0},
		{"dead ones", []string{"--dead"}, []string{"tcp://10.0.0.5:3306"}, []string{"http://b/"}, 0},
		{"ignored entries", []string{"--ignored"}, []string{"tcp://10.0.0.9   has no port"}, []string{"10.0.0.5"}, 0},
		{"a part of a name", []string{"10.0.0.5"}, []string{
			"tcp://10.0.0.5:3306   dead for 14m   connection refused", "service shop   node database",
			"the page took dead at 12:16:48, and must take the next by 12:19:28",
			"12:16:48  dead     –        3 attempts", "12:03:01  healthy  0.40 ms",
			"last failure 12:16:48: connection refused", "0.30 ms", "the same",
		}, []string{"http://"}, 0},
		{"a name that nobody has", []string{"10.9"}, []string{"no replica called 10.9"}, nil, 1},
		{"a URL as the page's settings have it", []string{"http://u:hunter2@b/?token=hunter2#hunter2"}, []string{"http://b/?token=…"}, []string{"http://a/", "tcp://"}, 0},
		{"a URL with secrets that nobody has", []string{"http://u:hunter2@c/?token=hunter2"}, []string{"no replica called http://***@c/?token=…: see"}, nil, 1},
		{"a part with secrets that nobody has", []string{"u:hunter2@c"}, []string{"no replica called ***@c: see"}, nil, 1},
		{"two selections", []string{"--all", "--dead"}, []string{"want one"}, nil, exitUsage},
		{"a form that is none", []string{"-o", "yaml"}, []string{`output "yaml", want text or json`}, nil, exitUsage},
		{"watched, into a file", []string{"--watch"}, []string{"--watch needs a terminal"}, nil, exitUsage},
	} {
		t.Run(tt.name, func(t *testing.T) {
			stdout, stderr, got := started(t.Context(), t, append([]string{"status", "-c", path}, tt.args...)...)
			if got != tt.status {
				t.Errorf("exit status %d, want %d", got, tt.status)
			}
			for _, want := range tt.want {
				if !strings.Contains(stdout+stderr, want) {
					t.Errorf("got\n%s%swant %q in it", stdout, stderr, want)
				}
			}
			if strings.Contains(stdout+stderr, "hunter2") {
				t.Errorf("got a secret in\n%s%s", stdout, stderr)
			}
			for _, absent := range tt.absent {
				if strings.Contains(stdout, absent) {
					t.Errorf("got\n%swant no %q in it", stdout, absent)
				}
			}
		})
	}
}

func TestStatusSaysOneReasonOnce(t *testing.T) {
	for name, held := range map[string]bool{"no map yet": false, "the map of 12:16:01 stays in force": true} {
		path, shown := write(t, ""), state()
		if !held {
			shown.API.MapAt = time.Time{}
		}
		shown.API.MapError = shown.API.Error
		asked(t, path, shown)
		if stdout, _, _ := started(t.Context(), t, "status", "-c", path); strings.Count(stdout, "status 503") != 1 || !strings.Contains(stdout, name) {
			t.Errorf("got\n%swant %q, and the reason once", stdout, name)
		}
	}
}

func TestWithoutAMapNothingIsPromised(t *testing.T) {
	path, shown := write(t, ""), state()
	shown.API.MapAt, shown.Promise, shown.Server.Error = time.Time{}, status.Promise{}, ""
	asked(t, path, shown)
	stdout, _, _ := started(t.Context(), t, "status", "-c", path)
	if !strings.Contains(stdout, "promise     nothing is probed: there is no map yet\n") || strings.Contains(stdout, "next cycle") || strings.Contains(stdout, "endpoint") {
		t.Errorf("got\n%swant no next cycle, and no word of an endpoint that is served", stdout)
	}
}

func TestWithoutAMapNoReplicaIsKnown(t *testing.T) {
	path, shown := write(t, ""), state()
	shown.API.MapAt, shown.Replicas = time.Time{}, nil
	asked(t, path, shown)
	if _, stderr, _ := started(t.Context(), t, "status", "-c", path, "10.0.0.5"); !strings.Contains(stderr, "no replica called 10.0.0.5, since there is no map yet") {
		t.Errorf("got %q, want it said that there is no map yet", stderr)
	}
}

func TestStatusAsJSONIsWhatTheDaemonSays(t *testing.T) {
	path := write(t, "")
	want := state()
	asked(t, path, want)
	stdout, _, exit := started(t.Context(), t, "status", "-c", path, "-o", "json")
	var got status.Snapshot
	if err := json.Unmarshal([]byte(stdout), &got); err != nil || exit != 0 {
		t.Fatalf("got exit status %d and %v of\n%s", exit, err, stdout)
	}
	if len(got.Replicas) != len(want.Replicas) || got.API.State != want.API.State {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func TestStatusWithoutADaemon(t *testing.T) {
	path := write(t, "")
	stdout, stderr, exit := started(t.Context(), t, "status", "-c", path)
	if exit != 1 || stdout != "" || !strings.Contains(stderr, "systemctl start crisp-status-local") || !strings.Contains(stderr, path) {
		t.Errorf("got exit status %d, %q and %q, want 1 and how to start it", exit, stdout, stderr)
	}
}

func TestStatusOfADaemonOfAnotherVersion(t *testing.T) {
	path := write(t, "")
	other := state()
	other.Version = "1.9.9"
	asked(t, path, other)
	if stdout, _, exit := started(t.Context(), t, "status", "-c", path); exit != 0 || !strings.Contains(stdout, "version 1.9.9") || !strings.Contains(stdout, "this command is version "+version) {
		t.Errorf("got exit status %d and\n%s\nwant both versions", exit, stdout)
	}
}

func TestNoLineIsWiderThanTheTerminal(t *testing.T) {
	snapshot := state()
	snapshot.Replicas[1].Replica = "https://" + strings.Repeat("a-long-name.", 9) + "example/"
	snapshot.Replicas[1].Reason = strings.Repeat("no answer, ", 20)
	for _, width := range []int{40, 80, 110, 200} {
		for _, colored := range []bool{false, true} {
			v := statusView{screen: screen{width: width, height: 24, colored: colored}, snapshot: snapshot, peer: service.Peer{PID: 1, UID: 0}}
			all := v.chosen(func(*status.Replica) bool { return true })
			for line := range strings.Lines(v.head() + v.replicas(all) + v.details(all[:1]) + v.ignored()) {
				if n := text.StringWidthWithoutEscSequences(strings.TrimRight(line, "\n")); n > width {
					t.Errorf("got %d columns, want %d at most: %s", n, width, line)
				}
			}
		}
	}
}

func TestFoldLosesNoWord(t *testing.T) {
	s := screen{width: 12}
	for line, want := range map[string]string{
		"short":                     "short\n",
		"three words and more":      "three words\n  and more\n",
		"a wordthatdoesnotfitatall": "a\n  wordthatdo\n  esnotfitat\n  all\n",
		"  indented words of some":  "  indented\n  words of\n  some\n",
	} {
		if got := s.fold(line, 2); got != want {
			t.Errorf("%q: got %q, want %q", line, got, want)
		}
	}
}

func TestColoursAreForTerminalsThatWantThem(t *testing.T) {
	if got := (screen{}).health("dead"); got != "dead" {
		t.Errorf("got %q in a file, want no colour", got)
	}
	if s := newScreen(new(bytes.Buffer), func(string) (string, bool) { return "xterm", true }); s.colored || s.isTerminal() {
		t.Errorf("got %+v of a buffer, want no terminal", s)
	}
}

func TestProbeCommand(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/down" {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
		io.WriteString(w, "in order")
	}))
	defer server.Close()
	secure := httptest.NewTLSServer(server.Config.Handler)
	defer secure.Close()
	closed := httptest.NewServer(nil)
	closed.Close()
	refused := strings.Replace(closed.URL, "http", "tcp", 1)
	listener, err := net.Listen("tcp", "127.0.0.1:0") // nobody takes what the kernel accepts
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	silent := "http://" + listener.Addr().String()
	for _, tt := range []struct {
		name   string
		args   []string
		status int
		want   string
	}{
		{"healthy", []string{server.URL}, exitHealthy, "healthy"},
		{"the body as it must be", []string{"--healthy-match", "order", server.URL}, exitHealthy, "healthy"},
		{"the body as it must not be", []string{"--retry", "0", "--dead-match", "order", server.URL}, exitDead, "body contains"},
		{"a status", []string{"--retry", "0", server.URL + "/down"}, exitDead, "status 503, want 200 to 399"},
		{"a status that is right", []string{"--status", "200-503", server.URL + "/down"}, exitHealthy, "status 503"},
		{"refused", []string{"--retry", "1", refused}, exitDead, "the same"},
		{"several, of which the worst counts", []string{"--retry", "0", server.URL, refused}, exitDead, "healthy"},
		{"an authority that nobody knows", []string{"--retry", "0", secure.URL}, exitDead, "--ca-file"},
		{"a server that is silent", []string{"--retry", "0", "--delay-dead", "1", silent}, exitDead, "it accepts the connection"},
		{"no URL", nil, exitBadProbe, "no URL"},
		{"a URL that is none", []string{"tcp://host"}, exitBadProbe, "has no port"},
		{"a URL with a secret that is none", []string{"ftp://u:hunter2@h/?token=hunter2"}, exitBadProbe, "want tcp"},
		{"a flag that is none", []string{"--fast", server.URL}, exitBadProbe, "unknown flag"},
		{"a flag without its number, before a secret", []string{"--retry", "http://u:hunter2@h/?token=hunter2"}, exitBadProbe, `"http://***@h/?token=…" for --retry: must be an integer`},
		{"a flag without its range, before a secret", []string{"--status", "http://u:hunter2@h/?token=hunter2", server.URL}, exitBadProbe, "--status"},
		{"a flag without its form, before a secret", []string{"-o", "http://u:hunter2@h/?token=hunter2", server.URL}, exitBadProbe, "text or json"},
		{"a range that is none", []string{"--status", "2xx", server.URL}, exitBadProbe, "--status"},
		{"retries without end", []string{"--retry", "1000", server.URL}, exitBadProbe, "0 to 100"},
		{"no time", []string{"--delay-dead", "0", server.URL}, exitBadProbe, "1 to 35"},
		{"a file that is none", []string{"--ca-file", "/nowhere", server.URL}, exitBadProbe, "--ca-file /nowhere: "},
		{"a form that is none", []string{"-o", "xml", server.URL}, exitBadProbe, "text or json"},
		{"help", []string{"--help"}, 0, "Exit status"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			stdout, stderr, got := started(t.Context(), t, append([]string{"probe"}, tt.args...)...)
			if got != tt.status || !strings.Contains(stdout+stderr, tt.want) {
				t.Errorf("exit status %d and\n%s%swant %d and %q", got, stdout, stderr, tt.status, tt.want)
			}
			if strings.Contains(stdout+stderr, "hunter2") {
				t.Errorf("got a secret in\n%s%s", stdout, stderr)
			}
		})
	}
}

func TestProbeThatIsInterruptedIsNotJudged(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if stdout, _, exit := started(ctx, t, "probe", "tcp://192.0.2.1:1"); exit != exitNotJudged || !strings.Contains(stdout, "not judged") {
		t.Errorf("got exit status %d and %q, want %d", exit, stdout, exitNotJudged)
	}
}

func TestProbeAsJSON(t *testing.T) {
	server := httptest.NewServer(http.NotFoundHandler())
	defer server.Close()
	stdout, _, exit := started(t.Context(), t, "probe", "-o", "json", "--retry", "1", server.URL+"/?token=hunter2")
	var got struct {
		Replica, Health, Reason, Kind string
		Attempts                      []status.Attempt
	}
	if err := json.Unmarshal([]byte(stdout), &got); err != nil {
		t.Fatalf("%v of\n%s", err, stdout)
	}
	if exit != exitDead || got.Health != "dead" || got.Kind != "status" || len(got.Attempts) != 2 || got.Attempts[0].Status != http.StatusNotFound || strings.Contains(stdout, "hunter2") {
		t.Errorf("got exit status %d and\n%s\nwant two attempts that ended with 404, and no value of the query", exit, stdout)
	}
}

func TestArgumentsThatAreRefusedShowNoSecret(t *testing.T) {
	const url = "http://u:hunter2@h/?token=hunter2"
	for _, args := range [][]string{{url}, {"check", url}, {"once", url}, {"help", url}, {"completion", url}} {
		stdout, stderr, exit := started(t.Context(), t, args...)
		if exit != exitUsage || strings.Contains(stdout+stderr, "hunter2") || !strings.Contains(stderr, "http://***@h/?token=…") {
			t.Errorf("%s: got exit status %d and\n%s%swant %d and the URL without its secrets", args[0], exit, stdout, stderr, exitUsage)
		}
	}
}

func TestAWrongCommandLinePointsToTheHelpOfItsCommand(t *testing.T) {
	for want, args := range map[string][]string{
		"crisp-status-local --help":            {"--fast"},
		"crisp-status-local probe --help":      {"probe", "--fast"},
		"crisp-status-local status --help":     {"status", "-o", "yaml"},
		"crisp-status-local once --help":       {"once", "argument"},
		"crisp-status-local completion --help": {"completion", "tcsh"},
	} {
		if _, stderr, exit := started(t.Context(), t, args...); exit != exitUsage && exit != exitBadProbe || !strings.HasSuffix(stderr, ": see "+want+"\n") {
			t.Errorf("%q: got exit status %d and %q, want it to end with %q", args, exit, stderr, want)
		}
	}
}

func TestTheWorstVerdictCounts(t *testing.T) {
	order := []int{exitHealthy, exitSick, exitNotJudged, exitDead}
	for i, a := range order {
		for j, b := range order {
			if got, want := worse(a, b), order[max(i, j)]; got != want {
				t.Errorf("of %d and %d: got %d, want %d", a, b, got, want)
			}
		}
	}
}

func TestCheckAndOnce(t *testing.T) {
	w := newWorld(t, sandbox.Options{}, "target:http", "target:tcp-refusing", "tcp://nowhere")
	w.configure(secret, 120)
	stdout, _, exit := started(t.Context(), t, "check", "-c", w.config)
	for _, want := range []string{"✔ file     " + w.config + " read; 0600 ", "✔ clock", "1 service, 1 node, 2 replicas (tcp 1, http 1)", "has no port", "✔ probes", "✔ promise", "! entry", "1 entry of the map"} {
		if exit != 0 || !strings.Contains(stdout, want) {
			t.Errorf("got exit status %d and\n%swant 0 and %q", exit, stdout, want)
		}
	}
	stdout, stderr, exit := started(t.Context(), t, "once", "-c", w.config)
	if !strings.Contains(stderr, "entry of the map: ") || !strings.Contains(stderr, "has no port") || !strings.Contains(stdout, "0 not judged; 1 entry of the map is not taken as it is\n") {
		t.Errorf("got %q and\n%swant the entry that is left out said", stderr, stdout)
	}
	if exit != 0 || !strings.Contains(stdout, "2 replicas: 1 healthy, 0 sick, 1 dead, 0 not judged") || !strings.Contains(stdout, "connection refused") {
		t.Errorf("got exit status %d and\n%swant a verdict of both", exit, stdout)
	}
	if n := w.Summary().Reports; n != 0 {
		t.Errorf("%d reports were sent, want none without --report", n)
	}
	if stdout, stderr, exit := started(t.Context(), t, "once", "--report", "-c", w.config); exit != 0 || w.Summary().Reports != 2 {
		t.Errorf("got exit status %d, %d reports, %s%s, want two reports", exit, w.Summary().Reports, stdout, stderr)
	}
	w.configure("another", 120)
	stdout, stderr, exit = started(t.Context(), t, "check", "-c", w.config)
	if exit != 1 || !strings.Contains(stdout, "✘ token") || !strings.Contains(stdout, "does not accept the token") || strings.Contains(stdout+stderr, "another") {
		t.Errorf("got exit status %d and\n%s%swant 1 and that the token is wrong", exit, stdout, stderr)
	}
	if _, stderr, exit := started(t.Context(), t, "once", "-c", w.config); exit != 1 || !strings.Contains(stderr, "does not accept the token") {
		t.Errorf("got exit status %d and %q, want 1 and that the token is wrong", exit, stderr)
	}
	for _, command := range []string{"check", "once"} {
		if _, stderr, exit := started(t.Context(), t, command, "-c", "/nowhere/config.cfg"); exit != exitConfig || !strings.Contains(stderr, "/nowhere/config.cfg") {
			t.Errorf("%s: got exit status %d and %q of a file that is not there, want %d", command, exit, stderr, exitConfig)
		}
		if _, _, exit := started(t.Context(), t, command, "argument"); exit != exitUsage {
			t.Errorf("%s: got exit status %d of an argument, want %d", command, exit, exitUsage)
		}
	}
}

func TestCheckCountsWhatIsDenied(t *testing.T) {
	w := newWorld(t, sandbox.Options{}, "tcp://10.0.0.1:80", "icmp://10.0.0.2", "tcp://db.lan:5432", "tcp://192.0.2.7:80", "http://name.example/")
	for _, tt := range []struct{ keys, want string }{
		{"deny = ['10.0.0.0/8', 'db.lan:5432']", "! denied   3 of 5 replicas are neither probed nor reported (`status` lists them while the daemon runs, `once` at any time); the first one: 10.0.0.1 port 80 is denied by the entry \"10.0.0.0/8\" of [probe] deny\n"},
		{"allow = ['10.0.0.0/8', '*.lan', '0.0.0.0/0']\ndeny = ['192.0.2.7']\nreport_denied = true", "! denied   1 of 5 replicas is not probed, and reported dead ("},
		{"deny = ['198.51.100.0/24']", ""},
	} {
		w.configure(w.Token(), 120)
		f, err := os.OpenFile(w.config, os.O_APPEND|os.O_WRONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := fmt.Fprintln(f, tt.keys); err != nil {
			t.Fatal(err)
		}
		f.Close()
		stdout, _, exit := started(t.Context(), t, "check", "-c", w.config)
		if exit != 0 || !strings.Contains(stdout, tt.want) || strings.Contains(stdout, "denied") != (tt.want != "") || tt.want != "" && strings.Contains(stdout, "everything works") {
			t.Errorf("%s: got exit status %d and\n%swant 0 and %q", tt.keys, exit, stdout, tt.want)
		}
	}
}

// TestCommandsEndWithTheirReader: the daemon passes over a reader of its log that
// is gone, a command has nobody left to tell.
func TestCommandsEndWithTheirReader(t *testing.T) {
	if binary == "" {
		t.Skip("there is no Go toolchain to build the daemon with")
	}
	signal.Ignore(syscall.SIGPIPE) // those who ignore it hand that down
	defer signal.Reset(syscall.SIGPIPE)
	for _, args := range [][]string{{"--version"}, {"--help"}, {"completion", "bash"}, {"probe", "--retry", "0", "tcp://127.0.0.1:1"}} {
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		r.Close()
		var stderr bytes.Buffer
		cmd := exec.Command(binary, args...)
		cmd.Stdout, cmd.Stderr = w, &stderr
		err = cmd.Run()
		w.Close()
		state := cmd.ProcessState.Sys().(syscall.WaitStatus)
		if !(state.Signaled() && state.Signal() == syscall.SIGPIPE) && state.ExitStatus() != exitPipe || stderr.Len() > 0 {
			t.Errorf("%q: got %v and %q, want it to end without a word", args, err, stderr.String())
		}
	}
}

func TestVersionHasCommitAndGo(t *testing.T) {
	revision := debug.BuildSetting{Key: "vcs.revision", Value: "0123456789abcdef0123"}
	for want, tt := range map[string]struct {
		linked   string
		settings []debug.BuildSetting
	}{
		" (commit 0123456789ab, go1.26.8)":  {"", []debug.BuildSetting{revision, {Key: "vcs.modified", Value: "false"}}},
		" (commit 0123456789ab+, go1.26.8)": {"", []debug.BuildSetting{revision, {Key: "vcs.modified", Value: "true"}}},
		" (commit fedcba987654, go1.26.8)":  {"fedcba987654", []debug.BuildSetting{revision}},
		" (go1.26.8)":                       {"", nil},
	} {
		if got := versionText(tt.linked, &debug.BuildInfo{GoVersion: "go1.26.8", Settings: tt.settings}, true); got != version+want {
			t.Errorf("got %q, want %q", got, version+want)
		}
	}
	if got := versionText("", nil, false); got != version {
		t.Errorf("got %q, want %q", got, version)
	}
}

// TestOtherSystemsAreToldInOneSentence: no file is left for the compiler that would
// name what it does not know there.
func TestOtherSystemsAreToldInOneSentence(t *testing.T) {
	files, err := filepath.Glob("*.go")
	if err != nil || len(files) == 0 {
		t.Fatalf("got %d files, %v", len(files), err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		want := "//go:build linux\n"
		if file == "other_system.go" {
			want = "//go:build !linux\n"
		}
		if !strings.HasSuffix(file, "_test.go") && !strings.HasPrefix(string(text), want) {
			t.Errorf("%s: want it to begin with %q", file, want)
		}
	}
}

// maxBinary is what the daemon may weigh. A template or reflection by the name of a
// method keeps every method of every type in it, twice its size.
const maxBinary = 13_150_000

func TestBinaryIsSmall(t *testing.T) {
	if testing.Short() || binary == "" {
		t.Skip("it takes a build")
	}
	path := filepath.Join(t.TempDir(), "daemon")
	build := exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-ldflags", "-s -w", "-o", path, ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if info.Size() > maxBinary {
		t.Errorf("got %d bytes, want %d at most", info.Size(), maxBinary)
	}
}
