//go:build faults

package faults

import (
	"encoding/binary"
	"net/netip"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/crisp-im/crisp-status-local/v2/internal/sandbox"
)

const redirect6 = 137

// What can be said of a packet by ICMP and ICMPv6. Those that are fatal end a connection
// which is being made, if they quote its sequence number; others never do.
var (
	fatal4    = slices.Concat(codes(3, 4), codes(3, 16)[5:], codes(11, 2), codes(12, 3))
	harmless4 = slices.Concat([]message{{kind: 3, code: 4, rest: 68}, {kind: 3, code: 4}, {kind: 4}}, redirects)
	redirects = []message{{5, 0, nobodyThere}, {5, 1, nobodyThere}, {5, 2, nobodyThere}, {5, 3, nobodyThere}}
	fatal6    = slices.Concat(codes(1, 9), codes(3, 2), codes(4, 3))
	harmless6 = []message{{kind: 2, rest: 68}, {kind: 2, rest: 1280}, {kind: redirect6}}
)

const nobodyThere = 10<<24 | 9<<16 | 1<<8 | 250 // 10.9.1.250

// silent4 and silent6 answer no echo.
const (
	silent4 = "10.9.1.105"
	silent6 = "fd09:1::105"
)

// TestForgedMessages holds that nobody else on the LAN talks a healthy replica dead, or a
// dead one up. Whoever forges is faster than every answer.
func TestForgedMessages(t *testing.T) {
	t.Parallel()
	many := options{healthy: spread(40, "icmp://%s"), replicas: []string{"icmp://" + silent4, "icmp://[" + silent6 + "]"}, before: func(l *lab) {
		filter(l.t, "input", "ip daddr "+silent4+" drop", "ip6 daddr "+silent6+" icmpv6 type echo-request drop")
	}}
	gone := []string{"tcp://10.9.1.1:80", "tcp://[fd09:1::1]:80", "tcp://db.lan:80", "http://10.9.1.2/", "http://[fd09:1::2]/"}
	try(t, []fault{
		{name: "quote what was never sent", lasts: 20 * time.Second, options: many, begin: forged(func(s sent) [][]byte {
			return slices.Concat(s.messages(s.misquoted(), allOf), s.messages(s.strange(), allOf), s.resets())
		})},
		{name: "answer echoes", lasts: 20 * time.Second, options: many, begin: forged(sent.replies)},
		{name: "quote what was sent", lasts: 20 * time.Second, options: many, begin: forged(func(s sent) [][]byte {
			if s.isSYN() {
				return s.messages(s, harmlessOf)
			}
			return s.messages(s, allOf)
		})},
		{name: "quote an attempt to connect now and then", lasts: 30 * time.Second, begin: forgedNowAndThen},
		// This is what a router says: nobody can tell it from the truth. It shows that the
		// others are well forged, too.
		{name: "quote each attempt to connect", lasts: 10 * time.Second, unsure: gone, begin: func(l *lab) func() {
			began, next := time.Now(), 0
			heal := forged(func(s sent) [][]byte {
				if to := s.to.String(); !s.isSYN() || !slices.Contains([]string{"10.9.1.1", "10.9.1.2", "fd09:1::1", "fd09:1::2"}, to) {
					return nil
				}
				next++
				fatal := fatalOf(s)
				return [][]byte{fatal[next%len(fatal)].about(s, s.to)}
			})(l)
			return func() {
				for _, replica := range []string{gone[0], gone[1], gone[3], gone[4]} {
					l.reported(replica, sandbox.Dead, began)
				}
				heal()
			}
		}},
	})
}

// forged returns what makes somebody answer each packet of the daemon.
func forged(forge func(sent) [][]byte) func(*lab) func() {
	return func(l *lab) func() {
		var packets atomic.Int64
		f := forger(func(packet []byte) [][]byte {
			s, ok := parseSent(packet)
			if !ok {
				return nil
			}
			answers := forge(s)
			packets.Add(int64(len(answers)))
			return answers
		})
		l.wire.forger.Store(&f)
		return func() {
			l.wire.forger.Store(nil)
			l.t.Logf("figures: %d packets were forged", packets.Load())
			if packets.Load() == 0 {
				l.t.Error("no packet was forged: the fault is none")
			}
			for _, replica := range []string{"icmp://" + silent4, "icmp://[" + silent6 + "]"} {
				for _, report := range l.api.of(replica) {
					if report.health != sandbox.Dead {
						l.t.Errorf("%s answers no echo and was reported %s", replica, report.health)
					}
				}
			}
		}
	}
}

