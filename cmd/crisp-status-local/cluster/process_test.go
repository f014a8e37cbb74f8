//go:build cluster

package cluster

import (
	"bytes"
	"os"
	"os/exec"
	"slices"
	"syscall"
	"testing"

	"github.com/crisp-im/crisp-status-local/v2/cmd/crisp-status-local/namespaces"
)

// process is a program on a host that can be ended and started again.
type process struct {
	t       *testing.T
	host    *host
	args    []string
	env     []string // beside that of the tests
	log     string   // the file with what it writes
	cmd     *exec.Cmd
	running bool
}

func (p *process) start() {
	p.t.Helper()
	log, err := os.OpenFile(p.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		p.t.Fatal(err)
	}
	defer log.Close()
	args := namespaces.In(p.host.holder, p.args...)
	p.cmd = exec.Command(args[0], args[1:]...)
	p.cmd.Env = append(os.Environ(), p.env...)
	p.cmd.Stdout, p.cmd.Stderr = log, log
	if err := p.cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
	p.running = true
}

// end sends a signal that ends the process, and waits until it has.
func (p *process) end(signal syscall.Signal) {
	if p.running {
		_ = p.cmd.Process.Signal(signal)
		_ = p.cmd.Wait()
		p.running = false
	}
}

func (p *process) kill() { p.end(syscall.SIGKILL) }

// stop stops the process by SIGSTOP until the returned function is called.
func (p *process) stop() func() {
	_ = p.cmd.Process.Signal(syscall.SIGSTOP)
	return func() { _ = p.cmd.Process.Signal(syscall.SIGCONT) }
}

// written returns the output of the process so far.
func (p *process) written() []byte {
	written, _ := os.ReadFile(p.log)
	return written
}

// wrote returns how often that text is in the output of the process.
func (p *process) wrote(text string) int { return bytes.Count(p.written(), []byte(text)) }

// tail returns the last lines of what the process has written, but for those that
// come with every cycle.
func (p *process) tail() []byte {
	lines := bytes.Split(bytes.TrimSpace(p.written()), []byte("\n"))
	lines = slices.DeleteFunc(lines, func(line []byte) bool {
		return bytes.Contains(line, []byte("health changed")) || bytes.Contains(line, []byte("cycle over"))
	})
	return bytes.Join(lines[max(0, len(lines)-100):], []byte("\n"))
}
