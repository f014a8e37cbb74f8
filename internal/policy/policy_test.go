package policy

import (
	"net/netip"
	"strings"
	"testing"
)

// entries understands a list whose items are apart by blanks.
func entries(t testing.TB, list string) []Entry {
	t.Helper()
	var all []Entry
	for text := range strings.FieldsSeq(list) {
		e, err := ParseEntry(text)
		if err != nil {
			t.Fatalf("entry %q: %v", text, err)
		}
		all = append(all, e)
	}
	return all
}

func TestCheck(t *testing.T) {
	const metadata, nobody = "metadata", "which is no host's"
	for _, tt := range []struct {
		allow, deny string
		name, addr  string
		port        uint16
		want        string // a part of why it is denied; "" if it is not
	}{
		{"", "", "", "10.0.0.1", 80, ""},
		{"", "", "", "127.0.0.1", 80, ""},
		{"", "", "", "0.0.0.0", 80, ""},
		{"", "", "", "::", 80, ""},
		{"", "", "", "fe80::1%eth0", 80, ""},
		{"", "10.0.0.0/8", "", "10.0.0.1", 80, `"10.0.0.0/8" of [probe] deny`},
		{"", "10.0.0.0/8", "", "10.0.0.1", 0, `"10.0.0.0/8"`},
		{"", "10.0.0.0/8", "", "11.0.0.1", 80, ""},
		{"", "10.0.0.0/8", "", "::ffff:10.0.0.1", 80, `"10.0.0.0/8"`},
		{"", "10.0.0.0/8", "", "64:ff9b::10.0.0.1", 80, `"10.0.0.0/8"`},
		{"", "10.0.0.0/8", "", "2002:a00:1::7", 80, `"10.0.0.0/8"`},
		{"", "2002::/16", "", "2002:a00:1::7", 80, `"2002::/16"`},
		{"", "64:ff9b::/96", "", "64:ff9b::10.0.0.1", 80, `"64:ff9b::/96"`},
		{"", "::ffff:10.0.0.0/104", "", "10.0.0.1", 80, `"::ffff:10.0.0.0/104"`},
		{"", "fe80::/10", "", "fe80::1%eth0", 80, `"fe80::/10"`},
		{"", "127.0.0.0/8", "", "0.0.0.0", 80, `"127.0.0.0/8"`},
		{"", "127.0.0.0/8", "", "::ffff:0.0.0.0", 80, `"127.0.0.0/8"`},
		{"", "127.0.0.0/8", "", "64:ff9b::", 80, `"127.0.0.0/8"`},
		{"", "::1", "", "::", 80, `"::1"`},
		{"127.0.0.1", "", "", "0.0.0.0", 80, ""},

		{"", "10.0.0.0/8:22", "", "10.0.0.1", 22, `"10.0.0.0/8:22"`},
		{"", "10.0.0.0/8:22", "", "10.0.0.1", 23, ""},
		{"", "10.0.0.0/8:22", "", "10.0.0.1", 0, ""},
		{"", "[fd00::/8]:20-30", "", "fd00::1", 30, `"[fd00::/8]:20-30"`},
		{"", "[fd00::/8]:20-30", "", "fd00::1", 31, ""},
		{"10.0.0.0/8:443", "", "", "10.0.0.1", 443, ""},
		{"10.0.0.0/8:443", "", "", "10.0.0.1", 80, "no entry of [probe] allow"},
		{"10.0.0.0/8:443", "", "", "10.0.0.1", 0, "no entry of [probe] allow"},
		{"10.0.0.0/8", "", "", "64:ff9b::10.0.0.1", 443, ""},

		{"*.db.lan", "", "a.db.lan", "10.0.0.1", 80, ""},
		{"*.db.lan", "", "a.db.lan.", "10.0.0.1", 80, ""},
		{"*.db.lan", "", "db.lan", "10.0.0.1", 80, "no entry"},
		{"*.db.lan", "", "xdb.lan", "10.0.0.1", 80, "no entry"},
		{"*.db.lan", "", "", "10.0.0.1", 80, "no entry"},
		{"DB.lan.:5432", "", "db.lan", "10.0.0.1", 5432, ""},
		{"DB.lan.:5432", "", "db.lan", "10.0.0.1", 5433, "no entry"},
		{"bücher.lan", "", "xn--bcher-kva.lan", "10.0.0.1", 80, ""},
		{"*.db.lan", "10.0.0.1", "a.db.lan", "10.0.0.1", 80, `"10.0.0.1" of [probe] deny`},
		{"10.0.0.0/8", "*.db.lan", "a.db.lan", "10.0.0.1", 80, `"*.db.lan" of [probe] deny`},
		{"10.0.0.1", "10.0.0.1", "", "10.0.0.1", 80, "deny"},

		{"", "", "", "169.254.169.254", 80, metadata},
		{"", "", "", "169.254.169.254", 0, metadata},
		{"", "", "", "169.254.170.2", 80, metadata},
		{"", "", "", "168.63.129.16", 80, metadata},
		{"", "", "", "192.0.0.192", 80, metadata},
		{"", "", "", "100.100.100.200", 80, metadata},
		{"", "", "", "fd00:ec2::254", 80, metadata},
		{"", "", "", "fd20:ce::254", 80, metadata},
		{"", "", "", "fd20:ce::254%eth0", 80, metadata},
		{"", "", "", "169.254.170.23", 80, metadata},
		{"", "", "", "fd00:ec2::23", 80, metadata},
		{"", "", "", "fe80::a9fe:a9fe%eth0", 80, metadata},
		{"", "", "", "fd00:c1::a9fe:a9fe", 80, metadata},
		{"", "", "", "169.254.42.42", 80, metadata},
		{"", "", "", "fd00:42::42", 80, metadata},
		{"", "", "", "169.254.0.23", 80, metadata},
		{"", "", "", "fe80::1%eth0", 80, ""},
		{"", "", "", "fd00:ec2::253", 80, ""},
		{"", "", "", "::ffff:169.254.169.254", 80, metadata},
		{"", "", "", "64:ff9b::169.254.169.254", 80, metadata},
		{"", "", "", "2002:a9fe:a9fe::1", 80, metadata},
		{"0.0.0.0/0 ::/0 *.lan", "", "a.lan", "169.254.169.254", 80, metadata},
		{"169.254.169.254", "", "", "169.254.169.254", 80, ""},
		{"169.254.169.254/32", "", "", "64:ff9b::169.254.169.254", 80, ""},
		{"169.254.169.254:80", "", "", "169.254.169.254", 81, metadata},
		{"169.254.169.254", "169.254.0.0/16", "", "169.254.169.254", 80, "deny"},
		{"", "", "", "169.254.169.253", 80, ""},
		{"", "", "", "224.0.0.1", 80, nobody},
		{"", "", "", "ff02::1%eth0", 0, nobody},
		{"", "", "", "255.255.255.255", 80, nobody},
		{"", "", "", "240.0.0.1", 80, nobody},
		{"", "", "", "0.0.0.1", 80, nobody},
		{"0.0.0.0/0", "", "", "0.0.0.1", 80, nobody},
		{"0.0.0.1", "", "", "0.0.0.1", 80, ""},
	} {
		p := New(entries(t, tt.allow), entries(t, tt.deny))
		got := ""
		if err := p.Check(tt.name, netip.MustParseAddr(tt.addr), tt.port); err != nil {
			got = err.Error()
		}
		if (got == "") != (tt.want == "") || !strings.Contains(got, tt.want) {
			t.Errorf("allow %q, deny %q: %s %s port %d: got %q, want %q", tt.allow, tt.deny, tt.name, tt.addr, tt.port, got, tt.want)
		}
		// What the name alone decides is never undone by an address.
		if tt.name != "" && p.CheckName(tt.name, tt.port) != nil && got == "" {
			t.Errorf("allow %q, deny %q: %s is denied as a name, and permitted at %s", tt.allow, tt.deny, tt.name, tt.addr)
		}
	}
	if (*Policy)(nil).Check("", netip.MustParseAddr("169.254.169.254"), 80) == nil {
		t.Error("no policy permits a metadata address, want it denied by default")
	}
}

