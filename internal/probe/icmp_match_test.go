package probe

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"
)

// echoAnswer returns the packet with which a host answers an echo.
func echoAnswer(echo []byte) []byte {
	p := slices.Clone(echo)
	if p[0] == 8 {
		p[0] = 0
	} else {
		p[0]++
	}
	return summed(p)
}

// summed returns the ICMP packet p with the right checksum, as IPv4 has it.
func summed(p []byte) []byte {
	if len(p) >= 4 {
		p[2], p[3] = 0, 0
		binary.BigEndian.PutUint16(p[2:], checksum(p))
	}
	return p
}

// behindIPv4 returns packet behind an IPv4 header with n bytes of options.
func behindIPv4(packet []byte, n int) []byte {
	header := make([]byte, 20+n)
	header[0] = 4<<4 | byte(len(header)/4)
	return append(header, packet...)
}

func TestPingTakesOnlyItsOwnAnswer(t *testing.T) {
	type socket struct {
		name          string
		family        int
		raw, ipHeader bool
		addr          netip.Addr
	}
	datagram := socket{"datagram IPv4", unix.AF_INET, false, false, echoV4}
	rawV4 := socket{"raw IPv4", unix.AF_INET, true, true, echoV4}
	rawV6 := socket{"raw IPv6", unix.AF_INET6, true, false, echoV6}
	linkLocal := socket{"raw IPv6 with a zone", unix.AF_INET6, true, false, netip.MustParseAddr("fe80::1%eth0")}

	same := func(p []byte) []byte { return p }
	other4, other6 := netip.MustParseAddr("192.0.2.2"), netip.MustParseAddr("2001:db8::2")
	const elsewhere4 = "answered from another address, 192.0.2.2"
	for _, tt := range []struct {
		socket
		name   string
		change func(answer []byte) []byte
		from   netip.Addr
		want   bool
		note   string
	}{
		{datagram, "answer", same, echoV4, true, ""},
		{datagram, "the kernel's own identifier", func(p []byte) []byte { p[4]++; return summed(p) }, echoV4, true, ""},
		{datagram, "cut behind the token", func(p []byte) []byte { return summed(p[:16]) }, echoV4, true, ""},
		{datagram, "no data", func(p []byte) []byte { return summed(p[:8]) }, echoV4, true, ""},
		{datagram, "an odd number of bytes", func(p []byte) []byte { return summed(p[:15]) }, echoV4, true, ""},
		{datagram, "data of its own", func(p []byte) []byte { copy(p[8:], "a device's own words"); return summed(p) }, echoV4, true, ""},
		{datagram, "more data of its own", func(p []byte) []byte { return summed(append(p[:8], make([]byte, 9000)...)) }, echoV4, true, ""},
		{datagram, "another of its addresses", same, other4, true, elsewhere4},
		{rawV4, "answer", func(p []byte) []byte { return behindIPv4(p, 0) }, echoV4, true, ""},
		{rawV4, "answer with IP options", func(p []byte) []byte { return behindIPv4(p, 40) }, echoV4, true, ""},
		{rawV4, "no data", func(p []byte) []byte { return behindIPv4(summed(p[:8]), 0) }, echoV4, true, ""},
		{rawV4, "another of its addresses", func(p []byte) []byte { return behindIPv4(p, 0) }, other4, true, elsewhere4},
		{rawV6, "answer", same, echoV6, true, ""},
		{rawV6, "no data", func(p []byte) []byte { return p[:8] }, echoV6, true, ""},
		{rawV6, "data of its own", func(p []byte) []byte { clear(p[8:]); return p }, echoV6, true, ""},
		{rawV6, "another of its addresses", same, other6, true, "answered from another address, 2001:db8::2"},
		{linkLocal, "answer", same, netip.MustParseAddr("fe80::1"), true, ""},
		{linkLocal, "no data", func(p []byte) []byte { return p[:8] }, netip.MustParseAddr("fe80::1"), true, ""},

		{datagram, "another address without our bytes", func(p []byte) []byte { return summed(p[:8]) }, other4, false, ""},
		{datagram, "another address with forged bytes", func(p []byte) []byte { p[15] ^= 1; return summed(p) }, other4, false, ""},
		{datagram, "no address, no bytes", func(p []byte) []byte { return summed(p[:8]) }, netip.Addr{}, false, ""},
		{datagram, "another sequence number", func(p []byte) []byte { p[7]++; return summed(p) }, echoV4, false, ""},
		{datagram, "a wrong checksum", func(p []byte) []byte { p[2] ^= 1; return p }, echoV4, false, ""},
		{datagram, "a checksum of 0", func(p []byte) []byte { p[2], p[3] = 0, 0; return p }, echoV4, false, ""},
		{datagram, "damaged data", func(p []byte) []byte { p[63] ^= 1; return p }, echoV4, false, ""},
		{datagram, "the echo itself", func(p []byte) []byte { p[0] = 8; return summed(p) }, echoV4, false, ""},
		{datagram, "destination unreachable", func(p []byte) []byte { p[0] = 3; return summed(p) }, echoV4, false, ""},
		{datagram, "a code that is not 0", func(p []byte) []byte { p[1] = 1; return summed(p) }, echoV4, false, ""},
		{datagram, "cut in the header", func(p []byte) []byte { return summed(p[:7]) }, echoV4, false, ""},
		{datagram, "empty", func([]byte) []byte { return nil }, echoV4, false, ""},
		{rawV4, "a wrong checksum", func(p []byte) []byte { p[2] ^= 1; return behindIPv4(p, 0) }, echoV4, false, ""},
		{rawV4, "damaged data", func(p []byte) []byte { p[40] ^= 1; return behindIPv4(p, 0) }, echoV4, false, ""},
		{rawV4, "another process's identifier", func(p []byte) []byte { p[4]++; return behindIPv4(summed(p), 0) }, echoV4, false, ""},
		{rawV4, "no IP header", same, echoV4, false, ""},
		{rawV4, "IP header that is too short", func(p []byte) []byte { p = behindIPv4(p, 0); p[0] = 4<<4 | 1; return p }, echoV4, false, ""},
		{rawV4, "IP header longer than the packet", func(p []byte) []byte { p = behindIPv4(p[:8], 0); p[0] = 4<<4 | 15; return p }, echoV4, false, ""},
		{rawV6, "another process's identifier", func(p []byte) []byte { p[4]++; return p }, echoV6, false, ""},
		{rawV6, "an IPv4 answer", func(p []byte) []byte { p[0] = 0; return p }, echoV6, false, ""},
		{rawV6, "another address without our bytes", func(p []byte) []byte { return p[:8] }, other6, false, ""},
	} {
		t.Run(tt.socket.name+"/"+tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newEchoSocket(tt.family)
				s.raw, s.ipHeader = tt.raw, tt.ipHeader
				s.collect = func() {}
				s.send = func(packet []byte, to netip.Addr) error {
					if to != tt.addr {
						t.Errorf("the echo went to %v, want %v", to, tt.addr)
					}
					answer := tt.change(echoAnswer(packet))
					time.AfterFunc(30*time.Millisecond, func() { s.deliver(answer, tt.from, time.Now()) })
					return nil
				}
				answer, err := s.ping(t.Context(), tt.addr, time.Second)
				if tt.want {
					if answer.rtt != 30*time.Millisecond || err != nil {
						t.Errorf("got %v, %v, want a round trip of 30ms", answer.rtt, err)
					}
					if answer.anomaly != tt.note {
						t.Errorf("got the note %q, want %q", answer.anomaly, tt.note)
					}
					return
				}
				wantPingError(t, err, KindTimeout, "no answer within 1s")
			})
		})
	}
}

