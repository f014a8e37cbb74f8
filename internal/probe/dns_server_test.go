package probe

import (
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

const (
	typeA    = dnsmessage.TypeA
	typeAAAA = dnsmessage.TypeAAAA
)

// asked is a question that a nameserver of a test got.
type asked struct {
	network string // udp or tcp
	name    string
	family  dnsmessage.Type
	message dnsmessage.Message
}

// dnsServer is a nameserver over UDP and TCP that answers what the test wants,
// byte for byte; nil is silence.
type dnsServer struct {
	udp net.PacketConn
	tcp net.Listener // nil: refused

	mu   sync.Mutex
	seen []asked
}

// serveTCP writes the answer of a stream, whatever its form.
type serveTCP func(conn net.Conn, q asked)

// framed answers over TCP as it should be.
func framed(answer func(asked) []byte) serveTCP {
	return func(conn net.Conn, q asked) {
		if msg := answer(q); msg != nil {
			conn.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(msg))), msg...))
		}
	}
}

// conversing is framed for clients that ask more than one question on a
// connection, as glibc does. Where there is no answer it ends.
func conversing(answer func(asked) []byte) serveTCP {
	return func(conn net.Conn, q asked) {
		for ok := true; ok && answer(q) != nil; q, ok = askedIn("tcp", readFramed(conn)) {
			framed(answer)(conn, q)
		}
	}
}

// listenDNS begins a nameserver at address. Nil for stream refuses TCP.
func listenDNS(t testing.TB, address string, datagram func(asked) []byte, stream serveTCP) *dnsServer {
	t.Helper()
	for range 100 {
		if s, err := bindDNS(address, stream != nil); err == nil {
			s.serve(t, datagram, stream)
			return s
		} else if !strings.HasSuffix(address, ":0") {
			t.Fatal(err)
		}
	}
	t.Fatal("got no port that is free for UDP and TCP")
	return nil
}

// bindDNS opens the sockets of a nameserver.
func bindDNS(address string, stream bool) (*dnsServer, error) {
	udp, err := net.ListenPacket("udp", address)
	if err != nil || !stream {
		return &dnsServer{udp: udp}, err
	}
	tcp, err := net.Listen("tcp", udp.LocalAddr().String())
	if err != nil {
		udp.Close()
	}
	return &dnsServer{udp: udp, tcp: tcp}, err
}

func (s *dnsServer) close() {
	s.udp.Close()
	if s.tcp != nil {
		s.tcp.Close()
	}
}

// serve answers until the test ends.
func (s *dnsServer) serve(t testing.TB, datagram func(asked) []byte, stream serveTCP) {
	var wg sync.WaitGroup
	t.Cleanup(func() {
		s.close()
		wg.Wait()
	})
	wg.Go(func() {
		buf := make([]byte, 512)
		for {
			n, from, err := s.udp.ReadFrom(buf)
			if err != nil {
				return
			}
			if q, ok := s.note("udp", buf[:n]); ok {
				if msg := datagram(q); msg != nil {
					s.udp.WriteTo(msg, from)
				}
			}
		}
	})
	if stream == nil {
		return
	}
	wg.Go(func() {
		for {
			conn, err := s.tcp.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer conn.Close()
				if q, ok := s.note("tcp", readFramed(conn)); ok {
					stream(conn, q)
				}
			})
		}
	})
}

// readFramed reads a message over TCP, or returns nil.
func readFramed(conn net.Conn) []byte {
	size := make([]byte, 2)
	if _, err := io.ReadFull(conn, size); err != nil {
		return nil
	}
	msg := make([]byte, binary.BigEndian.Uint16(size))
	if _, err := io.ReadFull(conn, msg); err != nil {
		return nil
	}
	return msg
}

