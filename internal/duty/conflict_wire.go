package duty

import (
	"encoding/binary"
	"net/netip"

	"golang.org/x/sys/unix"
)

// mac is the address of an Ethernet device.
type mac [6]byte

// Lengths in bytes.
const (
	arpLength           = 28
	ipv6Length          = 40
	solicitationLength  = 24
	advertisementLength = 24 // without options
	optionLength        = 8  // with a MAC address
)

// Numbers of ARP (RFC 826) and of neighbour discovery (RFC 4861).
const (
	arpEthernet    = 1
	arpRequest     = 1
	arpReply       = 2
	ndSolicitation = 135
	ndAdvert       = 136
	ndSourceMAC    = 1
	ndTargetMAC    = 2
	ndHops         = 255 // a router lowers them: with fewer, a packet is from elsewhere
)

// arpProbe returns an ARP probe for addr (RFC 5227): a request without an IP address of
// its sender, so that it changes nobody's table.
func arpProbe(addr netip.Addr, sender mac) []byte {
	p := binary.BigEndian.AppendUint16(make([]byte, 0, arpLength), arpEthernet)
	p = binary.BigEndian.AppendUint16(p, unix.ETH_P_IP)
	p = append(p, 6, 4, 0, arpRequest)
	p = append(p, sender[:]...)
	p = append(p, make([]byte, 4+6)...)
	return append(p, addr.AsSlice()...)
}

// arpClaim returns the host that says in an ARP packet that it has addr. A request of
// that host says it as well as a reply.
func arpClaim(p []byte, addr netip.Addr) (mac, bool) {
	if len(p) < arpLength || binary.BigEndian.Uint16(p) != arpEthernet || binary.BigEndian.Uint16(p[2:]) != unix.ETH_P_IP || p[4] != 6 || p[5] != 4 {
		return mac{}, false
	}
	if operation := binary.BigEndian.Uint16(p[6:]); operation != arpRequest && operation != arpReply {
		return mac{}, false
	}
	if !addr.Is4() || [4]byte(p[14:18]) != addr.As4() {
		return mac{}, false
	}
	return mac(p[8:14]), true
}

// solicitation returns an IPv6 packet that asks who has addr, and the Ethernet address
// of those whom it is for. It is a usual neighbour solicitation, with a sender: one
// without would make a host that is just taking addr over believe that it may not
// (RFC 4862).
func solicitation(addr, from netip.Addr, sender mac) ([]byte, mac) {
	target := addr.As16()
	group := [16]byte{0: 0xff, 1: 0x02, 11: 0x01, 12: 0xff, 13: target[13], 14: target[14], 15: target[15]}
	source := from.As16()
	body := append(make([]byte, 0, ipv6Length+solicitationLength+optionLength), 0x60, 0, 0, 0, 0, solicitationLength+optionLength, unix.IPPROTO_ICMPV6, ndHops)
	body = append(append(body, source[:]...), group[:]...)
	message := len(body)
	body = append(body, ndSolicitation, 0, 0, 0, 0, 0, 0, 0)
	body = append(body, target[:]...)
	body = append(append(body, ndSourceMAC, 1), sender[:]...)
	binary.BigEndian.PutUint16(body[message+2:], icmp6Sum(source, group, body[message:]))
	return body, mac{0x33, 0x33, group[12], group[13], group[14], group[15]}
}

// icmp6Sum returns the checksum of an ICMPv6 message of an even length without one
// (RFC 4443).
func icmp6Sum(source, destination [16]byte, message []byte) uint16 {
	sum := uint32(len(message)) + unix.IPPROTO_ICMPV6
	for _, part := range [][]byte{source[:], destination[:], message} {
		for ; len(part) >= 2; part = part[2:] {
			sum += uint32(binary.BigEndian.Uint16(part))
		}
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return ^uint16(sum)
}

// advertClaim returns the host that says in a neighbour advertisement, an IPv6 packet,
// that it has addr; sender is the device that the packet came from. The checksum is not
// looked at: between machines of one host it is not filled in.
func advertClaim(p []byte, addr netip.Addr, sender mac) (mac, bool) {
	if len(p) < ipv6Length+advertisementLength || p[0]>>4 != 6 || p[6] != unix.IPPROTO_ICMPV6 || p[7] != ndHops {
		return mac{}, false
	}
	message := p[ipv6Length:]
	if message[0] != ndAdvert || message[1] != 0 || !addr.Is6() || [16]byte(message[8:24]) != addr.As16() {
		return mac{}, false
	}
	for options := message[advertisementLength:]; len(options) >= optionLength; {
		length := int(options[1]) * 8
		if length == 0 || length > len(options) {
			break
		}
		if options[0] == ndTargetMAC && length == optionLength {
			return mac(options[2:8]), true
		}
		options = options[length:]
	}
	return sender, true
}

// field is a part of a packet that a filter looks at.
type field struct {
	size   uint16 // BPF_B or BPF_W
	offset uint32
	want   uint32
}

// claimFilter returns a program that makes the kernel drop all packets but claims of
// addr: there may be many others, and this process need not be woken for them.
func claimFilter(addr netip.Addr) []unix.SockFilter {
	var fields []field
	if addr.Is4() {
		ip := addr.As4()
		fields = []field{{unix.BPF_W, 14, binary.BigEndian.Uint32(ip[:])}}
	} else {
		ip := addr.As16()
		fields = []field{{unix.BPF_B, 6, unix.IPPROTO_ICMPV6}, {unix.BPF_B, ipv6Length, ndAdvert}}
		for i := 0; i < 16; i += 4 {
			fields = append(fields, field{unix.BPF_W, uint32(ipv6Length + 8 + i), binary.BigEndian.Uint32(ip[i:])})
		}
	}
	var program []unix.SockFilter
	for i, f := range fields {
		program = append(program,
			unix.SockFilter{Code: unix.BPF_LD | unix.BPF_ABS | f.size, K: f.offset},
			unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: f.want, Jf: uint8(2*(len(fields)-i) - 1)})
	}
	return append(program, unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: claimLength}, unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K})
}