// Echoes are used again: what was meant for one must not answer the next.
func TestPingIgnoresDuplicatesAndLateAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newEchoSocket(unix.AF_INET)
		s.collect = func() {}
		var before, answers [][]byte
		s.send = func(packet []byte, _ netip.Addr) error {
			for _, answer := range before { // to the pings before
				if !bytes.Equal(answer[6:8], packet[6:8]) { // one in 65,536 has the same number
					s.deliver(answer, echoV4, time.Now())
				}
			}
			answer := echoAnswer(packet)
			answers = append(answers, answer)
			time.AfterFunc(time.Second+time.Millisecond, func() { s.deliver(answer, echoV4, time.Now()) })
			return nil
		}
		for i := range 5 {
			_, err := s.ping(t.Context(), echoV4, time.Second)
			wantPingError(t, err, KindTimeout, "no answer within 1s")
			if want := (i + 1) * maxEchoes; len(answers) != want {
				t.Fatalf("%d echoes left, want %d", len(answers), want)
			}
			before = answers
		}
		s.send = func(packet []byte, _ netip.Addr) error {
			for range 3 {
				s.deliver(echoAnswer(packet), echoV4, time.Now())
			}
			return nil
		}
		if _, err := s.ping(t.Context(), echoV4, time.Second); err != nil {
			t.Errorf("answered three times: got %v, want it up", err)
		}
		time.Sleep(time.Minute)
		if len(s.waiting) != 0 {
			t.Errorf("%d echoes still wait, want none", len(s.waiting))
		}
	})
}

