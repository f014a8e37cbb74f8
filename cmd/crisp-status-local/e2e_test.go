package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/crisp-im/crisp-status-local/v2/internal/sandbox"
)

// binary is the daemon as an operator gets it; empty where there is no Go
// toolchain to build it with.
var binary string

func TestMain(m *testing.M) {
	if os.Getenv(farmVariable) != "" {
		serveFarm()
		return
	}
	if os.Getenv(rootsVariable) != "" {
		os.Exit(m.Run()) // it needs no daemon built
	}
	os.Exit(buildAndTest(m))
}

func buildAndTest(m *testing.M) int {
	dir, err := os.MkdirTemp("", "crisp-status-local-test-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	if _, err := exec.LookPath("go"); err == nil {
		path := filepath.Join(dir, "crisp-status-local")
		build := exec.Command("go", "build", "-buildvcs=false", "-o", path, ".") // the repository may be another user's
		build.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := build.CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "building the daemon: %v\n%s", err, out)
			return 1
		}
		binary = path
	}
	return m.Run()
}

// secret is a token whose appearance anywhere is a failure. Its base64, as it
// goes over the wire, is one too.
const secret = "a-token-that-nobody-may-see"

// patience is how long a thing that must happen is waited for. Nothing is
// proved by its coming sooner: a busy machine is not a broken daemon.
const patience = time.Minute

// never is an interval that no test lives to see the end of.
const never = 3600

// world is a Status API with a daemon that reports to it.
type world struct {
	*sandbox.Server
	t      *testing.T
	config string
	env    []string // besides that of the test
	out    *output
	cmd    *exec.Cmd
	ended  chan error
	told   bool // to end
}

// output collects what a process writes.
type output struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (o *output) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(b)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

// newWorld returns a world without a daemon yet, whose map has one node with
// the given replicas.
func newWorld(t *testing.T, o sandbox.Options, replicas ...string) *world {
	t.Helper()
	if binary == "" {
		t.Skip("there is no Go toolchain to build the daemon with")
	}
	o.Token = secret
	if len(replicas) > 0 {
		o.Map = mapOf(replicas...)
	}
	server, err := sandbox.New(o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var serving sync.WaitGroup
	serving.Go(func() { server.Run(ctx) })
	w := &world{Server: server, t: t, out: new(output), config: filepath.Join(t.TempDir(), "config.cfg")}
	t.Cleanup(func() {
		w.stop()
		cancel()
		serving.Wait()
		if t.Failed() {
			t.Logf("the daemon wrote:\n%s", w.out)
		}
	})
	return w
}

// mapOf returns a map of one node. Replicas that do not answer take delay_dead to
// be judged, 20 s: a test that has some shortens it.
func mapOf(replicas ...string) sandbox.Map {
	return sandbox.Map{
		Metrics:  sandbox.Metrics{Retry: new(1)},
		Services: []sandbox.Service{{ID: "service", Nodes: []sandbox.Node{{ID: "node", Replicas: replicas}}}},
	}
}

// configure writes the daemon's configuration.
func (w *world) configure(token string, interval int) {
	w.t.Helper()
	text := fmt.Sprintf("[server]\nlog_level = \"debug\"\n[report]\nendpoint = %q\ntoken = %q\n[probe]\ninterval = %d\n",
		w.Endpoint(), token, interval)
	if err := os.WriteFile(w.config, []byte(text), 0o600); err != nil {
		w.t.Fatal(err)
	}
}

// start starts the daemon.
func (w *world) start(interval int) {
	w.t.Helper()
	w.configure(w.Token(), interval)
	w.launch()
}

// launch starts the daemon with the configuration as it is.
func (w *world) launch() {
	w.t.Helper()
	w.cmd = exec.Command(binary, "-c", w.config)
	w.cmd.Env = append(os.Environ(), w.env...)
	w.cmd.Stdout, w.cmd.Stderr = w.out, w.out
	if err := w.cmd.Start(); err != nil {
		w.t.Fatal(err)
	}
	w.ended, w.told = make(chan error, 1), false
	go func() { w.ended <- w.cmd.Wait() }()
}

// terminate tells the daemon to end, once whoever asks: a second signal would end
// it at once.
func (w *world) terminate() {
	if !w.told {
		w.cmd.Process.Signal(syscall.SIGTERM)
	}
	w.told = true
}

// stop ends the daemon as a service manager does, and holds it to what must
// be true of every run.
func (w *world) stop() {
	w.t.Helper()
	if w.cmd == nil {
		return
	}
	w.terminate()
	select {
	case err := <-w.ended:
		if err != nil {
			w.t.Errorf("after SIGTERM the daemon ended with %v, want exit status 0", err)
		}
	case <-time.After(patience):
		w.cmd.Process.Kill()
		w.t.Errorf("the daemon did not end after SIGTERM")
	}
	w.cmd = nil
	for _, hidden := range []string{secret, base64.StdEncoding.EncodeToString([]byte(":" + secret)), "hunter2", "panic", "goroutine "} {
		if strings.Contains(w.out.String(), hidden) {
			w.t.Errorf("the daemon wrote %q", hidden)
		}
	}
	for _, v := range w.Summary().Violations {
		w.t.Errorf("the daemon broke the protocol: %s (%d times, as in %s)", v.Rule, v.Count, v.Example)
	}
}

// eventually waits until ok, or fails the test.
func (w *world) eventually(what string, ok func() bool) {
	w.t.Helper()
	for deadline := time.Now().Add(patience); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			w.t.Fatalf("never came: %s", what)
		}
	}
}

