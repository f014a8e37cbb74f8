package main

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"
)

// patience is how long the child may take to end: a daemon has 5 s to deliver
// what it has measured.
const patience = 7 * time.Second

// child is the command that runs beside the sandbox.
type child struct {
	cmd     *exec.Cmd
	started time.Time     // just before, so that what it takes to start counts
	ended   chan struct{} // closed when it has ended; then cmd.ProcessState is set
	out     *lines
	err     *lines
	meter   meter
}

// startChild runs the command with the configuration's path in its arguments. It
// is in a process group of its own, or Ctrl-C would reach it once from the
// terminal and once from here, which is an order to drop everything.
func startChild(s settings, configFile string, stdout, stderr io.Writer) (*child, error) {
	args := make([]string, len(s.command)-1)
	for i, arg := range s.command[1:] {
		args[i] = strings.ReplaceAll(arg, "{config}", configFile)
	}
	c := &child{ended: make(chan struct{}), out: &lines{to: stdout}, err: &lines{to: stderr}}
	c.cmd = exec.Command(s.command[0], args...)
	c.cmd.Stdout, c.cmd.Stderr = c.out, c.err
	c.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	c.cmd.WaitDelay = time.Second // for what it may have left behind with its output open
	dieWithParent(c.cmd.SysProcAttr)
	if s.tls {
		c.cmd.Env = append(os.Environ(), "SSL_CERT_FILE="+filepath.Join(filepath.Dir(configFile), "ca.pem"))
	}
	started := make(chan error)
	go func() {
		// The kernel counts the thread as the parent: it must live as long.
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

// stop ends the child, kindly at first, and waits for it.
func (c *child) stop() {
	_ = c.cmd.Process.Signal(syscall.SIGTERM) // one that has just ended needs none
	select {
	case <-c.ended:
	case <-time.After(patience):
		_ = syscall.Kill(-c.cmd.Process.Pid, syscall.SIGKILL)
		<-c.ended
	}
}

// status says how the child ended. It has ended.
func (c *child) status() string { return c.cmd.ProcessState.String() }

// sample notes what the child has taken by now, in the sandbox's newest cycle.
func (c *child) sample(cycle int, complete bool) {
	if r, ok := readProcess(c.cmd.Process.Pid); ok {
		c.meter.note(r, cycle, complete)
	}
}

// lines forwards whole lines, so that those of the child and of the sandbox do
// not run into one another.
type lines struct {
	to   io.Writer
	mu   sync.Mutex // protects rest
	rest []byte     // of a line that is not complete
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.rest = append(l.rest, p...)
	const longest = 64 << 10 // a line without an end is forwarded all the same
	end := strings.LastIndexByte(string(l.rest), '\n') + 1
	if end == 0 && len(l.rest) > longest {
		end = len(l.rest)
	}
	if _, err := l.to.Write(l.rest[:end]); err != nil {
		return 0, err
	}
	l.rest = append(l.rest[:0], l.rest[end:]...)
	return len(p), nil
}

// flush forwards the last line, which may lack its line feed.
func (l *lines) flush() {
	l.mu.Lock()
	defer l.mu.Unlock()
	_, _ = l.to.Write(l.rest) // whoever reads is gone
	l.rest = nil
}
