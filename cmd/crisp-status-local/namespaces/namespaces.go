//go:build faults || cluster

package namespaces

import (
	"bytes"
	"errors"
	"flag"
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

// Resolver is the address of the nameserver that is written in /etc/resolv.conf.
const Resolver = "10.9.0.2"

// Variables of the environment by which a case is run in a process of its own.
const (
	insideVariable = "CRISP_FAULTS_INSIDE" // it is in namespaces of its own; the value is the folder for its files
	binaryVariable = "CRISP_FAULTS_BINARY" // the daemon, as an operator gets it
)

const daemonPackage = "github.com/crisp-im/crisp-status-local/v2/cmd/crisp-status-local"

// patience is how long Eventually waits.
const patience = 2 * time.Minute

// scratch is the folder of the run. Inside it is a file system of the case's own.
var scratch string

// Scratch returns the folder for the files of a case, a file system of its own.
func Scratch() string { return scratch }

// Daemon returns the path of the daemon's binary.
func Daemon() string { return os.Getenv(binaryVariable) }

// DaemonWith returns the path of the daemon that was built with a tag, one of those
// that Main was given.
func DaemonWith(tag string) string { return os.Getenv(binaryVariable + "_" + tag) }

// Main is what TestMain calls: it builds the daemon, and once more with each of the
// tags, runs the tests, and returns the status to exit with. It leaves nothing
// behind.
func Main(m *testing.M, tags ...string) int {
	if scratch = os.Getenv(insideVariable); scratch != "" {
		if err := settle(); err != nil {
			fmt.Fprintln(os.Stderr, "settling in the namespaces:", err)
			return 1
		}
		return m.Run()
	}
	return buildAndRun(m, tags)
}

// buildAndRun builds the daemon, runs the tests, and leaves nothing behind, also
// when it is told to end or whoever started it is gone.
func buildAndRun(m *testing.M, tags []string) int {
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
		beginning.Lock() // for good
		endCases()
		cleanUp()
		os.Exit(1)
	}()
	if err := os.Chmod(scratch, 0o755); err != nil { // peers run as users of their own
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer failures.print()
	for _, tag := range append([]string{""}, tags...) {
		if err := build(tag); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
	}
	return m.Run()
}

// build builds the daemon with a tag, or without one, unless it is given.
func build(tag string) error {
	variable, path := binaryVariable, filepath.Join(scratch, "crisp-status-local")
	if tag != "" {
		variable, path = variable+"_"+tag, path+"-"+tag
	}
	if os.Getenv(variable) != "" {
		return nil
	}
	cmd := exec.Command("go", "build", "-buildvcs=false", "-tags", tag, "-o", path, daemonPackage)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("building the daemon: %w\n%s", err, out)
	}
	return os.Setenv(variable, path)
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

// beginning is held while a case begins: none does any more when the run ends.
var beginning sync.RWMutex

// cases are the processes that run in namespaces of their own. What each has
// started ends with it: it is the first process of its namespace.
var cases sync.Map // *os.Process → nothing

func endCases() {
	cases.Range(func(process, _ any) bool {
		_ = process.(*os.Process).Kill()
		return true
	})
}

// settle mounts the file systems of a case in its new namespaces.
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
	for name, text := range map[string]string{"resolv.conf": "nameserver " + Resolver + "\n", "hosts": "127.0.0.1 localhost\n"} {
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

// Inside reports whether the test runs in namespaces of its own, and runs it there
// if not: again, where it failed while the machine was late. The tools must be
// installed.
func Inside(t *testing.T, tools ...string) bool {
	t.Helper()
	return inside(t, mostRuns, tools)
}

// InsideOnce is Inside for a test that is not to run again.
func InsideOnce(t *testing.T, tools ...string) bool {
	t.Helper()
	return inside(t, 1, tools)
}

func inside(t *testing.T, most int, tools []string) bool {
	t.Helper()
	if os.Getenv(insideVariable) != "" {
		return true
	}
	if os.Geteuid() != 0 {
		Lack(t, "only root may make the namespaces")
	}
	for _, tool := range append([]string{"ip", "nft", "nsenter", "sysctl"}, tools...) {
		if _, err := exec.LookPath(tool); err != nil {
			Lack(t, tool+" is not installed")
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
	beginning.RLock()
	begun := sync.OnceFunc(beginning.RUnlock)
	defer begun()
	folder, err := os.MkdirTemp(scratch, "")
	if err != nil {
		t.Fatal(err)
	}
	daemon := filepath.Join(scratch, "daemon-of-"+filepath.Base(folder))
	if err := os.Link(Daemon(), daemon); err != nil {
		daemon = Daemon()
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	pattern := "^" + strings.ReplaceAll(t.Name(), "/", "$/^") + "$"
	// The network and the targets of a case have a higher priority than the daemon and
	// the rest of this machine: their delays would count as the daemon's.
	cmd := exec.CommandContext(t.Context(), "nice", "-n", fmt.Sprint(-Ahead), self, "-test.run", pattern, "-test.v", "-test.timeout", flag.Lookup("test.timeout").Value.String())
	cmd.Env = append(os.Environ(), insideVariable+"="+folder, binaryVariable+"="+daemon)
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET | syscall.CLONE_NEWNS | syscall.CLONE_NEWPID, Pdeathsig: syscall.SIGKILL}
	runtime.LockOSThread() // Pdeathsig is of the thread
	defer runtime.UnlockOSThread()
	out, err := output(cmd, begun)
	if _, ran := errors.AsType[*exec.ExitError](err); err != nil && !ran {
		Lack(t, fmt.Sprintf("no namespaces can be had here: %v", err))
	}
	return out, err
}

// output runs the process of a case, calls begun when it has begun, and returns what
// it wrote.
func output(cmd *exec.Cmd, begun func()) ([]byte, error) {
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	cmd.WaitDelay = time.Second
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	cases.Store(cmd.Process, nil)
	begun()
	defer cases.Delete(cmd.Process)
	err := cmd.Wait()
	return out.Bytes(), err
}

// Lack skips the test because the machine lacks something, for the reason why. With
// CRISP_REQUIRE_TOOLS set, the test fails instead.
func Lack(t *testing.T, why string) {
	t.Helper()
	if os.Getenv("CRISP_REQUIRE_TOOLS") != "" {
		t.Fatal(why)
	}
	t.Skip(why)
}