// url returns the URL of an own target of the sandbox.
func (w *world) url(target string) string {
	w.t.Helper()
	t, ok := w.Target(target)
	if !ok {
		w.t.Fatalf("the map has no target %q", target)
	}
	return t.URL()
}

func (w *world) replica(url string) sandbox.ReplicaState {
	r, _ := w.Replica("service", "node", url)
	return r
}

// becomes waits until the replica is reported with health.
func (w *world) becomes(target string, health sandbox.Health) {
	w.t.Helper()
	url := w.url(target)
	w.eventually(target+" is reported "+string(health), func() bool { return w.replica(url).Health == health })
}

// reports waits for n more reports of the replica.
func (w *world) reports(url string, n int) {
	w.t.Helper()
	before := w.replica(url).Reports
	w.eventually(fmt.Sprintf("%d more reports of %s", n, url), func() bool { return w.replica(url).Reports >= before+n })
}

// says waits until the daemon has written text.
func (w *world) says(text string) {
	w.t.Helper()
	w.eventually(fmt.Sprintf("the log says %q", text), func() bool { return strings.Contains(w.out.String(), text) })
}

func TestFirstReportLeavesAtOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sandbox.Options{}, "target:http", "target:tcp")
	w.start(never) // a report that waited for the second beat would not come
	w.becomes("target:http", sandbox.Healthy)
	w.becomes("target:tcp", sandbox.Healthy)
	if s := w.Summary(); s.Cycles != 1 || s.Interval != never {
		t.Errorf("the first reports promise %v s and came in cycle %d, want %d s and 1", s.Interval, s.Cycles, never)
	}
}

func TestReportsGoOnAndTheMapIsSentOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sandbox.Options{}, "target:http", "target:tcp")
	w.start(1)
	w.reports(w.url("target:tcp"), 3)
	w.reports(w.url("target:http"), 1)
	w.eventually("a map request is answered with 304", func() bool { return w.Summary().MapsCurrent > 0 })
	if s := w.Summary(); s.MapsSent != 1 || s.Interval != 1 {
		t.Errorf("the map was sent %d times and %v s promised, want once, 304 from then on, and 1 s", s.MapsSent, s.Interval)
	}
}

func TestEveryKindOfReplicaGetsItsHealthAndTheLogSaysWhy(t *testing.T) {
	t.Parallel()
	m := mapOf("target:tcp", "target:tcp-blackhole", "target:tcp-refusing", "target:http", "target:http-failing?status=503",
		"target:http-blackhole", "target:http-refusing", "target:http-slow?delay=2s")
	m.Metrics = sandbox.Metrics{Retry: new(1), DelayDead: new(3), DelaySick: new(1)}
	w := newWorld(t, sandbox.Options{Map: m})
	w.start(6)
	for target, want := range map[string]sandbox.Health{
		"target:tcp": sandbox.Healthy, "target:tcp-blackhole": sandbox.Dead, "target:tcp-refusing": sandbox.Dead,
		"target:http": sandbox.Healthy, "target:http-failing?status=503": sandbox.Dead, "target:http-blackhole": sandbox.Dead,
		"target:http-refusing": sandbox.Dead, "target:http-slow?delay=2s": sandbox.Sick,
	} {
		w.becomes(target, want)
	}
	for _, reason := range []string{"connection refused", "no answer within 3s", "status 503, want 200 to 399", "sick from 1s"} {
		w.says(reason)
	}
}

