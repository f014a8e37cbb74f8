package probe

import "encoding/binary"

// The ICMP types of an echo and its reply (RFC 792, RFC 4443).
const (
	icmpv4Echo  = 8
	icmpv4Reply = 0
	icmpv6Echo  = 128
	icmpv6Reply = 129
)

// Both are type, code, checksum, identifier and sequence number, then data of the
// sender: a token, and zeros up to the length of ping(8), since a network may drop
// others.
const (
	echoLen   = 64
	tokenFrom = 8
	tokenTo   = 16
)

// reply is the fields that an echo and its reply share.
type reply struct {
	id, seq uint16
	token   uint64
}

// marshalEcho writes into p, whose end is zero, the echo of the ICMP type kind
// that r would answer.
func marshalEcho(p *[echoLen]byte, kind byte, r reply) {
	p[0], p[2], p[3] = kind, 0, 0
	binary.BigEndian.PutUint16(p[4:], r.id)
	binary.BigEndian.PutUint16(p[6:], r.seq)
	binary.BigEndian.PutUint64(p[tokenFrom:], r.token)
	// Zeros add nothing. IPv6's sum covers addresses, too: there the kernel
	// puts its own.
	binary.BigEndian.PutUint16(p[2:], checksum(p[:tokenTo]))
}

// parseReply reads packet as an echo or reply of the ICMP type kind; not ok if
// it is none. A packet that is too short for a token has the token 0, which no echo
// has.
func parseReply(packet []byte, kind byte) (r reply, ok bool) {
	if len(packet) < tokenFrom || packet[0] != kind || packet[1] != 0 {
		return reply{}, false
	}
	r.id = binary.BigEndian.Uint16(packet[4:])
	r.seq = binary.BigEndian.Uint16(packet[6:])
	if len(packet) >= tokenTo {
		r.token = binary.BigEndian.Uint64(packet[tokenFrom:])
	}
	return r, true
}

// stripIPv4 returns packet without its IPv4 header; nil if that is incomplete.
func stripIPv4(packet []byte) []byte {
	if len(packet) < 20 || packet[0]>>4 != 4 {
		return nil
	}
	header := int(packet[0]&0x0f) * 4
	if header < 20 || header > len(packet) {
		return nil
	}
	return packet[header:]
}

// checksum returns the Internet checksum (RFC 1071) of p, which is 0 if p contains
// its own.
func checksum(p []byte) uint16 {
	var sum uint32
	for ; len(p) >= 2; p = p[2:] {
		sum += uint32(binary.BigEndian.Uint16(p))
	}
	if len(p) == 1 {
		sum += uint32(p[0]) << 8
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return ^uint16(sum)
}
