package probe

import (
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"testing"

	whatwg "github.com/nlnwa/whatwg-url/url"
)

// mustParse returns the target of a URL that the test knows to be good.
func mustParse(t testing.TB, raw string) Target {
	t.Helper()
	target, err := ParseTarget(raw)
	if err != nil {
		t.Fatalf("ParseTarget(%q): %v", raw, err)
	}
	return target
}

func TestReplicaURLs(t *testing.T) {
	for _, tt := range []struct {
		raw    string
		scheme Scheme
		host   string
		port   uint16
	}{
		{"tcp://10.0.0.5:3306", TCP, "10.0.0.5", 3306},
		{"tcp://db:65535", TCP, "db", 65535},
		{"tcp://db:3306/path?query", TCP, "db", 3306},
		{"tcp://[::1]:22", TCP, "::1", 22},
		{"tcp://[FE80::1%25eth0]:22", TCP, "fe80::1%eth0", 22},
		{"tcp://[::ffff:10.0.0.1]:22", TCP, "::ffff:10.0.0.1", 22},
		{"icmp://10.0.0.1", ICMP, "10.0.0.1", 0},
		{"icmp://[2001:DB8:0::1]", ICMP, "2001:db8::1", 0},
		{"icmp://router:99", ICMP, "router", 0},
		{"http://web", HTTP, "web", 80},
		{"http://web:/", HTTP, "web", 80},
		{"http://web:8080/health?a=1&b=2#top", HTTP, "web", 8080},
		{"http://[::1]:8080/", HTTP, "::1", 8080},
		{"http://user:password@web/", HTTP, "web", 80},
		{"https://web/health", HTTPS, "web", 443},
		{"https://web:8443", HTTPS, "web", 8443},
		{"  http://web/ \n", HTTP, "web", 80},
		{"HTTPS://WEB.Example/", HTTPS, "web.example", 443},
		{"http://Bücher.example/", HTTP, "xn--bcher-kva.example", 80},
		{"http://b%C3%BCcher.example/", HTTP, "xn--bcher-kva.example", 80},
		{"http://under_score/", HTTP, "under_score", 80},
		{"https://bücher_1.lan/", HTTPS, "xn--bcher_1-n2a.lan", 443},
		{"tcp://bücher_1.lan:1", TCP, "xn--bcher_1-n2a.lan", 1},
		{"http://-bücher-.lan/", HTTP, "xn---bcher--o2a.lan", 80},
		{"http://xn--no-punycode-at-all/", HTTP, "xn--no-punycode-at-all", 80},
		{"http://stra\u00dfe.de/", HTTP, "xn--strae-oqa.de", 80},
		{"http://web.lan./", HTTP, "web.lan.", 80},
		{"http://web\u3002lan/", HTTP, "web.lan", 80},
		{`http:\\host\path`, HTTP, "host", 80},
		{"http:host", HTTP, "host", 80},
		{"http:///path", HTTP, "path", 80},
		{"http:/host/", HTTP, "host", 80},
		{"ht\ttp://ho\nst/a\rb", HTTP, "host", 80},
		{"http://user:pa^ss%w@host/", HTTP, "host", 80},
		{"http://user:p@ss:w\"ö@host:81/", HTTP, "host", 81},
		{"http://host/100%", HTTP, "host", 80},
		{"http://web/%zz", HTTP, "web", 80},
		{"http://web/\x00", HTTP, "web", 80},
		{"http://admin:#S3CRET@host/", HTTP, "admin", 80},
		{"http://web:00080/", HTTP, "web", 80},
		{"tcp://h:80", TCP, "h", 80},
		{"tcp://127.1:80", TCP, "127.0.0.1", 80},
		{"http://0x7f.1/", HTTP, "127.0.0.1", 80},
		{"http://0X7F.0.0x1/", HTTP, "127.0.0.1", 80},
		{"icmp://2130706433", ICMP, "127.0.0.1", 0},
		{"icmp://0", ICMP, "0.0.0.0", 0},
		{"icmp://0x", ICMP, "0.0.0.0", 0},
		{"tcp://010.0.0.010:1", TCP, "8.0.0.8", 1},
		{"tcp://10.0.258:1", TCP, "10.0.1.2", 1},
		{"tcp://4294967295:1", TCP, "255.255.255.255", 1},
		{"http://127.0.0.1./", HTTP, "127.0.0.1", 80},
		{"http://%31%32%37.0.0.1/", HTTP, "127.0.0.1", 80},
		{"icmp://\uff11.2.3.4", ICMP, "1.2.3.4", 0},
		{"tcp://db.1:1", TCP, "db.1", 1},
		{"tcp://3com.1:1", TCP, "3com.1", 1},
		{"tcp://1.2.3.+4:1", TCP, "1.2.3.+4", 1},
		{"tcp://1..2:1", TCP, "1..2", 1},
		{"tcp://[fe80::1%eth0]:22", TCP, "fe80::1%eth0", 22},
		{"icmp://[fe80::1%25eth0]", ICMP, "fe80::1%eth0", 0},
		{"http://[fe80::1%eth0]/", HTTP, "fe80::1%eth0", 80},
		{"tcp://[fe80::1%252]:22", TCP, "fe80::1%2", 22},
		{"tcp://[fe80::1%2]:22", TCP, "fe80::1%2", 22},
		{"tcp://[fe80::1%25]:22", TCP, "fe80::1%25", 22},
		{"tcp://[fe80::1%25br%2D0]:22", TCP, "fe80::1%br-0", 22},
	} {
		t.Run(tt.raw, func(t *testing.T) {
			got := mustParse(t, tt.raw)
			if got.ID() != tt.raw {
				t.Errorf("ID() = %q, want the URL as the map has it", got.ID())
			}
			if got.Scheme() != tt.scheme || got.host != tt.host || got.port != tt.port {
				t.Errorf("got %s, host %q, port %d, want %s, %q, %d", got.Scheme(), got.host, got.port, tt.scheme, tt.host, tt.port)
			}
			addr, err := netip.ParseAddr(tt.host)
			if (err == nil) != got.addr.IsValid() || got.addr != addr {
				t.Errorf("address %v, want %v", got.addr, addr)
			}
		})
	}
}

