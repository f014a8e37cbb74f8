package probe

import (
	"context"
	"net/netip"
	"strings"
	"time"
)

// attemptDelay is the Connection Attempt Delay of RFC 8305, section 5: the time after
// which the next address is tried beside the last one.
const attemptDelay = 250 * time.Millisecond

// race dials the addresses of one name by Happy Eyeballs (RFC 8305): families
// alternating, one after another, attemptDelay apart or as soon as one has failed.
// The first that succeeds wins; discard takes the result of any other. No dial
// outlives the call. While extra has no place, no address is tried beside the one in
// flight.
func race[T any](ctx context.Context, extra extraDials, addrs []netip.Addr, port uint16,
	dial func(context.Context, netip.AddrPort) (T, error), discard func(T)) (T, error) {
	if len(addrs) == 1 {
		return dial(ctx, netip.AddrPortFrom(addrs[0], port))
	}
	return raceMany(ctx, extra, addrs, port, dial, discard)
}

// raceMany is race for more than one address. It is apart because thousands of
// probes of one address may wait, and its frame would be on all their stacks.
func raceMany[T any](ctx context.Context, extra extraDials, addrs []netip.Addr, port uint16,
	dial func(context.Context, netip.AddrPort) (T, error), discard func(T)) (T, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	r := dials[T]{addrs: interleave(addrs), port: port, dial: dial, extra: extra, outcomes: make(chan dialOutcome[T])}
	errs := make([]error, len(addrs))
	r.start(ctx)
	for r.running > 0 {
		var timer <-chan time.Time
		if r.more() {
			timer = time.After(attemptDelay)
		}
		select {
		case o := <-r.outcomes:
			r.ended()
			if o.err == nil {
				cancel()
				r.finish(discard)
				return o.got, nil
			}
			errs[o.i] = o.err
			if r.more() && ctx.Err() == nil {
				r.start(ctx)
			}
		case <-timer:
			r.start(ctx)
		}
	}
	var none T
	if ctx.Err() != nil {
		return none, context.Cause(ctx)
	}
	err := joinFailures(r.addrs, errs)
	if r.short && isTimeout(err) {
		// Another address might have answered, had there been the time.
		err = &Error{Kind: KindLocal, Reason: "this process has too many connections under way to try all addresses of the name in time (raise its limit: LimitNOFILE= or ulimit -n)", Err: err}
	}
	return none, err
}

// dials is the dials of one race.
type dials[T any] struct {
	addrs         []netip.Addr
	port          uint16
	dial          func(context.Context, netip.AddrPort) (T, error)
	extra         extraDials // the places of dials beside the first in flight
	outcomes      chan dialOutcome[T]
	next, running int
	short         bool // a dial was not started, since extra had no place
}

// dialOutcome is the result of the dial of the i-th address.
type dialOutcome[T any] struct {
	i   int
	got T
	err error
}

// more reports whether an address was not dialled yet.
func (r *dials[T]) more() bool { return r.next < len(r.addrs) }

// start dials the next address, unless it would be beside another and has no place.
func (r *dials[T]) start(ctx context.Context) {
	if r.running > 0 && !r.extra.take() {
		r.short = true
		return
	}
	i := r.next
	r.next, r.running = r.next+1, r.running+1
	go func() {
		o := dialOutcome[T]{i: i}
		defer func() { r.outcomes <- o }()
		defer recoverPanic(&o.err)
		o.got, o.err = r.dial(ctx, netip.AddrPortFrom(r.addrs[i], r.port))
	}()
}

// ended takes note of the end of a dial, whose place another may have.
func (r *dials[T]) ended() {
	if r.running--; r.running > 0 {
		r.extra.give()
	}
}

// finish waits for the dials in flight, which were cancelled, and discards their
// results.
func (r *dials[T]) finish(discard func(T)) {
	for ; r.running > 0; r.ended() {
		if o := <-r.outcomes; o.err == nil {
			discard(o.got)
		}
	}
}

// interleave returns addrs with the families in turn, the family of the first
// address first (RFC 8305, section 4).
func interleave(addrs []netip.Addr) []netip.Addr {
	var first, second, all []netip.Addr
	for _, addr := range addrs {
		if addr.Is4() == addrs[0].Is4() {
			first = append(first, addr)
		} else {
			second = append(second, addr)
		}
	}
	for i := range max(len(first), len(second)) {
		if i < len(first) {
			all = append(all, first[i])
		}
		if i < len(second) {
			all = append(all, second[i])
		}
	}
	return all
}

// joinFailures returns one failure for those of all addresses of a name. It is local,
// or the policy's, only if every one of them is: an address that was asked and was
// down says something about the target.
func joinFailures(addrs []netip.Addr, errs []error) error {
	var first *Error
	var unasked error
	var reasons []string
	same := true
	for i, err := range errs {
		e, ok := err.(*Error)
		if !ok || e.Kind == KindLocal || e.Kind == KindPolicy {
			if unasked == nil || IsDenied(unasked) {
				unasked = err
			}
			continue
		}
		if first == nil {
			first = e
		}
		same = same && e.Reason == first.Reason
		reasons = append(reasons, addrs[i].String()+": "+e.Reason)
	}
	switch {
	case first == nil:
		return unasked
	case same:
		return first
	}
	return &Error{Kind: first.Kind, Reason: strings.Join(reasons, "; "), Err: first}
}