func TestCheckName(t *testing.T) {
	for _, tt := range []struct {
		allow, deny, name string
		denied            bool
	}{
		{"", "", "a.lan", false},
		{"", "*.lan", "a.lan.", true},
		{"", "*.lan:22", "a.lan", false},
		{"b.lan", "", "a.lan", true},
		{"b.lan 10.0.0.0/8", "", "a.lan", false}, // its address decides
		{"b.lan 10.0.0.0/8:22", "", "a.lan", true},
		{"a.lan", "", "a.lan", false},
	} {
		p := New(entries(t, tt.allow), entries(t, tt.deny))
		if err := p.CheckName(tt.name, 80); (err != nil) != tt.denied {
			t.Errorf("allow %q, deny %q: %s: got %v, want denied: %t", tt.allow, tt.deny, tt.name, err, tt.denied)
		}
	}
}

func TestParseEntryRefuses(t *testing.T) {
	for text, want := range map[string]string{
		"":                   "is empty",
		"http://10.0.0.1":    "is a URL",
		"10.0.0.1 10.0.0.2":  "has a blank",
		"10.0.0.1/8":         "want the network itself, 10.0.0.0/8",
		"10.0.0.0/33":        "is no CIDR",
		"10.0.0.0/8:0":       `has the port "0"`,
		"10.0.0.0/8:70000":   `has the port "70000"`,
		"10.0.0.0/8:9-8":     `has the port "9-8"`,
		"10.0.0.0/8:":        `has the port ""`,
		"10.0.0.256":         "is no address",
		"10.0.0":             "is no address",
		"0x7f000001":         "is no address",
		"[10.0.0.1":          "brackets",
		"[::1]80":            "brackets",
		"[db.lan]:80":        "no IPv6 address in its brackets",
		"fe80::1%eth0":       "has a zone",
		"::1::2":             "is no host name",
		"*":                  "want \"*.db.lan\"",
		"a.*.lan":            "want \"*.db.lan\"",
		"*.":                 "is no host name",
		"db..lan":            "is no host name",
		"db.lan/path":        "is no CIDR",
		"user@db.lan":        "is no host name",
		"fd00::/8:443":       "is no CIDR",
		"169.254.169.254:8a": `has the port "8a"`,
	} {
		if _, err := ParseEntry(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want %q", text, err, want)
		}
	}
}

// FuzzParseEntry: no text makes it fall over, and what it takes it takes again.
func FuzzParseEntry(f *testing.F) {
	for _, text := range []string{"10.0.0.0/8:1-2", "[::1]:80", "*.db.lan", "bücher.lan.", "::ffff:1.2.3.4", "db.."} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		e, err := ParseEntry(text)
		if err == nil && e.prefix.IsValid() == (e.name != "") {
			t.Errorf("%q: got %+v, want either addresses or a name", text, e)
		}
	})
}
