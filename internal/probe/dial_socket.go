package probe

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"

	"golang.org/x/sys/unix"
)

// connector opens TCP connections by system calls: net.Dialer takes three times the
// memory while it waits, and does not tell a local failure (returned by connect)
// from one of the network (reported by the socket later).
type connector struct {
	halfOpen bool // the kernel can leave the handshake half open
}

// newConnector returns a connector that uses the options of this host's sockets.
func newConnector() connector {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, unix.IPPROTO_TCP)
	if err != nil {
		return connector{halfOpen: true} // no word on the options: they are tried on each socket
	}
	defer unix.Close(fd)
	return connector{halfOpen: stayHalfOpen(fd) == nil}
}

// stayHalfOpen makes the kernel answer the target's SYN-ACK with RST if fd is closed
// right after connect: the ACK that would complete the handshake is delayed, and a
// close without lingering resets. The application behind the port never sees a
// connection, so it cannot count a failed one (MySQL blocks a host after a hundred
// of those). It proves as much as a full connect, and leaves no TIME_WAIT.
func stayHalfOpen(fd int) error {
	if err := unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_QUICKACK, 0); err != nil {
		return err
	}
	return resetOnClose(fd)
}

// resetOnClose makes close end the connection of fd with RST.
func resetOnClose(fd int) error {
	return unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1, Linger: 0})
}

// connectHalfOpen connects to addr and resets the connection at once: half-open where
// the kernel allows it, else after the whole handshake. The error is an *Error, or
// the cause of ctx's end.
func (c connector) connectHalfOpen(ctx context.Context, addr netip.AddrPort, a attempt) error {
	if err := c.connectHalfOpenOnce(ctx, addr, a); err != nil {
		return explain(ctx, addr, a, err)
	}
	return nil
}

func (c connector) connectHalfOpenOnce(ctx context.Context, addr netip.AddrPort, a attempt) error {
	if a.left() <= 0 && !a.prolong() {
		return noAnswer(a.limit)
	}
	fd, sa, err := socket(addr)
	if err != nil {
		return err
	}
	// An error here is not the target's: a whole connection tells the same, however
	// it is closed.
	if c.halfOpen {
		_ = stayHalfOpen(fd)
	} else {
		_ = resetOnClose(fd)
	}
	established, err := startConnect(fd, sa)
	if established && reachesItself(fd, addr) {
		err = fromNetwork(unix.ECONNREFUSED)
	}
	if err != nil || established {
		unix.Close(fd)
		return err
	}
	f := os.NewFile(uintptr(fd), "tcp")
	defer f.Close()
	return await(ctx, f, sa, a)
}

// connect returns a connection to addr, without a deadline. The caller closes it. The
// error is an *Error, or the cause of ctx's end; after connect has returned, ctx has
// no effect on the connection.
func (c connector) connect(ctx context.Context, addr netip.AddrPort, a attempt) (net.Conn, error) {
	tcp, err := c.connectOnce(ctx, addr, a)
	if err != nil {
		return nil, explain(ctx, addr, a, err)
	}
	return tcp, nil
}

func (c connector) connectOnce(ctx context.Context, addr netip.AddrPort, a attempt) (*conn, error) {
	if a.left() <= 0 && !a.prolong() {
		return nil, noAnswer(a.limit)
	}
	fd, sa, err := socket(addr)
	if err != nil {
		return nil, err
	}
	established, err := startConnect(fd, sa)
	if err != nil {
		unix.Close(fd)
		return nil, err
	}
	tcp := &conn{file: os.NewFile(uintptr(fd), "tcp"), addr: addr, attempt: a}
	if !established {
		if err := await(ctx, tcp.file, sa, a); err != nil {
			tcp.reset()
			return nil, err
		}
	}
	return tcp, nil
}

// socket opens a socket for addr and returns the address in the system's form.
func socket(addr netip.AddrPort) (int, unix.Sockaddr, error) {
	family, sa, err := sockaddr(addr)
	if err != nil {
		return 0, nil, err
	}
	fd, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, unix.IPPROTO_TCP)
	if err != nil {
		return 0, nil, fromSyscall("opening a socket", err)
	}
	return fd, sa, nil
}

