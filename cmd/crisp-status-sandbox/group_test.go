package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/crisp-im/crisp-status-local/v2/internal/sandbox"
)

// runningGroup is a sandbox with several daemons, as a person has it.
type runningGroup struct {
	t    *testing.T
	out  *output
	page string
	stop func()
}

// startGroup runs the sandbox with a command line until the test ends, and returns
// when it has printed the address of its page.
func startGroup(t *testing.T, args ...string) *runningGroup {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	g := &runningGroup{t: t, out: &output{}}
	ended := make(chan error, 1)
	go func() { ended <- run(ctx, args, g.out, g.out) }()
	g.stop = func() {
		t.Helper()
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("run = %v, want nil\n%s", err, g.out)
		}
		ended <- nil
	}
	t.Cleanup(g.stop)
	g.eventually("the address of the page", func() bool {
		found := regexp.MustCompile(`The page: +(\S+)`).FindStringSubmatch(g.out.String())
		if found != nil {
			g.page = found[1]
		}
		return found != nil
	})
	return g
}

func (g *runningGroup) eventually(what string, holds func() bool) {
	g.t.Helper()
	for deadline := time.Now().Add(90 * time.Second); !holds(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			g.t.Fatalf("there never is %s\n%s", what, g.out)
		}
	}
}

// groupState is what a script reads of a group.
type groupState struct {
	Programs []programState   `json:"programs"`
	Members  []sandbox.Member `json:"members"`
}

func (g *runningGroup) state() groupState {
	g.t.Helper()
	answer, err := http.Get(g.page + "state.json")
	if err != nil {
		g.t.Fatal(err)
	}
	defer answer.Body.Close()
	var s groupState
	if err := json.NewDecoder(answer.Body).Decode(&s); err != nil {
		g.t.Fatal(err)
	}
	return s
}

// program returns the state of one.
func (g *runningGroup) program(name string) programState {
	g.t.Helper()
	for _, p := range g.state().Programs {
		if p.Name == name {
			return p
		}
	}
	return programState{}
}

// press presses a button of the page, and returns the status of the answer.
func (g *runningGroup) press(name string, do action) int {
	g.t.Helper()
	client := http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	answer, err := client.PostForm(g.page+"program", url.Values{"name": {name}, "do": {string(do)}})
	if err != nil {
		g.t.Fatal(err)
	}
	answer.Body.Close()
	return answer.StatusCode
}

func TestTheDaemonsOfAGroupCanBeStoppedAndStarted(t *testing.T) {
	alone(t)
	t.Setenv("SANDBOX_TEST_CHILD", "report")
	g := startGroup(t, "--map", writeMap(t), "--members", "2", "--engine", "alive", "--", os.Args[0], "-c", "{config}")
	g.eventually("a report of each daemon", func() bool {
		members := g.state().Members
		return len(members) == 2 && members[0].Reports > 0 && members[1].Reports > 0
	})
	for _, tt := range []struct {
		do   action
		want string
	}{{freeze, "frozen"}, {thaw, "running"}, {kill, "killed"}, {start, "running"}, {freeze, "frozen"}, {stop, "stopped"}, {start, "running"}} {
		if code := g.press("host-b", tt.do); code != http.StatusSeeOther {
			t.Errorf("%s is answered %d, want 303", tt.do, code)
		}
		g.eventually(fmt.Sprintf("host-b %s after %s", tt.want, tt.do), func() bool { return g.program("host-b").State == tt.want })
		if got := g.program("host-a").State; got != "running" {
			t.Errorf("host-a is %s after %s of host-b, want it running", got, tt.do)
		}
	}
	for what, code := range map[string]int{
		"a daemon that runs is started": g.press("host-b", start), "one that runs is told nonsense": g.press("host-b", "explode"),
	} {
		if code != http.StatusConflict {
			t.Errorf("when %s the answer is %d, want 409", what, code)
		}
	}
	if code := g.press("host-c", start); code != http.StatusNotFound {
		t.Errorf("a daemon that is none is answered %d, want 404", code)
	}
	pid := g.program("host-a").Process
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	g.eventually("that host-a has ended, whoever killed it", func() bool { return g.program("host-a").State == "ended by itself: signal: killed" })
	g.press("host-b", freeze)
	last := g.program("host-b").Process
	g.stop()
	for _, pid := range []int{pid, last} {
		if err := syscall.Kill(pid, 0); err != syscall.ESRCH {
			t.Errorf("process %d is still there after the end: %v", pid, err)
		}
	}
	for _, want := range []string{"status -c ", "host-a: started, process ", "host-b: kill, by SIGKILL", "host-a  child "} {
		if !strings.Contains(g.out.String(), want) {
			t.Errorf("the output lacks %q:\n%s", want, g.out)
		}
	}
}

