package probe

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"
)

var (
	echoV4 = netip.MustParseAddr("192.0.2.1")
	echoV6 = netip.MustParseAddr("2001:db8::1")
)

func TestPingIgnoresTheAnswerOfOneThatWasCancelled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newEchoSocket(unix.AF_INET)
		s.collect = func() {}
		for range 50 {
			ctx, cancel := context.WithCancel(t.Context())
			s.send = func(packet []byte, _ netip.Addr) error {
				cancel()
				s.deliver(echoAnswer(packet), echoV4, time.Now())
				return nil
			}
			if _, err := s.ping(ctx, echoV4, time.Second); err != nil && err != context.Canceled {
				t.Fatalf("answered and cancelled at the same time: got %v", err)
			}
			s.send = func([]byte, netip.Addr) error { return nil }
			_, err := s.ping(t.Context(), echoV4, time.Second)
			wantPingError(t, err, KindTimeout, "no answer within 1s")
		}
	})
}

// The receiver's turn may come late when many start at once.
func TestPingsFetchAnswersWithoutTheReceiver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newEchoSocket(unix.AF_INET)
		var mu sync.Mutex // protects held
		var held [][]byte
		s.send = func(packet []byte, _ netip.Addr) error {
			mu.Lock()
			defer mu.Unlock()
			held = append(held, echoAnswer(packet))
			return nil
		}
		s.collect = func() {
			mu.Lock()
			defer mu.Unlock()
			for _, answer := range held {
				s.deliver(answer, echoV4, time.Now())
			}
			held = nil
		}
		var wg sync.WaitGroup
		var soon atomic.Int32
		for range 1000 {
			wg.Go(func() {
				answer, err := s.ping(t.Context(), echoV4, time.Second)
				if err != nil {
					t.Errorf("got %v, want it up", err)
				}
				if answer.rtt == 0 {
					soon.Add(1)
				}
			})
		}
		wg.Wait()
		if got := soon.Load(); got < 900 {
			t.Errorf("of 1000 pings %d fetched their answers before their time was up, want nearly all", got)
		}
	})
}

// When this process is stalled, answers lie in the kernel until it goes on.
func TestPingTakesTheAnswerThatTheKernelHoldsWhenTimeIsUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newEchoSocket(unix.AF_INET)
		began := time.Now()
		var answers [][]byte
		s.send = func(packet []byte, _ netip.Addr) error { answers = append(answers, echoAnswer(packet)); return nil }
		s.collect = func() {
			if time.Since(began) == time.Second {
				s.deliver(answers[0], echoV4, time.Now())
			}
		}
		if answer, err := s.ping(t.Context(), echoV4, time.Second); answer.rtt != time.Second || err != nil {
			t.Errorf("got %v, %v, want it up after 1s", answer.rtt, err)
		}
	})
}

func TestPingEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newEchoSocket(unix.AF_INET)
		s.send = func([]byte, netip.Addr) error { return nil }
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(10*time.Millisecond, cancel)
		began := time.Now()
		if _, err := s.ping(ctx, echoV4, time.Second); err != context.Canceled || time.Since(began) != 10*time.Millisecond {
			t.Errorf("got %v after %v, want %v after 10ms", err, time.Since(began), context.Canceled)
		}
		if len(s.waiting) != 0 {
			t.Errorf("%d echoes still wait, want none", len(s.waiting))
		}
		s.send = func([]byte, netip.Addr) error { t.Error("an echo left after the end"); return nil }
		if _, err := s.ping(ctx, echoV4, time.Second); err != context.Canceled {
			t.Errorf("got %v, want %v", err, context.Canceled)
		}
	})
}

func TestPingIsLocalWhenTheSocketIsLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newEchoSocket(unix.AF_INET)
		s.send = func([]byte, netip.Addr) error { return nil }
		time.AfterFunc(10*time.Millisecond, s.abandon)
		began := time.Now()
		_, err := s.ping(t.Context(), echoV4, time.Second)
		wantPingError(t, err, KindLocal, "the ICMP socket was closed")
		if got := time.Since(began); got != 10*time.Millisecond {
			t.Errorf("said so after %v, want 10ms", got)
		}
		_, err = s.ping(t.Context(), echoV4, time.Second)
		wantPingError(t, err, KindLocal, "the ICMP socket was closed")
	})
}

