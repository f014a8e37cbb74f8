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

// echo is an ICMP echo that waits for its answer. Echoes are pooled: allocating one
// would be half of the cost of a ping beyond its system calls.
type echo struct {
	addr netip.Addr // without zone, as packets come in
	reply
	packet       [echoLen]byte
	timeout      *time.Timer
	first        *echo       // the first echo of its ping, perhaps itself; answers go to its replied
	number       int         // in its ping, from 0 on
	replied      chan answer // has room for one; a zero answer means that none can come
	networkError icmpError   // from the network; protected by the socket's mu
	next         *echo       // another with the same sequence number; protected by the socket's mu
}

// answer is the answer to an echo.
type answer struct {
	at     time.Time  // when it was read
	from   netip.Addr // invalid if it came from the address that the echo was sent to
	number int        // of the echo that it answers
}

// pong is the result of an echo that was answered.
type pong struct {
	rtt     time.Duration
	anomaly string // an oddity of the answer
}

// echoAgain is the time after which an echo without an answer is followed by another,
// since a packet may be lost: the shortest that ping(8) allows its users. maxEchoes
// is how many of them a ping of maxPing has.
const (
	echoAgain = 200 * time.Millisecond
	maxEchoes = int(maxPing / echoAgain)
)

// train holds the echoes of a ping.
type train struct {
	echoes [maxEchoes]*echo
	sent   [maxEchoes]time.Time
	n      int // of them
}

// ping is pinger.ping for an addr of the socket's family.
func (s *echoSocket) ping(ctx context.Context, addr netip.Addr, limit time.Duration) (pong, error) {
	if ctx.Err() != nil {
		return pong{}, context.Cause(ctx)
	}
	var t train
	defer s.recycle(&t)
	if err := s.follow(ctx, &t, addr, limit); err != nil {
		return pong{}, err
	}
	first := t.echoes[0]
	for last := false; !last; {
		left := limit - time.Since(t.sent[0])
		last = left <= echoAgain || t.n == maxEchoes
		if last {
			first.timeout.Reset(left)
		} else {
			first.timeout.Reset(echoAgain)
		}
		select {
		case got := <-first.replied:
			return t.answered(got)
		case <-ctx.Done():
			return pong{}, context.Cause(ctx)
		case <-first.timeout.C:
		}
		// After a stall of this process the timer fires before the receiver has run: an
		// answer that the kernel has by now arrived in time.
		s.collect()
		if last {
			s.withdraw(&t)
		}
		select {
		case got := <-first.replied:
			return t.answered(got)
		default:
		}
		// Another echo only helps if one is lost, so it never waits, and fails silently.
		if !last && s.spare.take(time.Now()) {
			_ = s.follow(ctx, &t, addr, 0)
		}
	}
	if fault := s.fault.Swap(nil); fault != nil {
		return pong{}, fault // the packet that was lost may be the answer, whatever else was said
	}
	for _, e := range t.echoes[:t.n] {
		if said := e.networkError.ofEcho(); said != nil {
			return pong{}, said
		}
	}
	return pong{}, noAnswer(limit)
}

// follow sends another echo of t to addr. It waits at most limit while the send buffer
// is full.
func (s *echoSocket) follow(ctx context.Context, t *train, addr netip.Addr, limit time.Duration) error {
	e, err := s.expect(addr, t)
	if err != nil {
		return err
	}
	t.sent[e.number], err = s.launch(ctx, e, addr, limit)
	return err
}

// answered returns the result of a ping whose echo got answers. The round trip is that
// of this echo alone: an echo lost before it adds no latency.
func (t *train) answered(a answer) (pong, error) {
	if a.at.IsZero() {
		return pong{}, socketClosed()
	}
	p := pong{rtt: a.at.Sub(t.sent[a.number])}
	if a.from.IsValid() {
		p.anomaly = "answered from another address, " + a.from.String()
	}
	return p, nil
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
			// The runtime polls the network only when idle. Without draining the
			// socket here, a burst of a thousand pings would overflow the receive
			// buffer before the receiver runs.
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
			tries++ // the error may be about the echo of another ping
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
		reason = noZone
	default:
		if refused := fromRefusedSend(addr, err); refused != nil {
			return refused
		}
		return fromSyscall("sending an ICMP echo", err)
	}
	return &Error{Kind: KindLocal, Reason: reason, Err: err}
}

// ofEcho returns e as the failure of an echo; nil if e is empty or unknown.
func (e icmpError) ofEcho() *Error {
	switch {
	case e.errno == 0:
		return nil
	case e.errno == unix.ECONNREFUSED: // port unreachable, which no echo has
		return &Error{Kind: KindRefused, Reason: "refused by a firewall", Err: e.errno}
	case e.errno == unix.EACCES, e.kind != 0:
		return e.failure()
	}
	return fromNetwork(e.errno)
}