func FuzzParseReply(f *testing.F) {
	var echo [echoLen]byte
	marshalEcho(&echo, 8, reply{id: 1, seq: 2, token: 3})
	answer := echoAnswer(echo[:])
	f.Add(answer, byte(0))
	f.Add(behindIPv4(answer, 4), byte(0))
	f.Add(answer[:15], byte(0))
	f.Add(answer[:8], byte(0))
	f.Add(append([]byte{4<<4 | 1, 0, 0, 0}, answer...), byte(0)) // a header of 4 bytes
	f.Add([]byte{0x4f}, byte(129))
	f.Fuzz(func(t *testing.T, packet []byte, kind byte) {
		for _, p := range [][]byte{packet, stripIPv4(packet)} {
			r, ok := parseReply(p, kind)
			if !ok {
				continue
			}
			var again [echoLen]byte
			marshalEcho(&again, kind, r)
			if n := min(len(p), 16); n == 16 && !slices.Equal(again[4:16], p[4:16]) || n < 16 && r.token != 0 {
				t.Errorf("%x was read as %+v, which is %x", p, r, again)
			}
		}
		if rest := stripIPv4(packet); rest != nil && len(packet)-len(rest) < 20 {
			t.Errorf("of the IPv4 packet %x only %d bytes were the header, want 20 or more", packet, len(packet)-len(rest))
		}
	})
}

func TestEchoChecksum(t *testing.T) {
	var p [echoLen]byte
	marshalEcho(&p, 8, reply{id: 0xffff, seq: 0xfffe, token: 0xfffffffffffffffe})
	// The receiver's check (RFC 1071): with its checksum, the whole adds up to -0.
	var sum uint32
	for i := 0; i < len(p); i += 2 {
		sum += uint32(binary.BigEndian.Uint16(p[i:]))
	}
	for sum>>16 != 0 {
		sum = sum&0xffff + sum>>16
	}
	if sum != 0xffff {
		t.Errorf("%x adds up to %#x, want 0xffff", p, sum)
	}
}

