package probe

import (
	"net/netip"

	"golang.org/x/sys/unix"
)

// lostWay returns the failure of this host that it has no way any more to where the
// attempt went; nil if it has one, or none is known. What the kernel says of a route
// it says when a connection begins: one that is under way when the route or the link
// goes ends in silence, which is no silence of the target.
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
// of its family. It sends nothing: to connect a datagram socket looks for the route.
func wayTo(addr netip.Addr) error {
	const discard = 9
	family, sa, err := sockaddr(netip.AddrPortFrom(addr, discard))
	if err != nil {
		return err
	}
	fd, err := unix.Socket(family, unix.SOCK_DGRAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil // which says nothing of the way
	}
	defer unix.Close(fd)
	switch err := unix.Connect(fd, sa); err {
	case unix.ENETUNREACH, unix.ENETDOWN, unix.EADDRNOTAVAIL:
		return fromSyscall("looking for a route", err)
	}
	return nil
}