func TestPingThatCannotBeSent(t *testing.T) {
	for _, tt := range []struct {
		err        error
		kind       Kind
		wantReason string
	}{
		{unix.ENOBUFS, KindLocal, "neighbour table"},
		{unix.ENOMEM, KindLocal, "out of memory"},
		{unix.EPERM, KindLocal, "does not permit it"},
		{unix.EACCES, KindLocal, "does not permit it"},
		{unix.EINVAL, KindLocal, "routing table drops it"},
		{unix.ENETUNREACH, KindLocal, "no route to it"},
		{unix.EADDRNOTAVAIL, KindLocal, "no address of this family"},
		{unix.EBADF, KindLocal, "sending an ICMP echo: bad file descriptor"},
		{errors.New("use of closed file"), KindLocal, "sending an ICMP echo: use of closed file"},
		{failure(KindLocal, "this host has no network interface \"eth9\""), KindLocal, "this host has no network interface \"eth9\""},
		{unix.EHOSTUNREACH, KindLocal, "no route to it"},
	} {
		t.Run(tt.err.Error(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newEchoSocket(unix.AF_INET)
				s.send = func([]byte, netip.Addr) error { return tt.err }
				began := time.Now()
				_, err := s.ping(t.Context(), echoV4, time.Second)
				wantPingError(t, err, tt.kind, tt.wantReason)
				if took := time.Since(began); took != 0 {
					t.Errorf("said so after %v, want at once", took)
				}
				if len(s.waiting) != 0 {
					t.Errorf("%d echoes still wait, want none", len(s.waiting))
				}
			})
		})
	}
}

func TestPingOfLinkLocalAddressNeedsAZone(t *testing.T) {
	s := newEchoSocket(unix.AF_INET6)
	s.send = func([]byte, netip.Addr) error { return unix.EINVAL }
	_, err := s.ping(t.Context(), netip.MustParseAddr("fe80::1"), time.Second)
	wantPingError(t, err, KindLocal, "needs a zone")
}

// On a shared socket the kernel hands out with one echo what the network said
// of another.
func TestPingIsNotBlamedForAnothersUnreachableHost(t *testing.T) {
	for _, errno := range []syscall.Errno{unix.EHOSTUNREACH, unix.ECONNREFUSED, unix.ENETUNREACH, unix.EACCES} {
		synctest.Test(t, func(t *testing.T) {
			s := newEchoSocket(unix.AF_INET)
			sent := 0
			s.send = func(packet []byte, _ netip.Addr) error {
				if sent++; sent == 1 {
					return errno
				}
				s.deliver(echoAnswer(packet), echoV4, time.Now())
				return nil
			}
			if _, err := s.ping(t.Context(), echoV4, time.Second); err != nil || sent != 2 {
				t.Errorf("%v once: got %v after %d echoes, want it up with the second", errno, err, sent)
			}
		})
	}
}

