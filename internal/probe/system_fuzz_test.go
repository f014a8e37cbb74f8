package probe

import (
	"strings"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// FuzzResolvConf holds whatever a resolv.conf says to this: there is a nameserver, numbers are
// in glibc's ranges, and a name has candidates that are fully qualified, each a
// continuation of it.
func FuzzResolvConf(f *testing.F) {
	for _, seed := range []string{
		"", "nameserver 10.0.0.1\nsearch a.lan b.lan.\noptions ndots:2 timeout:1 attempts:3 no-aaaa use-vc\n",
		"nameserver fe80::1%eth0\nnameserver ::1\nnameserver 1\nnameserver 2.2.2.2\ndomain .\n",
		"options ndots:-1 ndots:99999999999999999999 timeout:0 attempts:\nsearch", " nameserver 10.0.0.1\n;x\n#\n\nsearch\t\v\f\n", "nameserver\x00 1.1.1.1",
	} {
		f.Add(seed, "host.example.lan", "db.lan")
	}
	f.Fuzz(func(t *testing.T, text, hostname, host string) {
		c := parseResolvConf(text, hostname, 53)
		if n := len(c.servers); n < 1 || n > maxNameservers {
			t.Errorf("got %d nameservers, want 1 to %d", n, maxNameservers)
		}
		for _, server := range c.servers {
			if !server.Addr().IsValid() || server.Port() != 53 {
				t.Errorf("got the nameserver %v", server)
			}
		}
		if c.ndots < 0 || c.ndots > maxNdots || c.timeout < time.Second || c.timeout > maxTimeout*time.Second || c.attempts < 1 || c.attempts > maxAttempts {
			t.Errorf("got %+v, want numbers in range", c)
		}
		all := c.candidates(host)
		if len(all) == 0 {
			t.Fatalf("got no candidate of %q", host)
		}
		for _, name := range all {
			if !strings.HasPrefix(name, host) || !strings.HasSuffix(name, ".") {
				t.Errorf("got the candidate %q of %q, want it fully qualified", name, host)
			}
		}
	})
}

// FuzzHosts holds whatever a hosts file says to this: names are in lower case, and each has
// addresses, none twice.
func FuzzHosts(f *testing.F) {
	for _, seed := range []string{
		"", "127.0.0.1 localhost\n::1 localhost ip6-localhost # x\n::ffff:10.0.0.1 DB db\n10.0.0.1 db", "fe80::1%eth0 a\n1.2.3 b\n\x00 c\n10.0.0.1#d", "10.0.0.1\tK\u212a \xff",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		hosts := parseHosts(text)
		for name := range hosts.all() {
			addrs := hosts.addrs(name)
			if name != strings.ToLower(name) || strings.ContainsAny(name, "# \t\n") || len(addrs) == 0 {
				t.Errorf("got the name %q with %v", name, addrs)
			}
			for i, addr := range addrs {
				for _, other := range addrs[:i] {
					if !addr.IsValid() || addr.Is4In6() || addr == other {
						t.Errorf("got the address %v of %q in %v, want each once", addr, name, addrs)
					}
				}
			}
		}
	})
}

// FuzzSocketError holds whatever comes from a socket's error queue to this: it has a sender
// only with a message, and words for an operator.
func FuzzSocketError(f *testing.F) {
	v4 := []byte{111, 0, 0, 0, unix.SO_EE_ORIGIN_ICMP, 3, 13, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 192, 0, 2, 1, 0, 0, 0, 0, 0, 0, 0, 0}
	f.Add(int32(unix.IPPROTO_IP), int32(unix.IP_RECVERR), v4, 0)
	f.Add(int32(unix.IPPROTO_IPV6), int32(unix.IPV6_RECVERR), append(v4, v4...), 0)
	f.Add(int32(unix.IPPROTO_IP), int32(unix.IP_RECVERR), v4[:17], 0)
	f.Add(int32(unix.IPPROTO_IP), int32(unix.IP_RECVERR), v4[:5], 3)
	f.Fuzz(func(t *testing.T, level, kind int32, data []byte, cut int) {
		if len(data) > 1<<12 {
			return
		}
		control := make([]byte, unix.CmsgSpace(len(data)))
		head := (*unix.Cmsghdr)(unsafe.Pointer(&control[0]))
		head.Level, head.Type = level, kind
		head.SetLen(unix.CmsgLen(len(data)))
		copy(control[unix.CmsgLen(0):], data)
		e := parseError(control[:max(0, len(control)-max(0, cut))])
		if e.from.IsValid() && (e.errno == 0 && e.kind == 0 && len(data) < 16) {
			t.Errorf("got %+v, want no sender without a message", e)
		}
		if failure := e.failure(); failure == nil || failure.Reason == "" && failure.Err == nil {
			t.Errorf("got %+v of %+v, want a reason", failure, e)
		}
		e.noNeighbour()
	})
}
