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
	cmd   *exec.Cmd
	ended chan struct{} // closed when it has ended; then cmd.ProcessState is set
	out   *lines
	err   *lines

	mu      sync.Mutex // protects the following fields
	cycle   int        // that current is about
	samples []float64  // MiB resident at the end of each cycle that is over
	current float64    // MiB resident now
	peak    float64    // MiB resident at most
}

// usageOfChild is what the child took of the machine.
type usageOfChild struct {
	Status      string    `json:"status"` // as it ended
	User        float64   `json:"user"`   // seconds of CPU
	System      float64   `json:"system"` // seconds of CPU
	PeakRSS     float64   `json:"peak_rss_mib"`
	ResidentEnd []float64 `json:"rss_mib_by_cycle"` // at the end of each cycle
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

// stop ends the child, kindly at first, and waits for it. Its memory is noted
// before, as of the given cycle.
func (c *child) stop(cycle int) {
	c.sample(cycle)
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

// sample notes the child's memory. What it was when a cycle gave way to the next
// is what it is when nothing happens.
func (c *child) sample(cycle int) {
	now, peak, ok := resident(c.cmd.Process.Pid)
	if !ok {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.peak = peak
	if cycle > c.cycle {
		if c.cycle > 0 {
			c.samples = append(c.samples, c.current)
		}
		c.cycle = cycle
	}
	c.current = now
}

// usage is what the child took. It has ended.
func (c *child) usage() *usageOfChild {
	c.mu.Lock()
	defer c.mu.Unlock()
	state := c.cmd.ProcessState
	u := &usageOfChild{
		Status:      state.String(),
		User:        state.UserTime().Seconds(),
		System:      state.SystemTime().Seconds(),
		PeakRSS:     c.peak,
		ResidentEnd: append([]float64{}, c.samples...),
	}
	if c.cycle > len(c.samples) {
		u.ResidentEnd = append(u.ResidentEnd, c.current)
	}
	if usage, ok := state.SysUsage().(*syscall.Rusage); ok && c.peak == 0 {
		u.PeakRSS = float64(usage.Maxrss) * maxrssUnit / (1 << 20)
	}
	return u
}

func (u *usageOfChild) write(w io.Writer, cycles int) error {
	cpu := u.User + u.System
	if _, err := fmt.Fprintf(w, "command         %s; CPU %.2fs (user %.2fs, system %.2fs), %.2fs a cycle; peak RSS %.1f MiB",
		u.Status, cpu, u.User, u.System, cpu/float64(max(cycles, 1)), u.PeakRSS); err != nil {
		return err
	}
	if n := len(u.ResidentEnd); n > 0 {
		if _, err := fmt.Fprintf(w, ", %.1f MiB at the end of the last cycle", u.ResidentEnd[n-1]); err != nil {
			return err
		}
	}
	_, err := fmt.Fprintln(w)
	return err
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