func TestHTTPSReplicaIsVerifiedAgainstCAFile(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sandbox.Options{}, "target:https")
	w.start(never) // the reload does not wait for a turn
	w.becomes("target:https", sandbox.Dead)
	w.says("certificate signed by unknown authority")

	ca := filepath.Join(filepath.Dir(w.config), "ca.pem")
	if err := os.WriteFile(ca, w.CA(), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(w.config, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprintf(f, "ca_file = %q\n", ca)
	f.Close()
	w.cmd.Process.Signal(syscall.SIGHUP)
	w.becomes("target:https", sandbox.Healthy)
}

// TestPolicyOfAReload: at once, not at the next turns. A death that is reported by request
// is no failure that another look could refute.
func TestPolicyOfAReload(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sandbox.Options{}, "target:tcp")
	reload := func(lines string) {
		w.configure(w.Token(), never)
		f, err := os.OpenFile(w.config, os.O_APPEND|os.O_WRONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintln(f, lines)
		f.Close()
		if w.cmd == nil {
			w.launch()
			return
		}
		w.cmd.Process.Signal(syscall.SIGHUP)
	}
	const deny = `deny = ["127.0.0.0/8", "::1"]`
	reload(deny)
	w.says("replica denied by policy: it is neither probed nor reported")
	reload(deny + "\nreport_denied = true")
	w.becomes("target:tcp", sandbox.Dead)
	reload("")
	w.becomes("target:tcp", sandbox.Healthy)
}

// TestExposureIsSaidAtEveryStartAndReload: a token that others can read, and one that goes
// over the network as it is.
func TestExposureIsSaidAtEveryStartAndReload(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sandbox.Options{}, "target:tcp")
	w.configure(w.Token(), never)
	text, err := os.ReadFile(w.config)
	if err != nil {
		t.Fatal(err)
	}
	text = regexp.MustCompile(`(?m)^endpoint *=.*$`).ReplaceAll(text, []byte(`endpoint = "http://0.0.0.0:1/v1"`))
	if err := errors.Join(os.WriteFile(w.config, text, 0o600), os.Chmod(w.config, 0o644)); err != nil {
		t.Fatal(err)
	}
	for _, times := range []int{1, 2, 3, 4, 5} {
		if times == 1 {
			w.launch()
		} else if err := w.cmd.Process.Signal(syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
		for _, said := range []string{"everybody on this host can read the token", "http:// is not encrypted"} {
			w.eventually(fmt.Sprintf("%q is said %d times", said, times), func() bool { return strings.Count(w.out.String(), said) == times })
		}
	}
	if out := w.out.String(); !strings.Contains(out, "the mode of its file is 0644") || !strings.Contains(out, "chmod o-rwx "+w.config) {
		t.Errorf("got no mode, or no command that mends it:\n%s", out)
	}
}

func TestTargetThatStopsTurnsDeadAndComesBack(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sandbox.Options{}, "target:tcp")
	w.start(1)
	w.becomes("target:tcp", sandbox.Healthy)
	target, _ := w.Target("target:tcp")
	target.Stop()
	w.becomes("target:tcp", sandbox.Dead)
	w.says("from=healthy")
	target.Start()
	w.becomes("target:tcp", sandbox.Healthy)
	w.says("from=dead")
}

func TestTokenRefusedThenAccepted(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sandbox.Options{}, "target:tcp")
	w.SetToken("another")
	w.configure(secret, 1)
	w.launch()
	w.says("check report.token")
	w.SetToken(secret)
	w.becomes("target:tcp", sandbox.Healthy)

	// And again while it runs: it lives on, says so, and recovers.
	w.SetToken("another")
	w.eventually("another 401", func() bool { return strings.Count(w.out.String(), "check report.token") >= 2 })
	w.SetToken(secret)
	w.reports(w.url("target:tcp"), 2)
}