func TestTheConfigurationsOfAGroup(t *testing.T) {
	folder := t.TempDir()
	server, err := sandbox.New(sandbox.Options{Members: memberNames(2)})
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	s := settings{members: 2, engine: engineAlive, interval: 4 * time.Second, command: []string{"daemon", "-c", "{config}"}}
	g, err := newGroup(s, folder, server, io.Discard, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"host-a", "host-b"} {
		text, err := os.ReadFile(g.configs[name])
		if err != nil {
			t.Fatal(err)
		}
		for _, want := range []string{"[cluster]\nengine = \"alive\"\n", "/m/" + name + "/v1\"", name + ".sock", "interval = 4\n"} {
			if !strings.Contains(string(text), want) {
				t.Errorf("the configuration of %s lacks %q:\n%s", name, want, text)
			}
		}
	}
	if got := g.daemons[1].command; got[0] != "daemon" || got[2] != filepath.Join(folder, "host-b.cfg") {
		t.Errorf("got the command %q, want the configuration of host-b in it", got)
	}
}

func TestThePageShowsWhoOfAGroupReports(t *testing.T) {
	b := newBubble(t, sandbox.Options{Map: mapOf("tcp://h:1"), Members: memberNames(2)})
	b.requestTo("/m/host-b", "POST", "/report/S/N", `{"replica_id":"tcp://h:1","health":"dead","interval":120}`)
	words := map[string]string{
		"host-a": `{"now":"2026-05-01T12:00:10Z","cluster":{"scope":"nothing","since":"2026-05-01T12:00:00Z","why":"host-b is on duty <b>"},"replicas":[
			{"service":"S","node":"N","replica":"tcp://h:1","health":"dead","reason":"as host-a sees it"}]}`,
		"host-b": `{"now":"2026-05-01T12:00:10Z","cluster":{"scope":"everything","since":"2026-05-01T12:00:00Z","trouble":"connection refused"},"replicas":[
			{"service":"S","node":"N","replica":"tcp://h:1","health":"dead","reason":"as host-b sees it"}]}`,
	}
	g := &group{sockets: make(map[string]string)}
	for _, name := range memberNames(2) {
		p := &program{name: name, command: []string{"sleep", "1000"}, said: io.Discard, out: io.Discard, err: io.Discard}
		if err := p.begin(); err != nil {
			t.Fatal(err)
		}
		defer p.end()
		g.daemons = append(g.daemons, p)
		g.sockets[name] = saying(t, words[name]).socket
	}
	show := func() string {
		w := httptest.NewRecorder()
		newPage(b.s, daemon{}, g).ServeHTTP(w, httptest.NewRequest("GET", "/", nil))
		return w.Body.String()
	}
	text := show()
	for _, want := range []string{
		"standby for 10 s: host-b is on duty &lt;b&gt;", "on duty for 10 s", "the engine: connection refused", "as host-b sees it", "by host-b", "As host-b reported it",
		"1 report, 1 dead<", "no report yet", `id="do host-a kill"`, ", process ",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("the page lacks %q:\n%s", want, text)
		}
	}
	if strings.Contains(text, "as host-a sees it") {
		t.Error("the page has the reason of a daemon that did not report the replica")
	}
	if err := g.daemons[1].do(kill); err != nil {
		t.Fatal(err)
	}
	<-g.daemons[1].child.ended
	if text := show(); !strings.Contains(text, "as host-a sees it") || !strings.Contains(text, `id="do host-b start"`) || strings.Contains(text, "on duty for") {
		t.Errorf("with the reporter killed, the page lacks the reason of the other, or the button to start it:\n%s", text)
	}
}