func sockaddr(addr netip.AddrPort) (int, unix.Sockaddr, error) {
	ip := addr.Addr().Unmap()
	if ip.Is4() {
		return unix.AF_INET, &unix.SockaddrInet4{Port: int(addr.Port()), Addr: ip.As4()}, nil
	}
	sa := &unix.SockaddrInet6{Port: int(addr.Port()), Addr: ip.As16()}
	if zone := ip.Zone(); zone != "" {
		var ok bool
		if sa.ZoneId, ok = zoneIndex(zone); !ok {
			return 0, nil, failure(KindLocal, "this host has no network interface %q", zone)
		}
	}
	return unix.AF_INET6, sa, nil
}

// addrIn returns the address in sa, without zone; invalid if there is none.
func addrIn(sa unix.Sockaddr) netip.Addr {
	switch sa := sa.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrFrom4(sa.Addr)
	case *unix.SockaddrInet6:
		return netip.AddrFrom16(sa.Addr).Unmap()
	}
	return netip.Addr{}
}

// startConnect starts to connect fd and reports whether it is established already.
func startConnect(fd int, sa unix.Sockaddr) (bool, error) {
	switch err := unix.Connect(fd, sa); err {
	case nil:
		return true, nil
	case unix.EINPROGRESS, unix.EINTR:
	default:
		if refused := fromRefusedSend(addrIn(sa), err); refused != nil {
			return false, refused
		}
		if sa, ok := sa.(*unix.SockaddrInet6); ok && err == unix.EINVAL && sa.ZoneId == 0 && addrIn(sa).IsLinkLocalUnicast() {
			return false, &Error{Kind: KindLocal, Reason: noZone, Err: err}
		}
		return false, fromSyscall("connecting", err)
	}
	// On loopback the handshake is over by now. Asking costs less than putting the
	// socket into the poller.
	switch err := unix.Connect(fd, sa); err {
	case nil, unix.EISCONN:
		return true, nil
	case unix.EALREADY, unix.EINPROGRESS, unix.EINTR:
		return false, nil
	default:
		return false, fromSocket(err)
	}
}

// reachesItself reports whether the connection of fd, which was made to addr,
// leads back to fd: where nobody listens on a port of this host, the kernel may
// pick that very port as the local one, and TCP lets a socket connect to itself
// (RFC 9293, 3.5, simultaneous open).
func reachesItself(fd int, addr netip.AddrPort) bool {
	if addr.Port() < 1024 {
		return false // never picked
	}
	local, err := unix.Getsockname(fd)
	if err != nil {
		return false
	}
	switch local := local.(type) {
	case *unix.SockaddrInet4:
		return local.Port == int(addr.Port()) && netip.AddrFrom4(local.Addr) == addr.Addr().Unmap()
	case *unix.SockaddrInet6:
		return local.Port == int(addr.Port()) && netip.AddrFrom16(local.Addr) == addr.Addr().WithZone("")
	}
	return false
}

// await waits until the connection that f has begun is established.
func await(ctx context.Context, f *os.File, sa unix.Sockaddr, a attempt) error {
	if err := f.SetDeadline(a.deadline()); err != nil {
		return fromSyscall("waiting for the connection", err)
	}
	defer expireWith(ctx, f)()
	raw, err := f.SyscallConn()
	if err != nil {
		return fromSyscall("waiting for the connection", err)
	}
	var connectErr error
	settled := func(fd uintptr) bool {
		// Asked again, connect says how far it is (connect(2)).
		connectErr = unix.Connect(int(fd), sa)
		return connectErr != unix.EALREADY && connectErr != unix.EINPROGRESS && connectErr != unix.EINTR
	}
	err = raw.Write(settled)
	late := false
	if errors.Is(err, os.ErrDeadlineExceeded) {
		// After a stall of this process the deadline passes before the poller has
		// run: an answer that has arrived by now counts.
		err = raw.Control(func(fd uintptr) { late = !settled(fd) })
	}
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case late:
		return noAnswer(a.limit)
	case err != nil:
		return fromSyscall("waiting for the connection", err)
	case connectErr == nil || connectErr == unix.EISCONN:
		return nil
	}
	return fromSocket(connectErr)
}
