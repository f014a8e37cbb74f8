//go:build faults

package faults

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// What a process of the tests is told by its environment.
const (
	insideVariable = "CRISP_FAULTS_INSIDE" // it is in namespaces of its own; the value is the folder for its files
	binaryVariable = "CRISP_FAULTS_BINARY" // the daemon, as an operator gets it
)

// scratch is the folder of the run. Inside it is a file system of the case's own.
var scratch string

func TestMain(m *testing.M) {
	if role := os.Getenv(roleVariable); role != "" {
		play(role)
		return
	}
	if scratch = os.Getenv(insideVariable); scratch != "" {
		if err := settle(); err != nil {
			fmt.Fprintln(os.Stderr, "settling in the namespaces:", err)
			os.Exit(1)
		}
		os.Exit(m.Run())
	}
	os.Exit(buildAndRun(m))
}

// buildAndRun builds the daemon, runs the tests, and leaves nothing behind, also
// when it is told to end or whoever started it is gone.
func buildAndRun(m *testing.M) int {
	_ = unix.Prctl(unix.PR_SET_PDEATHSIG, uintptr(unix.SIGTERM), 0, 0, 0)
	var err error
	if scratch, err = os.MkdirTemp("", "crisp-status-local-faults-"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer cleanUp()
	told := make(chan os.Signal, 1)
	signal.Notify(told, os.Interrupt, syscall.SIGTERM)
	go func() {
		<-told
		endCases()
		cleanUp()
		os.Exit(1)
	}()
	if err := os.Chmod(scratch, 0o755); err != nil { // peers run as users of their own
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer failures.print()
	path := filepath.Join(scratch, "crisp-status-local")
	if given := os.Getenv(binaryVariable); given != "" {
		return m.Run()
	}
	build := exec.Command("go", "build", "-buildvcs=false", "-o", path, "github.com/crisp-im/crisp-status-local/v2/cmd/crisp-status-local")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "building the daemon: %v\n%s", err, out)
		return 1
	}
	os.Setenv(binaryVariable, path)
	return m.Run()
}

// cleanUp removes what is not in the namespaces: files and control groups.
func cleanUp() {
	groups, _ := filepath.Glob("/sys/fs/cgroup/*/" + filepath.Base(scratch) + "*")
	unified, _ := filepath.Glob("/sys/fs/cgroup/" + filepath.Base(scratch) + "*")
	for _, group := range append(groups, unified...) {
		for range 100 { // until its processes have ended
			if os.Remove(group) == nil {
				break
			}
			time.Sleep(50 * time.Millisecond)
		}
	}
	os.RemoveAll(scratch)
}

// cases are the processes that run in namespaces of their own. What each has
// started ends with it: it is the first process of its namespace.
var cases sync.Map // *os.Process → nothing

func endCases() {
	cases.Range(func(process, _ any) bool {
		_ = process.(*os.Process).Kill()
		return true
	})
}

// settle makes the namespaces of a case a place to live in.
func settle() error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("making mounts private: %w", err)
	}
	if err := unix.Mount("proc", "/proc", "proc", 0, ""); err != nil {
		return fmt.Errorf("mounting /proc: %w", err)
	}
	if err := unix.Mount("tmpfs", scratch, "tmpfs", 0, "mode=0755"); err != nil {
		return fmt.Errorf("mounting a file system: %w", err)
	}
	for name, text := range map[string]string{"resolv.conf": "nameserver " + farAddress + "\n", "hosts": "127.0.0.1 localhost\n"} {
		path := filepath.Join(scratch, name)
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			return err
		}
		if err := unix.Mount(path, "/etc/"+name, "", unix.MS_BIND, ""); err != nil {
			return fmt.Errorf("mounting /etc/%s: %w", name, err)
		}
	}
	return os.Setenv("TMPDIR", scratch)
}

// inside reports whether the test runs in namespaces of its own, and runs it there
// if not: again, where it failed while the machine was late.
func inside(t *testing.T) bool {
	t.Helper()
	return insideWithin(t, mostRuns)
}

// insideWithin is inside with the most runs.
func insideWithin(t *testing.T, most int) bool {
	t.Helper()
	if os.Getenv(insideVariable) != "" {
		return true
	}
	if os.Geteuid() != 0 {
		lack(t, "only root may make the namespaces")
	}
	for _, tool := range []string{"ip", "nft", "sysctl"} {
		if _, err := exec.LookPath(tool); err != nil {
			lack(t, tool+" is not installed")
		}
	}
	said := false
	t.Cleanup(func() {
		if t.Failed() && !said {
			failures.add(t.Name(), nil)
		}
	})
	for runs := 1; ; runs++ {
		out, err := runCase(t)
		switch {
		case err != nil && runs < most && bytes.Contains(out, []byte(wasLate)):
			t.Logf("again, since this machine was too late for a verdict:\n%s", out)
			continue
		case err != nil:
			lines := errorLines(out)
			failures.add(t.Name(), lines)
			said = true
			t.Errorf("%v\n%s\nall that it wrote:\n%s", err, strings.Join(lines, "\n"), out)
		case bytes.Contains(out, []byte("--- SKIP")):
			t.Skipf("%s", out)
		default:
			t.Logf("%s", out)
		}
		return false
	}
}

// runCase runs a test in namespaces of its own, and returns what it wrote.
func runCase(t *testing.T) ([]byte, error) {
	t.Helper()
	folder, err := os.MkdirTemp(scratch, "")
	if err != nil {
		t.Fatal(err)
	}
	daemon := filepath.Join(scratch, "daemon-of-"+filepath.Base(folder))
	if err := os.Link(os.Getenv(binaryVariable), daemon); err != nil {
		daemon = os.Getenv(binaryVariable)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	pattern := "^" + strings.ReplaceAll(t.Name(), "/", "$/^") + "$"
	// What the daemon talks to goes before it, and before all else on this machine:
	// that a wire or a target waits for its turn is no fault that a case is about.
	cmd := exec.CommandContext(t.Context(), "nice", "-n", fmt.Sprint(-ahead), self, "-test.run", pattern, "-test.v", "-test.timeout", "60m")
	cmd.Env = append(os.Environ(), insideVariable+"="+folder, binaryVariable+"="+daemon)
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET | syscall.CLONE_NEWNS | syscall.CLONE_NEWPID, Pdeathsig: syscall.SIGKILL}
	runtime.LockOSThread() // Pdeathsig is of the thread
	defer runtime.UnlockOSThread()
	out, err := output(cmd)
	if _, ran := errors.AsType[*exec.ExitError](err); err != nil && !ran {
		lack(t, fmt.Sprintf("no namespaces can be had here: %v", err))
	}
	return out, err
}

// output runs the process of a case, and returns what it wrote.
func output(cmd *exec.Cmd) ([]byte, error) {
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	cmd.WaitDelay = time.Second
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	cases.Store(cmd.Process, nil)
	defer cases.Delete(cmd.Process)
	err := cmd.Wait()
	return out.Bytes(), err
}

// lack skips the test, for want of what why says; where everything is to be tested
// that is a failure.
func lack(t *testing.T, why string) {
	t.Helper()
	if os.Getenv("CRISP_REQUIRE_TOOLS") != "" {
		t.Fatal(why)
	}
	t.Skip(why)
}
