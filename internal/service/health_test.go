package service

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

func alive(context.Context) error { return nil }

// served serves the health of a daemon until the test ends, or what it returns
// is called.
func served(t *testing.T, path string, timeout time.Duration, alive func(context.Context) error) (*Health, func()) {
	t.Helper()
	h, err := ListenHealth(path)
	if err != nil {
		t.Fatal(err)
	}
	h.timeout = timeout
	ctx, cancel := context.WithCancel(context.Background())
	var serving sync.WaitGroup
	serving.Go(func() { h.Serve(ctx, alive, http.NotFoundHandler()) })
	end := func() {
		cancel()
		serving.Wait()
	}
	t.Cleanup(end)
	return h, end
}

// wantError checks that err says all of it.
func wantError(t *testing.T, err error, texts ...string) {
	t.Helper()
	for _, text := range texts {
		if err == nil || !strings.Contains(err.Error(), text) {
			t.Errorf("got %v, want an error that says %q", err, text)
		}
	}
}

func TestHealth(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "config.cfg")
	wantError(t, CheckHealth(path), "no daemon runs with "+path)
	_, end := served(t, path, aliveTimeout, alive)
	for range 3 {
		if err := CheckHealth(path); err != nil {
			t.Errorf("got %v, want the daemon healthy", err)
		}
	}
	wantError(t, CheckHealth(path+"2"), "no daemon runs with "+path+"2")
	switch _, err := ListenHealth(path); {
	case !errors.Is(err, syscall.EADDRINUSE):
		t.Errorf("got %v for a second daemon with the same file, want that the address is in use", err)
	default:
		wantError(t, err, fmt.Sprintf("process %d of uid %d has the name", os.Getpid(), os.Geteuid()), path, "end that process, then restart this daemon")
	}
	end()
	wantError(t, CheckHealth(path), "no daemon runs with "+path)
}

func TestHealthOfRelativePath(t *testing.T) {
	folder := t.TempDir()
	served(t, filepath.Join(folder, "config.cfg"), aliveTimeout, alive)
	t.Chdir(folder)
	if err := CheckHealth("./config.cfg"); err != nil {
		t.Errorf("got %v, want the daemon found from its folder", err)
	}
}

func TestHealthOfADaemonThatIsNotAlive(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name  string
		alive func(context.Context) error
		want  string
	}{
		{"says so", func(context.Context) error { return errors.New("it stands still") }, "it stands still"},
		{"hangs", func(ctx context.Context) error { <-ctx.Done(); return context.Cause(ctx) }, "no answer within 10ms"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "config.cfg")
			served(t, path, 10*time.Millisecond, tt.alive)
			if err := CheckHealth(path); err == nil || err.Error() != tt.want {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
}

func TestHealthOfADaemonThatEnds(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "config.cfg")
	asked := make(chan struct{})
	_, end := served(t, path, time.Hour, func(ctx context.Context) error {
		close(asked)
		<-ctx.Done()
		return context.Cause(ctx)
	})
	go func() {
		<-asked
		end()
	}()
	wantError(t, CheckHealth(path), "the daemon is ending")
}

func TestConnectionsThatSayNothingHoldUpNoCheck(t *testing.T) {
	path := filepath.Join(t.TempDir(), "config.cfg")
	served(t, path, aliveTimeout, alive)
	address, err := healthAddress(path)
	if err != nil {
		t.Fatal(err)
	}
	goroutines := runtime.NumGoroutine()
	for range 100 {
		conn, err := net.DialUnix("unix", nil, address)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
	}
	if err := CheckHealth(path); err != nil {
		t.Errorf("got %v while 100 others are connected, want the daemon healthy", err)
	}
	if got := runtime.NumGoroutine(); got > goroutines+2*maxConnections {
		t.Errorf("got %d goroutines, want no more than two for each of %d connections", got-goroutines, maxConnections)
	}
}