func TestZonesByNameAndByNumber(t *testing.T) {
	needIPv6(t)
	lo, err := net.InterfaceByName("lo")
	if err != nil {
		t.Skipf("no loopback interface: %v", err)
	}
	_, port, _ := net.SplitHostPort(listenTCP(t, "tcp6", "[::1]:0").Addr().String())
	for _, zone := range []string{"%lo", "%25lo", fmt.Sprintf("%%%d", lo.Index), fmt.Sprintf("%%25%d", lo.Index)} {
		if err := judge(t, testProber(), "tcp://[::1"+zone+"]:"+port, Rules{}); err != nil {
			t.Errorf("zone %s: got %v, want up", zone, err)
		}
	}
	for _, zone := range []string{"0", "-1", "4294967297", "no-such"} {
		if n, ok := zoneIndex(zone); ok {
			t.Errorf("zone %s: got the interface %d, want none", zone, n)
		}
	}
}

func TestUnusableReplicaURLs(t *testing.T) {
	for _, tt := range []struct{ raw, want string }{
		{"", "has no scheme"},
		{"db", "has no scheme"},
		{"//db:3306", "has no scheme"},
		{"ftp://db", `"ftp://db" has an unknown scheme`},
		{"localhost:3306", "has an unknown scheme"},
		{"tcp://db", "has no port"},
		{"tcp://db:", "has no port"},
		{"tcp://[::1]", "has no port"},
		{"tcp://db:0", "has the port 0, want 1 to 65535"},
		{"tcp://db:65536", "has the port 65536"},
		{"http://web:99999/", "has the port 99999"},
		{"tcp://db:mysql", "is not a URL"},
		{"tcp://:3306", "has no host"},
		{"http:///", "has no host"},
		{"http:", "has no host"},
		{"http://user@/", "has no host"},
		{"icmp://", "has no host"},
		{"icmp://::1", "IPv6 address that is not one in brackets"},
		{"icmp://2001:db8::1", "IPv6 address that is not one in brackets"},
		{"tcp://1:2:3:4:5:6:7:8:22", "IPv6 address that is not one in brackets"},
		{"http://[10.0.0.1/", "is not a URL"},
		{"http://we b/", "is not a URL"},
		{"http://we%20b/", "is not a URL"},
		{"http://we%00b/", "is not a URL"},
		{"http://%ff/", "is not a URL"},
		{"http://\xff/", "is not a URL"},
		{"http://a%25b/", "is not a URL"},
		{"http://a^b/", "is not a URL"},
		{"http://[::1", "is not a URL"},
		{"http://[::1]x/", "is not a URL"},
		{"http://[[::1]]/", "is not a URL"},
		{"http://[10.0.0.1]/", "is not a URL"},
		{"tcp://[fe80::1%]:1", "is not a URL"},
		{"tcp://[fe80::1%25a%20b]:1", "is not a URL"},
		{"tcp://[fe80::1%an-interface-of-this-name]:1", "is not a URL"},
		{"http://1.2.3.4.5/", "is not a URL: its host is made of numbers and is no IPv4 address"},
		{"tcp://256.1.1.1:1", "no IPv4 address"},
		{"tcp://1.1.65536:1", "no IPv4 address"},
		{"icmp://4294967296", "no IPv4 address"},
		{"icmp://99999999999999999999", "no IPv4 address"},
		{"icmp://1.2.3.08", "no IPv4 address"},
		{"http://admin:99999/S3CRET@host/", "is not a URL"},
		{"http://" + strings.Repeat("/a", 1002), "has over 1000 slashes"},
		{"http://\u2028/", "no internationalized domain name"},
		{"http://\u00ad/", "no internationalized domain name"},
		{"http://web/" + strings.Repeat("x", maxURL), "want at most 8192"},
	} {
		t.Run(fmt.Sprintf("%.40q", tt.raw), func(t *testing.T) {
			_, err := ParseTarget(tt.raw)
			if err == nil {
				t.Fatalf("ParseTarget(%q) took it, want an error with %q", tt.raw, tt.want)
			}
			if !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got the error %q, want one with %q", err, tt.want)
			}
		})
	}
}

