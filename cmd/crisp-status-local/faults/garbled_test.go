//go:build faults

package faults

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"crypto/tls"
	"fmt"
	"maps"
	"math/rand/v2"
	"net"
	"net/http"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/crisp-im/crisp-status-local/v2/cmd/crisp-status-local/namespaces"
	"github.com/crisp-im/crisp-status-local/v2/internal/sandbox"
)

// The ports of targets that answer with garbage.
const (
	garbledHTTP        = ":7010"
	garbledTLS         = ":7011" // its records
	garbledCertificate = ":7012" // and the answers over TLS
)

// Addresses that answer an echo with garbage alone.
var (
	garbledEcho  = []string{"10.9.1.210", "10.9.1.211", "10.9.1.212", "10.9.1.213"}
	garbledEcho6 = []string{"fd09:1::210", "fd09:1::211"}
)

// TestGarbage holds that random and mutated bytes, from whatever the daemon speaks to, at
// every stage and at all of them together, cost no replica that is up anything, and leave
// nothing behind. It lasts for FUZZTIME, 20 s without it.
func TestGarbage(t *testing.T) {
	t.Parallel()
	lasts, seed := 20*time.Second, rand.Uint64()
	if given := os.Getenv("FUZZTIME"); given != "" {
		var err error
		if lasts, err = time.ParseDuration(given); err != nil {
			t.Fatal(err)
		}
	}
	const inet = "inet = \"" + nearAddress + ":" + endpointPort + "\"\n"
	over := func(name string, secure bool, stages ...string) fault {
		g := newGarbler(seed)
		return fault{
			name: name, lasts: 0, // begin takes the time
			// Package net/http keeps some 20 KB of each connection over HTTP/2 that has died for
			// as long as it keeps one that is idle, three minutes.
			memory:  24,
			options: options{secureAPI: secure, server: inet, healthy: slices.Concat(spread(10, "https://%s/"), spread(10, "icmp://%s")), before: g.serve},
			begin: func(l *lab) func() {
				l.t.Logf("garbled by the seed %d", seed)
				return g.begin(l, lasts, append(stages, "map", "target over HTTP", "target over TLS", "certificate", "echo", "message", "look-up", "endpoint"))
			},
		}
	}
	for _, f := range []fault{
		over("at every stage, of an API over HTTP", false, "report", "head of the map"),
		over("at every stage, of an API over HTTPS", true, "records of the API"),
	} {
		t.Run(f.name, func(t *testing.T) {
			t.Parallel()
			if namespaces.InsideOnce(t) { // it takes lateness off its bounds
				f.run(t)
			}
		})
	}
}

// begin garbles for a time, and returns what ends it.
func (g *garbler) begin(l *lab, lasts time.Duration, stages []string) func() {
	forge := forger(g.forge)
	l.wire.forger.Store(&forge)
	honest := l.resolver.tells(func(query, honest []byte) []byte {
		if !bytes.Contains(query, []byte(garbledService)) {
			return honest
		}
		return g.garble("look-up", "bytes", g.lookUp(query))
	})
	g.switched(true)
	var asking sync.WaitGroup
	until := time.Now().Add(lasts)
	asking.Go(func() { g.ask(nearAddress+":"+endpointPort, until) })
	var memory [4]int // MiB at most, by quarter
	for began := time.Now(); time.Now().Before(until) && !l.broke(); time.Sleep(200 * time.Millisecond) {
		quarter := &memory[min(3, int(4*time.Since(began)/lasts))]
		*quarter = max(*quarter, l.memory())
	}
	asking.Wait()
	l.t.Logf("figures: by quarter, the daemon held %v MiB at most", memory)
	if memory[3] > memory[0]+moreMemory {
		l.t.Errorf("the daemon held %d MiB in the last quarter, %d in the first, want %d more at most", memory[3], memory[0], moreMemory)
	}
	return func() {
		g.switched(false)
		l.wire.forger.Store(nil)
		honest()
		if l.broke() {
			l.t.Error("the daemon met an internal error, or has ended")
		}
		l.punctual()
		g.report(l.t, stages...)
	}
}

// punctual checks that no replica that is up has waited too long for a report by now, as
// [lab.promise] does not while a fault lasts.
func (l *lab) punctual() {
	l.t.Helper()
	for _, replica := range l.up {
		times := []time.Time{}
		for _, report := range l.api.of(replica) {
			times = append(times, report.at)
		}
		times = append(times, time.Now())
		for i, at := range times[1:] {
			if gap := at.Sub(times[i]); gap-l.late.Within(times[i], at) > l.interval+grace {
				l.t.Errorf("%s had no report for %v, want %v at most", replica, gap, l.interval+grace)
			}
		}
	}
}

// broke reports whether the daemon has ended, or a fault of its own was logged.
func (l *lab) broke() bool {
	written, _ := os.ReadFile(l.log)
	_, err := os.Stat(fmt.Sprintf("/proc/%d/exe", l.cmd.Process.Pid))
	return err != nil || bytes.Contains(written, []byte("internal error")) || bytes.Contains(written, []byte("panic:")) || bytes.Contains(written, []byte("fatal error:"))
}