// builtDaemon returns a daemon built from the source.
func builtDaemon(t *testing.T) string {
	t.Helper()
	program := filepath.Join(t.TempDir(), "crisp-status-local")
	if out, err := exec.Command("go", "build", "-o", program, "../crisp-status-local").CombinedOutput(); err != nil {
		t.Skipf("the daemon cannot be built here: %v: %s", err, out)
	}
	return program
}

// onDuty returns the name of the daemon that says so, nothing unless it is one.
func (g *runningGroup) onDuty() string {
	g.t.Helper()
	answer, err := http.Get(g.page)
	if err != nil {
		g.t.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		g.t.Fatal(err)
	}
	found := regexp.MustCompile(`<li class="healthy"><strong>(host-.)</strong>`).FindAllSubmatch(text, -1)
	if len(found) != 1 {
		return ""
	}
	return string(found[0][1])
}

func TestAnotherDaemonOfAGroupTakesOver(t *testing.T) {
	if testing.Short() {
		t.Skip("a lease takes seconds to end")
	}
	if _, err := exec.LookPath("etcd"); err != nil {
		missing(t, "etcd (apt install etcd-server)")
	}
	program := builtDaemon(t)
	alone(t)
	g := startGroup(t, "--interval", "1s", "--map", writeMap(t), "--members", "3", "--engine", "etcd", "--", program, "-c", "{config}")
	reports := func(name string) int {
		for _, m := range g.state().Members {
			if m.Name == name {
				return m.Reports
			}
		}
		return 0
	}
	var first, second, third string
	g.eventually("one daemon on duty that reports", func() bool {
		first = g.onDuty()
		return first != "" && reports(first) > 0
	})
	for _, m := range g.state().Members {
		if m.Name != first && m.Reports > 0 {
			t.Errorf("%s has reported %d times while %s is on duty, want a standby that sends nothing", m.Name, m.Reports, first)
		}
	}
	g.press(first, kill)
	g.eventually("another one on duty", func() bool {
		second = g.onDuty()
		return second != "" && second != first && reports(second) > 0
	})
	g.press(first, start)
	g.press(second, freeze)
	g.eventually("a third one on duty, or the first again", func() bool {
		third = g.onDuty()
		return third != "" && third != second && reports(third) > 0
	})
	g.press(second, thaw)
	before := reports(second)
	g.press("etcd-1", kill)
	g.press("etcd-2", kill)
	g.eventually("that all report what is alive, without an engine", func() bool { return reports(second) > before && g.onDuty() == "" })
	dead := g.state().Members
	after := reports(second)
	g.eventually("more of that", func() bool { return reports(second) > after+1 })
	for i, m := range g.state().Members {
		if m.ByHealth[sandbox.Dead] != dead[i].ByHealth[sandbox.Dead] {
			t.Errorf("%s reported %d dead without an engine, and %d before, want none more", m.Name, m.ByHealth[sandbox.Dead], dead[i].ByHealth[sandbox.Dead])
		}
	}
	g.press("etcd-1", start)
	g.eventually("one on duty again", func() bool { return g.onDuty() != "" })
	g.stop()
	if out := g.out.String(); !regexp.MustCompile(`wrong verdicts +0\n`).MatchString(out) || regexp.MustCompile(`[1-9]\d* late,`).MatchString(out) {
		t.Errorf("got the summary\n%s\nwant no wrong verdict, and no replica late", out)
	}
}

func TestAGroupWithoutAnEngineReportsNobodyDead(t *testing.T) {
	if testing.Short() {
		t.Skip("the daemon is built first")
	}
	program := builtDaemon(t)
	alone(t)
	g := startGroup(t, "--interval", "1s", "--map", writeMap(t), "--members", "2", "--engine", "alive", "--", program, "-c", "{config}")
	g.eventually("three reports of each", func() bool {
		members := g.state().Members
		return members[0].Reports > 2 && members[1].Reports > 2
	})
	for _, m := range g.state().Members {
		if m.ByHealth[sandbox.Dead] > 0 {
			t.Errorf("%s has reported %d times that a replica is dead, want that left to the page", m.Name, m.ByHealth[sandbox.Dead])
		}
	}
}
