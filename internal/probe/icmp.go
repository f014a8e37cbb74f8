package probe

import (
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

// pinger sends ICMP echoes and hands out their answers, over one socket per
// address family that all probes share: a raw socket gets a copy of every
// answer that comes to this host, so with a socket for each probe the cost grows
// with the square of those that wait.
type pinger struct {
	v4, v6         *echoSocket // nil where it could not be opened
	lackV4, lackV6 *Error      // why not; KindLocal
}

// openPinger opens the socket of each family. It never fails as a whole: ping
// and trouble say what is missing. The caller closes the pinger.
func openPinger() *pinger {
	p := new(pinger)
	p.v4, p.lackV4 = openEchoSocket(unix.AF_INET)
	p.v6, p.lackV6 = openEchoSocket(unix.AF_INET6)
	for _, lack := range []*Error{p.lackV4, p.lackV6} {
		if lack != nil {
			lack.lasting = true
		}
	}
	return p
}

// close closes the sockets and waits until nobody reads from them. Pings under
// way fail with this host's trouble, never with the target's.
func (p *pinger) close() error {
	var errs []error
	for _, s := range []*echoSocket{p.v4, p.v6} {
		if s != nil {
			errs = append(errs, s.close())
		}
	}
	return errors.Join(errs...)
}

// trouble returns, for each family that this host speaks but for which no
// socket could be had, an error that says what to do; one for both where it is
// the same.
func (p *pinger) trouble() []error {
	v4, v6 := spoken(p.lackV4), spoken(p.lackV6)
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

// spoken returns lack, or nil if all that is lacking is the family itself.
func spoken(lack *Error) *Error {
	if lack == nil || errors.Is(lack, unix.EAFNOSUPPORT) {
		return nil
	}
	return lack
}

// ping sends one echo to addr and returns what was answered. It waits for the
// answer no longer than limit from when the echo has left; while this host's
// send buffer is full it waits for that, too, at most limit. The error is an
// *Error, KindLocal where the echo could not be sent, or the cause of ctx's end.
func (p *pinger) ping(ctx context.Context, addr netip.Addr, limit time.Duration) (pong, error) {
	addr = addr.Unmap()
	s, lack := p.v4, p.lackV4
	if !addr.Is4() {
		s, lack = p.v6, p.lackV6
	}
	if lack != nil {
		return pong{}, lack
	}
	return s.ping(ctx, addr, limit)
}

// notPermitted says what to do where neither kind of ICMP socket may be opened.
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

// maxPinged bounds how many addresses of a name are asked: nobody's name server
// may make this host send without end.
const maxPinged = 64

// pingAll makes one attempt at the addresses of a name, all at the same time.
// It is up when every address answers within limit, and its latency is the
// highest round trip. An address that this host has no way to (no address of
// its family, no route), or that the policy denies, does not count unless none is left; an address that is
// down outweighs this host's trouble with another. No ping outlives the call.
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
			defer survive(&errs[i])
			pongs[i], errs[i] = ping(ctx, addr, limit)
		})
	}
	wg.Wait()
	if ctx.Err() != nil {
		return pong{}, context.Cause(ctx)
	}
	p, err := slowest(asked, pongs, errs)
	if err == nil && len(asked) < len(addrs) && p.note == "" {
		p.note = fmt.Sprintf("the name has %d addresses, %d of them were asked", len(addrs), len(asked))
	}
	return p, err
}

// slowest makes one outcome of those of all the addresses of a name.
func slowest(addrs []netip.Addr, pongs []pong, errs []error) (pong, error) {
	var all pong
	var down, local, noWay, denied error
	answered := false
	for i, err := range errs {
		switch {
		case err == nil:
			answered = true
			all.trip = max(all.trip, pongs[i].trip)
			if note := pongs[i].note; note != "" && all.note == "" {
				all.note = addrs[i].String() + ": " + note
			}
		case IsDenied(err):
			denied = first(denied, err)
		case hasNoWay(err):
			noWay = first(noWay, ofAddress(addrs[i], err))
		case isLocal(err):
			local = first(local, ofAddress(addrs[i], err))
		default:
			down = first(down, ofAddress(addrs[i], err))
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

// first returns a, or b if a is nil.
func first(a, b error) error {
	if a != nil {
		return a
	}
	return b
}

// ofAddress says which of several addresses the failure err is about.
func ofAddress(addr netip.Addr, err error) error {
	e, ok := errors.AsType[*Error](err)
	if !ok {
		return err
	}
	return &Error{Kind: e.Kind, Reason: addr.String() + ": " + e.Reason, Err: e}
}
