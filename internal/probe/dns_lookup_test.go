package probe

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

// good knows web.test. in both families and db.test. in IPv4.
var good = zone("web.test. 10.0.0.5", "web.test. 2001:db8::5", "db.test. 10.0.0.6")

// wrong makes a well-formed answer with the records of web.test. a strange one.
func wrong(change func(*dnsmessage.Message)) func(asked) []byte {
	return func(q asked) []byte {
		m := q.respond(dnsmessage.RCodeSuccess)
		switch q.family {
		case typeA:
			m.Answers = []dnsmessage.Resource{recordOf(q.name, "10.0.0.5")}
		case typeAAAA:
			m.Answers = []dnsmessage.Resource{recordOf(q.name, "2001:db8::5")}
		}
		change(&m)
		return packed(m)
	}
}

// chained leads any name to 10.0.0.5 over n CNAME records.
func chained(n int) func(asked) []byte {
	return func(q asked) []byte {
		m := q.respond(dnsmessage.RCodeSuccess)
		name := q.name
		for i := range n {
			next := fmt.Sprintf("c%d.test.", i)
			m.Answers = append(m.Answers, recordOf(name, next))
			name = next
		}
		if q.family == typeA {
			m.Answers = append(m.Answers, recordOf(name, "10.0.0.5"))
		}
		return packed(m)
	}
}

