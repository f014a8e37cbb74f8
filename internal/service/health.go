package service

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/net/netutil"
)

const (
	aliveTimeout = 4 * time.Second       // for the daemon to show that it is alive: it does within milliseconds
	checkTimeout = 2 * aliveTimeout      // for its answer, should one check wait for another; engines give it ten seconds and more
	retryPause   = 50 * time.Millisecond // where a queue is full, or this process out of files

	requestTimeout = 2 * time.Second  // for a request: it comes at once
	answerTimeout  = 15 * time.Second // for an answer to be read: that of 100,000 replicas has 100 MB
	closeTimeout   = time.Second      // for answers that are under way when the daemon ends
	maxConnections = 64
	maxRequest     = 16 << 10 // bytes of a head

	maxAnswer = 4 << 10 // bytes, ten times the longest
)

const ok = "ok\n"

// Health answers the health checks of this daemon.
//
// They are about this process alone. That the Status API is down, or refuses
// the token, is no reason to restart the daemon: what waits to be delivered
// would be lost, and nothing gained.
//
// The socket is an abstract one, so it needs no folder that can be written to,
// and is gone with the process. Who may connect is not limited, so only the
// daemon's own user and root are answered: others are turned away before a byte
// of theirs is read. What it speaks is HTTP, so that the daemon's state is asked
// there, too.
type Health struct {
	listener *net.UnixListener
	timeout  time.Duration
}

// ListenHealth returns the health of the daemon that runs with the
// configuration file at path. The caller must have it served, which ends it.
func ListenHealth(path string) (*Health, error) {
	address, err := healthAddress(path)
	if err != nil {
		return nil, err
	}
	listener, err := net.ListenUnix("unix", address)
	if errors.Is(err, syscall.EADDRINUSE) {
		return nil, fmt.Errorf("%s has the name of this daemon already: another daemon with %s, or one that keeps it from its name; end that process, then restart this daemon (%w)", holder(address), path, err)
	}
	if err != nil {
		return nil, err
	}
	return &Health{listener, aliveTimeout}, nil
}

// holder names the process that listens at address, as far as it can be known at once.
func holder(address *net.UnixAddr) string {
	conn, err := net.DialUnix("unix", nil, address)
	if err != nil {
		return "another process"
	}
	defer conn.Close()
	p, err := peer(conn)
	if err != nil || p.Pid == 0 {
		return "another process"
	}
	return fmt.Sprintf("process %d of uid %d", p.Pid, p.Uid)
}

// healthAddress returns where the daemon that runs with the configuration file
// at path is asked. Abstract sockets belong to the network, and that of the
// host may be shared by many containers, in each of which the file has the same
// path: the PID namespace tells them apart.
func healthAddress(path string) (*net.UnixAddr, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	namespace, err := os.Readlink("/proc/self/ns/pid")
	if err != nil {
		return nil, err
	}
	hash := sha256.Sum256([]byte(namespace + "\x00" + path))
	return &net.UnixAddr{Net: "unix", Name: fmt.Sprintf("@crisp-status-local-%x", hash[:16])}, nil
}

// Serve answers health checks until ctx is done; then the socket is gone. It
// asks alive, which must return once its context is done, and whose error is
// the answer when there is one. Whatever else is asked there is for state.
func (h *Health) Serve(ctx context.Context, alive func(context.Context) error, state http.Handler) {
	paths := http.NewServeMux()
	paths.Handle("/", state)
	paths.HandleFunc("GET /healthz", func(w http.ResponseWriter, r *http.Request) { h.answer(ctx, w, r, alive) })
	server := &http.Server{
		Handler:           paths,
		ReadHeaderTimeout: requestTimeout,
		WriteTimeout:      answerTimeout,
		IdleTimeout:       requestTimeout,
		MaxHeaderBytes:    maxRequest,
		BaseContext:       func(net.Listener) context.Context { return ctx },
		ErrorLog:          log.New(io.Discard, "", 0), // what is odd about a request is the client's to know
	}
	var ending sync.WaitGroup
	defer ending.Wait()
	ended := context.AfterFunc(ctx, func() {
		defer ending.Done()
		closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeTimeout)
		defer cancel()
		server.Shutdown(closing)
		server.Close()
	})
	ending.Add(1)
	server.Serve(netutil.LimitListener(trustingListener{h.listener, ctx}, maxConnections))
	if ended() {
		ending.Done()
	}
}

// trustingListener accepts connections of those who are trusted. What accepting
// fails with while ctx is not done passes.
type trustingListener struct {
	*net.UnixListener
	ctx context.Context
}