// expect returns the next echo of t, to send to addr, whose answer deliver will find.
// The caller passes t to recycle in the end.
func (s *echoSocket) expect(addr netip.Addr, t *train) (*echo, error) {
	e, ok := s.idle.Get().(*echo)
	if !ok {
		e = &echo{timeout: time.NewTimer(time.Hour), replied: make(chan answer, 1)}
	}
	e.addr, e.networkError = addr.WithZone(""), icmpError{}
	e.reply = reply{id: s.id, seq: uint16(rand.Uint32()), token: rand.Uint64() | 1}
	e.first, e.number = e, t.n
	if t.n > 0 {
		e.first, e.seq = t.echoes[0], t.echoes[t.n-1].seq+1
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.waiting == nil {
		return nil, socketClosed()
	}
	// Devices answer with other data: then nothing else tells two echoes to the
	// same address apart.
	for range 1 << 16 {
		if s.ofAddrLocked(e.seq, e.addr) == nil {
			e.next = s.waiting[e.seq]
			s.waiting[e.seq] = e
			marshalEcho(&e.packet, s.request, e.reply)
			t.echoes[t.n] = e
			t.n++
			return e, nil
		}
		e.seq++
	}
	return nil, failure(KindLocal, "65536 ICMP echoes to it wait for an answer, which is all that there can be")
}

// withdraw makes t unknown to deliver and noteError.
func (s *echoSocket) withdraw(t *train) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range t.echoes[:t.n] {
		s.forgetLocked(e)
	}
}

func (s *echoSocket) forgetLocked(e *echo) {
	if s.waiting[e.seq] == e {
		if e.next != nil {
			s.waiting[e.seq] = e.next
		} else {
			delete(s.waiting, e.seq)
		}
	}
	for other := s.waiting[e.seq]; other != nil; other = other.next {
		if other.next == e {
			other.next = e.next
		}
	}
	e.next = nil
}

func (s *echoSocket) recycle(t *train) {
	s.withdraw(t)
	for _, e := range t.echoes[:t.n] {
		e.timeout.Stop()
		select {
		case <-e.replied: // too late
		default:
		}
		e.first = nil
		s.idle.Put(e)
	}
}

// deliver hands packet, read at the time at, to the echo that it answers. Any
// other packet is nobody's: a stranger's, forged, damaged, a duplicate, too late.
func (s *echoSocket) deliver(packet []byte, from netip.Addr, at time.Time) {
	if s.ipHeader {
		packet = stripIPv4(packet)
	}
	// A raw IPv4 socket gets what the kernel has not looked at. The sum of IPv6
	// covers addresses, and the kernel verifies it for either kind of socket.
	if s.reply == icmpv4Reply && checksum(packet) != 0 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.findLocked(packet, s.reply, from)
	if e == nil {
		return
	}
	s.forgetLocked(e)
	got := answer{at: at, number: e.number}
	if from != e.addr {
		got.from = from
	}
	e.tell(got)
}

// tell hands an answer to the ping of e, unless it has one already.
func (e *echo) tell(got answer) {
	select {
	case e.first.replied <- got:
	default:
	}
}

// noteError keeps an ICMP message about the echo to an address; packet is the start of
// that echo. Its ping goes on waiting, since an answer may still come; without one,
// the message is the reason.
func (s *echoSocket) noteError(packet []byte, to netip.Addr, said icmpError) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if e := s.findLocked(packet, s.request, to); e != nil && e.addr == to {
		e.networkError = said
	}
}

// findLocked returns the echo that packet, of the ICMP type kind, belongs to; nil if
// there is none. Sequence number and token match, whatever the address, since a host
// may answer from another of its addresses and nobody off the path can guess a token;
// or sequence number and address match, since a device may answer with other data.
func (s *echoSocket) findLocked(packet []byte, kind byte, addr netip.Addr) *echo {
	r, ok := parseReply(packet, kind)
	if !ok || s.raw && r.id != s.id {
		return nil
	}
	for e := s.waiting[r.seq]; e != nil; e = e.next {
		if e.token == r.token {
			return e
		}
	}
	return s.ofAddrLocked(r.seq, addr)
}

// ofAddrLocked returns the echo with that sequence number to addr, or nil.
func (s *echoSocket) ofAddrLocked(seq uint16, addr netip.Addr) *echo {
	for e := s.waiting[seq]; e != nil; e = e.next {
		if e.addr == addr {
			return e
		}
	}
	return nil
}

// abandon ends every wait for an answer, for good.
func (s *echoSocket) abandon() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, first := range s.waiting {
		for e := first; e != nil; e = e.next {
			e.tell(answer{})
		}
	}
	s.waiting = nil
}
