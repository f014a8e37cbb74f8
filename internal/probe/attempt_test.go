package probe

import (
	"context"
	"errors"
	"io"
	"net/netip"
	"os"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"
)

// lateBy returns an attempt with limit that began by ago, in a process that was
// late by late meanwhile.
func lateBy(late, limit, ago time.Duration) attempt {
	var now atomic.Int64 // read by the tick too, which comes when it comes
	s := &stalls{clock: func() time.Duration { return time.Duration(now.Load()) }}
	a := s.enter(limit)
	if a.began = a.began.Add(-ago); late > 0 {
		now.Store(int64(stallTick + late))
	}
	return a
}

func TestLatenessProlongsAnAttemptOnce(t *testing.T) {
	const s = time.Second
	for _, tt := range []struct {
		name            string
		late, ago, want time.Duration // want: left after it; negative: none
	}{
		{"late", 300 * time.Millisecond, s, 300 * time.Millisecond},
		{"late itself by what it was late by", 300 * time.Millisecond, 1300 * time.Millisecond, 300 * time.Millisecond},
		{"later than the attempt may take", 10 * s, 11 * s, s},
		{"hardly late", tolerance, s, -1},
		{"not late", 0, s, -1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a := lateBy(tt.late, s, tt.ago)
				if got := a.prolong(); got != (tt.want > 0) {
					t.Fatalf("got %v, want %v", got, tt.want > 0)
				}
				if tt.want < 0 {
					return
				}
				if a.left() != tt.want || !a.prolong() || a.left() != tt.want {
					t.Errorf("%v are left, want %v", a.left(), tt.want)
				}
				time.Sleep(tt.want)
				if a.prolong() {
					t.Error("prolonged a second time")
				}
			})
		})
	}
}

func TestLatenessIsNoLatency(t *testing.T) {
	for _, tt := range []struct {
		late, latency time.Duration
		want          Health
	}{
		{0, 6 * time.Second, Sick},
		{2 * time.Second, 4 * time.Second, Healthy},
		{500 * time.Millisecond, 5500 * time.Millisecond, Sick},
		{time.Minute, 0, Healthy},
	} {
		synctest.Test(t, func(t *testing.T) {
			p, now := testProber(), new(atomic.Int64)
			p.stalls.clock = func() time.Duration { return time.Duration(now.Load()) }
			late := func() {
				time.Sleep(6*time.Second - time.Millisecond) // between two ticks
				if tt.late > 0 {
					now.Add(int64(tt.late + stallTick))
				}
				time.Sleep(time.Millisecond)
			}
			p.connectHalfOpen = func(context.Context, netip.AddrPort, attempt) error { late(); return nil }
			p.ping = func(context.Context, netip.Addr, time.Duration) (pong, error) {
				late()
				return pong{rtt: 6 * time.Second}, nil
			}
			for _, url := range []string{"tcp://10.0.0.1:1", "icmp://10.0.0.1"} {
				c := Check{Target: mustParse(t, url), Rules: &Rules{DeadAfter: 10 * time.Second, SickAfter: 5 * time.Second}}
				if r := p.probe(t.Context(), c, MaxProbe); r.Health != tt.want || r.Latency != tt.latency {
					t.Errorf("%s, late by %v: got %s after %v, want %s after %v", url, tt.late, r.Health, r.Latency, tt.want, tt.latency)
				}
			}
		})
	}
}

// said returns a connection with an hour's time on which the target has said
// something that lies unread, if anything.
func said(t *testing.T, words string) *conn {
	l := listenTCP(t, "tcp4", "127.0.0.1:0")
	c, err := newConnector().connect(t.Context(), portAddr(l), within(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	target, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { target.Close() })
	if words == "" {
		return c.(*conn)
	}
	if _, err := io.WriteString(target, words); err != nil {
		t.Fatal(err)
	}
	raw, err := c.(*conn).file.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	raw.Control(func(fd uintptr) { unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, -1) })
	return c.(*conn)
}

func TestAnAnswerThatIsThereCounts(t *testing.T) {
	for _, tt := range []struct {
		name  string
		words string
		late  time.Duration
		ended bool // by the end of the context
		want  string
	}{
		{"late, and the answer is there", "it is", time.Minute, false, "it is"},
		{"late, and no answer is there", "", time.Minute, false, ""},
		{"in time, and the answer is there", "it is", 0, false, ""},
		{"nobody waits any more", "it is", time.Minute, true, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := said(t, tt.words)
			c.attempt = lateBy(tt.late, time.Minute, 2*time.Minute)
			if err := c.SetDeadline(c.attempt.deadline()); err != nil {
				t.Fatal(err)
			}
			if tt.ended {
				ctx, cancel := context.WithCancel(t.Context())
				cancel()
				for expireWith(ctx, c)() { // until it has begun
				}
				c.SetDeadline(expiry()) // and until it is over
			}
			b := make([]byte, 100)
			n, err := c.Read(b)
			if got := string(b[:n]); got != tt.want || (err == nil) != (tt.want != "") {
				t.Errorf("got %q, %v, want %q", got, err, tt.want)
			}
			if tt.want == "" && !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("got %v, want that the time is up", err)
			}
		})
	}
}

// Where the time was up before the target was asked, it is asked.
func TestALateQuestionIsAsked(t *testing.T) {
	for late, want := range map[time.Duration]bool{0: false, time.Minute: true} {
		c := said(t, "")
		c.attempt = lateBy(late, time.Minute, 2*time.Minute)
		if err := c.SetDeadline(c.attempt.deadline()); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(c, "is it?"); (err == nil) != want {
			t.Errorf("late by %v: got %v, want it sent: %v", late, err, want)
		}
		err := newConnector().connectHalfOpen(t.Context(), netip.MustParseAddrPort(c.RemoteAddr().String()), lateBy(late, time.Minute, 2*time.Minute))
		if (err == nil) != want {
			t.Errorf("late by %v: a dial gives %v, want it made: %v", late, err, want)
		}
	}
}

// The poller may find that the time is up before it finds that the connection is
// established.
func TestAConnectionThatIsThereWhenTheTimeIsUpCounts(t *testing.T) {
	l := listenTCP(t, "tcp4", "127.0.0.1:0")
	fd, sa, err := socket(portAddr(l))
	if err != nil {
		t.Fatal(err)
	}
	f := os.NewFile(uintptr(fd), "tcp")
	defer f.Close()
	if err := unix.Connect(fd, sa); err != nil && err != unix.EINPROGRESS {
		t.Fatal(err)
	}
	unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLOUT}}, -1)
	late := attempt{began: time.Now().Add(-time.Hour), limit: time.Minute}
	if err := await(t.Context(), f, sa, late); err != nil {
		t.Errorf("got %v, want it up", err)
	}
}
