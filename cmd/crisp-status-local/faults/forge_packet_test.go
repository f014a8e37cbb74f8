//go:build faults

package faults

import (
	"bytes"
	"encoding/binary"
	"net/netip"

	"golang.org/x/sys/unix"
)

// sent is a packet of the daemon.
type sent struct {
	packet   []byte
	from, to netip.Addr
	proto    byte
	data     []byte // of packet: TCP, UDP or ICMP
}

// The bits of a TCP header's flags.
const (
	flagFIN = 1 << iota
	flagSYN
	flagRST
	_
	flagACK
)

// parseSent reads an IP packet. It is not ok unless it asks for something: the kernel
// answers much that is forged with a segment without data, and so would never end.
func parseSent(packet []byte) (s sent, ok bool) {
	switch {
	case len(packet) >= 28 && packet[0] == 0x45:
		s = sent{packet: packet, proto: packet[9], data: packet[20:]}
		s.from, _ = netip.AddrFromSlice(packet[12:16])
		s.to, _ = netip.AddrFromSlice(packet[16:20])
	case len(packet) >= 48 && packet[0]>>4 == 6:
		s = sent{packet: packet, proto: packet[6], data: packet[40:]}
		s.from, _ = netip.AddrFromSlice(packet[8:24])
		s.to, _ = netip.AddrFromSlice(packet[24:40])
	default:
		return sent{}, false
	}
	return s, s.isSYN() || s.hasData() || s.proto == unix.IPPROTO_UDP || s.isEcho()
}

func (s sent) isTCP() bool { return s.proto == unix.IPPROTO_TCP && len(s.data) >= 20 }

// isSYN reports whether it asks for a connection.
func (s sent) isSYN() bool { return s.isTCP() && s.data[13]&(flagSYN|flagACK) == flagSYN }

// hasData reports whether it is a part of a request.
func (s sent) hasData() bool { return s.isTCP() && len(s.data) > int(s.data[12]>>4)*4 }

// isEcho reports whether it is an ICMP echo.
func (s sent) isEcho() bool {
	return s.proto == unix.IPPROTO_ICMP && s.data[0] == 8 || s.proto == unix.IPPROTO_ICMPV6 && s.data[0] == 128
}

// changed returns a copy whose data is changed.
func (s sent) changed(change func(data []byte)) sent {
	c, _ := parseSent(bytes.Clone(s.packet))
	change(c.data)
	return c
}

// add adds to a number of a header.
func add(field []byte, n uint16) { binary.BigEndian.PutUint16(field, binary.BigEndian.Uint16(field)+n) }

// message is an ICMP message about a packet.
type message struct {
	kind, code byte
	rest       uint32 // behind the checksum: an MTU, a gateway, a pointer
}

// codes returns the messages of one kind, with the codes from 0 on.
func codes(kind byte, n int) []message {
	var all []message
	for code := range n {
		all = append(all, message{kind: kind, code: byte(code)})
	}
	return all
}

// about returns the message as it would come from a host: the target, or a router.
func (m message) about(s sent, from netip.Addr) []byte {
	icmp := binary.BigEndian.AppendUint32([]byte{m.kind, m.code, 0, 0}, m.rest)
	if m.kind == redirect6 {
		router, target := netip.MustParseAddr("fe80::2"), netip.MustParseAddr("fe80::bad")
		return datagram(router, s.from, unix.IPPROTO_ICMPV6, append(append(icmp, target.AsSlice()...), s.to.AsSlice()...))
	}
	proto := byte(unix.IPPROTO_ICMP)
	if s.to.Is6() {
		proto = unix.IPPROTO_ICMPV6
	}
	return datagram(from, s.from, proto, append(icmp, s.packet[:min(len(s.packet), 128)]...))
}

// segment returns a TCP segment that seems to come from where s went to.
func (s sent) segment(flags byte, seq, ack uint32) []byte {
	header := make([]byte, 20)
	copy(header, s.data[2:4])
	copy(header[2:], s.data[:2])
	binary.BigEndian.PutUint32(header[4:], seq)
	binary.BigEndian.PutUint32(header[8:], ack)
	header[12], header[13], header[14] = 5<<4, flags, 0xff
	return datagram(s.to, s.from, unix.IPPROTO_TCP, header)
}

// reply returns an answer to the echo s that seems to come from there, changed.
func (s sent) reply(from netip.Addr, change func(icmp []byte) []byte) []byte {
	icmp := bytes.Clone(s.data)
	if icmp[0] == 8 {
		icmp[0] = 0
	} else {
		icmp[0] = 129
	}
	return datagram(from, s.from, s.proto, change(icmp))
}

// datagram returns an IP packet with TCP or ICMP data, and the right checksums.
func datagram(from, to netip.Addr, proto byte, data []byte) []byte {
	at := 2 // of the checksum
	if proto == unix.IPPROTO_TCP {
		at = 16
	}
	data[at], data[at+1] = 0, 0
	pseudo := []byte(nil)
	if proto != unix.IPPROTO_ICMP {
		pseudo = append(append(from.AsSlice(), to.AsSlice()...), 0, 0, byte(len(data)>>8), byte(len(data)), 0, 0, 0, proto)
	}
	binary.BigEndian.PutUint16(data[at:], sum(append(pseudo, data...)))
	if from.Is6() {
		header := make([]byte, 40, 40+len(data))
		header[0], header[6], header[7] = 0x60, proto, 255
		binary.BigEndian.PutUint16(header[4:], uint16(len(data)))
		copy(header[8:], from.AsSlice())
		copy(header[24:], to.AsSlice())
		return append(header, data...)
	}
	header := make([]byte, 20, 20+len(data))
	header[0], header[8], header[9] = 0x45, 255, proto
	binary.BigEndian.PutUint16(header[2:], uint16(20+len(data)))
	copy(header[12:], from.AsSlice())
	copy(header[16:], to.AsSlice())
	binary.BigEndian.PutUint16(header[10:], sum(header))
	return append(header, data...)
}

// sum returns the Internet checksum (RFC 1071).
func sum(p []byte) uint16 {
	var total uint32
	for ; len(p) >= 2; p = p[2:] {
		total += uint32(binary.BigEndian.Uint16(p))
	}
	if len(p) == 1 {
		total += uint32(p[0]) << 8
	}
	for total > 0xffff {
		total = total>>16 + total&0xffff
	}
	return ^uint16(total)
}
