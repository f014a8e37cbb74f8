package probe

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"
)

// resolver looks up the names of replicas: each once per cycle, however many
// replicas bear it. When the look-up fails for a while (the resolver is out of
// reach, or answers that it cannot say now), the addresses of the last one that
// succeeded stand in: what is wrong then is not the replica.
type resolver struct {
	lookup func(ctx context.Context, host string) ([]netip.Addr, error)

	mu    sync.Mutex // protects all following fields
	cycle int
	names map[string]*name
}

// name is what is known of one name.
type name struct {
	used   int           // the cycle that last asked for it
	asked  time.Time     // when that was
	cycle  int           // the cycle of the last look-up
	ended  time.Time     // when that look-up was over
	done   chan struct{} // closed when that look-up is over
	addrs  []netip.Addr  // its result
	err    error         // its failure
	worked []netip.Addr  // the result of the last look-up that succeeded
}

func newResolver() *resolver {
	// Go's own resolver, since a static binary has no other; it reads
	// /etc/resolv.conf and /etc/hosts anew when they change.
	r, strict := &net.Resolver{PreferGo: true}, &net.Resolver{PreferGo: true, StrictErrors: true}
	return &resolver{
		lookup: func(ctx context.Context, host string) ([]netip.Addr, error) {
			addrs, err := r.LookupNetIP(ctx, "ip", host)
			if err == nil || temporary(err) {
				return addrs, err
			}
			// "No such host" may be what one of several questions came to
			// (IPv4 and IPv6, each search domain), while another was not
			// answered. It is believed if none went wrong.
			for _, family := range []string{"ip4", "ip6"} {
				found, again := strict.LookupNetIP(ctx, family, host)
				if again == nil || temporary(again) {
					return found, again
				}
			}
			return nil, err
		},
		names: make(map[string]*name),
	}
}

// refresh begins a cycle: names are looked up again, and those that neither the
// last two cycles nor the last minute needed are forgotten. (Cycles may be
// shorter than a probe, and a replica that is still being probed asks for
// nothing.)
func (r *resolver) refresh() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.cycle++
	for host, n := range r.names {
		if n.used < r.cycle-2 && time.Since(n.asked) > time.Minute {
			delete(r.names, host)
		}
	}
}

// maxLookup bounds a look-up, whoever waits for it: it serves replicas with
// different limits, so none of theirs can be its own.
const maxLookup = 10 * time.Second

// patience is how long a look-up is waited for when earlier addresses of the
// name are known: the client response timer of RFC 8767, section 5.
const patience = 1800 * time.Millisecond

// lookupPause is how long a name is left alone after a look-up that failed for
// a while: hundreds of replicas may bear it, each with its retries.
const lookupPause = time.Second

// addrs returns the addresses of t's host, at least one. It waits no longer
// than half of what a has left: the other half is the target's, or a slow
// resolver would make it look dead. The error is an *Error: KindDNS where the
// name does not exist, KindLocal where that could not be found out and no
// earlier address is known; or it is the cause of ctx's end.
func (r *resolver) addrs(ctx context.Context, t Target, a attempt) ([]netip.Addr, error) {
	if t.addr.IsValid() {
		return []netip.Addr{t.addr}, nil
	}
	n, done, known := r.name(ctx, t.host)
	select {
	case <-done:
	default:
		wait := a.left() / 2
		if known {
			wait = min(wait, patience)
		}
		timeout := time.NewTimer(wait)
		defer timeout.Stop()
		select {
		case <-done:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-timeout.C:
			return r.fallback(n, failure(KindLocal,
				"looking up %q: the resolver gave no answer within %v: look at this host's /etc/resolv.conf",
				t.host, readable(wait)))
		}
	}
	r.mu.Lock()
	addrs, err := n.addrs, n.err
	r.mu.Unlock()
	if err != nil {
		return r.fallback(n, fromLookup(t.host, err))
	}
	return addrs, nil
}

// name returns what is known of host, after it has begun a look-up if this
// cycle had none, or only one that failed for a while and left nothing to go
// by. The channel is closed when the look-up is over; known says that there are
// earlier addresses.
func (r *resolver) name(ctx context.Context, host string) (n *name, done <-chan struct{}, known bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	n = r.names[host]
	if n == nil {
		n = new(name)
		r.names[host] = n
	}
	n.used, n.asked = r.cycle, time.Now()
	known = len(n.worked) > 0
	if n.done != nil {
		select {
		case <-n.done:
		default:
			return n, n.done, known // one is under way
		}
		again := n.err != nil && temporary(n.err) && !known && time.Since(n.ended) >= lookupPause
		if n.cycle == r.cycle && !again {
			return n, n.done, known
		}
	}
	n.cycle, n.done = r.cycle, make(chan struct{})
	// The look-up outlives the probe that began it, since others wait for it
	// too; it ends by its own bound.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), maxLookup)
	go func() {
		defer cancel()
		addrs, err := r.lookup(ctx, host)
		for i := range addrs {
			addrs[i] = addrs[i].Unmap()
		}
		if err == nil && len(addrs) == 0 {
			err = &net.DNSError{Err: "no address", Name: host, IsNotFound: true}
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		n.addrs, n.err, n.ended = addrs, err, time.Now()
		if err == nil {
			n.worked = addrs
		}
		close(n.done)
	}()
	return n, n.done, known
}

// fallback returns the addresses that n had when it was last looked up with
// success, or err if there are none or if err says that the name is gone.
func (r *resolver) fallback(n *name, err *Error) ([]netip.Addr, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err.Kind == KindLocal && len(n.worked) > 0 {
		return n.worked, nil
	}
	return nil, err
}

// temporary reports whether err says nothing of the name itself.
func temporary(err error) bool {
	dns, ok := errors.AsType[*net.DNSError](err)
	return !ok || !dns.IsNotFound
}

// fromLookup turns the error of a look-up into a failure.
func fromLookup(host string, err error) *Error {
	if !temporary(err) {
		return &Error{Kind: KindDNS, Reason: fmt.Sprintf("looking up %q: no such host", host), Err: err}
	}
	what := err.Error()
	dns, ok := errors.AsType[*net.DNSError](err)
	if errors.Is(err, context.DeadlineExceeded) || ok && dns.IsTimeout {
		what = "the resolver gave no answer"
	} else if ok {
		what = dns.Err
	}
	if ok && dns.Server != "" {
		what += " (" + dns.Server + ")"
	}
	return &Error{Kind: KindLocal, Reason: fmt.Sprintf("looking up %q: %s: look at this host's /etc/resolv.conf", host, what), Err: err}
}
