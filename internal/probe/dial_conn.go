package probe

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// conn is a connection made by connector.connect. fromConn translates the errors of
// its reads and writes. A deadline ends them only if this process ran when it passed:
// see attempt.prolong.
type conn struct {
	file    *os.File // not embedded: its other methods would read and write past ours
	addr    netip.AddrPort
	attempt attempt

	mu      sync.Mutex // held while a deadline is set
	expired bool       // by expireWith; protected by mu
}

// expiry is the deadline that expireWith sets: it has passed.
func expiry() time.Time { return time.Unix(1, 0) }

// expireWith makes reads and writes of c fail when ctx is done. The returned function
// ends that.
func expireWith(ctx context.Context, c interface{ SetDeadline(time.Time) error }) func() bool {
	return context.AfterFunc(ctx, func() { c.SetDeadline(expiry()) })
}

// SetDeadline is net.Conn's. After expireWith has expired c, it has no effect.
func (c *conn) SetDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.expired = c.expired || t.Equal(expiry()); c.expired {
		t = expiry()
	}
	return c.file.SetDeadline(t)
}

func (c *conn) Read(b []byte) (int, error) {
	for {
		n, err := c.file.Read(b)
		if n > 0 || !errors.Is(err, os.ErrDeadlineExceeded) || !c.unread() || !c.prolong() {
			return n, err
		}
	}
}

// Write is io.Writer's. A write that the deadline cut is continued if this process was
// late: before the whole request was sent, there is no answer to check for.
func (c *conn) Write(b []byte) (int, error) {
	written := 0
	for {
		n, err := c.file.Write(b[written:])
		written += n
		if !errors.Is(err, os.ErrDeadlineExceeded) || !c.prolong() {
			return written, err
		}
	}
}

// unread reports whether bytes, or the end of the connection, have arrived unread.
func (c *conn) unread() bool {
	raw, err := c.file.SyscallConn()
	if err != nil {
		return false
	}
	ready := 0
	_ = raw.Control(func(fd uintptr) {
		ready, _ = unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 0)
	})
	return ready > 0
}

// prolong extends the attempt if this process was late, and reports whether there is
// time left.
func (c *conn) prolong() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return !c.expired && c.attempt.prolong() && c.file.SetDeadline(c.attempt.deadline()) == nil
}

// reset closes the connection with RST.
func (c *conn) reset() {
	if raw, err := c.file.SyscallConn(); err == nil {
		raw.Control(func(fd uintptr) { resetOnClose(int(fd)) })
	}
	c.Close()
}

func (c *conn) Close() error                       { return c.file.Close() }
func (c *conn) SetReadDeadline(t time.Time) error  { return c.file.SetReadDeadline(t) }
func (c *conn) SetWriteDeadline(t time.Time) error { return c.file.SetWriteDeadline(t) }

func (c *conn) LocalAddr() net.Addr  { return &net.TCPAddr{} }
func (c *conn) RemoteAddr() net.Addr { return net.TCPAddrFromAddrPort(c.addr) }
