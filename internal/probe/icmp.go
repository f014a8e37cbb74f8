package probe

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// pinger sends ICMP echoes and dispatches their answers, over one socket per address
// family that all probes share: a raw socket gets a copy of every answer that arrives
// at this host, so with a socket for each probe the cost is quadratic in the number
// of waiting probes.
type pinger struct {
	v4, v6       *echoSocket // nil where it could not be opened
	errV4, errV6 *Error      // why not; KindLocal
}

// openPinger opens the socket of each family. It never fails as a whole: ping and
// trouble report a socket that is missing. The caller closes the pinger.
func openPinger() *pinger {
	p := new(pinger)
	p.v4, p.errV4 = openEchoSocket(unix.AF_INET)
	p.v6, p.errV6 = openEchoSocket(unix.AF_INET6)
	for _, lack := range []*Error{p.errV4, p.errV6} {
		if lack != nil {
			lack.lasting = true
		}
	}
	return p
}

// close closes the sockets and waits for their receivers. Pings in flight fail with
// KindLocal, never with a failure of the target.
func (p *pinger) close() error {
	var errs []error
	for _, s := range []*echoSocket{p.v4, p.v6} {
		if s != nil {
			errs = append(errs, s.close())
		}
	}
	return errors.Join(errs...)
}

// trouble returns an error with the remedy for each family that this host speaks but
// whose socket could not be opened; one for both if it is the same.
func (p *pinger) trouble() []error {
	v4, v6 := ignoreUnsupported(p.errV4), ignoreUnsupported(p.errV6)
	if v4 != nil && v6 != nil && v4.Reason == v6.Reason {
		return []error{fmt.Errorf("probing icmp:// replicas: %w", v4)}
	}
	var errs []error
	if v4 != nil {
		errs = append(errs, fmt.Errorf("probing icmp:// replicas over IPv4: %w", v4))
	}
	if v6 != nil {
		errs = append(errs, fmt.Errorf("probing icmp:// replicas over IPv6: %w", v6))
	}
	return errs
}

// ignoreUnsupported returns lack, or nil if this host lacks the family itself.
func ignoreUnsupported(lack *Error) *Error {
	if lack == nil || errors.Is(lack, unix.EAFNOSUPPORT) {
		return nil
	}
	return lack
}

// ping sends one echo to addr and returns its answer. It waits for the answer for
// limit after the echo was sent, and before that for room in this host's send buffer,
// for limit at most. The error is an
// *Error, KindLocal where the echo could not be sent, or the cause of ctx's end.
func (p *pinger) ping(ctx context.Context, addr netip.Addr, limit time.Duration) (pong, error) {
	addr = addr.Unmap()
	s, lack := p.v4, p.errV4
	if !addr.Is4() {
		s, lack = p.v6, p.errV6
	}
	if lack != nil {
		return pong{}, lack
	}
	return s.ping(ctx, addr, limit)
}

// notPermitted returns the failure, with its remedy, of a process that may open
// neither kind of ICMP socket.
func notPermitted(err error) *Error {
	return &Error{
		Kind: KindLocal,
		Reason: fmt.Sprintf("this process may not open an ICMP socket "+
			"(make the sysctl net.ipv4.ping_group_range include group %d, or grant CAP_NET_RAW: "+
			"AmbientCapabilities=CAP_NET_RAW with systemd, --cap-add NET_RAW and root in a container; then restart)",
			os.Getegid()),
		Err: err,
	}
}

// maxPing bounds the wait for the answer to an ICMP echo: a second is long for a round
// trip, and the original waits no longer.
const maxPing = time.Second