// serve has the Status API and new targets answer with garbage once that is switched on, and
// the targets in a service of their own.
func (g *garbler) serve(l *lab) {
	l.t.Helper()
	l.api.garbler.Store(g)
	m := lanMap(5, 1, l.up[len(up):]...)
	nodes := []sandbox.Node{
		{ID: "plain", Replicas: slices.Concat(
			garbled(6, "http://10.9.1.%d"+garbledHTTP+"/"), garbled(3, "https://10.9.1.%d"+garbledTLS+"/"), garbled(6, "https://10.9.1.%d"+garbledCertificate+"/"),
			garbled(4, "tcp://name%d.garbled.lan:80"), garbled(4, "http://name%d.garbled.lan/"), garbled(2, "icmp://name%d.garbled.lan"))},
		{ID: "matched", HTTP: sandbox.Rules{HealthyMatch: new("it is ok"), DeadMatch: new("maintenance")}, Replicas: slices.Concat(
			garbled(6, "http://10.9.1.%d"+garbledHTTP+"/matched"), garbled(3, "https://10.9.1.%d"+garbledCertificate+"/matched"))},
		{ID: "echoes"},
	}
	for _, address := range slices.Concat(garbledEcho, garbledEcho6) {
		nodes[2].Replicas = append(nodes[2].Replicas, "icmp://"+hostOf(address))
	}
	for _, node := range nodes {
		l.beside += len(node.Replicas)
	}
	m.Services = append(m.Services, sandbox.Service{ID: garbledService, Nodes: nodes})
	if err := l.api.SetMap(m); err != nil {
		l.t.Fatal(err)
	}
	filter(l.t, "input", "ip daddr { "+strings.Join(garbledEcho, ", ")+" } icmp type echo-request drop", "ip6 daddr { "+strings.Join(garbledEcho6, ", ")+" } icmpv6 type echo-request drop")

	serve(l.t, garbledHTTP, func(conn *net.TCPConn) { g.answer(conn, conn) })
	serve(l.t, garbledTLS, func(conn *net.TCPConn) {
		server := tls.Server(&garbledConn{conn, g, g.now(1, "target over TLS", "bytes")}, &tls.Config{Certificates: []tls.Certificate{*l.lan.authority.certificate(l.t, time.Now().Add(24*time.Hour))}})
		g.answer(conn, server)
	})
	serve(l.t, garbledCertificate, func(conn *net.TCPConn) {
		certificate := l.lan.authority.certificate(l.t, time.Now().Add(24*time.Hour))
		var chain [][]byte
		for range 1 + g.one(3) {
			der := certificate.Certificate[0]
			if g.one(2) == 0 {
				der = g.garble("certificate", "bytes", der)
			}
			chain = append(chain, der)
		}
		certificate.Certificate = chain
		g.answer(conn, tls.Server(conn, &tls.Config{Certificates: []tls.Certificate{*certificate}}))
	})
}

// garbled returns n URLs.
func garbled(n int, format string) []string {
	var urls []string
	for i := range n {
		urls = append(urls, fmt.Sprintf(format, 220+i))
	}
	return urls
}

// hostOf returns an address as a URL has it.
func hostOf(address string) string {
	if strings.Contains(address, ":") {
		return "[" + address + "]"
	}
	return address
}

// now returns what garbles one of n writes.
func (g *garbler) now(n int, stage, kind string) func([]byte) []byte {
	return func(honest []byte) []byte {
		if g.one(n) > 0 {
			return honest
		}
		return g.garble(stage, kind, honest)
	}
}

func gzipped(text string) string {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	_, _ = w.Write([]byte(text))
	_ = w.Close()
	return b.String()
}

// honestAnswers are those of web servers.
var honestAnswers = []string{
	"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nit is ok",
	"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nit \r\n5\r\nis ok\r\n0\r\n\r\n",
	"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n" + gzipped("it is ok"),
	"HTTP/1.1 302 Found\r\nLocation: /there\r\nSet-Cookie: a=b; Path=/; HttpOnly\r\nContent-Length: 0\r\n\r\n",
	"HTTP/1.1 301 Moved\r\nLocation: http://10.9.1.2/\r\nConnection: close\r\n\r\n",
	"HTTP/1.1 405 No\r\nAllow: GET\r\nContent-Length: 0\r\n\r\n",
	"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n\r\nit is ok",
	"HTTP/1.0 503 maintenance\r\nRetry-After: 1\r\n\r\nmaintenance",
}

// answer reads a request and answers it. The connection then ends, is reset, or is left to
// the client.
func (g *garbler) answer(conn *net.TCPConn, over net.Conn) {
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	in := bufio.NewReader(over)
	if _, err := http.ReadRequest(in); err != nil {
		return
	}
	if _, err := over.Write(g.garble("target over HTTP", "head", []byte(honestAnswers[g.one(len(honestAnswers))]))); err != nil {
		return
	}
	switch g.one(4) {
	case 0:
		_ = conn.SetLinger(0)
	case 1:
		_, _ = in.ReadByte()
	}
}