func TestWhatNameserversDo(t *testing.T) {
	fail := func(code dnsmessage.RCode) func(asked) []byte { return refuses(code) }
	garbage := func(q asked) []byte { return binary.BigEndian.AppendUint16(nil, q.message.ID) }
	for _, tt := range []struct {
		name    string
		servers []func(asked) []byte // over UDP, and over TCP unless stream says so
		stream  serveTCP
		noTCP   bool
		options string
		host    string // web.test where empty
		want    string // the addresses, in any order
		icmp    string // the same for icmp, where it differs
		err     string
	}{
		{name: "both families", servers: []func(asked) []byte{good}, want: "10.0.0.5 2001:db8::5"},
		{name: "capitals in the answer", servers: []func(asked) []byte{wrong(func(m *dnsmessage.Message) {
			m.Answers[0].Header.Name = dnsmessage.MustNewName("WEB.test.")
		})}, want: "10.0.0.5 2001:db8::5"},
		{name: "OPT in the answer section", servers: []func(asked) []byte{wrong(func(m *dnsmessage.Message) {
			m.Answers = append([]dnsmessage.Resource{opt()}, m.Answers...)
		})}, want: "10.0.0.5 2001:db8::5"},
		{name: "OPT in the answer section, the answer pushed into the next", servers: []func(asked) []byte{wrong(func(m *dnsmessage.Message) {
			m.Answers, m.Additionals = []dnsmessage.Resource{opt()}, m.Answers
		})}, want: "10.0.0.5 2001:db8::5"},
		{name: "records that nobody asked for", servers: []func(asked) []byte{wrong(func(m *dnsmessage.Message) {
			txt := m.Answers[0]
			txt.Body = &dnsmessage.TXTResource{TXT: []string{"10.0.0.9"}}
			m.Answers = append([]dnsmessage.Resource{txt, recordOf("other.test.", "10.0.0.9")}, m.Answers...)
			m.Additionals = []dnsmessage.Resource{recordOf("web.test.", "10.0.0.9"), opt()}
		})}, want: "10.0.0.5 2001:db8::5"},
		{name: "a chain of CNAME records in the wrong order", servers: []func(asked) []byte{wrong(func(m *dnsmessage.Message) {
			m.Answers[0].Header.Name = dnsmessage.MustNewName("b.test.")
			m.Answers = append(m.Answers, recordOf("A.test.", "b.test."), recordOf("web.test.", "a.test."))
		})}, want: "10.0.0.5 2001:db8::5"},
		{name: "a chain of 64 CNAME records", servers: []func(asked) []byte{chained(64)}, want: "10.0.0.5"},
		{name: "a chain of 65 CNAME records", servers: []func(asked) []byte{chained(65)}, err: "over 64 CNAME records"},
		{name: "a CNAME loop", servers: []func(asked) []byte{wrong(func(m *dnsmessage.Message) {
			m.Answers = []dnsmessage.Resource{recordOf("web.test.", "a.test."), recordOf("a.test.", "web.test.")}
		})}, err: "CNAME loop"},
		{name: "EDNS is FORMERR", servers: []func(asked) []byte{func(q asked) []byte {
			if len(q.message.Additionals) > 0 {
				return refuses(dnsmessage.RCodeFormatError)(q)
			}
			return good(q)
		}}, want: "10.0.0.5 2001:db8::5"},
		{name: "AAAA never", servers: []func(asked) []byte{onlyFor(typeAAAA, mute, good)}, want: "10.0.0.5"},
		{name: "AAAA SERVFAIL", servers: []func(asked) []byte{onlyFor(typeAAAA, fail(dnsmessage.RCodeServerFailure), good)}, want: "10.0.0.5"},
		{name: "AAAA REFUSED", servers: []func(asked) []byte{onlyFor(typeAAAA, fail(dnsmessage.RCodeRefused), good)}, want: "10.0.0.5"},
		{name: "AAAA NOTIMP", servers: []func(asked) []byte{onlyFor(typeAAAA, fail(dnsmessage.RCodeNotImplemented), good)}, want: "10.0.0.5"},
		{name: "AAAA FORMERR", servers: []func(asked) []byte{onlyFor(typeAAAA, fail(dnsmessage.RCodeFormatError), good)}, want: "10.0.0.5"},
		{name: "AAAA NXDOMAIN", servers: []func(asked) []byte{onlyFor(typeAAAA, nxdomain, good)}, want: "10.0.0.5"},
		{name: "AAAA garbage", servers: []func(asked) []byte{onlyFor(typeAAAA, garbage, good)}, want: "10.0.0.5"},
		{name: "A never", servers: []func(asked) []byte{onlyFor(typeA, mute, good)}, want: "2001:db8::5"},
		{name: "A SERVFAIL", servers: []func(asked) []byte{onlyFor(typeA, fail(dnsmessage.RCodeServerFailure), good)}, want: "2001:db8::5"},
		{name: "no-aaaa", servers: []func(asked) []byte{good}, options: "options no-aaaa", want: "10.0.0.5"},
		{name: "IPv4 alone", servers: []func(asked) []byte{good}, host: "db.test", want: "10.0.0.6"},
		{name: "NXDOMAIN", servers: []func(asked) []byte{good}, host: "gone.test", err: "no such host"},
		{name: "no address in either family", servers: []func(asked) []byte{zone("web.test. a.test.")}, err: "no such host"},
		{name: "no address, no-aaaa", servers: []func(asked) []byte{zone("web.test. 2001:db8::5")}, options: "options no-aaaa", err: "no such host"},
		{name: "no IPv4 address, IPv6 never", servers: []func(asked) []byte{onlyFor(typeAAAA, mute, zone("web.test. a.test."))}, err: "no answer"},
		{name: "no IPv4 address, IPv6 SERVFAIL", servers: []func(asked) []byte{onlyFor(typeAAAA, fail(dnsmessage.RCodeServerFailure), zone("web.test. a.test."))}, err: "SERVFAIL (127.0.0.1"},
		{name: "NXDOMAIN for IPv4, IPv6 NOTIMP", servers: []func(asked) []byte{onlyFor(typeAAAA, fail(dnsmessage.RCodeNotImplemented), nxdomain)}, err: "no such host"},
		{name: "NXDOMAIN for IPv4, IPv6 never", servers: []func(asked) []byte{onlyFor(typeAAAA, mute, nxdomain)}, err: "no answer"},
		{name: "NXDOMAIN for IPv6, IPv4 never", servers: []func(asked) []byte{onlyFor(typeA, mute, nxdomain)}, err: "no answer"},
		{name: "first nameserver silent", servers: []func(asked) []byte{mute, good}, want: "10.0.0.5 2001:db8::5"},
		{name: "two of three silent", servers: []func(asked) []byte{mute, mute, good}, want: "10.0.0.5 2001:db8::5"},
		{name: "first nameserver SERVFAIL", servers: []func(asked) []byte{fail(dnsmessage.RCodeServerFailure), good}, want: "10.0.0.5 2001:db8::5"},
		{name: "first nameserver REFUSED", servers: []func(asked) []byte{fail(dnsmessage.RCodeRefused), good}, want: "10.0.0.5 2001:db8::5"},
		{name: "first nameserver garbage", servers: []func(asked) []byte{garbage, good}, want: "10.0.0.5 2001:db8::5"},
		{name: "first nameserver not there", servers: []func(asked) []byte{nil, good}, want: "10.0.0.5 2001:db8::5"},
		{name: "first nameserver knows no better", servers: []func(asked) []byte{func(q asked) []byte {
			m := q.respond(dnsmessage.RCodeSuccess)
			m.RecursionAvailable = false
			return packed(m)
		}, good}, want: "10.0.0.5 2001:db8::5"},
		{name: "all silent", servers: []func(asked) []byte{mute, mute}, err: "no answer"},
		{name: "nobody there", servers: []func(asked) []byte{nil, nil}, err: "connection refused (127.0.0.1"},
		{name: "all SERVFAIL", servers: []func(asked) []byte{fail(dnsmessage.RCodeServerFailure)}, err: "SERVFAIL (127.0.0.1"},
		{name: "all REFUSED", servers: []func(asked) []byte{fail(dnsmessage.RCodeRefused)}, err: "REFUSED (127.0.0.1"},
		{name: "a header alone", servers: []func(asked) []byte{func(q asked) []byte {
			m := q.respond(dnsmessage.RCodeSuccess)
			m.Questions = nil
			return packed(m)
		}}, err: "answer without the question"},
		{name: "an answer for another name", servers: []func(asked) []byte{wrong(func(m *dnsmessage.Message) {
			m.Questions[0].Name = dnsmessage.MustNewName("other.test.")
		})}, err: "no answer"},
		{name: "an answer with another id", servers: []func(asked) []byte{wrong(func(m *dnsmessage.Message) { m.ID++ })}, err: "no answer"},
		{name: "the question sent back", servers: []func(asked) []byte{wrong(func(m *dnsmessage.Message) { m.Response = false })}, err: "no answer"},
		{name: "an address of three bytes", servers: []func(asked) []byte{func(q asked) []byte {
			msg := wrong(func(*dnsmessage.Message) {})(q)
			return msg[:len(msg)-1]
		}}, err: "malformed answer (127.0.0.1"},
		{name: "it breaks off after an address", servers: []func(asked) []byte{func(q asked) []byte {
			msg := wrong(func(m *dnsmessage.Message) { m.Answers = append(m.Answers, m.Answers[0]) })(q)
			return msg[:len(msg)-3]
		}}, want: "10.0.0.5 2001:db8::5"},
		{name: "truncated, whole over TCP", servers: []func(asked) []byte{truncated("10.0.0.1")}, stream: framed(good), want: "10.0.0.5 2001:db8::5"},
		{name: "truncated and empty, whole over TCP", servers: []func(asked) []byte{truncated()}, stream: framed(good), want: "10.0.0.5 2001:db8::5"},
		{name: "truncated, no TCP", servers: []func(asked) []byte{truncated("10.0.0.1")}, noTCP: true, want: "10.0.0.1", icmp: "the answer is truncated"},
		{name: "truncated and empty, no TCP", servers: []func(asked) []byte{truncated()}, noTCP: true, err: "over TCP: connection refused (127.0.0.1"},
		{name: "truncated, TCP silent", servers: []func(asked) []byte{truncated("10.0.0.1")}, stream: framed(mute), want: "10.0.0.1", icmp: "the answer is truncated"},
		{name: "truncated, the second whole", servers: []func(asked) []byte{truncated("10.0.0.1"), good}, noTCP: true, want: "10.0.0.5 2001:db8::5"},
		{name: "truncated, a byte at a time over TCP", servers: []func(asked) []byte{truncated("10.0.0.1")}, stream: drip, want: "10.0.0.1", icmp: "the answer is truncated"},
		{name: "truncated and empty, a byte at a time over TCP", servers: []func(asked) []byte{truncated()}, stream: drip, err: "over TCP: no answer in time"},
		{name: "another answer first, over TCP", servers: []func(asked) []byte{truncated()}, stream: func(conn net.Conn, q asked) {
			framed(wrong(func(m *dnsmessage.Message) { m.ID++ }))(conn, q)
			framed(good)(conn, q)
		}, want: "10.0.0.5 2001:db8::5"},
		{name: "use-vc", servers: []func(asked) []byte{mute}, stream: framed(good), options: "options use-vc", want: "10.0.0.5 2001:db8::5"},
		{name: "use-vc, no TCP", servers: []func(asked) []byte{good}, noTCP: true, options: "options use-vc", err: "over TCP: connection refused"},
		{name: "options that change nothing", servers: []func(asked) []byte{good}, options: "options rotate single-request single-request-reopen edns0 trust-ad timeout:1 attempts:3", want: "10.0.0.5 2001:db8::5"},
		{name: "a search list, AAAA never", servers: []func(asked) []byte{onlyFor(typeAAAA, mute, good)}, options: "search corp.test test", host: "db", want: "10.0.0.6"},
		{name: "a search list whose first domain is out of order", servers: []func(asked) []byte{func(q asked) []byte {
			if strings.HasSuffix(q.name, ".corp.test.") {
				return fail(dnsmessage.RCodeServerFailure)(q)
			}
			return good(q)
		}}, options: "search corp.test test", host: "db", want: "10.0.0.6"},
		{name: "nowhere on a search list, a domain of which is out of order", servers: []func(asked) []byte{func(q asked) []byte {
			if strings.HasSuffix(q.name, ".corp.test.") {
				return fail(dnsmessage.RCodeServerFailure)(q)
			}
			return good(q)
		}}, options: "search corp.test test", host: "gone", err: "SERVFAIL"},
		{name: "a name that DNS cannot have", servers: []func(asked) []byte{good}, host: "web..test", err: "no such host"},
		{name: "a label that DNS cannot have", servers: []func(asked) []byte{good}, host: strings.Repeat("x", 64) + ".test", err: "no such host"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			port := serveAll(t, tt.servers, tt.stream, tt.noTCP)
			r, s, _ := resolverAt(t, port, nameserverLines(len(tt.servers))+tt.options+"\n", "")
			host := "web.test"
			if tt.host != "" {
				host = tt.host
			}
			limit := 6 * time.Second
			if tt.err == "no answer" { // which takes as long as it may
				limit = 600 * time.Millisecond
			}
			for _, scheme := range []string{"tcp", "icmp"} {
				addrs, err := r.addrs(t.Context(), mustParse(t, scheme+"://"+host+":1"), within(limit))
				got, wantErr := texts(addrs), tt.err
				if scheme == "icmp" && tt.icmp != "" {
					wantErr = tt.icmp
				}
				switch {
				case wantErr == "" && (err != nil || got != tt.want):
					t.Errorf("%s: got %q, %v, want %q", scheme, got, err, tt.want)
				case wantErr != "" && (err == nil || !strings.Contains(err.Error(), wantErr)):
					t.Errorf("%s: got %q, %v, want a failure because %q", scheme, got, err, wantErr)
				case wantErr != "" && (kindOf(err) == KindDNS) != (wantErr == "no such host"):
					t.Errorf("%s: %v is of kind %s", scheme, err, kindOf(err))
				}
			}
			wantIdle(t, s)
		})
	}
}