// attemptICMP makes one attempt at an icmp:// target, which is up when every
// address answers an echo. Its latency is the highest round trip.
func (p *Prober) attemptICMP(ctx context.Context, c Check, a attempt) (time.Duration, error) {
	addrs, err := p.addrs(ctx, c.Target, a)
	if err != nil {
		return 0, err
	}
	if a.left() <= 0 && !a.prolong() {
		return 0, noAnswer(a.limit)
	}
	// The second begins with the echo: a slow resolver is not a slow target.
	began := time.Now()
	answer, err := pingAll(ctx, addrs, min(a.left(), maxPing), func(ctx context.Context, addr netip.Addr, limit time.Duration) (pong, error) {
		return p.pingPermitted(ctx, c.Target, addr, limit, a)
	})
	a.answered(0, began)
	a.setAnomaly(answer.anomaly)
	return max(0, answer.rtt-a.late()), err
}

// maxPinged bounds the addresses of one name that are pinged: no nameserver may make
// this host send without end.
const maxPinged = 64

// pingAll makes one attempt at the addresses of a name, all at the same time.
// It is up when every address answers within limit, and its latency is the
// highest round trip. An address that this host has no way to (no address of
// its family, no route), or that the policy denies, does not count unless none is
// left; an address that is down outweighs this host's trouble with another. No ping
// outlives the call.
func pingAll(ctx context.Context, addrs []netip.Addr, limit time.Duration,
	ping func(context.Context, netip.Addr, time.Duration) (pong, error)) (pong, error) {
	if len(addrs) == 1 {
		return ping(ctx, addrs[0], limit)
	}
	asked := addrs[:min(len(addrs), maxPinged)]
	pongs, errs := make([]pong, len(asked)), make([]error, len(asked))
	var wg sync.WaitGroup
	for i, addr := range asked {
		wg.Go(func() {
			defer recoverPanic(&errs[i])
			pongs[i], errs[i] = ping(ctx, addr, limit)
		})
	}
	wg.Wait()
	if ctx.Err() != nil {
		return pong{}, context.Cause(ctx)
	}
	p, err := slowest(asked, pongs, errs)
	if err == nil && len(asked) < len(addrs) && p.anomaly == "" {
		p.anomaly = fmt.Sprintf("the name has %d addresses, %d of them were asked", len(addrs), len(asked))
	}
	return p, err
}

// slowest returns one outcome for those of all addresses of a name.
func slowest(addrs []netip.Addr, pongs []pong, errs []error) (pong, error) {
	var all pong
	var down, local, noWay, denied error
	answered := false
	for i, err := range errs {
		switch {
		case err == nil:
			answered = true
			all.rtt = max(all.rtt, pongs[i].rtt)
			if note := pongs[i].anomaly; note != "" && all.anomaly == "" {
				all.anomaly = addrs[i].String() + ": " + note
			}
		case IsDenied(err):
			denied = cmp.Or(denied, err)
		case hasNoWay(err):
			noWay = cmp.Or(noWay, ofAddress(addrs[i], err))
		case isLocal(err):
			local = cmp.Or(local, ofAddress(addrs[i], err))
		default:
			down = cmp.Or(down, ofAddress(addrs[i], err))
		}
	}
	switch {
	case down != nil:
		return pong{}, down
	case local != nil:
		return pong{}, local
	case answered:
		return all, nil
	case noWay != nil:
		return pong{}, noWay
	case denied != nil:
		return pong{}, denied
	}
	return pong{}, failure(KindDNS, "the name has no address")
}

// hasNoWay reports whether err is that this host has no address of the
// family, or no route.
func hasNoWay(err error) bool {
	if !isLocal(err) {
		return false
	}
	for _, errno := range []syscall.Errno{unix.ENETUNREACH, unix.EADDRNOTAVAIL, unix.EAFNOSUPPORT} {
		if errors.Is(err, errno) {
			return true
		}
	}
	return false
}

// ofAddress returns err with the address that it is about.
func ofAddress(addr netip.Addr, err error) error {
	e, ok := errors.AsType[*Error](err)
	if !ok {
		return err
	}
	return &Error{Kind: e.Kind, Reason: addr.String() + ": " + e.Reason, Err: e}
}
