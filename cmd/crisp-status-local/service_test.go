package main

import (
	"context"
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
	"syscall"
	"testing"
	"time"

	"github.com/crisp-im/crisp-status-local/v2/internal/config"
	"github.com/crisp-im/crisp-status-local/v2/internal/sandbox"
	"github.com/crisp-im/crisp-status-local/v2/internal/service"
)

// manager makes w's daemon one that a service manager runs, and returns what
// reads the next thing that it is told, but what it shows of its status.
func (w *world) manager() func() string {
	return w.managerThatHears(func(text string) bool { return !strings.HasPrefix(text, "STATUS=") && text != "WATCHDOG=1" })
}

// managerThatHears is a manager that passes over what is not wanted.
func (w *world) managerThatHears(wanted func(string) bool) func() string {
	w.t.Helper()
	// The name of a socket is short: the folder's must not hold the test's.
	folder, err := os.MkdirTemp("", "")
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { os.RemoveAll(folder) })
	socket := filepath.Join(folder, "notify")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Net: "unixgram", Name: socket})
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { conn.Close() })
	w.env = append(w.env, "NOTIFY_SOCKET="+socket)
	return func() string {
		w.t.Helper()
		conn.SetDeadline(time.Now().Add(patience))
		for {
			message := make([]byte, 512)
			n, err := conn.Read(message)
			if err != nil {
				w.t.Fatalf("the service manager was told nothing: %v", err)
			}
			if text := string(message[:n]); wanted(text) {
				return text
			}
		}
	}
}

// ask runs the daemon's binary for a question and returns what it wrote and its
// exit status.
func (w *world) ask(args ...string) (string, int) {
	w.t.Helper()
	cmd := exec.Command(binary, args...)
	cmd.Dir = filepath.Dir(w.config)
	out, err := cmd.CombinedOutput()
	if cmd.ProcessState == nil {
		w.t.Fatal(err)
	}
	return string(out), cmd.ProcessState.ExitCode()
}

// wantHealth waits until the health check says text of the daemon with the file
// at path: on a busy machine the daemon may be late to answer the first one.
func (w *world) wantHealth(path, text string, status int) {
	w.t.Helper()
	w.eventually(fmt.Sprintf("health check of %s says %q and exits with %d", path, text, status), func() bool {
		out, got := w.ask("--healthcheck", "-c", path)
		return got == status && strings.Contains(out, text)
	})
}

func TestServiceManagerIsToldBeforeTheAPIAnswers(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sandbox.Options{}, "target:tcp")
	defer w.Break(sandbox.All, sandbox.Hang())()
	told := w.manager()
	w.start(1)
	if got := told(); got != "READY=1" {
		t.Errorf("the service manager was told %q, want READY=1 although the API hangs", got)
	}
	w.terminate()
	if got := told(); got != "STOPPING=1" {
		t.Errorf("the service manager was told %q, want STOPPING=1", got)
	}
	w.stop()
}

func TestServiceManagerIsToldOfAReload(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sandbox.Options{}, "target:tcp")
	told := w.manager()
	w.start(1)
	if got := told(); got != "READY=1" {
		t.Errorf("the service manager was told %q, want READY=1", got)
	}
	for _, what := range []string{"a good file", "a file that cannot work"} {
		w.cmd.Process.Signal(syscall.SIGHUP)
		if got := told(); !strings.HasPrefix(got, "RELOADING=1\nMONOTONIC_USEC=") {
			t.Errorf("%s: the service manager was told %q, want that it reloads, and the time", what, got)
		}
		if got := told(); got != "READY=1" {
			t.Errorf("%s: the service manager was told %q after the reload, want READY=1", what, got)
		}
		if err := os.WriteFile(w.config, []byte("[report]\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	w.stop()
}

func TestServiceManagerShowsTheStatus(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sandbox.Options{}, "target:tcp", "target:http")
	told := w.managerThatHears(func(text string) bool { return strings.Contains(text, "2 healthy") })
	w.start(120)
	pattern := `^STATUS=2 replicas: 2 healthy, 0 sick, 0 dead; reports on time; next cycle in (1m5\d|2m0)s$`
	if got := told(); !regexp.MustCompile(pattern).MatchString(got) {
		t.Errorf("the service manager was told %q, want %s", got, pattern)
	}
	w.stop()
}

func TestTheWatchdogIsFedWhileTheDaemonWorks(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sandbox.Options{}, "target:tcp")
	told := w.managerThatHears(func(text string) bool { return text == "WATCHDOG=1" })
	w.env = append(w.env, "WATCHDOG_USEC=300000")
	defer w.Break(sandbox.All, sandbox.Hang())() // that the API hangs is no reason for a restart
	w.start(1)
	for range 10 {
		told()
	}
	w.stop()
}

