package probe

import (
	"context"
	"errors"
	"math/rand/v2"
	"net/netip"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// echo is one that waits for its answer. Echoes are used again and again: what
// they hold would be half of what a ping costs beyond its system calls.
type echo struct {
	addr netip.Addr // without zone, as packets come in
	reply
	packet   [echoLen]byte
	timeout  *time.Timer
	answered chan time.Time // holds one: when the answer was read; zero when none can come any more
	heard    syscall.Errno  // what the network said of it; protected by the socket's mu
}

// ping is pinger.ping for an addr of the socket's family.
func (s *echoSocket) ping(ctx context.Context, addr netip.Addr, limit time.Duration) (time.Duration, error) {
	if ctx.Err() != nil {
		return 0, context.Cause(ctx)
	}
	e := s.expect(addr)
	if e == nil {
		return 0, socketClosed()
	}
	defer s.recycle(e)
	sent, err := s.launch(ctx, e, addr, limit)
	if err != nil {
		return 0, err
	}
	e.timeout.Reset(limit)
	select {
	case at := <-e.answered:
		return roundTrip(sent, at)
	case <-ctx.Done():
		return 0, context.Cause(ctx)
	case <-e.timeout.C:
	}
	// After a stall of this process the timer is up before the receiver has had
	// its turn: what the kernel holds by now has come in time.
	s.collect()
	s.recall(e)
	select {
	case at := <-e.answered:
		return roundTrip(sent, at)
	default:
	}
	if said := fromICMP(e.heard); said != nil {
		return 0, said
	}
	return 0, noAnswer(limit)
}

// roundTrip is the outcome of an echo that was sent and answered.
func roundTrip(sent, at time.Time) (time.Duration, error) {
	if at.IsZero() {
		return 0, socketClosed()
	}
	return at.Sub(sent), nil
}

func socketClosed() *Error { return failure(KindLocal, "the ICMP socket was closed") }

// launch sends e to addr and returns when that was. It waits at most limit
// while the send buffer is full.
func (s *echoSocket) launch(ctx context.Context, e *echo, addr netip.Addr, limit time.Duration) (time.Time, error) {
	// Seldom enough not to be felt when thousands wait; the answer's time has
	// not begun, so that this adds nothing to a latency.
	const pause = 20 * time.Millisecond
	var began time.Time
	for tries := 1; ; {
		sent := time.Now()
		if began.IsZero() {
			began = sent
		}
		err := s.send(e.packet[:], addr)
		if err == nil {
			// Go looks for packets to read only when it has nothing else to do:
			// a thousand pings that start at once would fill the receive buffer
			// with answers and lose the rest, did none of them look.
			if s.launched.Add(1)%64 == 0 {
				s.collect()
			}
			return sent, nil
		}
		errno, _ := errors.AsType[syscall.Errno](err)
		switch {
		case errno == unix.EAGAIN && sent.Sub(began) < limit:
			select {
			case <-time.After(pause):
			case <-ctx.Done():
				return sent, context.Cause(ctx)
			}
		case errno != 0 && errno != unix.EAGAIN && tries < 4:
			tries++ // it may be what the network said of another's echo
		default:
			return sent, fromSend(addr, err)
		}
	}
}

// fromSend turns the error of sending an echo to addr into a failure.
func fromSend(addr netip.Addr, err error) *Error {
	if e, ok := errors.AsType[*Error](err); ok {
		return e
	}
	var reason string
	switch {
	case errors.Is(err, unix.EAGAIN):
		reason = "this host's send buffer for ICMP is full (raise the sysctl net.core.wmem_max, then restart)"
	case errors.Is(err, unix.ENOBUFS):
		reason = "this host's neighbour table or its device's queue is full (raise the sysctl " +
			"net.ipv4.neigh.default.gc_thresh3, or net.ipv6's, and the device's txqueuelen)"
	case errors.Is(err, unix.EADDRNOTAVAIL):
		reason = "this host has no address of this family to send from (is IPv6 disabled?)"
	case errors.Is(err, unix.EINVAL) && addr.Is6() && addr.IsLinkLocalUnicast() && addr.Zone() == "":
		reason = "a link-local address needs a zone, as in fe80::1%eth0"
	default:
		return fromSyscall("sending an ICMP echo", err)
	}
	return &Error{Kind: KindLocal, Reason: reason, Err: err}
}

// fromICMP turns what the network said of an echo into a failure; nil if it
// says nothing, or what nobody knows.
func fromICMP(said syscall.Errno) *Error {
	switch said {
	case unix.ECONNREFUSED: // port unreachable, which no echo has
		return &Error{Kind: KindRefused, Reason: "refused by a firewall", Err: said}
	case unix.EACCES: // of IPv6 alone
		return &Error{Kind: KindUnreachable, Reason: "prohibited by a firewall or router", Err: said}
	}
	return fromNetwork(said)
}

// expect returns an echo to send to addr, whose answer deliver will know; nil
// when the socket is closed. The caller gives it back to recycle.
func (s *echoSocket) expect(addr netip.Addr) *echo {
	e, ok := s.idle.Get().(*echo)
	if !ok {
		e = &echo{timeout: time.NewTimer(time.Hour), answered: make(chan time.Time, 1)}
	}
	e.addr, e.heard = addr.WithZone(""), 0
	e.reply = reply{id: s.id, seq: uint16(rand.Uint32()), token: rand.Uint64()}
	marshalEcho(&e.packet, s.request, e.reply)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.waiting == nil {
		return nil
	}
	s.waiting[e.token] = e
	return e
}

// recall makes e unknown to deliver and hear.
func (s *echoSocket) recall(e *echo) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.waiting, e.token)
}

func (s *echoSocket) recycle(e *echo) {
	s.recall(e)
	e.timeout.Stop()
	select {
	case <-e.answered: // too late
	default:
	}
	s.idle.Put(e)
}

// deliver hands packet, read at the time at, to the echo that it answers: one
// to the address that it came from, with the same sequence number and the same
// token, which nobody off the path can guess. Any other packet is nobody's: a
// stranger's, forged, a duplicate, too late.
func (s *echoSocket) deliver(packet []byte, from netip.Addr, at time.Time) {
	if s.ipHeader {
		packet = stripIPv4(packet)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if e := s.findLocked(packet, s.reply, from); e != nil {
		delete(s.waiting, e.token) // a second answer would find the channel full
		e.answered <- at
	}
}

// hear keeps what the network said of the echo to an address of which packet is
// the beginning. Its ping waits on all the same, since an answer is what counts,
// and what is wrong may pass; but if there is none, this is why.
func (s *echoSocket) hear(packet []byte, to netip.Addr, said syscall.Errno) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if e := s.findLocked(packet, s.request, to); e != nil {
		e.heard = said
	}
}

// findLocked returns the echo that packet, of the ICMP type kind, belongs to;
// nil if there is none.
func (s *echoSocket) findLocked(packet []byte, kind byte, addr netip.Addr) *echo {
	r, ok := parseReply(packet, kind)
	if !ok || s.raw && r.id != s.id {
		return nil
	}
	if e := s.waiting[r.token]; e != nil && e.addr == addr && e.seq == r.seq {
		return e
	}
	return nil
}

// abandon ends all waiting for answers, for good.
func (s *echoSocket) abandon() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range s.waiting {
		e.answered <- time.Time{}
	}
	s.waiting = nil
}
