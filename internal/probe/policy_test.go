package probe

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/crisp-im/crisp-status-local/v2/internal/policy"
)

// policyOf returns the policy of two lists whose entries are apart by blanks.
func policyOf(t testing.TB, allow, deny string) *policy.Policy {
	t.Helper()
	lists := [2][]policy.Entry{}
	for i, list := range []string{allow, deny} {
		for text := range strings.FieldsSeq(list) {
			e, err := policy.ParseEntry(text)
			if err != nil {
				t.Fatal(err)
			}
			lists[i] = append(lists[i], e)
		}
	}
	return policy.New(lists[0], lists[1])
}

// resolvesTo makes every name of p's have the addresses that answer returns.
func resolvesTo(p *Prober, answer func(host string) []netip.Addr) {
	p.resolver.lookup = func(_ context.Context, host string, _ time.Duration, _ func(hostAddrs)) (hostAddrs, error) {
		addrs := answer(host)
		return hostAddrs{addrs: addrs, total: len(addrs)}, nil
	}
}

func addrsOf(texts ...string) (all []netip.Addr) {
	for _, text := range texts {
		all = append(all, netip.MustParseAddr(text))
	}
	return all
}

// TestDeniedIsNoVerdict: whatever scheme it has, a denied replica is not connected
// to, has no health, and is tried once.
func TestDeniedIsNoVerdict(t *testing.T) {
	for _, tt := range []struct{ allow, deny, url, want string }{
		{"", "10.0.0.0/8", "tcp://10.0.0.1:80", `10.0.0.1 port 80 is denied by the entry "10.0.0.0/8" of [probe] deny`},
		{"", "10.0.0.0/8", "http://10.1/", `"10.0.0.0/8"`},
		{"", "10.0.0.0/8", "https://[::ffff:10.0.0.1]/", `"10.0.0.0/8"`},
		{"", "10.0.0.0/8", "icmp://10.0.0.1", `10.0.0.1 is denied by the entry "10.0.0.0/8"`},
		{"", "10.0.0.0/8", "icmp://all.denied.lan", `"10.0.0.0/8"`},
		{"", "10.0.0.0/8", "tcp://all.denied.lan:1", `"10.0.0.0/8"`},
		{"", "*.lan", "http://a.lan./", `a.lan port 80 is denied by the entry "*.lan"`},
		{"", "*.lan", "tcp://a.lan:1", `a.lan port 1 is denied by the entry "*.lan"`},
		{"", "*.lan", "icmp://a.lan", `a.lan is denied by the entry "*.lan"`},
		{"b.lan", "", "http://a.lan/", "no entry of [probe] allow"},
		{"", "", "http://0xa9fea9fe/latest/meta-data", "denied by default"},
		{"", "", "tcp://meta.lan:80", "denied by default"},
		{"*.lan", "", "icmp://meta.lan", "denied by default"},
		{"", "", "icmp://224.0.0.1", "denied by default"},
		{"", "", "icmp://255.255.255.255", "denied by default"},
	} {
		p := testProber()
		p.Restrict(policyOf(t, tt.allow, tt.deny))
		resolvesTo(p, func(host string) []netip.Addr {
			if strings.HasPrefix(host, "meta") {
				return addrsOf("169.254.169.254")
			}
			return addrsOf("10.0.0.1", "10.0.0.2")
		})
		p.connectHalfOpen = func(context.Context, netip.AddrPort, attempt) error {
			t.Errorf("%s: got a connection", tt.url)
			return nil
		}
		p.connect = func(context.Context, netip.AddrPort, attempt) (net.Conn, error) {
			t.Errorf("%s: got a connection", tt.url)
			return nil, io.EOF
		}
		p.ping = func(context.Context, netip.Addr, time.Duration) (pong, error) {
			t.Errorf("%s: got an echo", tt.url)
			return pong{}, nil
		}
		r := p.Probe(t.Context(), Task{Check: Check{Target: mustParse(t, tt.url)}, Budget: time.Minute})
		if r.Health != Unknown || r.Attempts != 1 || !IsDenied(r.Err) || !strings.Contains(r.Reason(), tt.want) {
			t.Errorf("allow %q, deny %q, %s: got %q after %d attempts, %v, want no verdict after one, %q", tt.allow, tt.deny, tt.url, r.Health, r.Attempts, r.Err, tt.want)
		}
	}
}

