package service

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// manager returns a socket that a service manager would listen on.
func manager(t *testing.T, name string) *net.UnixConn {
	t.Helper()
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Net: "unixgram", Name: name})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	t.Setenv("NOTIFY_SOCKET", name)
	return conn
}

func TestNotify(t *testing.T) {
	// The name of a socket is short: the folder's must not hold the test's.
	folder, err := os.MkdirTemp("", "")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(folder)
	for _, tt := range []struct{ name, socket string }{
		{"a path", filepath.Join(folder, "notify")},
		{"an abstract name", fmt.Sprintf("@notify-of-the-test-%d", os.Getpid())},
	} {
		t.Run(tt.name, func(t *testing.T) {
			conn := manager(t, tt.socket)
			conn.SetDeadline(time.Now().Add(20 * time.Second))
			for state, want := range map[State]string{Ready: "READY=1", Stopping: "STOPPING=1"} {
				if err := Notify(state); err != nil {
					t.Fatal(err)
				}
				got := make([]byte, 64)
				n, err := conn.Read(got)
				if err != nil || string(got[:n]) != want {
					t.Errorf("got %q, %v, want %q", got[:n], err, want)
				}
			}
		})
	}
}

func TestNobodyToNotify(t *testing.T) {
	t.Setenv("NOTIFY_SOCKET", "")
	if err := Notify(Ready); err != nil {
		t.Errorf("got %v without a service manager, want nothing", err)
	}
	t.Setenv("NOTIFY_SOCKET", "/nowhere/notify")
	if err := Notify(Ready); err == nil || !strings.Contains(err.Error(), "/nowhere/notify") {
		t.Errorf("got %v of a socket that is not there, want an error that names it", err)
	}
}

func TestServiceManagerThatDoesNotReadHoldsUpNothing(t *testing.T) {
	manager(t, fmt.Sprintf("@notify-of-the-test-%d", os.Getpid()))
	var err error
	for range 10_000 { // the kernel's own limit is ten, or what the sysctl says
		if err = Notify(Ready); err != nil {
			break
		}
	}
	if err == nil || !strings.Contains(err.Error(), "NOTIFY_SOCKET is full") {
		t.Errorf("got %v, want an error that says it is full", err)
	}
}
