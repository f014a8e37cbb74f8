package main

import (
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/crisp-im/crisp-status-local/v2/internal/sandbox"
)

// launchInto starts the daemon with a pipe as its stderr, as small as a pipe can
// be, and returns the end to read from.
func (w *world) launchInto(interval int) *os.File {
	w.t.Helper()
	r, wr, err := os.Pipe()
	if err != nil {
		w.t.Fatal(err)
	}
	defer wr.Close()
	w.t.Cleanup(func() { r.Close() })
	if _, err := unix.FcntlInt(wr.Fd(), unix.F_SETPIPE_SZ, 4096); err != nil {
		w.t.Fatal(err)
	}
	w.configure(w.Token(), interval)
	cmd := exec.Command(binary, "-c", w.config)
	cmd.Env = append(os.Environ(), w.env...)
	cmd.Stderr = wr
	if err := cmd.Start(); err != nil {
		w.t.Fatal(err)
	}
	w.cmd, w.ended = cmd, make(chan error, 1)
	go func() { w.ended <- cmd.Wait() }()
	return r
}

func TestReportsGoOnThoughNobodyReadsTheLog(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sandbox.Options{}, "target:tcp#a", "target:tcp#b", "target:tcp#c", "target:tcp#d")
	r := w.launchInto(1)
	// At debug level a few cycles fill the pipe.
	w.reports(w.url("target:tcp#a"), 8)
	// SIGTERM ends it all the same.
	w.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case err := <-w.ended:
		if err != nil {
			t.Errorf("it ended with %v, want exit status 0", err)
		}
	case <-time.After(patience):
		w.cmd.Process.Kill()
		t.Error("SIGTERM did not end it")
	}
	w.cmd = nil
	text := make([]byte, 64<<10)
	n, _ := r.Read(text)
	if !strings.Contains(string(text[:n]), "starting") {
		t.Errorf("the pipe holds %q, want the beginning of the log", text[:n])
	}
}

func TestReportsGoOnThoughTheReaderOfTheLogIsGone(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sandbox.Options{}, "target:tcp")
	w.launchInto(1).Close()
	w.reports(w.url("target:tcp"), 5)
}
