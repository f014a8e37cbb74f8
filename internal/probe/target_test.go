package probe

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
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
		{"http:///path", "has no host"},
		{"http:web", "has no host"},
		{"icmp://", "has no host"},
		{"icmp://::1", "IPv6 address that is not one in brackets"},
		{"icmp://2001:db8::1", "IPv6 address that is not one in brackets"},
		{"tcp://1:2:3:4:5:6:7:8:22", "IPv6 address that is not one in brackets"},
		{"http://[10.0.0.1/", "is not a URL"},
		{"http://we b/", "is not a URL"},
		{"http://web/\x00", "is not a URL"},
		{"http://web/%zz", "is not a URL"},
		{"http://\u2028/", "no internationalized domain name"},
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

func TestTargetShowsTheRest(t *testing.T) {
	for _, tt := range []struct{ raw, want string }{
		{"http://user:password@web:8080/health?a=1", "http://***@web:8080/health?a=1"},
		{"http://web/mail?to=a@b", "http://web/mail?to=a@b"},
		{"tcp://db:3306", "tcp://db:3306"},
		{"http://web/" + strings.Repeat("x", 500), "http://web/" + strings.Repeat("x", 189) + "…"},
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

func FuzzParseTarget(f *testing.F) {
	for _, raw := range []string{
		"tcp://10.0.0.5:3306", "icmp://[::1]", "https://user:password@web:8443/health?a=1#x", "http://Bücher/",
		" http://web ", "icmp://::1", "tcp://h:99999", "user:pass@host//x", "http:/a@b//c", "http://[fe80::1%25eth0]/", "", "http://\u00ad", "tcp://\uff11.2.3.4:1",
	} {
		f.Add(raw)
	}
	const password = "pa55-w0rd"
	f.Fuzz(func(t *testing.T, raw string) {
		if target, err := ParseTarget(raw); err == nil {
			if target.ID() != raw {
				t.Errorf("ID() = %q, want %q", target.ID(), raw)
			}
			if target.host == "" || (target.port == 0) != (target.Scheme() == ICMP) {
				t.Errorf("%q: host %q, port %d", raw, target.host, target.port)
			}
			again := mustParse(t, target.ID())
			if again.host != target.host || again.addr != target.addr || again.port != target.port || again.scheme != target.scheme {
				t.Errorf("%q is another target the second time: %+v, then %+v", raw, *target.target, *again.target)
			}
			if _, err := target.url(); err != nil {
				t.Errorf("%q is no URL for the attempt: %v", raw, err)
			}
		}
		if strings.Contains(raw, password) || len(raw) > maxURL {
			return
		}
		before, after, ok := strings.Cut(raw, "//")
		secret := "user:" + password + "@" + raw
		if ok {
			secret = before + "//user:" + password + "@" + after
		}
		text := Redact(secret)
		if target, err := ParseTarget(secret); err != nil {
			text += err.Error()
		} else {
			text += shown(target)
		}
		if strings.Contains(text, password) {
			t.Errorf("the password in %q is shown: %s", secret, text)
		}
	})
}

func TestIDShowsNoPassword(t *testing.T) {
	target, err := ParseTarget("http://user:hunter2@db/x")
	if err != nil {
		t.Fatal(err)
	}
	id := Check{ServiceID: "s", NodeID: "n", Target: target}.ID()
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q"} {
		if got := fmt.Sprintf(verb, id); got != "s/n/http://***@db/x" {
			t.Errorf("%s: got %s, want s/n/http://***@db/x", verb, got)
		}
	}
}