// TestPermittedAddressesOfANameAreTried: those that are denied do not count.
func TestPermittedAddressesOfANameAreTried(t *testing.T) {
	p := testProber()
	p.Restrict(policyOf(t, "", "10.0.0.0/24"))
	resolvesTo(p, func(string) []netip.Addr { return addrsOf("10.0.0.1", "10.0.1.1", "10.0.0.2") })
	p.connectHalfOpen = func(_ context.Context, addr netip.AddrPort, _ attempt) error {
		if addr.Addr() != netip.MustParseAddr("10.0.1.1") {
			t.Errorf("got a connection to %v", addr)
		}
		return nil
	}
	p.ping = func(_ context.Context, addr netip.Addr, _ time.Duration) (pong, error) {
		return pong{}, p.connectHalfOpen(t.Context(), netip.AddrPortFrom(addr, 0), attempt{})
	}
	for _, url := range []string{"tcp://a.lan:80", "icmp://b.lan"} {
		if r := p.Probe(t.Context(), Task{Check: Check{Target: mustParse(t, url)}, Budget: time.Minute}); r.Health != Healthy {
			t.Errorf("%s: got %q (%v), want it healthy by the address that is permitted", url, r.Health, r.Err)
		}
	}
	// What a permitted one is down by decides, not that another one is denied.
	p.connectHalfOpen = func(context.Context, netip.AddrPort, attempt) error {
		return failure(KindRefused, "connection refused")
	}
	r := p.Probe(t.Context(), Task{Check: Check{Target: mustParse(t, "tcp://a.lan:80")}, Attempts: 1, Budget: time.Minute})
	if r.Health != Dead || r.Reason() != "connection refused" {
		t.Errorf("got %q (%v), want it dead since the permitted address refuses", r.Health, r.Err)
	}
}

// canned is a connection that answers whatever is asked with a text.
type canned struct {
	net.Conn
	answer *strings.Reader
}

func (c canned) Read(b []byte) (int, error)    { return c.answer.Read(b) }
func (canned) Write(b []byte) (int, error)     { return len(b), nil }
func (canned) Close() error                    { return nil }
func (canned) SetDeadline(time.Time) error     { return nil }
func (canned) SetReadDeadline(time.Time) error { return nil }

// forbidden are what the deny list of the next test has, and what is denied by
// default, as the addresses that packets would go to.
func forbidden(addr netip.Addr) bool {
	addr = addr.WithZone("").Unmap()
	b := addr.As16()
	switch {
	case addr.Is4():
		v := addr.As4()
		return v[0] == 10 || v[0] >= 224 || v[0] == 0 && addr != netip.IPv4Unspecified() ||
			addr == netip.MustParseAddr("169.254.169.254") || addr == netip.MustParseAddr("168.63.129.16")
	case strings.HasPrefix(addr.String(), "64:ff9b::"):
		return forbidden(netip.AddrFrom4([4]byte(b[12:])))
	case b[0] == 0x20 && b[1] == 2:
		return forbidden(netip.AddrFrom4([4]byte(b[2:6])))
	}
	return b[0] == 0xff || addr == netip.MustParseAddr("fd00:ec2::254")
}