// Accept is net.Listener's.
func (l trustingListener) Accept() (net.Conn, error) {
	for {
		conn, err := l.AcceptUnix()
		switch {
		case err == nil:
			if p, err := peer(conn); err == nil && trusted(p) {
				return conn, nil
			}
			conn.Close()
		case l.ctx.Err() != nil || errors.Is(err, net.ErrClosed):
			return nil, err
		default:
			select {
			case <-l.ctx.Done():
			case <-time.After(retryPause):
			}
		}
	}
}

// answer writes ok, or the line that says why not.
func (h *Health) answer(ctx context.Context, w http.ResponseWriter, r *http.Request, alive func(context.Context) error) {
	asking, cancel := context.WithTimeoutCause(r.Context(), h.timeout, fmt.Errorf("no answer within %v", h.timeout))
	defer cancel()
	answer, status := ok, http.StatusOK
	if err := alive(asking); ctx.Err() != nil {
		answer, status = "the daemon is ending\n", http.StatusServiceUnavailable
	} else if err != nil {
		answer, status = err.Error()+"\n", http.StatusServiceUnavailable
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(status)
	io.WriteString(w, answer)
}

// CheckHealth asks the daemon that runs with the configuration file at path
// whether it is alive. The error, if it is not, says why. The file need not
// exist.
func CheckHealth(path string) error {
	address, err := healthAddress(path)
	if err != nil {
		return fmt.Errorf("asking the daemon: %w", err)
	}
	conn, err := dial(address)
	if errors.Is(err, syscall.ECONNREFUSED) {
		return fmt.Errorf("no daemon runs with %s here, want one that was started with -c and the same path", path)
	}
	if err != nil {
		return fmt.Errorf("asking the daemon: %w", err)
	}
	defer conn.Close()
	p, err := peer(conn)
	if err != nil {
		return fmt.Errorf("asking the daemon: %w", err)
	}
	if !trusted(p) { // whoever was there first can have that name
		return untrusted(path, p, os.Geteuid())
	}
	conn.SetDeadline(time.Now().Add(checkTimeout))
	// A daemon before 2.1 reads nothing and answers at once.
	io.WriteString(conn, "GET /healthz HTTP/1.0\r\n\r\n")
	answer, err := io.ReadAll(io.LimitReader(conn, maxAnswer))
	if len(answer) > 0 && errors.Is(err, syscall.ECONNRESET) {
		err = nil // it closed without having read
	}
	if head, body, found := bytes.Cut(answer, []byte("\r\n\r\n")); found && bytes.HasPrefix(head, []byte("HTTP/")) {
		answer = body
	}
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return fmt.Errorf("no answer of the daemon within %v", checkTimeout)
	case err != nil:
		return fmt.Errorf("asking the daemon: %w", err)
	case len(answer) == 0:
		return errors.New("the daemon closed the connection without an answer")
	case string(answer) != ok:
		return errors.New(strings.TrimSuffix(string(answer), "\n"))
	}
	return nil
}

// untrusted returns the error that a process of user uid does not trust p, the process
// that holds the name of the daemon with the file at path. It says how to ask instead.
func untrusted(path string, p *syscall.Ucred, uid int) error {
	want, how := fmt.Sprintf("uid %d or root", uid), "ask as the user of the daemon"
	if uid == 0 {
		want = "root"
		if u, err := user.LookupId(strconv.FormatUint(uint64(p.Uid), 10)); err == nil {
			how += fmt.Sprintf(": runuser -u %s -- crisp-status-local --healthcheck -c %s", u.Username, path)
		}
	}
	return fmt.Errorf("what runs with %s is process %d of uid %d, want one of %s, in the same container (%s)", path, p.Pid, p.Uid, want, how)
}

// dial connects. The queue may be full for a moment, of others who are turned
// away.
func dial(address *net.UnixAddr) (*net.UnixConn, error) {
	for end := time.Now().Add(checkTimeout); ; time.Sleep(retryPause) {
		conn, err := net.DialUnix("unix", nil, address)
		if !errors.Is(err, syscall.EAGAIN) || time.Now().After(end) {
			return conn, err
		}
	}
}

// trusted reports whether p is a process of this one's own user or of root, and
// of the same PID namespace (or one below): the socket may be on a network that
// other containers and the host share, whose users are others by the same number.
func trusted(p *syscall.Ucred) bool {
	return p.Pid != 0 && (p.Uid == 0 || int64(p.Uid) == int64(os.Geteuid()))
}

// peer returns the process at the other end of conn: who called connect, or
// listen.
func peer(conn *net.UnixConn) (*syscall.Ucred, error) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return nil, err
	}
	var credentials *syscall.Ucred
	var failure error
	err = raw.Control(func(fd uintptr) {
		credentials, failure = syscall.GetsockoptUcred(int(fd), syscall.SOL_SOCKET, syscall.SO_PEERCRED)
	})
	if err = errors.Join(err, failure); err != nil {
		return nil, err
	}
	return credentials, nil
}
