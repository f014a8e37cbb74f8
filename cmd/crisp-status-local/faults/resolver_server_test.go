//go:build faults

package faults

import (
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

// zone is the names of the LAN, each with an address of both families.
var zone = map[string][2]netip.Addr{
	"db.lan.":  {netip.MustParseAddr("10.9.1.5"), netip.MustParseAddr("fd09:1::5")},
	"web.lan.": {netip.MustParseAddr("10.9.1.6"), netip.MustParseAddr("fd09:1::6")},
}

// lie makes another answer of the honest one; nil: none is sent.
type lie func(query, honest []byte) []byte

// resolver is the only nameserver of the daemon.
type resolver struct {
	conn  net.PacketConn
	lying atomic.Pointer[lie]
	delay atomic.Int64 // time.Duration before an answer
}

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
		reply := honest(query)
		if tell := r.lying.Load(); tell != nil {
			reply = (*tell)(query, reply)
		}
		if reply != nil {
			time.AfterFunc(time.Duration(r.delay.Load()), func() { _, _ = r.conn.WriteTo(reply, from) })
		}
	}
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
	head := dnsmessage.ResourceHeader{Name: question.Name, Class: question.Class, TTL: 1}
	switch {
	case !known:
		reply.RCode = dnsmessage.RCodeNameError
	case question.Type == dnsmessage.TypeA:
		reply.Answers = []dnsmessage.Resource{{Header: head, Body: &dnsmessage.AResource{A: addrs[0].As4()}}}
	case question.Type == dnsmessage.TypeAAAA:
		reply.Answers = []dnsmessage.Resource{{Header: head, Body: &dnsmessage.AAAAResource{AAAA: addrs[1].As16()}}}
	}
	packed, err := reply.Pack()
	if err != nil {
		return nil
	}
	return packed
}