// TestNothingLeadsAroundThePolicy: random names, whose addresses change at every
// look-up, and random redirects in random spellings never lead to an address that
// is denied. CRISP_POLICY_ROUNDS makes more of them.
func TestNothingLeadsAroundThePolicy(t *testing.T) {
	rounds := 20_000
	if n, err := strconv.Atoi(os.Getenv("CRISP_POLICY_ROUNDS")); err == nil {
		rounds = n
	}
	r := rand.New(rand.NewPCG(1, 2))
	hosts := []string{"10.0.0.1", "192.0.2.1", "169.254.169.254", "168.63.129.16", "0.0.0.1", "224.1.2.3", "255.255.255.255", "0.0.0.0", "203.0.113.7"}
	random := func() netip.Addr {
		v4 := netip.MustParseAddr(hosts[r.IntN(len(hosts))]).As4()
		if r.IntN(4) == 0 {
			v4 = [4]byte{byte(r.Uint32()), byte(r.Uint32()), byte(r.Uint32()), byte(r.Uint32())}
		}
		var b [16]byte
		switch r.IntN(6) {
		case 0:
			b[10], b[11] = 0xff, 0xff
			copy(b[12:], v4[:])
		case 1:
			b[1], b[2], b[3] = 0x64, 0xff, 0x9b
			copy(b[12:], v4[:])
		case 2:
			b[0], b[1] = 0x20, 0x02
			copy(b[2:], v4[:])
		case 3:
			return netip.MustParseAddr([]string{"fd00:ec2::254", "ff02::1", "2001:db8::1"}[r.IntN(3)])
		default:
			return netip.AddrFrom4(v4)
		}
		return netip.AddrFrom16(b)
	}
	spelt := func() string {
		switch addr := random(); {
		case r.IntN(3) == 0:
			return fmt.Sprintf("n%d.lan", r.Uint64())
		case addr.Is6():
			return "[" + addr.String() + "]"
		default:
			v := addr.As4()
			n := uint32(v[0])<<24 | uint32(v[1])<<16 | uint32(v[2])<<8 | uint32(v[3])
			return []string{addr.String(), fmt.Sprint(n), fmt.Sprintf("0x%x", n), fmt.Sprintf("0%o.%d", v[0], n&0xffffff), addr.String() + "."}[r.IntN(5)]
		}
	}
	p := testProber()
	var reached atomic.Int32 // the addresses of a name are asked side by side
	p.Restrict(policyOf(t, "0.0.0.0/0 ::/0", "10.0.0.0/8"))
	resolvesTo(p, func(string) []netip.Addr {
		addrs := []netip.Addr{random(), random()}
		return addrs[:1+r.IntN(2)]
	})
	reach := func(addr netip.Addr) {
		if reached.Add(1); forbidden(addr) {
			t.Errorf("got a connection to %v", addr)
		}
	}
	p.connectHalfOpen = func(_ context.Context, addr netip.AddrPort, _ attempt) error { reach(addr.Addr()); return nil }
	p.ping = func(_ context.Context, addr netip.Addr, _ time.Duration) (pong, error) {
		reach(addr)
		return pong{}, nil
	}
	p.connect = func(_ context.Context, addr netip.AddrPort, _ attempt) (net.Conn, error) {
		reach(addr.Addr())
		where := fmt.Sprintf("http://user@%s:%d/", spelt(), 1+r.IntN(9))
		if r.IntN(4) == 0 {
			where = `\\` + spelt()
		}
		return canned{answer: strings.NewReader("HTTP/1.1 302 Found\r\nLocation: " + where + "\r\n\r\n")}, nil
	}
	kinds := map[Kind]int{}
	for i := range rounds {
		target, err := ParseTarget(fmt.Sprintf([]string{"tcp://%s:1", "icmp://%s", "http://%s/"}[i%3], spelt()))
		if err != nil {
			continue
		}
		// One after another: the random numbers are not for several at once.
		_, err = p.measure(t.Context(), Check{Target: target}, p.stalls.enter(time.Minute))
		kinds[kindOf(err)]++
		if i%1000 == 0 {
			p.resolver.names = make(map[string]*name)
		}
	}
	if n := int(reached.Load()); n < rounds/4 || kinds[KindPolicy] < rounds/4 {
		t.Errorf("%d connections and %v in %d rounds, want a good part of both, or nothing was tried", n, kinds, rounds)
	}
}