// shown returns everything that formatting can make of a target.
func shown(target Target) string {
	hidden := struct{ c Check }{Check{Target: target}}
	var b strings.Builder
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%d", "%x"} {
		for _, of := range []any{target, &target, hidden.c, &hidden.c, hidden, &hidden, []Target{target}, Result{Check: hidden.c}} {
			fmt.Fprintf(&b, verb+"\n", of)
		}
	}
	return b.String() + target.String()
}

func TestNoPasswordIsShown(t *testing.T) {
	for _, raw := range []string{
		"http://user:s3cret@web/",
		"http://s3cret@web/",
		" http://user:s3cret@web/",
		"http://user:p@s3cret@web/",
		"https://user:s3cret@web/a@b?c=@",
		"tcp://user:s3cret@db:3306",
		"icmp://user:s3cret@router",
		"tcp://user:s3cret@db",             // no port
		"http://user:s3cret@",              // no host
		"ftp://user:s3cret@web/",           // unknown scheme
		"http://user:s3/cret@web/",         // an unescaped slash: not a URL
		"http://user:%zz/s3cret@web/",      // not a URL
		"http://user:s3cret@we b/",         // not a URL
		"http://user:s3cret@::1/",          // no brackets
		"//user:s3cret@web/",               // no scheme
		"user:s3cret@web",                  // no scheme
		"s3cret:word@web//x",               // no slashes where they belong
		"user:s3cret@web//x",               //
		"user:s3cret://word@web",           //
		"http:/user:s3cret@web/",           // one slash
		"http:user:s3cret@web//",           // none
		"http:///user:s3cret@web/",         // three
		"tcp://user:s3cret@db:99999",       // port
		"http://user:s3cret@web/" + "\x7f", // control character
		"http://admin:#s3cret@host/",
		"http://admin:80/s3cret@host/",
		"http://admin:99999/s3cret@host/",
		"http://s3cret:99999/@host/",
		"http://admin:?s3cret@host/",
		"http://web/?access_token=s3cret",
		"http://web/?s3cret",
		"http://web/?s3cret=",
		"http://web/?s3cret==",
		"http://web/?a=1&s3cret&b=2",
		"http://web/?me:s3cret@host=1",
		"http://web/#s3cret",
		"tcp://web:1#s3cret",
		"tcp://web:1?a=s3cret",
		"http://[bad/?access_token=s3cret",
		"http://[bad/#s3cret",
		"ftp://web/?a=s3cret#s3cret",
		"http://user:s3cret%40web:99999/",
		"http://user:s3cret\uff20web:99999/",
		"http://user:s3cret%4\n0web:99999/",
		`http://user:s3cret\x@host/`,
		`http://user:80\s3cret@host/`,
		"user:s3cret",
		"javascript:s3cret",
	} {
		t.Run(raw, func(t *testing.T) {
			text := Redact(raw)
			if target, err := ParseTarget(raw); err != nil {
				text += err.Error()
			} else {
				text += shown(target)
			}
			if strings.Contains(text, "s3cret") || strings.Contains(text, "cret@") || strings.Contains(text, "733363726574") {
				t.Errorf("the password is shown: %s", text)
			}
		})
	}
}