func TestHealthSurvivesWhatAcceptFailsWith(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "config.cfg")
	h, _ := served(t, path, aliveTimeout, alive)
	h.listener.SetDeadline(time.Now())
	time.Sleep(2 * retryPause)
	h.listener.SetDeadline(time.Time{})
	if err := CheckHealth(path); err != nil {
		t.Errorf("got %v after a while in which no connection could be accepted, want the daemon healthy", err)
	}
}

// asNobody runs f as another user, on a thread of its own that then ends.
func asNobody(t *testing.T, f func()) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("only root can become another user")
	}
	var running sync.WaitGroup
	running.Go(func() {
		runtime.LockOSThread()
		const nobody = 65534
		if _, _, err := syscall.RawSyscall(syscall.SYS_SETRESUID, nobody, nobody, nobody); err != 0 {
			t.Errorf("becoming another user: %v", err)
			return
		}
		f()
	})
	running.Wait()
}

func TestOtherUsersAreNotAnswered(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "config.cfg")
	served(t, path, aliveTimeout, func(context.Context) error {
		t.Error("the daemon was asked on behalf of another user, want the connection closed")
		return nil
	})
	address, err := healthAddress(path)
	if err != nil {
		t.Fatal(err)
	}
	asNobody(t, func() {
		conn, err := net.DialUnix("unix", nil, address)
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()
		conn.SetDeadline(time.Now().Add(checkTimeout))
		if got, err := io.ReadAll(conn); err != nil || len(got) > 0 {
			t.Errorf("got %q, %v, want the connection closed without a word", got, err)
		}
	})
}

func TestOtherUsersAreNotBelieved(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "config.cfg")
	address, err := healthAddress(path)
	if err != nil {
		t.Fatal(err)
	}
	var impostor *net.UnixListener
	asNobody(t, func() {
		if impostor, err = net.ListenUnix("unix", address); err != nil {
			t.Error(err)
		}
	})
	if t.Failed() {
		return
	}
	var lying sync.WaitGroup
	lying.Go(func() {
		if conn, err := impostor.Accept(); err == nil {
			io.WriteString(conn, ok)
			conn.Close()
		}
	})
	defer lying.Wait()
	defer impostor.Close()
	wantError(t, CheckHealth(path), "of uid 65534, want one of root")
}

func TestWhoMayNotAskIsToldHow(t *testing.T) {
	own, err := user.Current()
	if err != nil {
		t.Skip(err)
	}
	uid, err := strconv.ParseUint(own.Uid, 10, 32)
	if err != nil {
		t.Fatal(err)
	}
	daemon := &syscall.Ucred{Pid: 7, Uid: uint32(uid)}
	wantError(t, untrusted("/etc/x.cfg", daemon, 0), "want one of root, in the same container (ask as the user of the daemon: runuser -u "+own.Username+" -- crisp-status-local --healthcheck -c /etc/x.cfg)")
	wantError(t, untrusted("/etc/x.cfg", daemon, 1234), "want one of uid 1234 or root, in the same container (ask as the user of the daemon)")
}

func TestProcessesOfOtherContainersAreNotTrusted(t *testing.T) {
	own := uint32(os.Geteuid())
	for _, tt := range []struct {
		name string
		peer syscall.Ucred
		want bool
	}{
		{"its own user", syscall.Ucred{Pid: 1, Uid: own}, true},
		{"root", syscall.Ucred{Pid: 1}, true},
		{"another user", syscall.Ucred{Pid: 1, Uid: own + 1}, false},
		{"its own user's number, elsewhere", syscall.Ucred{Uid: own}, false},
		{"root elsewhere", syscall.Ucred{}, false},
	} {
		if got := trusted(&tt.peer); got != tt.want {
			t.Errorf("%s: trusted is %v, want %v", tt.name, got, tt.want)
		}
	}
}

