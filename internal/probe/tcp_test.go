package probe

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// listenTCP listens on a loopback address until the test ends.
func listenTCP(t testing.TB, network, address string) *net.TCPListener {
	t.Helper()
	l, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l.(*net.TCPListener)
}

// needIPv6 skips the test where there is no ::1.
func needIPv6(t testing.TB) {
	l, err := net.Listen("tcp6", "[::1]:0")
	if err != nil {
		t.Skipf("this host has no IPv6 loopback address: %v", err)
	}
	l.Close()
}

// blackHole returns an address of this host that drops what tries to connect:
// a listener whose queue is full and that never accepts.
func blackHole(t testing.TB) netip.AddrPort {
	t.Helper()
	open := func() int {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { unix.Close(fd) })
		return fd
	}
	fd := open()
	if err := errors.Join(unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}), unix.Listen(fd, 0)); err != nil {
		t.Fatal(err)
	}
	bound, err := unix.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 { // these fill the queue
		if err := unix.Connect(open(), bound); err != nil && err != unix.EINPROGRESS {
			t.Fatal(err)
		}
	}
	return netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), uint16(bound.(*unix.SockaddrInet4).Port))
}

// closedPort returns an address of this host where nobody listens. Its port is
// taken until the test ends, so that nobody else is given it.
func closedPort(t testing.TB) netip.AddrPort {
	t.Helper()
	return closedPortOf(t, unix.AF_INET, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}})
}

func closedPortOf(t testing.TB, family int, host unix.Sockaddr) netip.AddrPort {
	t.Helper()
	fd, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	if err := unix.Bind(fd, host); err != nil {
		t.Fatal(err)
	}
	bound, err := unix.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	if v6, ok := bound.(*unix.SockaddrInet6); ok {
		return netip.AddrPortFrom(netip.AddrFrom16(v6.Addr), uint16(v6.Port))
	}
	v4 := bound.(*unix.SockaddrInet4)
	return netip.AddrPortFrom(netip.AddrFrom4(v4.Addr), uint16(v4.Port))
}

func portAddr(l net.Listener) netip.AddrPort { return l.Addr().(*net.TCPAddr).AddrPort() }

// attemptAt makes one attempt at a URL, which may take limit.
func attemptAt(t testing.TB, p *Prober, url string, limit time.Duration) error {
	t.Helper()
	c := Check{Target: mustParse(t, url), Rules: DefaultRules()}
	_, err := p.measure(t.Context(), c, within(limit))
	return err
}

// wantFailure fails the test unless err is a failure of that kind for that
// reason.
func wantFailure(t testing.TB, err error, kind Kind, reason string) {
	t.Helper()
	e, ok := errors.AsType[*Error](err)
	switch {
	case !ok:
		t.Errorf("got %v, want down: %s", err, reason)
	case e.Kind != kind || !strings.Contains(e.Reason, reason):
		t.Errorf("got %s %q, want %s %q", e.Kind, e.Reason, kind, reason)
	}
}

func TestTCPIsUpWhenAConnectionCanBeEstablished(t *testing.T) {
	for name, halfOpen := range map[string]bool{"half open": true, "whole": false} {
		t.Run(name, func(t *testing.T) {
			p := testProber()
			p.connectHalfOpen = connector{halfOpen: halfOpen}.connectHalfOpen
			l := listenTCP(t, "tcp4", "127.0.0.1:0")
			if err := attemptAt(t, p, "tcp://"+l.Addr().String(), 10*time.Second); err != nil {
				t.Errorf("got %v, want up", err)
			}
			wantFailure(t, attemptAt(t, p, "tcp://"+closedPort(t).String(), 10*time.Second), KindRefused, "connection refused")
		})
	}
}

func TestTCPOverIPv6(t *testing.T) {
	needIPv6(t)
	p := testProber()
	l := listenTCP(t, "tcp6", "[::1]:0")
	if err := attemptAt(t, p, "tcp://"+l.Addr().String(), 10*time.Second); err != nil {
		t.Errorf("got %v, want up", err)
	}
	closed := closedPortOf(t, unix.AF_INET6, &unix.SockaddrInet6{Addr: netip.IPv6Loopback().As16()})
	wantFailure(t, attemptAt(t, p, "tcp://"+closed.String(), 10*time.Second), KindRefused, "connection refused")
}

func TestTCPBlackHoleIsDown(t *testing.T) {
	t.Parallel()
	wantFailure(t, attemptAt(t, testProber(), "tcp://"+blackHole(t).String(), time.Second), KindTimeout, "no answer within 1s")
}