// truncated says that there is more than it has room for.
func truncated(addrs ...string) func(asked) []byte {
	return func(q asked) []byte {
		m := q.respond(dnsmessage.RCodeSuccess)
		m.Truncated = true
		for _, addr := range addrs {
			if r := recordOf(q.name, addr); typeOf(r) == q.family {
				m.Answers = append(m.Answers, r)
			}
		}
		return packed(m)
	}
}

// drip announces as much as can be announced, and sends it a byte at a time.
func drip(conn net.Conn, _ asked) {
	conn.Write([]byte{0xff, 0xff})
	for {
		if _, err := conn.Write([]byte{0}); err != nil {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// serveAll begins nameservers at 127.0.0.1, 127.0.0.2, … at one port; there is
// none where the entry is nil.
func serveAll(t *testing.T, servers []func(asked) []byte, stream serveTCP, noTCP bool) uint16 {
	t.Helper()
	for range 100 {
		bound, err := bindAll(servers, !noTCP)
		if err != nil {
			continue
		}
		port := closedPort(t).Port()
		for i, s := range bound {
			if s == nil {
				continue
			}
			port = s.port()
			switch {
			case noTCP:
				s.serve(t, servers[i], nil)
			case stream == nil:
				s.serve(t, servers[i], framed(servers[i]))
			default:
				s.serve(t, servers[i], stream)
			}
		}
		return port
	}
	t.Fatal("got no port that is free on all addresses")
	return 0
}

// bindAll opens the sockets of serveAll.
func bindAll(servers []func(asked) []byte, stream bool) ([]*dnsServer, error) {
	port, bound := uint16(0), make([]*dnsServer, len(servers))
	for i, answer := range servers {
		if answer == nil {
			continue
		}
		s, err := bindDNS(fmt.Sprintf("127.0.0.%d:%d", i+1, port), stream)
		if err != nil {
			for _, s := range bound {
				if s != nil {
					s.close()
				}
			}
			return nil, err
		}
		bound[i], port = s, s.port()
	}
	return bound, nil
}

// texts returns addresses in order, as text.
func texts(addrs []netip.Addr) string {
	addrs = slices.SortedFunc(slices.Values(addrs), netip.Addr.Compare)
	return strings.Trim(fmt.Sprint(addrs), "[]")
}

// wantIdle waits until no exchange of s is left.
func wantIdle(t *testing.T, s *stub) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); len(s.exchanger.slots) > 0; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%d exchanges go on, want none when nobody waits", len(s.exchanger.slots))
		}
	}
}