func TestServiceManagerThatIsGoneIsAWarning(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sandbox.Options{}, "target:tcp")
	w.env = []string{"NOTIFY_SOCKET=/nowhere/notify"}
	w.start(1)
	w.says(`level=warning msg="the service manager was not told" error="dial unixgram /nowhere/notify`)
	w.becomes("target:tcp", sandbox.Healthy)
	w.stop()
	w.says("state=\"STOPPING=1\"")
}

func TestHealthcheck(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sandbox.Options{}, "target:tcp")
	w.wantHealth(w.config, "no daemon runs with "+w.config, 1)
	told := w.manager()
	w.SetToken("another") // that the API refuses it is no reason for a restart
	w.configure(secret, 1)
	w.launch()
	told()
	w.wantHealth(w.config, "ok\n", 0)
	w.wantHealth("config.cfg", "ok\n", 0)
	w.wantHealth(w.config+".other", "no daemon runs with "+w.config+".other", 1)
	w.says("check report.token")
	w.wantHealth(w.config, "ok\n", 0)

	// It asks the process, not the file.
	if err := os.Remove(w.config); err != nil {
		t.Fatal(err)
	}
	w.wantHealth(w.config, "ok\n", 0)
	w.stop()
	w.wantHealth(w.config, "no daemon runs with "+w.config, 1)
}

// TestHealthcheckOfASchedulerThatHangs: what is asked is a daemon whose scheduler
// is not run.
func TestHealthcheckOfASchedulerThatHangs(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sandbox.Options{}, "target:tcp")
	w.configure(secret, 1)
	sys := system{lookupEnv: func(string) (string, bool) { return "", false }, stdout: io.Discard, stderr: w.out}
	c, err := config.Load(w.config, sys.lookupEnv)
	if err != nil {
		t.Fatal(err)
	}
	d := newDaemon(c, sys)
	defer d.prober.Close()
	health, err := service.ListenHealth(w.config)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var serving sync.WaitGroup
	defer serving.Wait()
	defer cancel()
	serving.Go(func() { health.Serve(ctx, d.observer.Alive, http.NotFoundHandler()) })
	w.wantHealth(w.config, "the scheduler does not respond", 1)
}

func TestTwoDaemonsAreAskedEachForItself(t *testing.T) {
	t.Parallel()
	one := newWorld(t, sandbox.Options{}, "target:tcp")
	two := newWorld(t, sandbox.Options{}, "target:tcp")
	for _, w := range []*world{one, two} {
		told := w.manager()
		w.start(1)
		told()
	}
	one.wantHealth(one.config, "ok\n", 0)
	one.wantHealth(two.config, "ok\n", 0)
	one.stop()
	two.wantHealth(one.config, "no daemon runs", 1)
	two.wantHealth(two.config, "ok\n", 0)
}

func TestSecondDaemonWithTheSameFileWorksOn(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sandbox.Options{}, "target:tcp")
	told := w.manager()
	w.start(1)
	told()
	second := newWorld(t, sandbox.Options{}, "target:http")
	second.config = w.config
	second.start(1)
	second.says(`level=warning msg="--healthcheck cannot be answered"`)
	second.becomes("target:http", sandbox.Healthy)
}

func TestConfiguredThenStarted(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sandbox.Options{}, "target:tcp")
	w.configure("YOUR_CRISP_REPORTER_TOKEN", 1)
	if out, status := w.ask("--configured", "-c", w.config); status != 1 || strings.Count(out, "\n") != 1 || !strings.Contains(out, "waiting for a token") {
		t.Errorf("got %q and exit status %d of the sample's token, want a line that it is waited for and 1", out, status)
	}
	if out, status := w.ask("-c", w.config); status != exitConfig || !strings.Contains(out, "still the sample") {
		t.Errorf("got %q and exit status %d of the daemon with the sample's token, want %d", out, status, exitConfig)
	}
	w.configure(secret, 1)
	if out, status := w.ask("--configured", "-c", w.config); status != 0 || out != "" {
		t.Errorf("got %q and exit status %d of a token, want nothing and 0", out, status)
	}
	w.start(1)
	w.becomes("target:tcp", sandbox.Healthy)
}