func TestTCPUpWhenOneAddressOfTheNameIs(t *testing.T) {
	t.Parallel()
	hole := blackHole(t)
	l := listenTCP(t, "tcp4", fmt.Sprintf("127.0.0.2:%d", hole.Port()))
	p := testProber()
	p.resolver = resolverOf(&nameserver{answer: addresses("127.0.0.1", "127.0.0.3", "127.0.0.2")})
	if err := attemptAt(t, p, fmt.Sprintf("tcp://db:%d", hole.Port()), 10*time.Second); err != nil {
		t.Errorf("got %v, want up at %v", err, l.Addr())
	}
}

// timeWait returns the connections of this host with that port that wait for
// stragglers, both ends of each.
func timeWait(t *testing.T, port uint16) map[string]bool {
	table, err := os.ReadFile("/proc/net/tcp")
	if err != nil {
		t.Skipf("connections cannot be counted here: %v", err)
	}
	waiting := make(map[string]bool)
	for line := range strings.Lines(string(table)) {
		f := strings.Fields(line)
		if at := fmt.Sprintf(":%04X", port); len(f) > 3 && f[3] == "06" && (strings.HasSuffix(f[1], at) || strings.HasSuffix(f[2], at)) {
			waiting[f[1]+" "+f[2]] = true
		}
	}
	return waiting
}