// forgedNowAndThen ends an attempt to connect to each address every 5 s: another attempt
// follows within that time.
func forgedNowAndThen(l *lab) func() {
	next, last := 0, make(map[netip.Addr]time.Time)
	return forged(func(s sent) [][]byte {
		if !s.isSYN() || time.Since(last[s.to]) < 5*time.Second {
			return nil
		}
		last[s.to] = time.Now()
		next++
		fatal := fatalOf(s)
		return [][]byte{fatal[next%len(fatal)].about(s, s.to)}
	})(l)
}

func fatalOf(s sent) []message {
	if s.to.Is6() {
		return fatal6
	}
	return fatal4
}

func harmlessOf(s sent) []message {
	if s.to.Is6() {
		return harmless6
	}
	return harmless4
}

func allOf(s sent) []message { return slices.Concat(fatalOf(s), harmlessOf(s)) }

// messages returns messages to the sender of s that quote another packet, from the target
// and from a router.
func (s sent) messages(quoted sent, of func(sent) []message) [][]byte {
	router := netip.MustParseAddr(farAddress)
	if s.to.Is6() {
		router = netip.MustParseAddr(farAddress6)
	}
	var all [][]byte
	for i, m := range of(s) {
		from := s.to
		if i%2 == 1 || m.kind == 5 {
			from = router
		}
		all = append(all, m.about(quoted, from))
	}
	return all
}

// misquoted is s with the right ends, and a number that its forger would have to guess: the
// sequence number of TCP, the port of a look-up, the id of an echo.
func (s sent) misquoted() sent {
	return s.changed(func(data []byte) {
		switch {
		case s.isTCP():
			data[4] ^= 0x80
		case s.isEcho():
			add(data[4:], 77)
		default:
			add(data, 77)
		}
	})
}

// strange is s with other ends.
func (s sent) strange() sent {
	return s.changed(func(data []byte) {
		switch {
		case s.isEcho():
			add(data[6:], 999)
		default:
			add(data, 1000)
			add(data[2:], 1)
		}
	})
}

// resets returns segments that would end the connection of s, or open it, with numbers
// beside those that it has.
func (s sent) resets() [][]byte {
	if !s.isTCP() {
		return nil
	}
	seq, ack := binary.BigEndian.Uint32(s.data[4:]), binary.BigEndian.Uint32(s.data[8:])
	return [][]byte{
		s.segment(flagRST, ack+1<<30, 0),
		s.segment(flagRST|flagACK, ack+1<<30, seq+1<<30),
		s.segment(flagRST, ack+7, 0), // in the window
		s.segment(flagRST|flagACK, ack+7, seq+1<<30),
		s.segment(flagFIN|flagACK, ack+1<<30, seq),
		s.segment(flagSYN|flagACK, ack+1<<30, seq+1<<30),
	}
}

// replies returns answers to an echo that are not the target's: of another echo, of
// another host that has not seen it, or damaged.
func (s sent) replies() [][]byte {
	if !s.isEcho() {
		return nil
	}
	elsewhere := netip.MustParseAddr("10.9.1.4")
	if s.to.Is6() {
		elsewhere = netip.MustParseAddr("fd09:1::4")
	}
	otherData := func(icmp []byte) []byte { icmp[8] ^= 1; return icmp }
	damaged := s.reply(s.to, func(icmp []byte) []byte { return icmp })
	damaged[len(damaged)-1] ^= 1
	return [][]byte{
		s.reply(s.to, func(icmp []byte) []byte { add(icmp[4:], 77); return icmp }),
		s.reply(s.to, func(icmp []byte) []byte { add(icmp[6:], 999); return icmp }),
		s.reply(s.to, func(icmp []byte) []byte { icmp[1] = 1; return icmp }),
		s.reply(elsewhere, otherData),
		s.reply(elsewhere, func(icmp []byte) []byte { return icmp[:8] }),
		damaged,
		datagram(s.to, s.from, s.proto, append([]byte(nil), s.data...)), // the echo itself
	}
}