// TestNoPacketLeavesForWhatIsDenied counts them.
func TestNoPacketLeavesForWhatIsDenied(t *testing.T) {
	if !inNamespace(t) {
		return
	}
	n := newNetwork(t)
	n.here("ip route add default via 10.9.0.2")
	n.here("ip -6 route add default via fd09::2")
	n.filterHere("output", []string{
		`oifname "v0" meta l4proto tcp counter`,
		`oifname "v0" meta l4proto udp counter`,
		`oifname "v0" icmp type echo-request counter`,
		`oifname "v0" icmpv6 type echo-request counter`,
	})
	sent := func() int {
		out, err := exec.Command("nft", "list", "table", "inet", "test").Output()
		if err != nil {
			t.Fatal(err)
		}
		sum := 0
		for _, m := range regexp.MustCompile(`counter packets (\d+)`).FindAllSubmatch(out, -1) {
			count, _ := strconv.Atoi(string(m[1]))
			sum += count
		}
		return sum
	}
	p := New("crisp-status-local/test")
	defer p.Close()
	resolvesTo(p, func(host string) []netip.Addr { return addrsOf("10.9.0.2", "fd09::2", "169.254.169.254") })
	denied := []string{"10.9.0.2", "[fd09::2]", "[::ffff:10.9.0.2]", "169.254.169.254", "100.100.100.200", "[fd00:ec2::254]",
		"[64:ff9b::a09:2]", "[2002:a09:2::1]", "240.0.0.1", "224.0.0.1", "[ff02::1%25v0]", "any.lan"}
	all := func(want func(url string, err error)) {
		for _, host := range denied {
			for _, scheme := range []string{"tcp://%s:7", "http://%s/", "https://%s/", "icmp://%s"} {
				url := fmt.Sprintf(scheme, host)
				target, err := ParseTarget(url)
				if err != nil {
					continue // a zone that is no URL's
				}
				_, err = p.measure(t.Context(), Check{Target: target}, within(100*time.Millisecond))
				want(url, err)
			}
			s := serve(t, loopback(t), "http", func(string) string { return status(302, "Location: http://"+host+"/") })
			_, err := p.measure(t.Context(), Check{Target: mustParse(t, s.url)}, within(100*time.Millisecond))
			want("a redirect to "+host, err)
		}
	}
	p.Restrict(policyOf(t, "", "10.9.0.0/24 fd09::/16"))
	before := sent()
	all(func(url string, err error) {
		if !IsDenied(err) && !(strings.Contains(url, "%25") && kindOf(err) == KindHTTP) {
			t.Errorf("%s: got %v, want it denied", url, err)
		}
	})
	if got := sent() - before; got != 0 {
		t.Errorf("%d packets left, want none", got)
	}
	// Without the policy the same do leave, or the count would prove nothing.
	p.Restrict(policyOf(t, "10.9.0.2 fd09::2 169.254.169.254", ""))
	all(func(string, error) {})
	if got := sent() - before; got < 5 {
		t.Errorf("%d packets left where they may, want some", got)
	}
}

// TestNoNameOfAnAddressIsDenied: an entry of deny holds for every name that the
// look-up leads through, not for the one of the map alone.
func TestNoNameOfAnAddressIsDenied(t *testing.T) {
	t.Parallel()
	port := serveAll(t, []func(asked) []byte{func(q asked) []byte {
		answers := map[string][]string{
			"web.lan.":  {"web.lan. a.db.lan.", "a.db.lan. web2.lan.", "web2.lan. 127.0.0.1"},
			"b.db.lan.": {"b.db.lan. 127.0.0.1"},
			"free.lan.": {"free.lan. web2.lan.", "web2.lan. 127.0.0.1"},
		}[q.name]
		if answers == nil {
			return nxdomain(q)
		}
		m := q.respond(dnsmessage.RCodeSuccess)
		for _, record := range answers {
			owner, value, _ := strings.Cut(record, " ")
			if r := recordOf(owner, value); typeOf(r) == q.family || typeOf(r) == dnsmessage.TypeCNAME {
				m.Answers = append(m.Answers, r)
			}
		}
		return packed(m)
	}}, nil, false)
	for _, tt := range []struct{ deny, host, by string }{
		{"*.db.lan", "web.lan", "a.db.lan"},
		{"A.DB.lan", "web.lan", "a.db.lan"},
		{"web2.lan", "web.lan", "web2.lan"},
		{"*.db.lan:80", "web.lan", "a.db.lan"},
		{"*.db.lan", "b", "b.db.lan"}, // by the search list
		{"*.db.lan", "free.lan", ""},
		{"*.db.lan:81", "web.lan", ""},
		{"", "web.lan", ""},
	} {
		r, _, _ := resolverAt(t, port, nameserverLines(1)+"search db.lan\n", "")
		p := testProber()
		p.resolver = r
		r.refuse = p.permitAlias
		p.Restrict(policyOf(t, "", tt.deny))
		connected := 0
		p.connectHalfOpen = func(context.Context, netip.AddrPort, attempt) error { connected++; return nil }
		got := p.Probe(t.Context(), Task{Check: Check{Target: mustParse(t, "tcp://"+tt.host+":80")}, Budget: time.Minute})
		if tt.by == "" {
			if got.Health != Healthy {
				t.Errorf("deny %q, %s: got %q, %v, want it healthy", tt.deny, tt.host, got.Health, got.Err)
			}
			continue
		}
		if !IsDenied(got.Err) || connected > 0 || !strings.Contains(got.Reason(), tt.by+" port 80 is denied by the entry") {
			t.Errorf("deny %q, %s: got %v after %d connections, want it denied since it leads to %s", tt.deny, tt.host, got.Err, connected, tt.by)
		}
	}
}
