//go:build faults

package faults

import (
	"bytes"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/crisp-im/crisp-status-local/v2/cmd/crisp-status-local/namespaces"
)

// endpointPort is that of [server] inet.
const endpointPort = "8112"

// openCalls are the system calls that open a file, each of which the kernel can refuse
// because the host has too many.
const openCalls = "accept,accept4,epoll_create1,eventfd2,inotify_init1,openat,pipe2,socket,socketpair,timerfd_create"

// TestHostWithoutFiles: the limit is that of the whole host, fs.file-max. To lower it would
// fail every process of the machine that is not root's, and whoever is killed could not
// raise it again. So strace answers the daemon's system calls as the kernel does then,
// with ENFILE, and detaches itself however it ends.
func TestHostWithoutFiles(t *testing.T) {
	t.Parallel()
	if !namespaces.Inside(t, "strace") {
		return
	}
	f := fault{
		name: "the host has no file left", lasts: 20 * time.Second, begin: hostWithoutFiles,
		options: options{server: "inet = \"" + nearAddress + ":" + endpointPort + "\"\n"},
	}
	f.run(t)
}

// hostWithoutFiles lets the daemon open no file any more, so that it needs one for
// everything: for a probe, a look-up, a report, a request at its endpoint, and for what it
// reads about names.
func hostWithoutFiles(l *lab) func() {
	tracer := exec.Command("strace", "-f", "-q", "-o", os.DevNull, "-p", fmt.Sprint(l.cmd.Process.Pid),
		"-e", "trace="+openCalls, "-e", "inject="+openCalls+":error=ENFILE")
	var said bytes.Buffer
	tracer.Stdout, tracer.Stderr = &said, &said
	if err := tracer.Start(); err != nil {
		l.t.Fatal(err)
	}
	end := func() {
		_ = tracer.Process.Signal(os.Interrupt)
		_ = tracer.Wait()
	}
	l.t.Cleanup(end)
	namespaces.Eventually(l.t, "strace has every thread of the daemon", func() bool { return l.traced() })
	for _, file := range []string{"/etc/resolv.conf", "/etc/hosts"} {
		if err := os.Chtimes(file, time.Time{}, time.Now()); err != nil { // so it is read again
			l.t.Fatal(err)
		}
	}
	l.api.endConnections()
	answered := make(chan error, 1)
	go func() {
		response, err := (&http.Client{Timeout: time.Minute}).Get("http://" + nearAddress + ":" + endpointPort + "/healthz")
		if err == nil {
			response.Body.Close()
		}
		answered <- err
	}()
	return func() {
		if said.Len() > 0 {
			namespaces.Lack(l.t, fmt.Sprintf("strace cannot answer system calls here: %s", said.String()))
		}
		select {
		case err := <-answered:
			l.t.Errorf("the endpoint answered without a file (%v): the fault is none", err)
		default:
		}
		end()
		if err := <-answered; err != nil {
			l.t.Errorf("the endpoint does not answer a request of the fault after it: %v", err)
		}
		const trouble = "this host has too many open files (raise the sysctl fs.file-max)"
		l.saidOnce("=\"" + trouble) // of what cannot be probed
		l.saidOnce(": " + trouble)  // of names
	}
}

// traced reports whether each thread of the daemon has a tracer.
func (l *lab) traced() bool {
	folder := fmt.Sprintf("/proc/%d/task/", l.cmd.Process.Pid)
	threads, _ := os.ReadDir(folder)
	for _, thread := range threads {
		status, _ := os.ReadFile(folder + thread.Name() + "/status")
		if strings.Contains(string(status), "TracerPid:\t0\n") {
			return false
		}
	}
	return len(threads) > 0
}

// saidOnce checks that one line of the log says that.
func (l *lab) saidOnce(text string) {
	l.t.Helper()
	written, _ := os.ReadFile(l.log)
	if n := strings.Count(string(written), text); n != 1 {
		l.t.Errorf("the daemon said %d times %q, want once", n, text)
	}
}
