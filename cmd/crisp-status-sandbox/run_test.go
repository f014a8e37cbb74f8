package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// TestMain lets the test binary play the daemon: with this variable set it does
// the role in the variable, and runs no test.
func TestMain(m *testing.M) {
	switch role := os.Getenv("SANDBOX_TEST_CHILD"); role {
	case "":
		os.Exit(m.Run())
	default:
		if err := playDaemon(role, os.Args[1:]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(3)
		}
	}
}

// playDaemon reports every replica of the map as healthy, once or twice, and then
// waits for SIGTERM. It prints its process id first, and a last line at the end.
func playDaemon(role string, args []string) error {
	terminated := make(chan os.Signal, 1)
	signal.Notify(terminated, syscall.SIGTERM)
	fmt.Println("child", os.Getpid())
	if role == "die" {
		return errors.New("out of order")
	}
	config, err := os.ReadFile(args[1])
	if err != nil {
		return err
	}
	if err := reportAll(string(config)); err != nil {
		return err
	}
	if role == "two cycles" {
		interval, err := time.ParseDuration(setting(string(config), "interval") + "s")
		if err != nil {
			return err
		}
		time.Sleep(interval) // from the end of a cycle, so that the next is one by any clock
		if err := reportAll(string(config)); err != nil {
			return err
		}
	}
	<-terminated
	fmt.Print("child ends") // without a line feed
	return nil
}

// setting returns the value of a key of the configuration.
func setting(config, key string) string {
	return regexp.MustCompile(`(?m)^` + key + ` = "?([^"\n]*)`).FindStringSubmatch(config)[1]
}

func request(config, method, path, body string) ([]byte, error) {
	r, err := http.NewRequest(method, setting(config, "endpoint")+path, strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	r.SetBasicAuth("", setting(config, "token"))
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("User-Agent", "crisp-status-local/2.0.0")
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("status %d, want 200", res.StatusCode)
	}
	return io.ReadAll(res.Body)
}