// An answer is what counts; what the network said explains its absence.
func TestPingSaysWhyThereIsNoAnswer(t *testing.T) {
	same := func(p []byte) []byte { return p }
	for _, tt := range []struct {
		name   string
		said   syscall.Errno
		change func(echo []byte) []byte
		to     netip.Addr
		kind   Kind
		reason string
	}{
		{"host unreachable", unix.EHOSTUNREACH, same, echoV4, KindUnreachable, "host unreachable"},
		{"network unreachable", unix.ENETUNREACH, same, echoV4, KindUnreachable, "network unreachable"},
		{"port unreachable", unix.ECONNREFUSED, same, echoV4, KindRefused, "refused by a firewall"},
		{"prohibited", unix.EACCES, same, echoV4, KindUnreachable, "prohibited by a firewall or router"},
		{"what nobody knows", unix.EXDEV, same, echoV4, KindTimeout, "no answer within 1s"},
		{"of an echo to another address", unix.EHOSTUNREACH, same, echoV6, KindTimeout, "no answer within 1s"},
		{"of an echo that is not known", unix.EHOSTUNREACH, func(p []byte) []byte { p[6]++; return p }, echoV4, KindTimeout, "no answer within 1s"},
		{"of an echo cut behind its header", unix.EHOSTUNREACH, func(p []byte) []byte { return p[:8] }, echoV4, KindUnreachable, "host unreachable"},
		{"of an echo cut in its header", unix.EHOSTUNREACH, func(p []byte) []byte { return p[:7] }, echoV4, KindTimeout, "no answer within 1s"},
		{"of an answer", unix.EHOSTUNREACH, echoAnswer, echoV4, KindTimeout, "no answer within 1s"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newEchoSocket(unix.AF_INET)
				s.collect = func() {}
				answer := false
				s.send = func(packet []byte, _ netip.Addr) error {
					packet = slices.Clone(packet)
					if tt.said != 0 {
						s.noteError(tt.change(slices.Clone(packet)), tt.to, icmpError{errno: tt.said})
					}
					if answer {
						time.AfterFunc(time.Millisecond, func() { s.deliver(echoAnswer(packet), echoV4, time.Now()) })
					}
					return nil
				}
				_, err := s.ping(t.Context(), echoV4, time.Second)
				wantPingError(t, err, tt.kind, tt.reason)
				answer = true
				if answer, err := s.ping(t.Context(), echoV4, time.Second); answer.rtt != time.Millisecond || err != nil {
					t.Errorf("answered after that: got %v, %v, want it up after 1ms", answer.rtt, err)
				}
				answer, tt.said = false, 0
				_, err = s.ping(t.Context(), echoV4, time.Second)
				wantPingError(t, err, KindTimeout, "no answer within 1s")
			})
		})
	}
}

func TestPingWaitsForRoomInTheSendBuffer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newEchoSocket(unix.AF_INET)
		s.collect = func() {}
		began := time.Now()
		s.send = func(packet []byte, _ netip.Addr) error {
			if time.Since(began) < 900*time.Millisecond {
				return unix.EAGAIN
			}
			answer := echoAnswer(packet)
			time.AfterFunc(500*time.Millisecond, func() { s.deliver(answer, echoV4, time.Now()) })
			return nil
		}
		// The round trip begins when the echo leaves: this host's queue is not
		// the target's latency, nor does it take from the time to answer.
		if answer, err := s.ping(t.Context(), echoV4, time.Second); answer.rtt != 500*time.Millisecond || err != nil {
			t.Errorf("got %v, %v, want a round trip of 500ms", answer.rtt, err)
		}

		s.send = func([]byte, netip.Addr) error { return unix.EAGAIN }
		began = time.Now()
		_, err := s.ping(t.Context(), echoV4, time.Second)
		wantPingError(t, err, KindLocal, "send buffer for ICMP is full")
		if took := time.Since(began); took < time.Second || took > 1100*time.Millisecond {
			t.Errorf("gave up after %v, want a second", took)
		}

		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Millisecond)
		defer cancel()
		if _, err := s.ping(ctx, echoV4, time.Second); err != context.DeadlineExceeded {
			t.Errorf("got %v, want %v", err, context.DeadlineExceeded)
		}
	})
}

func TestEchoesAreUnpredictable(t *testing.T) {
	tokens, seqs, ids := map[uint64]bool{}, map[uint16]bool{}, map[uint16]bool{}
	for range 100 {
		s := newEchoSocket(unix.AF_INET)
		e, err := s.expect(echoV4, new(train))
		if err != nil {
			t.Fatal(err)
		}
		tokens[e.token], seqs[e.seq], ids[s.id] = true, true, true
	}
	if len(tokens) < 100 || len(seqs) < 90 || len(ids) < 90 {
		t.Errorf("of 100 echoes %d tokens, %d sequence numbers and %d identifiers differ, want nearly all",
			len(tokens), len(seqs), len(ids))
	}
}

// wantPingError checks that err is a failure of kind whose reason contains reason.
func wantPingError(t *testing.T, err error, kind Kind, reason string) {
	t.Helper()
	e, ok := errors.AsType[*Error](err)
	if !ok || e.Kind != kind || !strings.Contains(e.Reason, reason) {
		t.Errorf("got %#v, want a failure of kind %q with %q", err, kind, reason)
	}
}
