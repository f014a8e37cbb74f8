package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jedib0t/go-pretty/v6/text"
	"golang.org/x/sys/unix"

	"github.com/crisp-im/crisp-status-local/v2/internal/sandbox"
)

// terminal is a terminal, and what was written to it.
type terminal struct {
	*output
	user, program *os.File // its two ends
	read          chan struct{}
}

// newTerminal returns a terminal of so many columns.
func newTerminal(t *testing.T, columns int) *terminal {
	t.Helper()
	user, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Skipf("there are no terminals here: %v", err)
	}
	defer func() {
		if t.Skipped() || t.Failed() {
			user.Close()
		}
	}()
	fd := int(user.Fd())
	if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	number, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	program, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Skipf("there are no terminals here: %v", err)
	}
	if err := unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, &unix.Winsize{Row: 30, Col: uint16(columns)}); err != nil {
		t.Fatal(err)
	}
	term := &terminal{output: new(output), user: user, program: program, read: make(chan struct{})}
	go func() {
		defer close(term.read)
		io.Copy(term.output, user) // ends with EIO once no program has it open
	}()
	t.Cleanup(func() {
		program.Close()
		<-term.read
		user.Close()
	})
	return term
}

// start starts the program with the arguments on the terminal; stdout is another
// one's if it is given.
func (term *terminal) start(t *testing.T, stdout io.Writer, env []string, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(binary, args...)
	cmd.Env = append(append(os.Environ(), "TERM=xterm", "NO_COLOR="), env...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = term.program, term.program, term.program
	if stdout != nil {
		cmd.Stdout = stdout
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true} // so that Ctrl-C is a signal
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return cmd
}

// types types keys and waits until the program has written want since.
func (term *terminal) types(t *testing.T, keys, want string) {
	t.Helper()
	before := len(term.String())
	if _, err := term.user.WriteString(keys); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(patience); !strings.Contains(term.String()[before:], want); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("after %q got %q, want %q", keys, term.String()[before:], want)
		}
	}
}

const home = "\x1b[H\x1b[2J"

func TestWatchIsDrawnAnewOnATerminal(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sandbox.Options{}, "target:tcp")
	term := newTerminal(t, 100)
	w.start(1)
	w.becomes("target:tcp", sandbox.Healthy)
	cmd := term.start(t, nil, nil, "status", "--watch", "-c", w.config)
	w.eventually("a picture of a healthy replica", func() bool { return strings.Contains(term.String(), "1: 1 healthy, 0 sick, 0 dead") })
	target, _ := w.Target("target:tcp")
	target.Stop()
	w.eventually("another one, of a dead replica", func() bool {
		pictures := strings.Split(term.String(), home)
		last := pictures[len(pictures)-1]
		return len(pictures) > 2 && strings.Contains(last, "1: 0 healthy, 0 sick, 1 dead") && strings.Contains(last, "connection refused")
	})
	if !strings.HasPrefix(term.String(), home) {
		t.Errorf("got %q, want the screen cleared before each picture", term)
	}
	w.stop()
	w.eventually("a picture that says that the daemon is gone", func() bool { return strings.Contains(term.String(), "no daemon") })
	if _, err := term.user.WriteString("\x03"); err != nil { // Ctrl-C
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("after Ctrl-C got %v, want exit status 0", err)
	}
}

func TestOnceDrawsItsProgressOnATerminal(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sandbox.Options{}, "target:tcp", "target:http-slow?delay=1s", "target:tcp-refusing")
	w.configure(secret, never)
	term := newTerminal(t, 100)
	var stdout bytes.Buffer
	if err := term.start(t, &stdout, nil, "once", "-c", w.config).Wait(); err != nil {
		t.Fatalf("%v\n%s", err, term)
	}
	w.eventually("a bar, drawn anew in its place until all is done", func() bool {
		shown := term.String()
		return strings.Contains(shown, "% [#") && strings.Contains(shown, "\x1b[A\x1b[Kprobing ... done! [3 in ")
	})
	if got := stdout.String(); !strings.Contains(got, "3 replicas: 2 healthy, 0 sick, 1 dead, 0 not judged\n") || strings.Contains(got, "\x1b") || strings.Contains(got, "probing") {
		t.Errorf("got\n%q\non the output, want the table alone", got)
	}
}

func TestATerminalOfFortyColumnsWithAndWithoutColours(t *testing.T) {
	t.Parallel()
	if binary == "" {
		t.Skip("there is no Go toolchain to build the daemon with")
	}
	probed := []string{"probe", "--retry", "0", "tcp://127.0.0.1:1"}
	for name, tt := range map[string]struct {
		args, env []string
		status    int
		colours   bool
	}{
		"a verdict":                      {probed, nil, exitDead, true},
		"a verdict with NO_COLOR":        {probed, []string{"NO_COLOR=1"}, exitDead, false},
		"a verdict on a dumb terminal":   {probed, []string{"TERM=dumb"}, exitDead, false},
		"the help of the program":        {[]string{"--help"}, nil, 0, false},
		"the help of a command":          {[]string{"probe", "--help"}, nil, 0, false},
		"the help of a command, by help": {[]string{"help", "status"}, nil, 0, false},
	} {
		term := newTerminal(t, 40)
		cmd := term.start(t, nil, tt.env, tt.args...)
		cmd.Wait()
		term.program.Close()
		<-term.read
		if strings.Contains(term.String(), "\x1b[") != tt.colours || cmd.ProcessState.ExitCode() != tt.status {
			t.Errorf("%s: got exit status %d and\n%q\nwant %d and colours: %v", name, cmd.ProcessState.ExitCode(), term, tt.status, tt.colours)
		}
		for line := range strings.Lines(term.String()) {
			if n := text.StringWidthWithoutEscSequences(strings.TrimRight(line, "\r\n")); n > 40 {
				t.Errorf("%s: got %d columns, want the 40 of the terminal at most: %s", name, n, line)
			}
		}
	}
}
