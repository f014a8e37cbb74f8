//go:build linux

package main

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"
)

// stopTimeout is the time for the child to end: a daemon delivers its verdicts for
// up to 5 s.
const stopTimeout = 7 * time.Second

// child is the command that runs beside the sandbox.
type child struct {
	cmd     *exec.Cmd
	started time.Time     // just before the start, which counts
	ended   chan struct{} // closed when it has ended; then cmd.ProcessState is set
	out     *lines
	err     *lines
	meter   meter
}

// startChild starts the command with the configuration's path in its arguments. The
// child gets its own process group: with ours, Ctrl-C would signal it twice, by the
// terminal and by stop, and a second signal ends a daemon at once.
func startChild(s settings, configFile string, stdout, stderr io.Writer) (*child, error) {
	args := make([]string, len(s.command)-1)
	for i, arg := range s.command[1:] {
		args[i] = strings.ReplaceAll(arg, "{config}", configFile)
	}
	c := &child{ended: make(chan struct{}), out: &lines{to: stdout}, err: &lines{to: stderr}}
	c.cmd = exec.Command(s.command[0], args...)
	c.cmd.Stdout, c.cmd.Stderr = c.out, c.err
	c.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM} // if the sandbox is killed
	c.cmd.WaitDelay = time.Second                                                       // for grandchildren that keep its output open
	if s.tls {
		c.cmd.Env = append(os.Environ(), "SSL_CERT_FILE="+filepath.Join(filepath.Dir(configFile), "ca.pem"))
	}
	started := make(chan error)
	go func() {
		// To the kernel the parent is the thread, so the thread must outlive the child.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		c.started = time.Now()
		err := c.cmd.Start()
		started <- err
		if err != nil {
			return
		}
		_ = c.cmd.Wait() // ProcessState tells more
		c.out.flush()
		c.err.flush()
		close(c.ended)
	}()
	if err := <-started; err != nil {
		return nil, fmt.Errorf("starting command: %w", err)
	}
	return c, nil
}

// stop ends the child by SIGTERM, after stopTimeout by SIGKILL, and waits for it.
func (c *child) stop() {
	_ = c.cmd.Process.Signal(syscall.SIGTERM) // fails only if it has just ended
	select {
	case <-c.ended:
	case <-time.After(stopTimeout):
		_ = syscall.Kill(-c.cmd.Process.Pid, syscall.SIGKILL)
		<-c.ended
	}
}

// status returns the exit status of the child, after its end.
func (c *child) status() string { return c.cmd.ProcessState.String() }

// sample records the usage of the child so far, in the newest cycle.
func (c *child) sample(cycle int, complete bool) {
	if r, ok := readProcess(c.cmd.Process.Pid); ok {
		c.meter.record(r, cycle, complete)
	}
}
