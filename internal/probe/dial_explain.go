package probe

import (
	"context"
	"net/netip"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// explain refines err, the failure to connect to addr, by the ICMP message behind it
// and its sender. A rejection that this host itself sent, by a rule for outgoing
// packets, is local. The message comes from the error queue of a socket that connects
// once more: an error queue for every connection would cost each a system call.
func explain(ctx context.Context, addr netip.AddrPort, a attempt, err error) error {
	switch kindOf(err) {
	case KindRefused, KindUnreachable, KindTimeout:
	default:
		return err
	}
	if ctx.Err() != nil {
		return err
	}
	fd, sa, failed := socket(addr)
	if failed != nil {
		return err
	}
	f := os.NewFile(uintptr(fd), "tcp")
	defer f.Close()
	_ = stayHalfOpen(fd)
	if keepErrors(fd, addr.Addr()) != nil {
		return err
	}
	if e := unix.Connect(fd, sa); e != nil && e != unix.EINPROGRESS && e != unix.EINTR {
		return err
	}
	own, _ := unix.Getsockname(fd) // not later: an error makes the socket forget it
	said, atOnce := readError(fd)
	if said.errno == 0 {
		said = awaitError(ctx, f, sa, a)
	}
	switch {
	case said.errno == 0:
		return err
	case said.from.IsValid() && said.from == addrIn(own) && said.from != addrIn(sa) && (atOnce || !said.noNeighbour()):
		return &Error{Kind: KindLocal, Reason: "this host's own firewall rejects it (look at its rules for outgoing packets)", Err: said.errno}
	}
	return said.failure()
}

// keepErrors makes fd keep ICMP messages in an error queue. Linux does so for
// connections since 5.19; on an older one, only the errno is known.
func keepErrors(fd int, addr netip.Addr) error {
	if addr.Unmap().Is4() {
		return unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_RECVERR, 1)
	}
	return unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_RECVERR, 1)
}

// readError takes one message off the error queue of fd and reports whether
// there was one.
func readError(fd int) (icmpError, bool) {
	var packet, control [256]byte
	_, n, _, _, err := syscall.Recvmsg(fd, packet[:], control[:], unix.MSG_ERRQUEUE)
	if err != nil {
		return icmpError{}, false
	}
	e := parseError(control[:n])
	return e, e.errno != 0
}

// awaitError waits for a message in the error queue of f, no longer than until
// the connection to sa is decided or the attempt's time is up.
func awaitError(ctx context.Context, f *os.File, sa unix.Sockaddr, a attempt) (said icmpError) {
	// The failure is known already: its explanation is worth a second at most.
	const longest = time.Second
	if a.left() <= 0 || f.SetDeadline(time.Now().Add(min(a.left(), longest))) != nil {
		return said
	}
	defer expireWith(ctx, f)()
	raw, err := f.SyscallConn()
	if err != nil {
		return said
	}
	_ = raw.Write(func(fd uintptr) bool {
		var ok bool
		if said, ok = readError(int(fd)); ok {
			return true
		}
		switch unix.Connect(int(fd), sa) {
		case unix.EALREADY, unix.EINPROGRESS, unix.EINTR:
			return false
		}
		return true
	})
	return said
}
