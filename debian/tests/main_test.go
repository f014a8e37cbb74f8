//go:build install

// Package tests installs what a release consists of and runs it for real: the
// package on machines that boot systemd, the image with container engines, the
// release and the apt repository with the tools that verify them.
//
//	make test-install
//
// Where the machine cannot do a part (no root, a tool that is missing), that part
// is skipped and named at the end; with CI set in the environment it fails.
package tests

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// patience is how long a thing that must happen is waited for.
const patience = 60 * time.Second

// top is the folder of the repository.
var top = func() string {
	dir, err := filepath.Abs("../..")
	if err != nil {
		panic(err)
	}
	return dir
}()

// scratch is a folder for what is built once for all tests; see newScratch.
var scratch string

// skipped are the parts that this machine cannot do, with the reason.
var skipped struct {
	sync.Mutex
	parts []string
}

func TestMain(m *testing.M) {
	if role := os.Getenv(roleVariable); role != "" {
		os.Exit(play(role, os.Args[1:]))
	}
	os.Exit(runAll(m))
}

func runAll(m *testing.M) int {
	// Whoever started this may be ended without a word to it.
	_, _, _ = syscall.RawSyscall(syscall.SYS_PRCTL, syscall.PR_SET_PDEATHSIG, uintptr(syscall.SIGTERM), 0)
	var err error
	if scratch, err = os.MkdirTemp("", "crisp-status-local-install-"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer removeScratch()
	interrupted := make(chan os.Signal, 1)
	signal.Notify(interrupted, os.Interrupt, syscall.SIGTERM)
	go func() {
		<-interrupted
		signal.Reset() // another one ends it at once
		for _, end := range slices.Backward(endings()) {
			end()
		}
		syscall.ForkLock.Lock() // the tests go on, and start nothing any more
		killStarted()
		removeScratch()
		os.Exit(1)
	}()
	if err := os.Chmod(scratch, 0o755); err != nil { // apt reads packages as a user of its own
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	// What the tests leave behind when they are interrupted is there, and known by it.
	for name, value := range map[string]string{"TMPDIR": scratch, runVariable: scratch} {
		if err := os.Setenv(name, value); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
	}
	code := m.Run()
	for _, part := range skipped.parts {
		fmt.Println("skipped:", part)
	}
	return code
}

// runVariable in the environment of a process says which run has started it.
const runVariable = "CRISP_STATUS_LOCAL_TEST_RUN"

// killStarted ends what this run has started, also what has become a daemon.
func killStarted() {
	environments, _ := filepath.Glob("/proc/[0-9]*/environ")
	for _, path := range environments {
		var pid int
		if _, err := fmt.Sscanf(path, "/proc/%d/", &pid); err != nil || pid == os.Getpid() {
			continue
		}
		if text, err := os.ReadFile(path); err == nil && bytes.Contains(text, []byte(runVariable+"="+scratch+"\x00")) {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
	}
}

// removeScratch removes what the tests have built, and unmounts what an engine has
// left mounted in it.
func removeScratch() {
	mounts, _ := os.ReadFile("/proc/self/mountinfo")
	for _, mount := range slices.Backward(strings.Split(string(mounts), "\n")) {
		if fields := strings.Fields(mount); len(fields) > 4 {
			if at := strings.ReplaceAll(fields[4], `\040`, " "); strings.HasPrefix(at, scratch+"/") {
				_ = syscall.Unmount(at, syscall.MNT_DETACH)
			}
		}
	}
	os.RemoveAll(scratch)
}

// ending is what ends the machines and engines that run.
var ending struct {
	sync.Mutex
	all []func()
}

// endings are those so far.
func endings() []func() {
	ending.Lock()
	defer ending.Unlock()
	return slices.Clone(ending.all)
}

// atEnd is t.Cleanup that is not left out when the run is interrupted.
func atEnd(t testing.TB, do func()) {
	do = sync.OnceFunc(do)
	t.Cleanup(do)
	ending.Lock()
	defer ending.Unlock()
	ending.all = append(ending.all, do)
}

// start starts a command that gets SIGTERM when this process ends, however that
// ends: to the kernel, when the thread ends that started it. The channel is closed
// when the command has ended.
func start(c *exec.Cmd) (ended <-chan struct{}, err error) {
	c.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
	started, over := make(chan error), make(chan struct{})
	go func() {
		runtime.LockOSThread()
		started <- c.Start()
		_ = c.Wait()
		close(over)
	}()
	return over, <-started
}

// roleVariable in the environment makes the test binary something else than a
// test: it is a static program that machines and containers can be lent.
const roleVariable = "CRISP_STATUS_LOCAL_TEST_ROLE"

// roles are what it can be: each takes its arguments and ends with an error or nil.
var roles = map[string]func(args []string) error{}

func play(role string, args []string) int {
	if err := roles[role](args); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// skip ends the test: this machine cannot do it, and why. In CI that is a failure.
func skip(t testing.TB, why string) {
	t.Helper()
	if os.Getenv("CI") != "" {
		t.Fatalf("skipped in CI: %s", why)
	}
	skipEverywhere(t, why)
}

// skipEverywhere is skip for what no machine has to be able to do, nor CI.
func skipEverywhere(t testing.TB, why string) {
	t.Helper()
	skipped.Lock()
	skipped.parts = append(skipped.parts, t.Name()+": "+why)
	skipped.Unlock()
	t.Skip(why)
}

// requireRoot skips a test that needs root.
func requireRoot(t testing.TB) {
	t.Helper()
	if os.Geteuid() != 0 {
		skip(t, "this needs root")
	}
}

// requireTools skips a test that needs programs which are not there.
func requireTools(t testing.TB, names ...string) {
	t.Helper()
	missing := slices.DeleteFunc(slices.Clone(names), func(name string) bool {
		_, err := exec.LookPath(name)
		return err == nil
	})
	if len(missing) > 0 {
		skip(t, "not installed: "+strings.Join(missing, ", ")+"; debian/tests/prepare installs it")
	}
}

// command is a command at the top of the repository, with more environment. It is
// killed when the test ends, and cannot be run in a cleanup.
func command(t testing.TB, env []string, name string, args ...string) *exec.Cmd {
	c := exec.CommandContext(t.Context(), name, args...)
	c.Dir = top
	c.Env = append(os.Environ(), env...)
	return c
}

// run runs a command at the top of the repository and returns all that it wrote.
// The test ends if it fails.
func run(t testing.TB, name string, args ...string) string {
	t.Helper()
	return must(t, command(t, nil, name, args...))
}

// runFails is run for a command that must fail and say want.
func runFails(t testing.TB, want, name string, args ...string) string {
	t.Helper()
	return mustFail(t, want, command(t, nil, name, args...))
}

// must is run for a command that was made by hand.
func must(t testing.TB, c *exec.Cmd) string {
	t.Helper()
	out, err := output(c)
	if err != nil {
		t.Fatalf("%s: %v, it wrote:\n%s", line(c), err, out)
	}
	return out
}

// mustFail is runFails for a command that was made by hand.
func mustFail(t testing.TB, want string, c *exec.Cmd) string {
	t.Helper()
	out, err := output(c)
	if err == nil {
		t.Fatalf("%s: succeeded, want a failure that says %q; it wrote:\n%s", line(c), want, out)
	}
	if !strings.Contains(out, want) {
		t.Fatalf("%s: %v, want it to say %q; it wrote:\n%s", line(c), err, want, out)
	}
	return out
}

// output runs a command whose error is for the caller to judge.
func output(c *exec.Cmd) (string, error) {
	var out bytes.Buffer
	c.Stdout, c.Stderr = &out, &out
	c.WaitDelay = 5 * time.Second // a daemon that it left behind may hold the pipe
	err := c.Run()
	return out.String(), err
}

func line(c *exec.Cmd) string { return strings.Join(c.Args, " ") }

// eventually waits until check returns "", or fails the test with what check said last.
func eventually(t testing.TB, what string, check func() string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for {
		said := check()
		if said == "" {
			return
		}
		select {
		case <-ctx.Done():
			t.Fatalf("%s: not within %v; last seen: %s", what, patience, said)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// want fails the test unless got is wanted, and goes on.
func want(t testing.TB, what, got, wanted string) {
	t.Helper()
	if got != wanted {
		t.Errorf("%s: got %q, want %q", what, got, wanted)
	}
}

// wantWords fails the test unless text has all the words, and goes on.
func wantWords(t testing.TB, what, text string, words ...string) {
	t.Helper()
	for _, w := range words {
		if !strings.Contains(text, w) {
			t.Errorf("%s: %q is missing; it says:\n%s", what, w, text)
		}
	}
}

// read is what a file holds.
func read(t testing.TB, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// archived is a file in a tar archive.
type archived struct {
	*tar.Header
	text []byte
}

// members are the files in a tar archive, by their names.
func members(t testing.TB, archive io.Reader) map[string]archived {
	t.Helper()
	files := make(map[string]archived)
	for reader := tar.NewReader(archive); ; {
		header, err := reader.Next()
		if errors.Is(err, io.EOF) {
			return files
		}
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(reader)
		if err != nil {
			t.Fatal(err)
		}
		files[header.Name] = archived{header, text}
	}
}

// once makes f run once, whoever asks first; an error ends every test that asks.
func once[T any](f func() (T, error)) func(testing.TB) T {
	get := sync.OnceValues(f)
	return func(t testing.TB) T {
		t.Helper()
		return value(t, get)
	}
}

// value is what f returns; an error ends the test.
func value[T any](t testing.TB, f func() (T, error)) T {
	t.Helper()
	v, err := f()
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// newScratch is a folder that outlives the test that makes it.
func newScratch(name string) (string, error) {
	dir := filepath.Join(scratch, name)
	return dir, os.Mkdir(dir, 0o755)
}

// runOnce is run for what is built once: it does not end with the test that asked.
func runOnce(env []string, dir, name string, args ...string) (string, error) {
	c := exec.Command(name, args...)
	c.Dir = dir
	c.Env = append(os.Environ(), env...)
	out, err := output(c)
	if err != nil {
		return "", fmt.Errorf("%s: %w, it wrote:\n%s", line(c), err, out)
	}
	return out, nil
}

// version is the version of the tree.
var version = once(func() (string, error) {
	out, err := runOnce(nil, top, "debian/release/version")
	return strings.TrimSpace(out), err
})

// source is the source as it is released, in a folder to copy from.
var source = once(func() (string, error) {
	dir, err := newScratch("source")
	if err != nil {
		return "", err
	}
	_, err = runOnce(nil, top, "debian/release/source", dir)
	return dir, err
})

// sandbox is the path of the stand-in for the Status API: a static program.
var sandbox = once(func() (string, error) {
	path := filepath.Join(scratch, "crisp-status-sandbox")
	_, err := runOnce([]string{"CGO_ENABLED=0"}, top, "go", "build", "-o", path, "./cmd/crisp-status-sandbox")
	return path, err
})

// native is the architecture of this machine.
const native = runtime.GOARCH

// testBinary is the path of this program, below scratch; see roles.
var testBinary = once(func() (string, error) {
	path := filepath.Join(scratch, "install-tests")
	own, err := os.Executable()
	if err != nil {
		return "", err
	}
	_, err = runOnce(nil, top, "cp", own, path)
	return path, err
})
