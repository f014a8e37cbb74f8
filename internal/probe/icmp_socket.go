package probe

import (
	"math/rand/v2"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// echoSocket is an ICMP socket of one family, and the echoes that wait for an answer
// on it. It uses plain system calls, since the connections of package net allocate
// for each packet of a raw socket, and only their reader can look for a packet.
type echoSocket struct {
	request, reply byte   // the ICMP types of the family
	id             uint16 // identifier of our echoes; the kernel puts its own in those of a datagram socket
	raw            bool   // every reply to this host comes in, not ours alone
	ipHeader       bool   // packets come in with their IPv4 header

	// send sends a packet without blocking, collect delivers the packets that the
	// kernel has; tests replace them.
	send    func(packet []byte, to netip.Addr) error
	collect func()

	file     *os.File
	conn     syscall.RawConn
	closing  atomic.Bool   // the receiver is to end
	ended    chan struct{} // closed when it has
	launched atomic.Uint32 // echoes sent
	spare    spareEchoes
	fault    atomic.Pointer[Error] // of the last packet whose handling panicked; nil: none

	reading sync.Mutex     // held from reading a packet until it is delivered
	buffer  [16 << 10]byte // of a longer packet the checksum would be wrong; no echo of ours has such an answer
	control [256]byte      // control messages of a packet of the error queue

	idle    sync.Pool        // of *echo
	mu      sync.Mutex       // protects waiting
	waiting map[uint16]*echo // the first of each sequence number; nil when the receiver is gone
}

// openEchoSocket opens an ICMP socket of family, AF_INET or AF_INET6: of the
// datagram kind, which needs no privilege where the administrator allows it,
// else raw. The caller closes it. The error is of KindLocal.
func openEchoSocket(family int) (*echoSocket, *Error) {
	s := newEchoSocket(family)
	proto := unix.IPPROTO_ICMP
	if family == unix.AF_INET6 {
		proto = unix.IPPROTO_ICMPV6
	}
	const flags = unix.SOCK_NONBLOCK | unix.SOCK_CLOEXEC
	fd, err := unix.Socket(family, unix.SOCK_DGRAM|flags, proto)
	if err != nil {
		s.raw, s.ipHeader = true, family == unix.AF_INET
		fd, err = unix.Socket(family, unix.SOCK_RAW|flags, proto)
	}
	switch err {
	case nil:
	case unix.EPERM, unix.EACCES:
		return nil, notPermitted(err)
	default:
		return nil, fromSyscall("opening an ICMP socket", err)
	}
	s.tune(fd)
	s.file = os.NewFile(uintptr(fd), "icmp")
	if s.conn, err = s.file.SyscallConn(); err != nil {
		s.file.Close()
		return nil, fromSyscall("setting up an ICMP socket", err)
	}
	s.send, s.collect = s.sendNow, s.collectNow
	go s.receive()
	return s, nil
}

// newEchoSocket returns an echoSocket of family that has no socket yet.
func newEchoSocket(family int) *echoSocket {
	s := &echoSocket{
		request: icmpv4Echo, reply: icmpv4Reply,
		id:      uint16(rand.Uint32()),
		ended:   make(chan struct{}),
		spare:   spareEchoes{most: leastSpare},
		waiting: make(map[uint16]*echo),
	}
	if family == unix.AF_INET6 {
		s.request, s.reply = icmpv6Echo, icmpv6Reply
	}
	return s
}

// tune widens the buffers of fd, turns on its error queue and, if it is raw, filters
// everything but replies, so that nothing else wakes the receiver. Each option is
// optional: the socket works without it.
func (s *echoSocket) tune(fd int) {
	// Hundreds of answers may arrive at once. And an echo to an absent neighbour
	// occupies the send buffer until the kernel gives up its address resolution: by
	// default, 270 dead neighbours would block all others. Without privilege the
	// kernel caps the size.
	const size = 4 << 20
	if unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, size) != nil {
		_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, size)
	}
	if unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUFFORCE, size) != nil {
		_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUF, size)
	}
	if room, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUF); err == nil {
		s.spare.most = spareOf(room)
	}

	// Besides the messages of routers, this makes a raw socket report echoes that this
	// host itself dropped: a full neighbour table or device queue.
	v6 := s.reply == icmpv6Reply
	if v6 {
		_ = unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_RECVERR, 1)
	} else {
		_ = unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_RECVERR, 1)
	}

	if !s.raw {
		return // a datagram socket receives only its own replies
	}
	if v6 {
		var filter unix.ICMPv6Filter
		for i := range filter.Data {
			filter.Data[i] = ^uint32(0)
		}
		filter.Data[s.reply/32] &^= 1 << (s.reply % 32)
		_ = unix.SetsockoptICMPv6Filter(fd, unix.IPPROTO_ICMPV6, unix.ICMPV6_FILTER, &filter)
	} else {
		// The types from 0 to 31 whose bit is set are filtered.
		_ = unix.SetsockoptInt(fd, unix.SOL_RAW, unix.ICMP_FILTER, int(^uint32(1<<s.reply)))
	}
}