// lookUp returns an honest answer to a query for a name that is answered with garbage: with
// addresses, an alias, a failure, or the word that there is more over TCP.
func (g *garbler) lookUp(query []byte) []byte {
	var m dnsmessage.Message
	if err := m.Unpack(query); err != nil || len(m.Questions) != 1 {
		return nil
	}
	m.Response, m.RecursionAvailable, m.Additionals = true, true, nil
	head := dnsmessage.ResourceHeader{Name: m.Questions[0].Name, Class: dnsmessage.ClassINET, TTL: 1}
	switch g.one(6) {
	case 0:
		m.RCode = dnsmessage.RCodeNameError
	case 1:
		m.Truncated = true
	case 2:
		alias := dnsmessage.MustNewName("alias.garbled.lan.")
		m.Answers = append(m.Answers, dnsmessage.Resource{Header: head, Body: &dnsmessage.CNAMEResource{CNAME: alias}})
		head.Name = alias
		fallthrough
	default:
		var body dnsmessage.ResourceBody = &dnsmessage.AResource{A: [4]byte{10, 9, 1, 2}}
		if m.Questions[0].Type == dnsmessage.TypeAAAA {
			body = &dnsmessage.AAAAResource{AAAA: netip.MustParseAddr("fd09:1::2").As16()}
		}
		m.Answers = append(m.Answers, dnsmessage.Resource{Header: head, Body: body})
	}
	answer, err := m.Pack()
	if err != nil {
		return nil
	}
	return answer
}

// forge answers the echoes to some addresses with garbage, and beside those to others, and
// beside look-ups, says by ICMP what is nearly right. Of what asks for a connection it says
// nothing: a message that happens to be right would end that.
func (g *garbler) forge(packet []byte) [][]byte {
	s, ok := parseSent(packet)
	if !ok || s.isTCP() {
		return nil
	}
	var all [][]byte
	if s.isEcho() {
		all = append(all, g.packet("echo", s, s.reply(s.to, func(icmp []byte) []byte { return icmp })))
	}
	if of := allOf(s); s.isEcho() || g.one(4) == 0 {
		all = append(all, g.packet("message", s, of[g.one(len(of))].about(s, s.to)))
	}
	return all
}

// packet garbles an IP packet with ICMP: all of it, or what is behind the head of IP, with a
// checksum that is right, since the kernel drops every other.
func (g *garbler) packet(stage string, s sent, honest []byte) []byte {
	head := 20
	if s.from.Is6() {
		head = 40
	}
	garbage := honest[:min(len(honest), 1400)]
	if g.one(4) == 0 {
		return g.short(g.garble(stage, "bytes", garbage))
	}
	icmp := g.short(g.garble(stage, "bytes", garbage[head:]))
	if len(icmp) < 4 {
		icmp = append(icmp, 0, 0, 0, 0)
	}
	proto := byte(1)
	if s.from.Is6() {
		proto = 58
	}
	return datagram(s.to, s.from, proto, icmp)
}

// short returns as much as a packet holds.
func (g *garbler) short(b []byte) []byte { return b[:min(len(b), 1400)] }

// ask asks the daemon's own endpoint for garbage, until that time.
func (g *garbler) ask(address string, until time.Time) {
	for time.Now().Before(until) {
		conn, err := net.DialTimeout("tcp", address, time.Second)
		if err != nil {
			time.Sleep(100 * time.Millisecond)
			continue
		}
		_ = conn.SetDeadline(time.Now().Add(time.Second))
		paths := []string{"/", "/replicas.json", "/metrics", "/metrics/replicas", "/healthz", "/readyz"}
		request := "GET " + paths[g.one(len(paths))] + "?q=dead HTTP/1.1\r\nHost: " + address + "\r\nAccept: */*\r\nLast-Event-ID: 7\r\nIf-None-Match: \"x\"\r\nContent-Length: 2\r\n\r\n{}"
		_, _ = conn.Write(g.garble("endpoint", "head", []byte(request)))
		_, _ = conn.Read(make([]byte, 1<<16))
		conn.Close()
		time.Sleep(50 * time.Millisecond)
	}
}

// serveGarbled answers a map request with the whole map, garbled.
func (a *statusAPI) serveGarbled(w http.ResponseWriter, r *http.Request, g *garbler) {
	whole := r.Clone(r.Context())
	whole.URL.RawQuery = ""
	recorded := &recorder{header: make(http.Header)}
	a.Handler().ServeHTTP(recorded, whole)
	text := g.garbleMap(recorded.body.Bytes())
	maps.Copy(w.Header(), recorded.header)
	w.Header().Set("Content-Length", fmt.Sprint(len(text)))
	if recorded.code != 0 {
		w.WriteHeader(recorded.code)
	}
	_, _ = w.Write(text)
}

// recorder keeps an answer.
type recorder struct {
	header http.Header
	code   int
	body   bytes.Buffer
}

func (r *recorder) Header() http.Header         { return r.header }
func (r *recorder) WriteHeader(code int)        { r.code = code }
func (r *recorder) Write(b []byte) (int, error) { return r.body.Write(b) }
