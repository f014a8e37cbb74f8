//go:build faults

package faults

import (
	"encoding/binary"
	"io"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

// zone is the names of the LAN: two with an address of each family, and one with so
// many that its answer takes TCP.
var zone = map[string][]netip.Addr{
	"db.lan.":   {netip.MustParseAddr("10.9.1.5"), netip.MustParseAddr("fd09:1::5")},
	"web.lan.":  {netip.MustParseAddr("10.9.1.6"), netip.MustParseAddr("fd09:1::6")},
	"many.lan.": addresses(100),
}

// addresses returns the first n of the LAN.
func addresses(n byte) []netip.Addr {
	var all []netip.Addr
	for i := range n {
		all = append(all, netip.AddrFrom4([4]byte{10, 9, 1, i + 1}))
	}
	return all
}

// lie makes another answer of the honest one; nil: none is sent.
type lie func(query, honest []byte) []byte

// resolver is the only nameserver of the daemon.
type resolver struct {
	conn       net.PacketConn
	lying      atomic.Pointer[lie]
	delay      atomic.Int64 // time.Duration before an answer
	truncating atomic.Bool  // of whatever it is asked over UDP
	overTCP    atomic.Int64 // answers
}

// longestDatagram is the most that a resolver sends over UDP without EDNS (RFC 1035,
// 4.2.1), in bytes.
const longestDatagram = 512

func newResolver(t *testing.T) *resolver {
	t.Helper()
	conn, err := net.ListenPacket("udp", farAddress+":53")
	if err != nil {
		t.Fatal(err)
	}
	r := &resolver{conn: conn}
	var serving sync.WaitGroup
	serving.Go(r.serve)
	t.Cleanup(func() { conn.Close(); serving.Wait() })
	return r
}

func (r *resolver) serve() {
	buffer := make([]byte, 1500)
	for {
		n, from, err := r.conn.ReadFrom(buffer)
		if err != nil {
			return
		}
		query := append([]byte(nil), buffer[:n]...)
		reply := r.answer(query)
		if len(reply) > longestDatagram || reply != nil && r.truncating.Load() {
			reply = truncated(reply)
		}
		if reply != nil {
			time.AfterFunc(time.Duration(r.delay.Load()), func() { _, _ = r.conn.WriteTo(reply, from) })
		}
	}
}

// answer returns what the resolver says, nil if that is nothing.
func (r *resolver) answer(query []byte) []byte {
	reply := honest(query)
	if tell := r.lying.Load(); tell != nil {
		reply = (*tell)(query, reply)
	}
	return reply
}

// truncated returns the reply without its answers, which are to be had over TCP.
func truncated(reply []byte) []byte {
	var m dnsmessage.Message
	if err := m.Unpack(reply); err != nil {
		return nil
	}
	m.Truncated, m.Answers = true, nil
	cut, err := m.Pack()
	if err != nil {
		return nil
	}
	return cut
}

// serveTCP makes the resolver answer over TCP, too, until the test ends.
func (r *resolver) serveTCP(t *testing.T) {
	t.Helper()
	serve(t, farAddress+":53", func(conn *net.TCPConn) {
		for {
			var size [2]byte
			if _, err := io.ReadFull(conn, size[:]); err != nil {
				return
			}
			query := make([]byte, binary.BigEndian.Uint16(size[:]))
			if _, err := io.ReadFull(conn, query); err != nil {
				return
			}
			if reply := r.answer(query); reply != nil {
				r.overTCP.Add(1)
				_, _ = conn.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(reply))), reply...))
			}
		}
	})
}

// tells makes the resolver lie, and returns what makes it honest.
func (r *resolver) tells(l lie) func() {
	r.lying.Store(&l)
	return func() { r.lying.Store(nil) }
}

// honest answers from the zone.
func honest(query []byte) []byte {
	var parser dnsmessage.Parser
	header, err := parser.Start(query)
	if err != nil {
		return nil
	}
	question, err := parser.Question()
	if err != nil {
		return nil
	}
	reply := dnsmessage.Message{
		Header:    dnsmessage.Header{ID: header.ID, Response: true, RecursionDesired: true, RecursionAvailable: true},
		Questions: []dnsmessage.Question{question},
	}
	addrs, known := zone[question.Name.String()]
	if !known {
		reply.RCode = dnsmessage.RCodeNameError
	}
	head := dnsmessage.ResourceHeader{Name: question.Name, Class: question.Class, TTL: 1}
	for _, addr := range addrs {
		switch {
		case question.Type == dnsmessage.TypeA && addr.Is4():
			reply.Answers = append(reply.Answers, dnsmessage.Resource{Header: head, Body: &dnsmessage.AResource{A: addr.As4()}})
		case question.Type == dnsmessage.TypeAAAA && addr.Is6():
			reply.Answers = append(reply.Answers, dnsmessage.Resource{Header: head, Body: &dnsmessage.AAAAResource{AAAA: addr.As16()}})
		}
	}
	packed, err := reply.Pack()
	if err != nil {
		return nil
	}
	return packed
}