// close closes the socket and waits for the receiver. A second close returns an
// error and is harmless.
func (s *echoSocket) close() error {
	s.closing.Store(true)
	err := s.file.Close()
	<-s.ended
	return err
}

// receive delivers packets until the socket is closed.
func (s *echoSocket) receive() {
	defer close(s.ended)
	defer s.abandon()
	read := func(fd uintptr) bool { return !s.drain(int(fd)) } // false waits for the next packet
	for {
		if s.conn.Read(read) == nil {
			continue
		}
		if s.closing.Load() {
			return
		}
		// The socket reports an error while its send buffer is full, and the poller
		// takes that for one of its own until the next packet arrives.
		<-time.After(10 * time.Millisecond)
		s.collectNow()
	}
}

// collectNow delivers the packets that the kernel has, without the receiver.
func (s *echoSocket) collectNow() {
	// The call fails once the socket is closed; there is nothing to deliver then.
	_ = s.conn.Control(func(fd uintptr) { s.drain(int(fd)) })
}

// drain delivers the packets of fd; it returns false if there may be more.
func (s *echoSocket) drain(fd int) bool {
	s.reading.Lock()
	defer s.reading.Unlock()
	failed := 0
	for range 4096 { // bounded, or a flood would keep a ping here, and the socket open
		// Not unix.Recvfrom, which asks for the socket's protocol each time.
		n, from, err := syscall.Recvfrom(fd, s.buffer[:], 0)
		switch err {
		case nil:
			s.survive(func() { s.deliver(s.buffer[:n], addrOf(from), time.Now()) })
			failed = 0
		case syscall.EAGAIN:
			s.drainErrors(fd)
			return true
		default:
			// The error queue explains it, or the shortage passes; if it lasts, waiting
			// for a packet is better than spinning.
			if failed++; failed == 8 {
				return true
			}
		}
	}
	return false
}

// survive handles a packet by take. A panic must not end the receiver, and the daemon
// with it: the packet is lost, and the panic is kept as the failure of a ping without
// an answer.
func (s *echoSocket) survive(take func()) {
	defer func() {
		if fault := recover(); fault != nil {
			s.fault.Store(Panicked(fault))
		}
	}()
	take()
}

// drainErrors passes the messages of the error queue to noteError.
func (s *echoSocket) drainErrors(fd int) {
	for range 4096 {
		n, c, _, to, err := syscall.Recvmsg(fd, s.buffer[:], s.control[:], unix.MSG_ERRQUEUE)
		if err != nil {
			return
		}
		s.survive(func() { s.noteError(s.buffer[:n], addrOf(to), parseError(s.control[:c])) })
	}
}

func addrOf(from syscall.Sockaddr) netip.Addr {
	switch from := from.(type) {
	case *syscall.SockaddrInet4:
		return netip.AddrFrom4(from.Addr)
	case *syscall.SockaddrInet6:
		return netip.AddrFrom16(from.Addr)
	}
	return netip.Addr{}
}

// sendNow sends packet without blocking. The error is an Errno (EAGAIN: there
// is no room now), an *Error where the zone of to is unknown, or os.ErrClosed.
func (s *echoSocket) sendNow(packet []byte, to netip.Addr) error {
	_, sa, err := sockaddr(netip.AddrPortFrom(to, 0))
	if err != nil {
		return err
	}
	if closed := s.conn.Control(func(fd uintptr) { err = unix.Sendto(int(fd), packet, 0, sa) }); closed != nil {
		return closed
	}
	return err
}
