package service

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// answering serves HTTP where the daemon with the file at path is asked.
func answering(t *testing.T, path string, handler http.HandlerFunc) {
	t.Helper()
	address, err := healthAddress(path)
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.ListenUnix("unix", address)
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: handler}
	var serving sync.WaitGroup
	serving.Go(func() { server.Serve(listener) })
	t.Cleanup(func() {
		server.Close()
		serving.Wait()
	})
}

func TestAsk(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "config.cfg")
	_, _, err := Ask(t.Context(), path, "/replicas.json")
	if !errors.Is(err, ErrNoDaemon) {
		t.Errorf("got %v where no daemon runs, want that none does", err)
	}
	large := strings.Repeat("x", 3<<20)
	answering(t, path, func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Path == "/large":
			io.WriteString(w, large) // in chunks
		case r.URL.Path == "/unready":
			http.Error(w, "no map yet", http.StatusServiceUnavailable)
		case r.Host != "localhost":
			t.Errorf("got the host %q, want localhost", r.Host)
		default:
			io.WriteString(w, r.URL.RequestURI())
		}
	})
	body, whose, err := Ask(t.Context(), path, "/replicas.json?replica=a%26b")
	if err != nil || string(body) != "/replicas.json?replica=a%26b" || whose.PID != syscall.Getpid() || whose.UID != syscall.Getuid() {
		t.Errorf("got %q of %+v, %v, want the uri, and who answers", body, whose, err)
	}
	if body, _, err := Ask(t.Context(), path, "/large"); err != nil || string(body) != large {
		t.Errorf("got %d bytes, %v, want %d", len(body), err, len(large))
	}
	_, _, err = Ask(t.Context(), path, "/unready")
	wantError(t, err, "status 503", "no map yet")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, err := Ask(ctx, path, "/replicas.json"); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v after Ctrl-C, want that it was cancelled", err)
	}
}

// TestAskOfAnotherVersion: up to 2.0.0 a daemon answers with a line, whatever it
// is asked.
func TestAskOfAnotherVersion(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "config.cfg")
	address, err := healthAddress(path)
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.ListenUnix("unix", address)
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	answers := []string{ok, "", "the daemon is ending\n", "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"}
	go func() {
		for _, answer := range answers {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			io.WriteString(conn, answer)
			conn.Close()
		}
	}()
	for _, answer := range answers {
		_, _, err := Ask(t.Context(), path, "/replicas.json")
		if answer == "" {
			wantError(t, err, "without an answer")
		} else if !errors.Is(err, ErrOtherVersion) {
			t.Errorf("got %v of the answer %q, want that the daemon is of another version", err, answer)
		}
	}
}

func TestRootAsksEverybody(t *testing.T) {
	t.Parallel()
	other := syscall.Ucred{Pid: 1, Uid: 1234567}
	if !mayAsk(&other, 0) || mayAsk(&other, 1) || mayAsk(&syscall.Ucred{Uid: 1234567}, 0) {
		t.Error("want root to ask the daemon of any user in its container, and nobody else")
	}
}

// TestWhoMayReadTheFile: whoever may not is no daemon that runs with it.
func TestWhoMayReadTheFile(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "config.cfg")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	own, ownGroup := os.Geteuid(), os.Getegid()
	const other = 1234567
	for _, tt := range []struct {
		mode os.FileMode
		peer Peer
		want bool
	}{
		{0o640, Peer{1, own, other}, true},
		{0o640, Peer{1, 0, 0}, true},
		{0o640, Peer{1, other, ownGroup}, true},
		{0o640, Peer{1, other, other}, false},
		{0o600, Peer{1, other, ownGroup}, false},
		{0o644, Peer{1, other, other}, true},
	} {
		if err := os.Chmod(path, tt.mode); err != nil {
			t.Fatal(err)
		}
		if got := tt.peer.MayRead(path); got != tt.want {
			t.Errorf("%04o of %d:%d, %+v: got %v, want %v", tt.mode, own, ownGroup, tt.peer, got, tt.want)
		}
	}
	if !(Peer{1, other, other}).MayRead(path + "-gone") {
		t.Error("got no of a file that is not there, want the benefit of the doubt")
	}
}