func reportAll(config string) error {
	text, err := request(config, "GET", "/probes/local", "")
	if err != nil {
		return err
	}
	var m struct {
		Data struct {
			Services []struct {
				ID    string
				Nodes []struct {
					ID       string
					Replicas []string
				}
			}
		}
	}
	if err := json.Unmarshal(text, &m); err != nil {
		return err
	}
	for _, service := range m.Data.Services {
		for _, node := range service.Nodes {
			for _, replica := range node.Replicas {
				body := fmt.Sprintf(`{"replica_id":%q,"health":"healthy","interval":%s}`, replica, setting(config, "interval"))
				if _, err := request(config, "POST", "/report/"+service.ID+"/"+node.ID, body); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// output collects what several goroutines print.
type output struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

// alone gives the test a temporary folder of its own, and checks that the sandbox
// leaves nothing in it.
func alone(t *testing.T) {
	t.Helper()
	folder, err := os.MkdirTemp("", "alone-") // the name of a test would be too long for a socket in it
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("TMPDIR", folder)
	t.Cleanup(func() {
		defer os.RemoveAll(folder)
		left, err := os.ReadDir(folder)
		if err != nil {
			t.Fatal(err)
		}
		for _, entry := range left {
			t.Errorf("the sandbox left %s behind", entry.Name())
		}
	})
}

func writeMap(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "map.toml")
	text := "[[service]]\nname = \"S\"\n[[service.node]]\nname = \"N\"\nreplicas = [\"target:tcp\", \"target:tcp-refusing\"]\n"
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestRunWithADaemon(t *testing.T) {
	alone(t)
	t.Setenv("SANDBOX_TEST_CHILD", "report")
	file := filepath.Join(t.TempDir(), "summary.json")
	var stdout, stderr output
	err := run(t.Context(), []string{"--map", writeMap(t), "--cycles", "1", "--json", file, "--", os.Args[0], "-c", "{config}"}, &stdout, &stderr)
	if err != nil {
		t.Fatalf("run = %v, want nil\n%s%s", err, &stdout, &stderr)
	}
	for _, want := range []string{"The page:  http://127.0.0.1:", "child ends", "2 accepted in 1 cycle", "wrong verdicts  1", "exit status 0"} {
		if !strings.Contains(stdout.String(), want) {
			t.Errorf("the output lacks %q:\n%s", want, &stdout)
		}
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var o outcome
	if err := json.Unmarshal(text, &o); err != nil {
		t.Fatal(err)
	}
	if o.Reports != 2 || o.Wrong != 1 || o.Child == nil || o.Child.PeakRSS <= 0 || o.Child.Status != "exit status 0" {
		t.Errorf("the summary file is %s, want 2 reports, one of them wrong, and what the child took", text)
	}
	var pid int
	if _, err := fmt.Sscanf(stdout.String()[strings.Index(stdout.String(), "child "):], "child %d", &pid); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(pid, 0); !errors.Is(err, syscall.ESRCH) {
		t.Errorf("the child is still there: %v", err)
	}
}

func TestRunStopsOnASignal(t *testing.T) {
	alone(t)
	t.Setenv("SANDBOX_TEST_CHILD", "report")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var stdout output
	ended := make(chan error)
	go func() {
		ended <- run(ctx, []string{"--map", writeMap(t), "--", os.Args[0], "-c", "{config}"}, &stdout, &stdout)
	}()
	for !strings.Contains(stdout.String(), "child ") {
		time.Sleep(time.Millisecond)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Errorf("run = %v, want nil\n%s", err, &stdout)
	}
	if !strings.Contains(stdout.String(), "child ends") {
		t.Errorf("the child's last line, which has no line feed, is missing:\n%s", &stdout)
	}
}

func TestRunSaysWhenTheDaemonDies(t *testing.T) {
	alone(t)
	t.Setenv("SANDBOX_TEST_CHILD", "die")
	var stdout, stderr output
	err := run(t.Context(), []string{"--", os.Args[0], "-c", "{config}"}, &stdout, &stderr)
	if err == nil || err.Error() != "command ended by itself: exit status 3" {
		t.Errorf("run = %v, want that the command ended by itself", err)
	}
	if !strings.Contains(stderr.String(), "out of order") {
		t.Errorf("what the command said is not forwarded: %q", &stderr)
	}
}

func TestRunWithoutADaemonPrintsAConfiguration(t *testing.T) {
	alone(t)
	var stdout output
	if err := run(t.Context(), []string{"--for", "1ms", "--token", "sesame", "--interval", "7s"}, &stdout, &stdout); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"map.toml", `token = "sesame"`, "interval = 7", `endpoint = "http://127.0.0.1:`, "ca_file = ", "13 without a report"} {
		if !strings.Contains(stdout.String(), want) {
			t.Errorf("the output lacks %q:\n%s", want, &stdout)
		}
	}
	if page := strings.Index(stdout.String(), "The page:"); strings.TrimSpace(stdout.String()[:page]) != "" {
		t.Errorf("the page's address does not come first:\n%s", &stdout)
	}
}

func TestRunWithAGeneratedMap(t *testing.T) {
	alone(t)
	var stdout output
	if err := run(t.Context(), []string{"--replicas", "300", "--dead", "50%", "--slow", "5%", "--for", "1ms", "--tls"}, &stdout, &stdout); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"300: 0 healthy", `endpoint = "https://127.0.0.1:`, "SSL_CERT_FILE="} {
		if !strings.Contains(stdout.String(), want) {
			t.Errorf("the output lacks %q:\n%s", want, &stdout)
		}
	}
}

func TestUsageErrors(t *testing.T) {
	over, cancel := context.WithCancel(t.Context())
	cancel() // an accepted command line ends at once
	for _, tt := range []struct{ args, want string }{
		{"--no-such-flag", "flag provided but not defined: -no-such-flag"},
		{"crisp-status-local -c x", `unexpected argument "crisp-status-local": a command comes after --`},
		{"--for 1s --", "a command is missing after --"},
		{"--dead 50%", "--dead is for a generated map: it needs --replicas"},
		{"--replicas 10 --map x", "--map and --replicas: want one of them"},
		{"--replicas 10 --dead 101%", "want 0% to 100%"},
		{"--replicas 10,ten", `invalid value "10,ten" for flag -replicas: want a number, or several with commas between them`},
		{"--replicas 10,,20", "want a number, or several with commas between them"},
		{"--replicas 0", "0 replicas, want 1 to 1000000"},
		{"--replicas 10,2000000 --for 1s", "2000000 replicas, want 1 to 1000000"},
		{"--replicas 10,20", "--replicas has 2 sizes, and a run without an end is never followed by another: want --cycles or --for"},
		{"--replicas 10,20 --cycles 1 --map x", "--map and --replicas: want one of them"},
		{"--replicas 10 --kinds udp", `kind "udp", want tcp, http, https or icmp`},
		{"--replicas 10 --kinds icmp --dead 10%", "1 replica cannot be dead: icmp on loopback always answers"},
		{"--replicas 10 --delay-dead 36s", "--delay-dead is 36s, want 1s to 35s"},
		{"--members 3", "--members: want a command after --"},
		{"--members 10 -- x", "--members is 10, want 1 to 9"},
		{"--members 3 --replicas 10 -- x", "--members and --replicas: want one of them"},
		{"--engine etcd -- x", "--engine is for a group: it needs --members"},
		{"--members 3 --engine consul -- x", `--engine is "consul", want etcd or alive`},
		{"--interval 500ms", "--interval is 500ms, want 1s to 1h in whole seconds"},
		{"--cycles -1", "want nothing below 0"},
		{"--token a\"b", "--token: want no blanks"},
	} {
		t.Run(tt.args, func(t *testing.T) {
			err := run(over, strings.Fields(tt.args), io.Discard, io.Discard)
			if _, ok := errors.AsType[usageError](err); !ok || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("run(%s) = %v, want a usage error with %q", tt.args, err, tt.want)
			}
			if err != nil && strings.Contains(err.Error(), "\n") {
				t.Errorf("run(%s) = %q, want one line", tt.args, err)
			}
		})
	}
}

func TestHelp(t *testing.T) {
	var stdout output
	if err := run(t.Context(), []string{"-h"}, &stdout, io.Discard); !errors.Is(err, flag.ErrHelp) {
		t.Errorf("run(-h) = %v, want flag.ErrHelp", err)
	}
	for _, want := range []string{"Usage: crisp-status-sandbox", "-replicas", "{config}"} {
		if !strings.Contains(stdout.String(), want) {
			t.Errorf("the help lacks %q", want)
		}
	}
}

func TestLinesAreForwardedWhole(t *testing.T) {
	var out output
	l := &lines{to: &out}
	fmt.Fprint(l, "one\ntw")
	if got := out.String(); got != "one\n" {
		t.Errorf("after half a line %q was forwarded, want the whole one only", got)
	}
	fmt.Fprint(l, "o\nthree")
	l.flush()
	if got := out.String(); got != "one\ntwo\nthree" {
		t.Errorf("%q was forwarded, want everything", got)
	}
}