func TestReportsRefusedFor500ArriveLater(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sandbox.Options{}, "target:tcp", "target:http")
	heal := w.Break(sandbox.Reports, sandbox.Refuse(http.StatusInternalServerError, ""))
	w.start(1)
	w.eventually("reports are refused", func() bool { return w.Summary().Refused >= 3 })
	heal()
	w.becomes("target:tcp", sandbox.Healthy)
	w.becomes("target:http", sandbox.Healthy)
}

// answerAfter lets the API hold back its answers to the requests that aim picks
// until the replica was reported n more times, and returns what waits for one
// that was held so. A daemon that makes the reports wait for that answer gives
// up, however long it is waited for.
func (w *world) answerAfter(aim func(sandbox.Request) bool, replica string, n int) func() {
	var answered atomic.Bool
	w.Break(aim, func(rw http.ResponseWriter, r *http.Request) {
		for before := w.replica(replica).Reports; w.replica(replica).Reports < before+n; {
			select {
			case <-r.Context().Done():
				return
			case <-time.After(5 * time.Millisecond):
			}
		}
		answered.Store(true)
		rw.WriteHeader(http.StatusNotModified)
	})
	return func() {
		w.t.Helper()
		w.eventually(fmt.Sprintf("%d reports of %s while a request hangs", n, replica), answered.Load)
	}
}

func TestHangingAPIDelaysNoProbe(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sandbox.Options{}, "target:tcp")
	w.start(1)
	w.becomes("target:tcp", sandbox.Healthy)
	w.answerAfter(sandbox.Maps, w.url("target:tcp"), 4)()
}

func TestHangingReportHoldsUpOnlyItself(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sandbox.Options{}, "target:tcp", "target:http")
	reported := w.answerAfter(sandbox.ReportsOf(w.url("target:tcp")), w.url("target:http"), 4)
	w.start(1)
	reported()
}

func TestAPIGoneAndBack(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sandbox.Options{}, "target:tcp")
	w.start(1)
	w.becomes("target:tcp", sandbox.Healthy)
	heal := w.Break(sandbox.All, sandbox.Disconnect())
	target, _ := w.Target("target:tcp")
	target.Stop()
	w.says("to=dead")
	w.eventually("a report got no answer", func() bool { return strings.Contains(w.out.String(), "report failed") })
	if h := w.replica(w.url("target:tcp")).Health; h != sandbox.Healthy {
		t.Fatalf("health on the page is %q while the API is gone, want what it was", h)
	}
	heal()
	w.becomes("target:tcp", sandbox.Dead)
}

func TestMapThatGrowsAndShrinks(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sandbox.Options{}, "target:tcp#one", "target:tcp#two")
	w.start(1)
	w.becomes("target:tcp#one", sandbox.Healthy)
	two := w.url("target:tcp#two")
	if err := w.SetMap(mapOf("target:tcp#one", "target:http#three")); err != nil {
		t.Fatal(err)
	}
	w.becomes("target:http#three", sandbox.Healthy)
	w.reports(w.url("target:tcp#one"), 2)
	if _, there := w.Replica("service", "node", two); there {
		t.Fatal("the map still has the replica that was removed")
	}
	// A report of it is answered 404. One may have crossed the change.
	w.eventually("no more reports of the replica that was removed", func() bool {
		refused := w.Summary().Refused
		w.reports(w.url("target:tcp#one"), 2)
		return w.Summary().Refused == refused
	})
}

func TestGoodPartOfABadMapIsWatched(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sandbox.Options{}, "target:tcp", "gopher://example", "tcp://no-port", "http://user:hunter2@", "://")
	w.start(1)
	w.becomes("target:tcp", sandbox.Healthy)
	for _, problem := range []string{"unknown scheme", "no port", "no host"} {
		w.says(problem)
	}
}

func TestLastGoodMapHoldsWhateverTheAPIAnswers(t *testing.T) {
	t.Parallel()
	deep := strings.Repeat("[", 1_000_000)
	for _, tt := range []struct{ name, kind, body, says string }{
		{"truncated JSON", "application/json", `{"data":{"services":[{"id":"a"`, "unexpected end of JSON"},
		{"HTML", "text/html", "<html>sign in</html>", "content type"},
		{"HTML called JSON", "application/json", "<html>sign in</html>", "not what the protocol has"},
		{"deep JSON", "application/json", `{"data":` + deep, "not what the protocol has"},
		{"wrong type", "application/json", `{"data":{"services":[{"id":7,"nodes":[]}]}}`, "not what the protocol has"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, sandbox.Options{}, "target:tcp")
			w.start(1)
			w.becomes("target:tcp", sandbox.Healthy)
			defer w.Break(sandbox.Maps, sandbox.Answer(http.StatusOK, tt.kind, []byte(tt.body)))()
			w.says(tt.says)
			w.says("the last map stays in force")
			w.reports(w.url("target:tcp"), 2)
		})
	}
}

