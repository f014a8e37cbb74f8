package probe

import (
	"encoding/binary"
	"net/netip"
	"syscall"

	"golang.org/x/sys/unix"
)

// The ICMP types of error messages (RFC 792, RFC 4443).
const (
	icmpv4Unreachable  = 3
	icmpv4TimeExceeded = 11
	icmpv4Parameter    = 12

	icmpv6Unreachable  = 1
	icmpv6TimeExceeded = 3
	icmpv6Parameter    = 4
)

// icmpError is an ICMP message about a packet, from a socket's error queue.
type icmpError struct {
	errno      syscall.Errno // the kernel's translation; 0 if there is no message
	v6         bool
	kind, code byte       // type and code of the message; both 0 if this host's stack alone said it
	from       netip.Addr // the sender; invalid if it is unknown
}

// parseError reads the control messages that come with a packet from an error
// queue (struct sock_extended_err of ip(7) and ipv6(7), and behind it the
// sender's address).
func parseError(control []byte) icmpError {
	messages, err := unix.ParseSocketControlMessage(control)
	if err != nil {
		return icmpError{}
	}
	for _, m := range messages {
		v4 := m.Header.Level == unix.IPPROTO_IP && m.Header.Type == unix.IP_RECVERR
		v6 := m.Header.Level == unix.IPPROTO_IPV6 && m.Header.Type == unix.IPV6_RECVERR
		if (!v4 && !v6) || len(m.Data) < 4 {
			continue
		}
		e := icmpError{errno: syscall.Errno(binary.NativeEndian.Uint32(m.Data)), v6: v6}
		if len(m.Data) < 16 || m.Data[4] != unix.SO_EE_ORIGIN_ICMP && m.Data[4] != unix.SO_EE_ORIGIN_ICMP6 {
			return e
		}
		e.kind, e.code = m.Data[5], m.Data[6]
		// The address is that of a sockaddr_in or sockaddr_in6.
		if sa := m.Data[16:]; v4 && len(sa) >= 8 {
			e.from, _ = netip.AddrFromSlice(sa[4:8])
		} else if v6 && len(sa) >= 24 {
			e.from, _ = netip.AddrFromSlice(sa[8:24])
			e.from = e.from.Unmap()
		}
		return e
	}
	return icmpError{}
}

// failure returns the failure of e, with the same words for both families. The
// errno is not enough: for IPv4, "prohibited" and "unreachable" share one.
func (e icmpError) failure() *Error {
	unreachable, exceeded, parameter := byte(icmpv4Unreachable), byte(icmpv4TimeExceeded), byte(icmpv4Parameter)
	if e.v6 {
		unreachable, exceeded, parameter = icmpv6Unreachable, icmpv6TimeExceeded, icmpv6Parameter
	}
	switch {
	case e.kind == unreachable && e.prohibits():
		return &Error{Kind: KindUnreachable, Reason: prohibited, Err: e.errno}
	case e.kind == exceeded:
		return &Error{Kind: KindUnreachable, Reason: "packet expired on the way to it (a routing loop?)", Err: e.errno}
	case e.kind == parameter && !(e.v6 && e.code == 1): // 1: no such protocol
		return &Error{Kind: KindUnreachable, Reason: "packet rejected on the way to it (parameter problem)", Err: e.errno}
	}
	return fromSocket(e.errno)
}

// prohibits reports whether the code of a "destination unreachable" message is one
// of those for administratively prohibited.
func (e icmpError) prohibits() bool {
	if e.v6 {
		switch e.code {
		case 1, 5, 6: // administratively; by source address; by a reject route
			return true
		}
		return false
	}
	switch e.code {
	case 9, 10, 13, 14, 15: // network, host, communication; host precedence, precedence cutoff
		return true
	}
	return false
}

// noNeighbour reports whether e is the message that this host's stack sends to
// itself when no neighbour has the target's address: then the target is down. (A
// reject rule can send the same.)
func (e icmpError) noNeighbour() bool {
	if e.v6 {
		return e.kind == icmpv6Unreachable && e.code == 3
	}
	return e.kind == icmpv4Unreachable && e.code == 1
}
