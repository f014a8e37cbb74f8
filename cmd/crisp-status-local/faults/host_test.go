//go:build faults

package faults

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/crisp-im/crisp-status-local/v2/cmd/crisp-status-local/namespaces"
)

func TestHost(t *testing.T) {
	t.Parallel()
	faults := []fault{
		{name: "has no file descriptor left", lasts: 20 * time.Second, begin: withoutFiles},
		{name: "has a full disk for the log", lasts: 15 * time.Second, begin: fillDisk, options: options{logFile: smallDisk}},
		{name: "ends the daemon at random moments", lasts: 5 * time.Second, begin: killNowAndThen},
	}
	for _, pause := range []time.Duration{time.Second, 10 * time.Second, time.Minute} {
		faults = append(faults, fault{name: fmt.Sprintf("stops the daemon for %v", pause), lasts: pause, begin: stopped})
	}
	try(t, faults)
}

func stopped(l *lab) func() {
	_ = l.cmd.Process.Signal(syscall.SIGSTOP)
	return func() { _ = l.cmd.Process.Signal(syscall.SIGCONT) }
}

// withoutFiles lets the daemon open no file any more: those that it has are left.
func withoutFiles(l *lab) func() {
	var before unix.Rlimit
	limit := func(files uint64) {
		if err := unix.Prlimit(l.cmd.Process.Pid, unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: files, Max: before.Max}, nil); err != nil {
			namespaces.Lack(l.t, fmt.Sprintf("the limit of files of a process cannot be set here: %v", err))
		}
	}
	if err := unix.Prlimit(l.cmd.Process.Pid, unix.RLIMIT_NOFILE, nil, &before); err != nil {
		l.t.Fatal(err)
	}
	limit(3)
	return func() {
		l.says("this host cannot probe")
		limit(before.Cur)
	}
}

// smallDisk is a file on a file system of its own.
func smallDisk(t *testing.T) string {
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=1m"); err != nil {
		namespaces.Lack(t, fmt.Sprintf("no file system can be had here: %v", err))
	}
	t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
	return filepath.Join(dir, "log")
}

func fillDisk(l *lab) func() {
	path := filepath.Join(filepath.Dir(l.log), "filler")
	file, err := os.Create(path)
	if err != nil {
		l.t.Fatal(err)
	}
	defer file.Close()
	for _, size := range []int{1 << 16, 1} { // to the last byte
		for err = nil; err == nil; {
			_, err = file.Write(make([]byte, size))
		}
	}
	return func() { os.Remove(path) }
}

// killNowAndThen ends the daemon again and again, and starts it again.
func killNowAndThen(l *lab) func() {
	for until := time.Now().Add(15 * time.Second); time.Now().Before(until); {
		time.Sleep(rand.N(3 * time.Second))
		l.kill()
		l.start()
	}
	return func() {}
}
