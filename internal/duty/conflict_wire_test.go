package duty

import (
	"bytes"
	"net/netip"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

var (
	hostA = mac{2, 0, 0, 0, 0, 0xa}
	hostB = mac{2, 0, 0, 0, 0, 0xb}
	ipv4  = netip.MustParseAddr("10.0.0.100")
	ipv6  = netip.MustParseAddr("fd00::1:2:100")
)

// arpOf returns an ARP packet of host B for Ethernet and IPv4.
func arpOf(operation byte, sender, target [4]byte) []byte {
	p := []byte{0, 1, 8, 0, 6, 4, 0, operation}
	p = append(append(p, hostB[:]...), sender[:]...)
	p = append(append(p, hostA[:]...), target[:]...)
	return append(p, make([]byte, 18)...) // as Ethernet's shortest frame has it
}

// advertOf returns a neighbour advertisement for target, with options.
func advertOf(target netip.Addr, options ...byte) []byte {
	p := append([]byte{0x60, 0, 0, 0, 0, byte(24 + len(options)), 58, 255}, make([]byte, 32)...)
	p = append(p, 136, 0, 0, 0, 0xe0, 0, 0, 0)
	return append(append(p, target.AsSlice()...), options...)
}

// changed returns a copy of p with another byte.
func changed(p []byte, at int, b byte) []byte {
	p = bytes.Clone(p)
	p[at] = b
	return p
}

func TestClaims(t *testing.T) {
	theirs, mine := [4]byte{10, 0, 0, 7}, ipv4.As4()
	reply, advert := arpOf(2, mine, [4]byte{}), advertOf(ipv6, append([]byte{2, 1}, hostB[:]...)...)
	link := mac{2, 0, 0, 0, 0, 0xc}
	for _, tt := range []struct {
		name   string
		packet []byte
		want   mac // zero: no claim
	}{
		{"a reply", reply, hostB},
		{"an announcement", arpOf(1, mine, mine), hostB},
		{"a request by who has it", arpOf(1, mine, theirs), hostB},
		{"a probe by who wants it", arpOf(1, [4]byte{}, mine), mac{}},
		{"a request for it", arpOf(1, theirs, mine), mac{}},
		{"another operation", arpOf(8, mine, mine), mac{}},
		{"ARP of another network", changed(reply, 1, 6), mac{}},
		{"ARP of another protocol", changed(reply, 2, 0x86), mac{}},
		{"ARP with longer MAC addresses", changed(reply, 4, 8), mac{}},
		{"ARP with longer addresses", changed(reply, 5, 16), mac{}},
		{"half an ARP packet", reply[:27], mac{}},
		{"an advertisement", advert, hostB},
		{"an advertisement without options", advertOf(ipv6), link},
		{"one with an option before", advertOf(ipv6, append([]byte{9, 2, 15: 0, 16: 2, 17: 1}, hostB[:]...)...), hostB},
		{"one with an option of no length", advertOf(ipv6, 9, 0, 0, 0, 0, 0, 0, 0), link},
		{"one with an option that is cut", advertOf(ipv6, 2, 9, 0, 0, 0, 0, 0, 0), link},
		{"an advertisement of another address", advertOf(netip.MustParseAddr("fd00::1:2:101")), mac{}},
		{"a solicitation", changed(advert, 40, 135), mac{}},
		{"one from behind a router", changed(advert, 7, 254), mac{}},
		{"another protocol", changed(advert, 6, 17), mac{}},
		{"half an advertisement", advert[:63], mac{}},
		{"nothing", nil, mac{}},
	} {
		addr := ipv6
		if strings.Contains(tt.name, "ARP") || len(tt.packet) == len(reply) {
			addr = ipv4
		}
		from := &unix.SockaddrLinklayer{Halen: 6, Pkttype: unix.PACKET_MULTICAST}
		copy(from.Addr[:], link[:])
		got, is := claimOf(tt.packet, from, addr)
		if want := tt.want != (mac{}); is != want || is && got != tt.want {
			t.Errorf("%s: got %x and %v for a claim, want %x and %v", tt.name, got, is, tt.want, want)
		}
		from.Pkttype = unix.PACKET_OTHERHOST
		if got, is := claimOf(tt.packet, from, addr); is {
			t.Errorf("%s, to another host: got a claim of %x, want none", tt.name, got)
		}
	}
	if _, is := claimOf(reply, &unix.SockaddrLinklayer{Halen: 20}, ipv4); is {
		t.Error("got a claim from a device that is no Ethernet, want none")
	}
}

// TestProbes pins the packets that are sent, whose checksum another program has computed.
func TestProbes(t *testing.T) {
	want := []byte{0, 1, 8, 0, 6, 4, 0, 1, 2, 0, 0, 0, 0, 0xa, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 10, 0, 0, 100}
	if got := arpProbe(ipv4, hostA); !bytes.Equal(got, want) {
		t.Errorf("got the ARP probe\n%x, want\n%x", got, want)
	}
	from := netip.MustParseAddr("fe80::a")
	got, to := solicitation(ipv6, from, hostA)
	if to != (mac{0x33, 0x33, 0xff, 2, 1, 0}) {
		t.Errorf("got a solicitation to %x, want to the group of the address", to)
	}
	if len(got) != 72 || got[6] != 58 || got[7] != 255 || !bytes.Equal(got[8:24], from.AsSlice()) || got[40] != 135 || !bytes.Equal(got[48:64], ipv6.AsSlice()) {
		t.Errorf("got the solicitation\n%x", got)
	}
	// A checksum over all, its own field included, is zero.
	if sum := icmp6Sum([16]byte(got[8:24]), [16]byte(got[24:40]), got[40:]); sum != 0 {
		t.Errorf("got the checksum %#x over the whole, want 0", sum)
	}
}

func FuzzClaims(f *testing.F) {
	f.Add(arpOf(2, ipv4.As4(), [4]byte{}))
	f.Add(advertOf(ipv6, append([]byte{2, 1}, hostB[:]...)...))
	f.Fuzz(func(t *testing.T, packet []byte) {
		from := &unix.SockaddrLinklayer{Halen: 6}
		for _, addr := range []netip.Addr{ipv4, ipv6} {
			if _, is := claimOf(packet, from, addr); is && !bytes.Contains(packet, addr.AsSlice()) {
				t.Errorf("got a claim of %v from %x, which does not have it", addr, packet)
			}
		}
	})
}

// TestFewPacketsAreReadOfAFlood: whoever sends more claims than hosts have keeps nobody busy.
func TestFewPacketsAreReadOfAFlood(t *testing.T) {
	ends, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	file := os.NewFile(uintptr(ends[0]), "packets")
	defer file.Close()
	defer unix.Close(ends[1])
	for range maxClaims + 1 {
		if _, err := unix.Write(ends[1], make([]byte, claimLength)); err != nil {
			t.Fatal(err)
		}
	}
	if other, err := listen(t.Context(), file, netip.MustParseAddr("10.0.0.100")); other != nil || err != nil {
		t.Errorf("got %v and %v, want nobody", other, err)
	}
	left := 0
	for buffer := make([]byte, claimLength); ; left++ {
		if _, err := unix.Read(ends[0], buffer); err != nil {
			break
		}
	}
	if left != 1 {
		t.Errorf("%d packets of %d are left, want all but %d", left, maxClaims+1, maxClaims)
	}
}
