package policy

import "net/netip"

// forms are the addresses that one address stands for, itself first; those that
// there are not are invalid.
type forms [3]netip.Addr

// formsOf returns addr, the IPv4 address in it (a NAT64 gateway, RFC 6052, or a
// 6to4 relay, RFC 3056, sends on to that one), and the loopback address that an
// unspecified one leads to.
func formsOf(addr netip.Addr) forms {
	addr = addr.WithZone("").Unmap() // no prefix contains an address with a zone
	all := forms{addr}
	last := addr
	if b := addr.As16(); !addr.Is4() {
		switch {
		case nat64().Contains(addr):
			all[1] = netip.AddrFrom4([4]byte(b[12:16]))
			last = all[1]
		case b[0] == 0x20 && b[1] == 0x02:
			all[1] = netip.AddrFrom4([4]byte(b[2:6]))
			last = all[1]
		}
	}
	switch last {
	case netip.IPv4Unspecified():
		all[2] = netip.AddrFrom4([4]byte{127, 0, 0, 1})
	case netip.IPv6Unspecified():
		all[2] = netip.IPv6Loopback()
	}
	return all
}

// nat64 returns the well-known prefix of RFC 6052.
func nat64() netip.Prefix {
	return netip.PrefixFrom(netip.AddrFrom16([16]byte{0x00, 0x64, 0xff, 0x9b}), 96)
}

// reservedFor says what one of those addresses is that nobody means to watch, in
// words that follow "it is"; "" if all of them are those of hosts.
func reservedFor(all forms) string {
	for _, addr := range all {
		if what := reserved(addr); what != "" {
			return what
		}
	}
	return ""
}

func reserved(addr netip.Addr) string {
	switch {
	case !addr.IsValid():
		return ""
	case isMetadata(addr):
		return "the address of a cloud metadata service, which hands out secrets"
	case addr.IsMulticast():
		return "a multicast address, which is no host's"
	case !addr.Is4():
		return ""
	}
	switch b := addr.As4(); {
	case b == [4]byte{255, 255, 255, 255}:
		return "the broadcast address, which is no host's"
	case b[0] >= 240:
		return "a reserved address (240.0.0.0/4), which is no host's"
	case b[0] == 0 && b != [4]byte{}:
		return "an address of this network (0.0.0.0/8), which is no host's"
	}
	return ""
}

// isMetadata reports whether a cloud answers at addr, which has no zone, with the
// secrets of its machines. It is asked before each connection, so it allocates
// nothing.
func isMetadata(addr netip.Addr) bool {
	if addr.Is4() {
		switch addr.As4() {
		case [4]byte{169, 254, 169, 254}, // AWS, Azure, Google, Oracle, DigitalOcean, OpenStack and others
			[4]byte{169, 254, 170, 2},   // the tasks of AWS ECS
			[4]byte{169, 254, 170, 23},  // the pods of AWS EKS
			[4]byte{168, 63, 129, 16},   // Azure's wire server
			[4]byte{192, 0, 0, 192},     // Oracle
			[4]byte{100, 100, 100, 200}, // Alibaba
			[4]byte{169, 254, 42, 42},   // Scaleway
			[4]byte{169, 254, 0, 23}:    // Tencent
			return true
		}
		return false
	}
	switch addr.As16() {
	case [16]byte{0: 0xfd, 2: 0x0e, 3: 0xc2, 14: 0x02, 15: 0x54}, // AWS, fd00:ec2::254
		[16]byte{0: 0xfd, 2: 0x0e, 3: 0xc2, 15: 0x23},                      // the pods of AWS EKS, fd00:ec2::23
		[16]byte{0: 0xfd, 1: 0x20, 3: 0xce, 14: 0x02, 15: 0x54},            // Google, fd20:ce::254
		[16]byte{0: 0xfe, 1: 0x80, 12: 0xa9, 13: 0xfe, 14: 0xa9, 15: 0xfe}, // OpenStack, fe80::a9fe:a9fe
		[16]byte{0: 0xfd, 3: 0xc1, 12: 0xa9, 13: 0xfe, 14: 0xa9, 15: 0xfe}, // Oracle, fd00:c1::a9fe:a9fe
		[16]byte{0: 0xfd, 3: 0x42, 15: 0x42}:                               // Scaleway, fd00:42::42
		return true
	}
	return false
}
