//go:build linux

package main

import (
	"fmt"
	"io"
	"os/exec"
	"path/filepath"
	"runtime"
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

// startChild starts the command with the configuration's path in its arguments.
func startChild(s settings, configFile string, stdout, stderr io.Writer) (*child, error) {
	return startCommand(withConfig(s.command, configFile), environment(s, filepath.Dir(configFile)), stdout, stderr)
}

// startCommand starts a command in an environment, nil for that of this process. The
// child gets its own process group: with ours, Ctrl-C would signal it twice, by the
// terminal and by stop, and a second signal ends a daemon at once.
func startCommand(command, env []string, stdout, stderr io.Writer) (*child, error) {
	c := &child{ended: make(chan struct{}), out: &lines{to: stdout}, err: &lines{to: stderr}}
	c.cmd = exec.Command(command[0], command[1:]...)
	c.cmd.Stdout, c.cmd.Stderr = c.out, c.err
	c.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM} // if the sandbox is killed
	c.cmd.WaitDelay = time.Second                                                       // for grandchildren that keep its output open
	c.cmd.Env = env
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