func TestParseErrorOfTheErrorQueue(t *testing.T) {
	message := func(level, kind int32, data ...byte) []byte {
		h := unix.Cmsghdr{Level: level, Type: kind}
		h.SetLen(unix.CmsgLen(len(data)))
		var b bytes.Buffer
		if err := binary.Write(&b, binary.NativeEndian, h); err != nil {
			t.Fatal(err)
		}
		return append(b.Bytes(), data...)
	}
	said := binary.NativeEndian.AppendUint32(nil, uint32(unix.EHOSTUNREACH))
	bare := append(slices.Clone(said), 2, 3, 1, 0) // by ICMP, destination unreachable, host
	v4 := append(slices.Clone(bare), make([]byte, 8)...)
	v4 = append(v4, 2, 0, 0, 0, 192, 0, 2, 9)
	v6 := append(slices.Clone(said), 3, 1, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0)
	v6 = append(append(v6, 10, 0, 0, 0, 0, 0, 0, 0), netip.MustParseAddr("2001:db8::9").AsSlice()...)
	local := append(append(slices.Clone(said), 1, 0, 0, 0), make([]byte, 16)...)
	unknown := icmpError{errno: unix.EHOSTUNREACH}
	full := icmpError{unix.EHOSTUNREACH, false, 3, 1, netip.MustParseAddr("192.0.2.9")}
	for _, tt := range []struct {
		name    string
		control []byte
		want    icmpError
	}{
		{"IPv4", message(unix.IPPROTO_IP, unix.IP_RECVERR, v4...), full},
		{"IPv6", message(unix.IPPROTO_IPV6, unix.IPV6_RECVERR, v6...),
			icmpError{unix.EHOSTUNREACH, true, 1, 3, netip.MustParseAddr("2001:db8::9")}},
		{"of this host's own stack", message(unix.IPPROTO_IP, unix.IP_RECVERR, local...), unknown},
		{"without a sender", message(unix.IPPROTO_IP, unix.IP_RECVERR, v4[:16]...), icmpError{errno: unix.EHOSTUNREACH, kind: 3, code: 1}},
		{"without a message", message(unix.IPPROTO_IP, unix.IP_RECVERR, bare...), unknown},
		{"behind another", append(message(unix.SOL_SOCKET, unix.SO_TIMESTAMP, make([]byte, 16)...),
			message(unix.IPPROTO_IP, unix.IP_RECVERR, v4...)...), full},
		{"another", message(unix.SOL_SOCKET, unix.SO_TIMESTAMP, said...), icmpError{}},
		{"too short", message(unix.IPPROTO_IP, unix.IP_RECVERR, 1, 2), icmpError{}},
		{"cut", message(unix.IPPROTO_IP, unix.IP_RECVERR, v4...)[:20], icmpError{}},
		{"none", nil, icmpError{}},
	} {
		if got := parseError(tt.control); got != tt.want {
			t.Errorf("%s: got %+v, want %+v", tt.name, got, tt.want)
		}
	}
}

// Devices answer with other data than was sent: then a sequence number that two
// echoes to one address had would leave open which was answered.
func TestEchoesToOneAddressDifferInTheirNumbers(t *testing.T) {
	s := newEchoSocket(unix.AF_INET)
	other := netip.MustParseAddr("192.0.2.2")
	seqs := map[uint16]bool{}
	var last *train
	for range 1 << 16 {
		last = new(train)
		e, err := s.expect(echoV4, last)
		if err != nil {
			t.Fatal(err)
		}
		seqs[e.seq] = true
	}
	if len(seqs) != 1<<16 {
		t.Errorf("%d echoes have %d numbers, want one each", 1<<16, len(seqs))
	}
	_, err := s.expect(echoV4, new(train))
	wantPingError(t, err, KindLocal, "65536 ICMP echoes")
	if _, err := s.expect(other, new(train)); err != nil {
		t.Errorf("to another address: got %v, want an echo", err)
	}
	s.recycle(last)
	if _, err := s.expect(echoV4, new(train)); err != nil {
		t.Errorf("after one was given back: got %v, want an echo", err)
	}
}

// Of two addresses that happen to be asked with the same number each gets what
// is its own.
func TestEchoesOfOneNumberAreToldApart(t *testing.T) {
	s := newEchoSocket(unix.AF_INET)
	var echoes []*echo
	for i := range 3 {
		var alone train
		e, err := s.expect(netip.AddrFrom4([4]byte{192, 0, 2, byte(i + 1)}), &alone)
		if err != nil {
			t.Fatal(err)
		}
		s.withdraw(&alone)
		e.seq, e.next = 7, s.waiting[7]
		s.waiting[7] = e
		marshalEcho(&e.packet, s.request, e.reply)
		echoes = append(echoes, e)
	}
	bare := func(e *echo) []byte { return summed(echoAnswer(e.packet[:])[:8]) }
	s.deliver(bare(echoes[1]), echoes[1].addr, time.Now())
	// From the address of one, with the bytes of the other.
	s.deliver(echoAnswer(echoes[0].packet[:]), echoes[2].addr, time.Now())
	for i, want := range []int{1, 1, 0} {
		if got := len(echoes[i].replied); got != want {
			t.Errorf("the echo to %v has %d answers, want %d", echoes[i].addr, got, want)
		}
	}
	s.deliver(bare(echoes[2]), echoes[2].addr, time.Now())
	if len(echoes[2].replied) != 1 || len(s.waiting) != 0 {
		t.Errorf("the last has %d answers, %d numbers are taken, want 1 and 0", len(echoes[2].replied), len(s.waiting))
	}
}