func TestMapOfFiveMillionReplicasIsRefusedForLess(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sandbox.Options{}, "target:tcp")
	w.start(1)
	w.becomes("target:tcp", sandbox.Healthy)
	const mib = 1 << 20
	replicas := bytes.Repeat([]byte(`"tcp://127.0.0.1:1",`), mib/20)
	defer w.Break(sandbox.Maps, func(rw http.ResponseWriter, _ *http.Request) {
		rw.Header().Set("Content-Type", "application/json")
		fmt.Fprint(rw, `{"data":{"services":[{"id":"s","nodes":[{"id":"n","replicas":[`)
		for range 100 {
			if _, err := rw.Write(replicas); err != nil {
				return
			}
		}
		fmt.Fprint(rw, `"tcp://127.0.0.1:1"]}]}]}}`)
	})()
	w.eventually("such a map refused", func() bool { return strings.Contains(w.out.String(), "map of over 1048576 replicas") })
	w.reports(w.url("target:tcp"), 1)
	if peak := w.memory("VmHWM:"); peak >= 400*mib {
		t.Errorf("the daemon took up to %d MiB, want less than a million replicas take", peak/mib)
	} else {
		t.Logf("the daemon took up to %d MiB", peak/mib)
	}
}

// memory returns a field of the daemon's /proc/PID/status, in bytes.
func (w *world) memory(field string) int {
	w.t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", w.cmd.Process.Pid))
	if err != nil {
		w.t.Fatal(err)
	}
	_, after, _ := strings.Cut(string(status), field)
	var kib int
	if _, err := fmt.Sscan(after, &kib); err != nil {
		w.t.Fatal(err)
	}
	return kib << 10
}

func TestAnswersThatAreNoneAreDeadAndDelayNobody(t *testing.T) {
	t.Parallel()
	odd := map[string]func(net.Conn){ // by what the log says of it
		"answer is not HTTP":                func(c net.Conn) { io.WriteString(c, "SSH-2.0-OpenSSH_9.2\r\n") },
		"header over 1 MiB":                 func(c net.Conn) { io.WriteString(c, "HTTP/1.1 200 OK\r\n"); flood(c, "X: y\r\n", 64<<20) },
		"connection closed before":          func(net.Conn) {},
		"body not complete within 1s":       func(c net.Conn) { io.WriteString(c, "HTTP/1.1 200 OK\r\n\r\n"); flood(c, "never ", -1) },
		"body breaks off before dead_match": func(c net.Conn) { io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nopen") },
		"status 418, want 200 to 399":       func(c net.Conn) { io.WriteString(c, "HTTP/1.1 418 I'm a teapot\r\n\r\n") },
		"more than 5 redirects":             func(c net.Conn) { io.WriteString(c, "HTTP/1.1 302 Found\r\nLocation: /\r\n\r\n") },
		"no answer within 1s":               func(c net.Conn) { io.Copy(io.Discard, c) },
	}
	replicas := []string{"target:http?body=open"}
	for _, answer := range odd {
		replicas = append(replicas, "http://"+serve(t, answer)+"/")
	}
	m := mapOf(replicas...)
	m.Metrics.DelayDead = new(1)
	m.Services[0].Nodes[0].HTTP = sandbox.Rules{HealthyMatch: new("open"), DeadMatch: new("closed")}
	w := newWorld(t, sandbox.Options{Map: m})
	w.start(2)
	for _, url := range replicas[1:] {
		w.eventually(url+" is reported dead", func() bool { return w.replica(url).Health == sandbox.Dead })
	}
	for reason := range odd {
		w.says(reason)
	}
	w.reports(w.url("target:http?body=open"), 2)
	w.becomes("target:http?body=open", sandbox.Healthy)
}

// serve answers every request on a port of loopback and returns its address.
func serve(t *testing.T, answer func(net.Conn)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var conns sync.WaitGroup
	conns.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			conns.Go(func() {
				defer c.Close()
				c.SetDeadline(time.Now().Add(patience))
				if _, err := http.ReadRequest(bufio.NewReader(c)); err == nil {
					answer(c)
				}
			})
		}
	})
	t.Cleanup(func() {
		l.Close()
		conns.Wait()
	})
	return l.Addr().String()
}

