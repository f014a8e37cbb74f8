package service

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

const (
	alivePatience = 4 * time.Second       // for the daemon to show that it is alive: it does within milliseconds
	checkPatience = 2 * alivePatience     // for its answer, should one check wait for another; engines give it ten seconds and more
	retryPause    = 50 * time.Millisecond // where a queue is full, or this process out of files

	maxAnswer = 1 << 10 // bytes, ten times the longest
)

const ok = "ok\n"

// Health answers the health checks of this daemon.
//
// They are about this process alone. That the Status API is down, or refuses
// the token, is no reason to start the daemon anew: what waits to be delivered
// would be lost, and nothing gained.
//
// The socket is an abstract one, so it needs no folder that can be written to,
// and is gone with the process. Who may connect is not limited, so only the
// daemon's own user and root are answered; nothing is ever read, and one
// connection at a time is held.
type Health struct {
	listener *net.UnixListener
	patience time.Duration
}

// ListenHealth returns the health of the daemon that runs with the
// configuration file at path. The caller must have it served, which ends it.
func ListenHealth(path string) (*Health, error) {
	address, err := healthAddress(path)
	if err != nil {
		return nil, err
	}
	listener, err := net.ListenUnix("unix", address)
	if err != nil {
		return nil, err
	}
	return &Health{listener, alivePatience}, nil
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
// the answer when there is one.
func (h *Health) Serve(ctx context.Context, alive func(context.Context) error) {
	defer h.listener.Close()
	defer context.AfterFunc(ctx, func() { h.listener.SetDeadline(time.Now()) })()
	for {
		conn, err := h.listener.AcceptUnix()
		if err == nil {
			h.answer(ctx, conn, alive)
			conn.Close()
		}
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			select {
			case <-ctx.Done():
			case <-time.After(retryPause):
			}
		}
	}
}

// answer writes ok, or the line that says why not, to whom it concerns.
func (h *Health) answer(ctx context.Context, conn *net.UnixConn, alive func(context.Context) error) {
	if p, err := peer(conn); err != nil || !trusted(p) {
		return
	}
	asking, cancel := context.WithTimeoutCause(ctx, h.patience, fmt.Errorf("no answer within %v", h.patience))
	defer cancel()
	answer := ok
	if err := alive(asking); ctx.Err() != nil {
		answer = "the daemon is ending\n"
	} else if err != nil {
		answer = err.Error() + "\n"
	}
	conn.SetDeadline(time.Now().Add(alivePatience))
	io.WriteString(conn, answer)
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
		return fmt.Errorf("what runs with %s is process %d of uid %d, want one of uid %d or root, in the same container (ask as the user of the daemon)", path, p.Pid, p.Uid, os.Geteuid())
	}
	conn.SetDeadline(time.Now().Add(checkPatience))
	answer, err := io.ReadAll(io.LimitReader(conn, maxAnswer))
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return fmt.Errorf("no answer of the daemon within %v", checkPatience)
	case err != nil:
		return fmt.Errorf("asking the daemon: %w", err)
	case len(answer) == 0:
		return errors.New("the daemon closed the connection without an answer")
	case string(answer) != ok:
		return errors.New(strings.TrimSuffix(string(answer), "\n"))
	}
	return nil
}

// dial connects. The queue may be full for a moment, of others who are turned
// away.
func dial(address *net.UnixAddr) (*net.UnixConn, error) {
	for end := time.Now().Add(checkPatience); ; time.Sleep(retryPause) {
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