func TestTargetShowsItsParts(t *testing.T) {
	long := strings.Repeat("x", 500)
	for _, tt := range []struct{ raw, want string }{
		{"http://user:password@web:8080/health?a=1", "http://web:8080/health?a=…"},
		{"http://web/mail?to=a@b&x&y=&z=1#top", "http://web/mail?to=…&…&…&z=…"},
		{"http://web", "http://web/"},
		{"https://web:443/?", "https://web/?"},
		{"http://web:443", "http://web:443/"},
		{"tcp://db:3306", "tcp://db:3306"},
		{"tcp://db:3306/", "tcp://db:3306"},
		{"tcp://db:3306/a?b=c", "tcp://db:3306/a?b=…"},
		{"icmp://Router:9", "icmp://router"},
		{"icmp://127.1", "icmp://127.0.0.1"},
		{"tcp://[FE80::1%25eth0]:22", "tcp://[fe80::1%eth0]:22"},
		{"http://Bücher_1.lan./ä", "http://xn--bcher_1-n2a.lan./%C3%A4"},
		{"http://web/\u202e\u2028\x1b[31m", "http://web/%E2%80%AE%E2%80%A8%1B[31m"},
		{"http://admin:80/pass@word@host/x", "http://admin/…@host/x"},
		{"http://web/" + long, "http://web/" + long[:189] + "…"},
		{"http://web/?" + long + "=1", "http://web/?" + long[:188] + "…"},
		{"http://web/" + long[:187] + "?a=1", "http://web/" + long[:187] + "?a…"},
		{"http://web/" + long[:185] + "?a=1&b=1", "http://web/" + long[:185] + "?a=…"},
	} {
		target := mustParse(t, tt.raw)
		for _, verb := range []string{"%v", "%+v", "%#v", "%s"} {
			if got := fmt.Sprintf(verb, target); got != tt.want {
				t.Errorf("%s of %q = %q, want %q", verb, tt.raw, got, tt.want)
			}
		}
	}
	if got := fmt.Sprint(Target{}); got != "" {
		t.Errorf("the zero Target reads %q, want nothing", got)
	}
}

func TestRedact(t *testing.T) {
	for _, tt := range []struct{ raw, want string }{
		{"http://user:password@we b/a?b=c&d#e", "http://***@we b/a?b=…&…"},
		{"localhost:3306", "localhost:3306"},
		{"user:password", "user:…"},
		{"db", "db"},
		{"ftp://web/x", "ftp://web/x"},
		{"tcp://db\u202e\x1b\u2028:x", "tcp://db%E2%80%AE%1B%E2%80%A8:x"},
		{"http://[" + strings.Repeat("x", 500), "http://[" + strings.Repeat("x", 192) + "…"},
	} {
		if got := Redact(tt.raw); got != tt.want {
			t.Errorf("Redact(%q) = %q, want %q", tt.raw, got, tt.want)
		}
	}
}

func TestLookAlikesHaveNumbers(t *testing.T) {
	var checks []Check
	add := func(node, raw string) {
		checks = append(checks, Check{ServiceID: "s", NodeID: node, Target: mustParse(t, raw)})
	}
	add("n", "http://web/?key=1")
	add("m", "http://web/?key=1")
	add("n", "http://web/")
	add("n", "http://user@web")
	add("n", "http://web/?key=2#x")
	add("n", "tcp://web:1")
	NumberLookAlikes(checks)
	want := []string{"http://web/?key=… #1", "http://web/?key=…", "http://web/ #1", "http://web/ #2", "http://web/?key=… #2", "tcp://web:1"}
	for i, c := range checks {
		if got := fmt.Sprintf("%v", c.Target); got != want[i] {
			t.Errorf("%q is shown as %q, want %q", c.Target.ID(), got, want[i])
		}
	}
}