func TestAQueueThatIsFullForAMomentIsWaitedFor(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "config.cfg")
	address, err := healthAddress(path)
	if err != nil {
		t.Fatal(err)
	}
	// A queue of one: the next connection has to wait.
	fd, err := syscall.Socket(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	socket := os.NewFile(uintptr(fd), "socket")
	defer socket.Close()
	if err := errors.Join(syscall.Bind(fd, &syscall.SockaddrUnix{Name: address.Name}), syscall.Listen(fd, 0)); err != nil {
		t.Fatal(err)
	}
	first, err := net.DialUnix("unix", nil, address)
	if err != nil {
		t.Fatal(err)
	}
	defer first.Close()
	if _, err := net.DialUnix("unix", nil, address); !errors.Is(err, syscall.EAGAIN) {
		t.Fatalf("got %v of a full queue, want that it says so", err)
	}
	var serving sync.WaitGroup
	defer serving.Wait()
	serving.Go(func() {
		time.Sleep(3 * retryPause)
		listener, err := net.FileListener(socket)
		if err != nil {
			t.Error(err)
			return
		}
		defer listener.Close()
		for range 2 {
			if conn, err := listener.Accept(); err == nil {
				io.WriteString(conn, ok)
				conn.Close()
			}
		}
	})
	if err := CheckHealth(path); err != nil {
		t.Errorf("got %v, want the daemon healthy", err)
	}
}

func TestContainersOnOneNetworkDoNotMeet(t *testing.T) {
	const variable = "CHECK_HEALTH_OF"
	if path := os.Getenv(variable); path != "" { // in the other container
		fmt.Println(CheckHealth(path))
		return
	}
	path := filepath.Join(t.TempDir(), "config.cfg")
	served(t, path, aliveTimeout, alive)
	for _, tt := range []struct {
		name  string
		flags uintptr
		want  string
	}{
		{"the same container", 0, "<nil>"},
		{"another container", syscall.CLONE_NEWPID, "no daemon runs with " + path},
	} {
		t.Run(tt.name, func(t *testing.T) {
			cmd := exec.Command(os.Args[0], "-test.run=^"+t.Name()[:strings.Index(t.Name(), "/")]+"$")
			cmd.Env = append(os.Environ(), variable+"="+path)
			cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: tt.flags}
			out, err := cmd.CombinedOutput()
			if errors.Is(err, syscall.EPERM) {
				t.Skip("this user may make no PID namespace")
			}
			if err != nil || !strings.Contains(string(out), tt.want) {
				t.Errorf("got %q, %v, want %q", out, err, tt.want)
			}
		})
	}
}

func TestHealthOfADaemonThatReadsNoRequest(t *testing.T) {
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
	var answering sync.WaitGroup
	defer answering.Wait()
	answering.Go(func() {
		for _, answer := range []string{ok, "it stands still\n"} {
			if conn, err := listener.Accept(); err == nil {
				io.WriteString(conn, answer)
				conn.Close()
			}
		}
	})
	if err := CheckHealth(path); err != nil {
		t.Errorf("got %v of a daemon of an earlier version, want it healthy", err)
	}
	wantError(t, CheckHealth(path), "it stands still")
}

func TestTheStateIsAskedOverTheSameSocket(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "config.cfg")
	h, err := ListenHealth(path)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var serving sync.WaitGroup
	serving.Go(func() {
		h.Serve(ctx, alive, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "state of ", r.URL.Path) }))
	})
	defer serving.Wait()
	defer cancel()
	client := &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(context.Context, string, string) (net.Conn, error) {
			address, err := healthAddress(path)
			if err != nil {
				return nil, err
			}
			return net.DialUnix("unix", nil, address)
		},
	}}
	resp, err := client.Get("http://localhost/replicas.json")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if body, err := io.ReadAll(resp.Body); err != nil || string(body) != "state of /replicas.json" {
		t.Errorf("got %q, %v, want what the handler answers", body, err)
	}
}
