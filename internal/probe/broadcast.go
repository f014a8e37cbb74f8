package probe

import (
	"net/netip"

	"golang.org/x/sys/unix"
)

// isBroadcast reports whether this host's routing table has addr as a broadcast
// address: a datagram socket may be connected to one only after SO_BROADCAST
// was set (socket(7)), while what a route or a policy prohibits stays
// prohibited. No packet is sent.
func isBroadcast(addr netip.Addr) bool {
	if addr = addr.Unmap(); !addr.Is4() {
		return false
	}
	if addr == netip.AddrFrom4([4]byte{255, 255, 255, 255}) {
		return true
	}
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return false
	}
	defer unix.Close(fd)
	to := &unix.SockaddrInet4{Port: 9, Addr: addr.As4()}
	if unix.Connect(fd, to) != unix.EACCES || unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_BROADCAST, 1) != nil {
		return false
	}
	return unix.Connect(fd, to) == nil
}

// fromRefusedSend returns the failure of a system call that would not send
// anything to addr, where its errno alone would blame something else; nil where
// it says all there is to say.
func fromRefusedSend(addr netip.Addr, err error) *Error {
	if (err == unix.EACCES || err == unix.ENETUNREACH) && isBroadcast(addr) {
		return &Error{Kind: KindLocal, Reason: addr.String() + " is a broadcast address, want the address of one host", Err: unix.EACCES}
	}
	return nil
}
