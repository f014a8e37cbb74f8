//go:build linux

package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"sync"
	"syscall"
)

// action is what a person does to a program of a group.
type action string

const (
	start  action = "start"
	stop   action = "stop"   // SIGTERM: it may end in good order
	kill   action = "kill"   // SIGKILL
	freeze action = "freeze" // SIGSTOP: it hangs, as a host that is suspended
	thaw   action = "thaw"   // SIGCONT
)

// program is a process of a group, which a person may stop and start.
type program struct {
	name     string
	command  []string
	env      []string // nil: that of this process
	out, err io.Writer
	said     io.Writer // takes a line about each action

	mu      sync.Mutex // protects the following fields
	child   *child     // the newest; nil before the first
	did     action     // the last one
	offered bool       // it may be started: the run is not over
}

// programState is what the page shows of a program.
type programState struct {
	Name    string   `json:"name"`
	State   string   `json:"state"`         // running, frozen, stopping, stopped, killed, or how it ended by itself
	Process int      `json:"pid,omitempty"` // 0: there is none
	Actions []action `json:"-"`             // that make sense now
}

// begin starts the program for the first time.
func (p *program) begin() error {
	p.mu.Lock()
	p.offered = true
	p.mu.Unlock()
	return p.do(start)
}

// do does what a person asks for.
func (p *program) do(a action) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	signals := map[action]syscall.Signal{stop: syscall.SIGTERM, kill: syscall.SIGKILL, freeze: syscall.SIGSTOP, thaw: syscall.SIGCONT}
	signal, known := signals[a]
	switch {
	case a == start && p.runningLocked():
		return fmt.Errorf("%s runs already", p.name)
	case a == start && !p.offered:
		return fmt.Errorf("%s: the run is over", p.name)
	case a == start:
		c, err := startCommand(p.command, p.env, p.out, p.err)
		if err != nil {
			return err
		}
		p.child, p.did = c, start
		fmt.Fprintf(p.said, "%s: started, process %d\n", p.name, c.cmd.Process.Pid)
		return nil
	case !known:
		return fmt.Errorf("%q is none of start, stop, kill, freeze and thaw", a)
	case !p.runningLocked():
		return fmt.Errorf("%s does not run", p.name)
	}
	p.did = a
	fmt.Fprintf(p.said, "%s: %s, by %s\n", p.name, a, signalName(signal))
	pid := p.child.cmd.Process.Pid
	if a == stop {
		defer syscall.Kill(pid, syscall.SIGCONT) // a frozen one would not hear of it
	}
	return syscall.Kill(pid, signal)
}

func signalName(s syscall.Signal) string {
	return map[syscall.Signal]string{syscall.SIGTERM: "SIGTERM", syscall.SIGKILL: "SIGKILL", syscall.SIGSTOP: "SIGSTOP", syscall.SIGCONT: "SIGCONT"}[s]
}

// runningLocked reports whether there is a process, frozen or not.
func (p *program) runningLocked() bool {
	if p.child == nil {
		return false
	}
	select {
	case <-p.child.ended:
		return false
	default:
		return true
	}
}

// state returns how the program is.
func (p *program) state() programState {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := programState{Name: p.name, Actions: []action{start}}
	switch {
	case p.child == nil:
		s.State = "not started"
	case !p.runningLocked() && p.did == stop:
		s.State = "stopped"
	case !p.runningLocked() && p.did == kill:
		s.State = "killed"
	case !p.runningLocked():
		s.State = "ended by itself: " + p.child.status()
	default:
		s.Process = p.child.cmd.Process.Pid
		switch {
		case p.did == stop:
			s.State, s.Actions = "stopping", []action{kill}
		case isStopped(s.Process):
			s.State, s.Actions = "frozen", []action{thaw, kill}
		default:
			s.State, s.Actions = "running", []action{stop, kill, freeze}
		}
	}
	return s
}

// isStopped reports whether a process is stopped by a signal, whoever sent it.
func isStopped(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	_, rest, _ := bytes.Cut(stat, []byte(") ")) // behind the name, which may have blanks
	return bytes.HasPrefix(rest, []byte("T"))
}

// end stops the program for good, and waits for it.
func (p *program) end() {
	p.mu.Lock()
	p.offered = false
	running, c := p.runningLocked(), p.child
	p.mu.Unlock()
	if !running {
		return
	}
	_ = p.do(stop) // fails only if it has just ended
	c.stop()
}