func (s *dnsServer) note(network string, msg []byte) (asked, bool) {
	q, ok := askedIn(network, msg)
	if !ok {
		return q, false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.seen = append(s.seen, q)
	return q, true
}

// askedIn returns the question that a message is.
func askedIn(network string, msg []byte) (asked, bool) {
	q := asked{network: network}
	if q.message.Unpack(msg) != nil || len(q.message.Questions) != 1 {
		return q, false
	}
	q.name, q.family = q.message.Questions[0].Name.String(), q.message.Questions[0].Type
	return q, true
}

// questions returns what was asked: "A db.", "AAAA db." over UDP, "tcp A db.".
func (s *dnsServer) questions() (all []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, q := range s.seen {
		text := strings.TrimPrefix(q.family.String(), "Type") + " " + q.name
		if q.network == "tcp" {
			text = "tcp " + text
		}
		all = append(all, text)
	}
	return all
}

func (s *dnsServer) port() uint16 { return s.udp.LocalAddr().(*net.UDPAddr).AddrPort().Port() }

// record returns an A, AAAA or CNAME record.
func recordOf(owner, value string) dnsmessage.Resource {
	h := dnsmessage.ResourceHeader{Name: dnsmessage.MustNewName(owner), Class: dnsmessage.ClassINET}
	addr, err := netip.ParseAddr(value)
	switch {
	case err != nil:
		return dnsmessage.Resource{Header: h, Body: &dnsmessage.CNAMEResource{CNAME: dnsmessage.MustNewName(value)}}
	case addr.Is4():
		return dnsmessage.Resource{Header: h, Body: &dnsmessage.AResource{A: addr.As4()}}
	}
	return dnsmessage.Resource{Header: h, Body: &dnsmessage.AAAAResource{AAAA: addr.As16()}}
}

// opt is the record of EDNS.
func opt() dnsmessage.Resource {
	var h dnsmessage.ResourceHeader
	h.SetEDNS0(1232, dnsmessage.RCodeSuccess, false)
	return dnsmessage.Resource{Header: h, Body: &dnsmessage.OPTResource{}}
}

// respond returns an answer to q with those records.
func (q asked) respond(code dnsmessage.RCode, answers ...dnsmessage.Resource) dnsmessage.Message {
	m := q.message
	m.Response, m.RecursionAvailable, m.RCode, m.Answers = true, true, code, answers
	m.Additionals = nil
	return m
}

func packed(m dnsmessage.Message) []byte {
	msg, err := m.Pack()
	if err != nil {
		panic(err)
	}
	return msg
}

// refuses answers everything with a code.
func refuses(code dnsmessage.RCode) func(asked) []byte {
	return func(q asked) []byte { return packed(q.respond(code)) }
}

var nxdomain = refuses(dnsmessage.RCodeNameError)

func mute(asked) []byte { return nil }

// zone answers from records "owner value"; names that are not in it do not exist.
func zone(records ...string) func(asked) []byte {
	return func(q asked) []byte {
		var found []dnsmessage.Resource
		exists := false
		for _, r := range records {
			owner, value, _ := strings.Cut(r, " ")
			if strings.EqualFold(owner, q.name) {
				exists = true
				if r := recordOf(owner, value); typeOf(r) == q.family {
					found = append(found, r)
				}
			}
		}
		if !exists {
			return nxdomain(q)
		}
		return packed(q.respond(dnsmessage.RCodeSuccess, found...))
	}
}

func typeOf(r dnsmessage.Resource) dnsmessage.Type {
	switch r.Body.(type) {
	case *dnsmessage.AResource:
		return typeA
	case *dnsmessage.AAAAResource:
		return typeAAAA
	}
	return dnsmessage.TypeCNAME
}

// onlyFor answers questions of one family so, all others as other does.
func onlyFor(family dnsmessage.Type, answer, other func(asked) []byte) func(asked) []byte {
	return func(q asked) []byte {
		if q.family == family {
			return answer(q)
		}
		return other(q)
	}
}

// toldOf is what was told to the operator.
type toldOf struct {
	mu  sync.Mutex
	all []string
}

func (o *toldOf) notify(name, trouble string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.all = append(o.all, name+": "+trouble)
}

// want waits for a first word and returns all there are.
func (o *toldOf) want(t *testing.T) []string {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); len(o.list()) == 0; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("nothing was told")
		}
	}
	return o.list()
}

func (o *toldOf) list() []string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return append([]string(nil), o.all...)
}

// resolverAt returns a resolver whose resolv.conf and hosts have those texts and
// whose nameservers listen at port.
func resolverAt(t testing.TB, port uint16, conf, hosts string) (*resolver, *stub, *toldOf) {
	t.Helper()
	dir, told := t.TempDir(), new(toldOf)
	for name, text := range map[string]string{"resolv.conf": conf, "hosts": hosts} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	r := newResolver()
	r.notify = told.notify
	s := newStub(filepath.Join(dir, "hosts"), filepath.Join(dir, "resolv.conf"), port, r.warnHourly)
	r.lookup = s.lookup
	return r, s, told
}

// nameserverLines are those of n servers at 127.0.0.1, 127.0.0.2, …
func nameserverLines(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "nameserver 127.0.0.%d\n", i+1)
	}
	return b.String()
}
