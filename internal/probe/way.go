package probe

import (
	"net/netip"

	"golang.org/x/sys/unix"
)

// lostWay returns the failure of this host to have a route to the addresses of the
// attempt; nil if it has one to any of them, or there are none. The kernel reports a
// missing route only when a connection begins: if the route or the link goes later, the
// attempt times out, though the target is not at fault.
func lostWay(p *Attempt, way func(netip.Addr) error) error {
	addrs := p.Addrs
	if p.Addr.IsValid() {
		addrs = []netip.Addr{p.Addr}
	}
	var lost error
	for _, addr := range addrs {
		err := way(addr)
		if err == nil {
			return nil
		}
		lost = err
		if len(addrs) > 1 {
			lost = ofAddress(addr, err)
		}
	}
	return lost
}

// wayTo returns an *Error of KindLocal if this host has no route to addr, or no address
// of its family. It sends nothing: connect(2) of a datagram socket only looks the route
// up.
func wayTo(addr netip.Addr) error {
	const discard = 9
	family, sa, err := sockaddr(netip.AddrPortFrom(addr, discard))
	if err != nil {
		return err
	}
	fd, err := unix.Socket(family, unix.SOCK_DGRAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil // a lack of sockets says nothing of the route
	}
	defer unix.Close(fd)
	switch err := unix.Connect(fd, sa); err {
	case unix.ENETUNREACH, unix.ENETDOWN, unix.EADDRNOTAVAIL:
		return fromSyscall("looking for a route", err)
	}
	return nil
}