// FuzzParseTarget takes any text as a URL, and as what stands around a password,
// the value of a query and a fragment.
func FuzzParseTarget(f *testing.F) {
	for _, raw := range []string{
		"tcp://10.0.0.5:3306", "icmp://[::1]", "https://user:password@web:8443/health?a=1#x", "http://Bücher/",
		" http://web ", "icmp://::1", "tcp://h:99999", "user:pass@host//x", "http:/a@b//c", "http://[fe80::1%25eth0]/", "", "http://\u00ad", "tcp://\uff11.2.3.4:1",
		`http:\\host\path`, "http:host", "ht\ttp://h/%", "tcp://127.1:80", "http://0x7f.1/", "icmp://2130706433", "tcp://[fe80::1%252]:22",
		"https://bücher_1.lan/", "http://admin:#x@host/", "http://h/../a/./b/%2e%2e/c?x=1&y#z", "http://h/?", "//h/x", "http://h:1/a@b", "\xff://\xff", "y" + strings.Repeat(`\`, maxSegments),
	} {
		f.Add(raw)
	}
	const secret = "pa55-w0rd"
	base := mustParse(f, "http://base:8080/a/b?c")
	f.Fuzz(func(t *testing.T, raw string) {
		if target, err := ParseTarget(raw); err == nil {
			wantSound(t, raw, target)
		} else if text := err.Error(); len(text) > 700 || strings.Contains(text, "\n") {
			t.Errorf("%q: got the error %q, want a short line", raw, text)
		}
		if tail := "/" + raw; isPlain(tail) {
			if u, err := whatwg.Parse(standIn + tail); err != nil || u.Href(true) != standIn+tail {
				t.Errorf("%q counts as plain, and comes to %v, %v", tail, u, err)
			}
		}
		first := request{target: base}
		if q, err := first.redirect(raw, first); err == nil {
			again, err := first.redirect(fmt.Sprintf("%s://%s%s", q.target.Scheme(), q.target.appendAuthority(nil, q.target.host), q.target.uri), first)
			if err != nil || again.target.uri != q.target.uri || again.target.host != q.target.host || again.target.port != q.target.port {
				t.Errorf("redirect to %q: got %v and then %v, %v, want the same", raw, q.target, again.target, err)
			}
		}
		if strings.Contains(raw, secret) || len(raw) > maxURL {
			return
		}
		before, after, ok := strings.Cut(raw, "//")
		if !ok {
			before, after = "http:", raw
		}
		host, _, _ := strings.Cut(after, "#")
		name, _, _ := strings.Cut(host, "?")
		for _, raw := range []string{
			before + "//user:" + secret + "@" + after,
			before + "//" + name + "?a=" + secret + "&b=" + secret,
			before + "//" + name + "?" + secret,
			before + "//" + host + "#" + secret,
			before + "//a:#" + secret + "@" + after,
			before + "//a:80/" + secret + "@" + after,
		} {
			text := Redact(raw) + fmt.Sprint(ID{Replica: raw})
			if target, err := ParseTarget(raw); err != nil {
				text += err.Error()
			} else {
				text += shown(target)
			}
			if _, err := first.redirect(raw, first); err != nil {
				text += err.Error()
			}
			if strings.Contains(text, secret) {
				t.Errorf("the secret in %q is shown: %s", raw, text)
			}
		}
	})
}

// wantSound checks that target is whole, the same each time, and fit for a
// request and a log line.
func wantSound(t *testing.T, raw string, target Target) {
	t.Helper()
	if target.ID() != raw {
		t.Errorf("ID() = %q, want %q", target.ID(), raw)
	}
	if target.host == "" || (target.port == 0) != (target.Scheme() == ICMP) {
		t.Errorf("%q: host %q, port %d", raw, target.host, target.port)
	}
	again := mustParse(t, target.ID())
	if again.host != target.host || again.addr != target.addr || again.port != target.port || again.scheme != target.scheme || again.uri != target.uri {
		t.Errorf("%q is another target the second time: %v, then %v", raw, target, again)
	}
	for _, r := range target.uri + target.hostname() {
		if r <= ' ' || r >= 0x7f {
			t.Errorf("%q: host %q and URI %q, want nothing that a request cannot hold", raw, target.hostname(), target.uri)
		}
	}
	if target.uri[0] != '/' || strings.Contains(target.uri, "#") {
		t.Errorf("%q: got the URI %q, want a path, and a query at most", raw, target.uri)
	}
	if text := target.String(); len(text) > maxShown+len("…") || strconv.Quote(text) != `"`+strings.ReplaceAll(strings.ReplaceAll(text, `\`, `\\`), `"`, `\"`)+`"` {
		t.Errorf("%q is shown as %q, want a short printable text", raw, text)
	}
}

func TestIDShowsNoPassword(t *testing.T) {
	target, err := ParseTarget("http://user:hunter2@db/x")
	if err != nil {
		t.Fatal(err)
	}
	id := Check{ServiceID: "s", NodeID: "n\x1b\u202e", Target: target}.ID()
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q"} {
		if got := fmt.Sprintf(verb, id); got != `s/n\x1b\u202e/http://db/x` {
			t.Errorf("%s: got %s, want the id printable and the URL without its user", verb, got)
		}
	}
}

func TestSchemesAreThoseThatURLsCanHave(t *testing.T) {
	for _, scheme := range Schemes() {
		if target, err := ParseTarget(string(scheme) + "://host:1"); err != nil || target.Scheme() != scheme {
			t.Errorf("%s: got the target %v, %v, want one of that scheme", scheme, target, err)
		}
	}
	rows := 0
	for _, m := range methods() {
		if m.attempt != nil {
			rows++
		}
	}
	if got := len(Schemes()); got != rows {
		t.Errorf("got %d schemes, want the %d of the table", got, rows)
	}
}
