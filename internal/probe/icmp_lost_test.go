package probe

import (
	"net/netip"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"
)

// A lost packet is not a dead host: the first answer to any echo decides.
func TestPingSendsAnotherEchoWhereOneIsLost(t *testing.T) {
	for _, tt := range []struct {
		name     string
		answered int           // the echo that is, from 0 on
		after    time.Duration // its answer
		echoes   int           // that leave
		up       bool
	}{
		{"none is lost", 0, 199 * time.Millisecond, 1, true},
		{"the first is slow", 0, 999 * time.Millisecond, 5, true},
		{"the first is lost", 1, 30 * time.Millisecond, 2, true},
		{"all but the last are lost", 4, 30 * time.Millisecond, 5, true},
		{"the last comes too late", 4, 201 * time.Millisecond, 5, false},
		{"all are lost", 5, 0, 5, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newEchoSocket(unix.AF_INET)
				s.collect = func() {}
				var echoes [][]byte
				began := time.Now()
				s.send = func(packet []byte, _ netip.Addr) error {
					if got, want := time.Since(began), time.Duration(len(echoes))*echoAgain; got != want {
						t.Errorf("echo %d left after %v, want %v", len(echoes), got, want)
					}
					echoes = append(echoes, slices.Clone(packet))
					if len(echoes) == tt.answered+1 {
						answer := echoAnswer(packet)
						time.AfterFunc(tt.after, func() { s.deliver(answer, echoV4, time.Now()) })
					}
					return nil
				}
				answer, err := s.ping(t.Context(), echoV4, time.Second)
				if tt.up && (err != nil || answer.rtt != tt.after) {
					t.Errorf("got %v, %v, want a round trip of %v", answer.rtt, err, tt.after)
				}
				if !tt.up {
					wantPingError(t, err, KindTimeout, "no answer within 1s")
					if got := time.Since(began); got != time.Second {
						t.Errorf("took %v, want 1s", got)
					}
				}
				if len(echoes) != tt.echoes {
					t.Errorf("%d echoes left, want %d", len(echoes), tt.echoes)
				}
				for i, echo := range echoes {
					r, _ := parseReply(echo, icmpv4Echo)
					first, _ := parseReply(echoes[0], icmpv4Echo)
					if r.id != first.id || r.seq != first.seq+uint16(i) || i > 0 && r.token == first.token {
						t.Errorf("echo %d is %+v, the first was %+v, want the next sequence number, and bytes of its own", i, r, first)
					}
				}
				time.Sleep(time.Second)
				if len(s.waiting) != 0 {
					t.Errorf("%d echoes still wait, want none", len(s.waiting))
				}
			})
		})
	}
}

// An absent neighbour occupies the send buffer, which the first echoes need.
func TestEchoesThatFollowAreFew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newEchoSocket(unix.AF_INET)
		s.collect = func() {}
		var sent atomic.Int32
		s.send = func([]byte, netip.Addr) error { sent.Add(1); return nil }
		const pings = 1000
		for range pings {
			go func() { _, _ = s.ping(t.Context(), echoV4, time.Second) }()
		}
		time.Sleep(neighbourTime - time.Millisecond)
		synctest.Wait()
		if got, want := int(sent.Load()), pings+leastSpare; got != want {
			t.Errorf("%d echoes left, want %d", got, want)
		}
	})
}

// TestEchoesThatFollowLeaveRoom: the default buffer, and the one that is asked for.
func TestEchoesThatFollowLeaveRoom(t *testing.T) {
	for room, want := range map[int]int{0: leastSpare, 212_992: leastSpare, 8 << 20: 1024} {
		if got := spareOf(room); got != want {
			t.Errorf("got %d of a send buffer of %d bytes, want %d", got, room, want)
		}
	}
}

// A follower that finds no room must not end the ping.
func TestPingGoesOnWhereAnEchoThatFollowsCannotBeSent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newEchoSocket(unix.AF_INET)
		s.collect = func() {}
		sent := 0
		s.send = func(packet []byte, _ netip.Addr) error {
			if sent++; sent > 1 {
				return unix.EAGAIN
			}
			answer := echoAnswer(packet)
			time.AfterFunc(900*time.Millisecond, func() { s.deliver(answer, echoV4, time.Now()) })
			return nil
		}
		answer, err := s.ping(t.Context(), echoV4, time.Second)
		if err != nil || answer.rtt != 900*time.Millisecond {
			t.Errorf("got %v, %v, want a round trip of 900ms", answer.rtt, err)
		}
	})
}
