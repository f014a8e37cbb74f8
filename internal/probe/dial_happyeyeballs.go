package probe

import (
	"context"
	"net/netip"
	"strings"
	"time"
)

// stagger is how long an address has before the next one is tried beside it:
// the Connection Attempt Delay that RFC 8305, section 5, recommends.
const stagger = 250 * time.Millisecond

// race dials the addresses of one name as RFC 8305 has it: families
// alternating, one after another, stagger apart or as soon as one has failed.
// The first that succeeds wins; discard takes what any other brought. No dial
// outlives the call. Where extra has no place, no other address is tried beside the
// one that is waited for.
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
	type outcome struct {
		i   int
		got T
		err error
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	addrs = alternate(addrs)
	outcomes := make(chan outcome)
	next, running, short := 0, 0, false
	start := func() {
		if running > 0 && !extra.take() {
			short = true
			return
		}
		i := next
		next, running = next+1, running+1
		go func() {
			o := outcome{i: i}
			defer func() { outcomes <- o }()
			defer survive(&o.err)
			o.got, o.err = dial(ctx, netip.AddrPortFrom(addrs[i], port))
		}()
	}
	ended := func() {
		if running--; running > 0 {
			extra.give()
		}
	}
	// finish waits for the dials under way and discards what they bring.
	finish := func() {
		cancel()
		for ; running > 0; ended() {
			if o := <-outcomes; o.err == nil {
				discard(o.got)
			}
		}
	}
	errs := make([]error, len(addrs))
	start()
	for running > 0 {
		var timer <-chan time.Time
		if next < len(addrs) {
			timer = time.After(stagger)
		}
		select {
		case o := <-outcomes:
			ended()
			if o.err == nil {
				finish()
				return o.got, nil
			}
			errs[o.i] = o.err
			if next < len(addrs) && ctx.Err() == nil {
				start()
			}
		case <-timer:
			start()
		}
	}
	var none T
	if ctx.Err() != nil {
		return none, context.Cause(ctx)
	}
	err := together(addrs, errs)
	if short && isTimeout(err) {
		// Another address might have answered, had there been the time.
		err = &Error{Kind: KindLocal, Reason: "this process has too many connections under way to try all addresses of the name in time (raise its limit: LimitNOFILE= or ulimit -n)", Err: err}
	}
	return none, err
}

// alternate returns addrs with the families in turn, the family of the first
// address first (RFC 8305, section 4).
func alternate(addrs []netip.Addr) []netip.Addr {
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

// together makes one failure of those of all the addresses of a name. It is
// local, or the policy's, only if every one of them is: one address that could be
// asked and was down says something of the target.
func together(addrs []netip.Addr, errs []error) error {
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
