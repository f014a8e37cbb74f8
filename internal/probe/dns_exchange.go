package probe

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// exchanger asks one nameserver one question. It bounds how many sockets all
// look-ups together have open: a resolver that is silent must not use up the
// files that probes of addresses need.
type exchanger struct {
	slots chan struct{}
}

// newExchanger leaves seven eighths of the process's files to others.
func newExchanger() exchanger {
	return exchanger{make(chan struct{}, maxQuestions(openFiles()))}
}

// exchangeTiming is how patient an exchange is.
type exchangeTiming struct {
	resend time.Duration // without an answer, the datagram is sent again
	tcp    time.Duration // for an answer over TCP, after a truncated one
}

// exchange sends q to server and waits for the answer until ctx ends. A
// truncated answer is asked again over TCP; where that fails it is returned as
// it came. useTCP asks over TCP at once. The error says why there is no answer
// that can be used.
func (e exchanger) exchange(ctx context.Context, server netip.AddrPort, q dnsQuestion, wait exchangeTiming) (dnsReply, error) {
	select {
	case e.slots <- struct{}{}:
		defer func() { <-e.slots }()
	case <-ctx.Done():
		return dnsReply{}, context.Cause(ctx)
	}
	r, err := overUDP(ctx, server, q, wait.resend)
	if err != nil || !r.truncated {
		return r, err
	}
	limited, cancel := context.WithTimeout(ctx, wait.tcp)
	defer cancel()
	whole, err := overTCP(limited, server, q)
	switch {
	case err == nil:
		return whole, nil
	case len(r.addrs) > 0:
		return r, nil
	case limited.Err() != nil && ctx.Err() == nil:
		err = errors.New("no answer in time")
	}
	return r, wrapTCP(err)
}

// exchangeTCP is exchange where resolv.conf wants TCP alone.
func (e exchanger) exchangeTCP(ctx context.Context, server netip.AddrPort, q dnsQuestion, _ exchangeTiming) (dnsReply, error) {
	select {
	case e.slots <- struct{}{}:
		defer func() { <-e.slots }()
	case <-ctx.Done():
		return dnsReply{}, context.Cause(ctx)
	}
	r, err := overTCP(ctx, server, q)
	return r, wrapTCP(err)
}

// wrapTCP says of an error that it was met over TCP.
func wrapTCP(err error) error {
	switch err := err.(type) {
	case nil:
		return nil
	case answerError:
		return "over TCP: " + err
	}
	return fmt.Errorf("over TCP: %w", err)
}

// datagrams pools buffers for answers over UDP. Without EDNS they have at most 512
// bytes, but longer ones are read too.
var datagrams = sync.Pool{New: func() any { return new([4096]byte) }}

// overUDP asks over UDP, again and again until an answer comes. What answers
// another question, or none, is passed over: anybody may send it.
func overUDP(ctx context.Context, server netip.AddrPort, q dnsQuestion, resend time.Duration) (dnsReply, error) {
	conn, id, msg, err := dialNameserver(ctx, "udp", server, q)
	if err != nil {
		return dnsReply{}, err
	}
	defer conn.Close()
	defer expireWith(ctx, conn)()
	buf := datagrams.Get().(*[4096]byte)
	defer datagrams.Put(buf)
	for {
		if _, err := conn.Write(msg); err != nil {
			return dnsReply{}, socketError(ctx, err)
		}
		if err := conn.SetReadDeadline(time.Now().Add(resend)); err != nil {
			return dnsReply{}, err
		}
		for ctx.Err() == nil { // after the deadline was set: its end sets another
			n, err := conn.Read(buf[:])
			if errors.Is(err, os.ErrDeadlineExceeded) {
				break
			}
			if err != nil {
				return dnsReply{}, socketError(ctx, err)
			}
			if r, err := q.read(id, buf[:n]); err != errForeign {
				r.truncated = r.truncated || n == len(buf)
				return r, err
			}
		}
		if ctx.Err() != nil {
			return dnsReply{}, context.Cause(ctx)
		}
	}
}

// overTCP asks over TCP (RFC 1035, 4.2.2).
func overTCP(ctx context.Context, server netip.AddrPort, q dnsQuestion) (dnsReply, error) {
	conn, id, msg, err := dialNameserver(ctx, "tcp", server, q)
	if err != nil {
		return dnsReply{}, err
	}
	defer conn.Close()
	defer expireWith(ctx, conn)()
	if _, err := conn.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(msg))), msg...)); err != nil {
		return dnsReply{}, socketError(ctx, err)
	}
	for {
		var size [2]byte
		if _, err := io.ReadFull(conn, size[:]); err != nil {
			return dnsReply{}, socketError(ctx, err)
		}
		// The buffer grows with the bytes received, not with the length announced.
		var answer bytes.Buffer
		if _, err := io.CopyN(&answer, conn, int64(binary.BigEndian.Uint16(size[:]))); err != nil {
			return dnsReply{}, socketError(ctx, err)
		}
		if r, err := q.read(id, answer.Bytes()); err != errForeign {
			return r, err
		}
	}
}

// dialNameserver connects a socket of its own, whose random port is half of what a forger
// has to guess, and packs q under a random id, which is the other half.
func dialNameserver(ctx context.Context, network string, server netip.AddrPort, q dnsQuestion) (net.Conn, uint16, []byte, error) {
	id := uint16(rand.Uint32())
	msg, err := q.pack(id)
	if err != nil {
		return nil, 0, nil, err
	}
	conn, err := new(net.Dialer).DialContext(ctx, network, server.String())
	if err != nil {
		return nil, 0, nil, socketError(ctx, err)
	}
	return conn, id, msg, nil
}

// socketError returns the cause of ctx's end if that is what err comes from,
// else what is wrong in words.
func socketError(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return errors.New("connection closed before the answer was complete")
	}
	if errno, ok := errors.AsType[unix.Errno](err); ok {
		return errno
	}
	return err
}