// flood writes text again and again, n bytes in all, or until the reader leaves
// if n is negative.
func flood(c net.Conn, text string, n int) {
	block := []byte(strings.Repeat(text, 8<<10/len(text)))
	for written := 0; n < 0 || written < n; written += len(block) {
		if _, err := c.Write(block); err != nil {
			return
		}
	}
}

func TestRedirectsFromTheAPIAreNotFollowed(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sandbox.Options{}, "target:tcp")
	heal := w.Break(sandbox.All, sandbox.Redirect(http.StatusFound, w.Endpoint()+"/elsewhere"))
	w.start(1)
	w.says("redirects are not followed")
	heal()
	w.becomes("target:tcp", sandbox.Healthy)
}

func TestSIGTERMInTheMiddleOfACycleLosesNoVerdict(t *testing.T) {
	t.Parallel()
	m := mapOf("target:tcp#1", "target:tcp#2", "target:http#3", "target:http#4", "target:tcp-blackhole")
	m.Metrics.DelayDead = new(35) // the black hole outlives the test
	w := newWorld(t, sandbox.Options{APIDelay: 200 * time.Millisecond, Map: m})
	w.start(never)
	// All but the black hole are judged, most of them before the API has answered.
	w.eventually("four verdicts", func() bool { return strings.Count(w.out.String(), "msg=probed") >= 4 })
	w.stop()
	for _, target := range []string{"target:tcp#1", "target:tcp#2", "target:http#3", "target:http#4"} {
		if h := w.replica(w.url(target)).Health; h != sandbox.Healthy {
			t.Errorf("%s: health on the page is %q after SIGTERM, want healthy", target, h)
		}
	}
	if n := w.replica(w.url("target:tcp-blackhole")).Reports; n != 0 {
		t.Errorf("%d reports of a replica whose probe was broken off, want none", n)
	}
}

// TestSecondSignalEndsAtOnce: the daemon is held in the middle of an orderly end
// by a configuration that it reads again and that has no end.
func TestSecondSignalEndsAtOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sandbox.Options{}, "target:tcp")
	w.start(never)
	w.says("msg=probed")
	if err := errors.Join(os.Remove(w.config), syscall.Mkfifo(w.config, 0o600)); err != nil {
		t.Fatal(err)
	}
	w.cmd.Process.Signal(syscall.SIGHUP)
	var endless *os.File
	defer func() { endless.Close() }()
	w.eventually("the configuration is read again", func() bool {
		f, err := os.OpenFile(w.config, os.O_WRONLY|syscall.O_NONBLOCK, 0) // fails without a reader
		endless = f
		return err == nil
	})
	w.cmd.Process.Signal(syscall.SIGINT)
	w.says("msg=stopping")
	w.cmd.Process.Signal(syscall.SIGINT)
	select {
	case <-w.ended:
	case <-time.After(patience):
		w.cmd.Process.Kill()
		t.Error("the daemon did not end after a second signal")
	}
	if strings.Contains(w.out.String(), "msg=stopped") {
		t.Error("the daemon stopped in order after a second signal, want at once")
	}
	w.cmd = nil
}

func TestReload(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sandbox.Options{}, "target:tcp")
	w.start(never)
	w.becomes("target:tcp", sandbox.Healthy)

	if err := os.WriteFile(w.config, []byte("[report]\ntoken = 7\n[probe]\ninterval = \"often\"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	w.cmd.Process.Signal(syscall.SIGHUP)
	w.says("report.token")
	w.says("probe.interval")

	// The bad one changed nothing; a good one takes effect at once.
	w.SetToken("a-new-" + secret)
	w.configure("a-new-"+secret, 1)
	w.cmd.Process.Signal(syscall.SIGHUP)
	w.says("reloaded")
	w.reports(w.url("target:tcp"), 3)
	if s := w.Summary(); s.Interval != 1 {
		t.Errorf("interval promised after the reload: %v s, want 1", s.Interval)
	}
}