// seen makes probes of a listener and then one connection that is none, and
// returns how many connections the listener's application saw before it, and
// which are left in TIME_WAIT.
func seen(t *testing.T, c connector, probes int) (n int, left []string) {
	l := listenTCP(t, "tcp4", "127.0.0.1:0")
	before := timeWait(t, portAddr(l).Port()) // of the port's earlier life
	for range probes {
		if err := c.connectHalfOpen(t.Context(), portAddr(l), within(10*time.Second)); err != nil {
			t.Fatalf("got %v, want up", err)
		}
	}
	last, err := net.Dial("tcp4", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer last.Close()
	for ; ; n++ {
		c, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		from := c.RemoteAddr().String()
		if from == last.LocalAddr().String() {
			c.(*net.TCPConn).SetLinger(0)
			c.Close()
			break
		}
		c.Close()
	}
	for connection := range timeWait(t, portAddr(l).Port()) {
		if !before[connection] {
			left = append(left, connection)
		}
	}
	return n, left
}

// A service that counts connections (and blocks a host after a hundred that
// came to nothing) must not see the probes.
func TestTCPProbeIsNotSeenByTheApplication(t *testing.T) {
	c := newConnector()
	if !c.halfOpen {
		t.Skip("this host's sockets have no option for a half-open handshake")
	}
	n, left := seen(t, c, 200)
	if n != 0 {
		t.Errorf("the application saw %d connections of 200 probes, want 0", n)
	}
	if len(left) != 0 {
		t.Errorf("left in TIME_WAIT: %v, want none", left)
	}
}

func TestTCPProbeFallsBackToAWholeConnection(t *testing.T) {
	n, left := seen(t, connector{halfOpen: false}, 20)
	if n != 20 {
		t.Errorf("the application saw %d connections of 20 probes, want all", n)
	}
	if len(left) != 0 {
		t.Errorf("left in TIME_WAIT: %v, want none", left)
	}
}

// Where nobody listens, a socket that happens to get the target's own port is
// connected to itself.
func TestAConnectionToItselfIsRefused(t *testing.T) {
	for _, tt := range []struct {
		network string
		addr    string
	}{{"tcp4", "127.0.0.1"}, {"tcp6", "::1"}} {
		t.Run(tt.network, func(t *testing.T) {
			if tt.network == "tcp6" {
				needIPv6(t)
			}
			l := listenTCP(t, tt.network, net.JoinHostPort(tt.addr, "0"))
			other := portAddr(l)
			fd, sa, err := socket(netip.AddrPortFrom(other.Addr(), 0))
			if err != nil {
				t.Fatal(err)
			}
			defer unix.Close(fd)
			if err := unix.Bind(fd, sa); err != nil {
				t.Fatal(err)
			}
			self, err := unix.Getsockname(fd)
			if err != nil {
				t.Fatal(err)
			}
			addr := netip.AddrPortFrom(other.Addr(), uint16(portOf(self)))
			if reachesItself(fd, other) {
				t.Errorf("%v is taken for %v", addr, other)
			}
			if established, err := startConnect(fd, self); err != nil || !established {
				t.Skipf("this kernel connects no socket to itself: %v", err)
			}
			if !reachesItself(fd, addr) {
				t.Errorf("the connection from %v to itself is taken for one to a listener", addr)
			}
		})
	}
}

func TestWhereNobodyListensNobodyIsUp(t *testing.T) {
	// A port of the kind that the kernel picks for connections, free again.
	l := listenTCP(t, "tcp4", "127.0.0.1:0")
	c, err := net.Dial("tcp4", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	free := netip.MustParseAddrPort(c.LocalAddr().String())
	c.(*net.TCPConn).SetLinger(0)
	c.Close()
	// It walks through all of them sooner or later.
	for range 30000 {
		err := newConnector().connectHalfOpen(t.Context(), free, within(10*time.Second))
		if e, ok := err.(*Error); !ok || e.Kind != KindRefused {
			t.Fatalf("got %v, want connection refused every time", err)
		}
	}
}

func portOf(sa unix.Sockaddr) int {
	if sa, ok := sa.(*unix.SockaddrInet6); ok {
		return sa.Port
	}
	return sa.(*unix.SockaddrInet4).Port
}

func TestTCPProbeEndsWithItsContext(t *testing.T) {
	hole := blackHole(t)
	cause := errors.New("shutting down")
	for name, dial := range map[string]func(context.Context) error{
		"touch": func(ctx context.Context) error { return newConnector().connectHalfOpen(ctx, hole, within(time.Hour)) },
		"connect": func(ctx context.Context) error {
			_, err := newConnector().connect(ctx, hole, within(time.Hour))
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithCancelCause(t.Context())
			over := make(chan error)
			go func() { over <- dial(ctx) }()
			cancel(cause)
			if err := <-over; err != cause {
				t.Errorf("got %v, want %v", err, cause)
			}
		})
	}
}

func TestNoDialAfterTheAttemptsTime(t *testing.T) {
	l := listenTCP(t, "tcp4", "127.0.0.1:0")
	late := attempt{began: time.Now().Add(-time.Minute), limit: 10 * time.Second}
	wantFailure(t, newConnector().connectHalfOpen(t.Context(), portAddr(l), late), KindTimeout, "no answer within 10s")
	_, err := newConnector().connect(t.Context(), portAddr(l), late)
	wantFailure(t, err, KindTimeout, "no answer within 10s")
}

// What this host lacks says nothing of the target; what the network delivers
// does.
func TestLocalTrouble(t *testing.T) {
	for _, errno := range []unix.Errno{
		unix.EMFILE, unix.ENFILE, unix.ENOBUFS, unix.ENOMEM, unix.EPERM, unix.EACCES, unix.EADDRNOTAVAIL,
		unix.EADDRINUSE, unix.EAGAIN, unix.EAFNOSUPPORT, unix.ENETUNREACH, unix.EINVAL, unix.EIO,
	} {
		if e := fromSyscall("connecting", os.NewSyscallError("connect", errno)); e.Kind != KindLocal {
			t.Errorf("%v of a system call is %s, want local", errno, e.Kind)
		}
	}
	for errno, want := range map[unix.Errno]Kind{
		unix.ECONNREFUSED: KindRefused, unix.ECONNRESET: KindBroken, unix.ETIMEDOUT: KindTimeout,
		unix.EHOSTUNREACH: KindUnreachable, unix.ENETUNREACH: KindUnreachable, unix.EMFILE: KindLocal,
	} {
		if e := fromSocket(errno); e.Kind != want {
			t.Errorf("%v from the network is %s, want %s", errno, e.Kind, want)
		}
	}
	if e := fromSyscall("opening a socket", errors.New("not pollable")); e.Kind != KindLocal || e.Reason != "opening a socket: not pollable" {
		t.Errorf("got %s %q, want local, with the call", e.Kind, e.Reason)
	}
}

// The kernel says of it what it says of a blackhole route.
func TestConnectingToALinkLocalAddressNeedsAZone(t *testing.T) {
	_, err := newConnector().connect(t.Context(), netip.MustParseAddrPort("[fe80::1]:9"), within(10*time.Second))
	if errors.Is(err, unix.EAFNOSUPPORT) {
		t.Skip("this host has no IPv6")
	}
	wantFailure(t, err, KindLocal, "a link-local address needs a zone, as in fe80::1%eth0")
}

func TestOutOfFilesIsLocal(t *testing.T) {
	var old unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &old); err != nil {
		t.Fatal(err)
	}
	l := listenTCP(t, "tcp4", "127.0.0.1:0")
	// No file can be opened that has no number below the limit.
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: 0, Max: old.Max}); err != nil {
		t.Skipf("this host does not let its limits be lowered: %v", err)
	}
	defer unix.Setrlimit(unix.RLIMIT_NOFILE, &old)
	for _, url := range []string{"tcp://", "http://"} {
		wantFailure(t, attemptAt(t, testProber(), url+l.Addr().String(), time.Second), KindLocal, "too many open files (raise its limit: LimitNOFILE= or ulimit -n)")
	}
}

func TestZoneThatThisHostLacksIsLocal(t *testing.T) {
	wantFailure(t, attemptAt(t, testProber(), "tcp://[fe80::1%25nowhere0]:22", time.Second), KindLocal, `no network interface "nowhere0"`)
}
