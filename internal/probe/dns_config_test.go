package probe

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestResolvConf(t *testing.T) {
	const defaults = "[127.0.0.1:53] search [] ndots 1 5s x 2"
	for _, tt := range []struct{ text, hostname, want string }{
		{"", "host", defaults},
		{"nameserver 10.0.0.1\nnameserver 10.0.0.2\n", "host", "[10.0.0.1:53 10.0.0.2:53] search [] ndots 1 5s x 2"},
		{"nameserver fe80::1%eth0\r\nnameserver\t::1 # here\n", "host", "[[fe80::1%eth0]:53 [::1]:53] search [] ndots 1 5s x 2"},
		{"nameserver 1.1.1.1\nnameserver 1.1.1.2\nnameserver 1.1.1.3\nnameserver 1.1.1.4", "", "[1.1.1.1:53 1.1.1.2:53 1.1.1.3:53] search [] ndots 1 5s x 2"},
		{"nameserver nobody\nnameserver\nNAMESERVER 10.0.0.1\n nameserver 10.0.0.2\n#nameserver 10.0.0.3\n;nameserver 10.0.0.4\n", "host", defaults},
		{"\x00\xff\nfamily inet4\nsortlist 10.0.0.0/8\n\n", "host", defaults},
		{"", "host.corp.test", "[127.0.0.1:53] search [corp.test] ndots 1 5s x 2"},
		{"search a.test b.test.\n", "host.corp.test", "[127.0.0.1:53] search [a.test b.test] ndots 1 5s x 2"},
		{"search a.test\ndomain b.test c.test\n", "host", "[127.0.0.1:53] search [b.test] ndots 1 5s x 2"},
		{"domain b.test\nsearch a.test\n", "host", "[127.0.0.1:53] search [a.test] ndots 1 5s x 2"},
		{"options ndots:3 timeout:1\noptions attempts:1 rotate edns0\n", "host", "[127.0.0.1:53] search [] ndots 3 1s x 1"},
		{"options ndots:99 timeout:99 attempts:99", "host", "[127.0.0.1:53] search [] ndots 15 30s x 5"},
		{"options ndots:-1 timeout:0 attempts:0 ndots:x ndots", "host", "[127.0.0.1:53] search [] ndots 1 1s x 1"},
		{"options no-aaaa use-vc", "host", defaults + " no-aaaa use-vc"},
	} {
		c := parseResolvConf(tt.text, tt.hostname, 53)
		got := fmt.Sprintf("%v search %v ndots %d %v x %d", c.servers, c.search, c.ndots, c.timeout, c.attempts)
		if c.noAAAA {
			got += " no-aaaa"
		}
		if c.useTCP {
			got += " use-vc"
		}
		if got != tt.want {
			t.Errorf("%q on %q: got %s, want %s", tt.text, tt.hostname, got, tt.want)
		}
	}
}

func TestNamesAreTriedInOrder(t *testing.T) {
	for _, tt := range []struct{ conf, host, want string }{
		{"search a.test b.test", "db", "db.a.test. db.b.test. db."},
		{"search a.test b.test", "db.corp", "db.corp. db.corp.a.test. db.corp.b.test."},
		{"search a.test b.test", "db.", "db."},
		{"search a.test\noptions ndots:2", "db.corp", "db.corp.a.test. db.corp."},
		{"search a.test\noptions ndots:0", "db", "db. db.a.test."},
		{"search a.test .", "db", "db.a.test. db."},
		{"", "db", "db."},
	} {
		c := parseResolvConf(tt.conf, "host", 53)
		if got := strings.Join(c.candidates(tt.host), " "); got != tt.want {
			t.Errorf("%q: %s is tried as %s, want %s", tt.conf, tt.host, got, tt.want)
		}
	}
}

func TestHostsFile(t *testing.T) {
	const text = "127.0.0.1 localhost\n::1\tlocalhost ip6-localhost\n" +
		"10.0.0.5  Db.Corp.test db # 10.0.0.9 no\n10.0.0.6 db\n10.0.0.5 db\n2001:db8::5 DB\n" +
		"#10.0.0.7 old\nnot-an-address odd\n10.0.0.8\n\n::ffff:10.0.0.4 mapped\r\n10.0.0.3 last"
	hosts := parseHosts(text)
	for name, want := range map[string]string{
		"localhost":    "127.0.0.1 ::1",
		"db":           "10.0.0.5 10.0.0.6 2001:db8::5",
		"db.corp.test": "10.0.0.5",
		"mapped":       "10.0.0.4",
		"last":         "10.0.0.3",
		"old":          "",
		"odd":          "",
		"no":           "",
	} {
		if got := texts(hosts.addrs(name)); got != want {
			t.Errorf("%s: got %q, want %q", name, got, want)
		}
	}
}

// A map of the names took four times the file.
func TestLargeHostsFileCostsLittle(t *testing.T) {
	var b strings.Builder
	const names = 400_000
	for i := range names {
		fmt.Fprintf(&b, "0.0.0.0 ads-%d.example\n", i)
	}
	b.WriteString("10.0.0.5 last\n")
	text := b.String()
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	hosts := parseHosts(text)
	runtime.GC()
	runtime.ReadMemStats(&after)
	if got := int(after.HeapAlloc) - int(before.HeapAlloc); got > 8*names+256<<10 {
		t.Errorf("got %d KiB beside the %d of the text, want 8 bytes a name", got>>10, len(text)>>10)
	}
	for name, want := range map[string]string{"ads-0.example": "0.0.0.0", "ads-399999.example": "0.0.0.0", "last": "10.0.0.5", "ads-400000.example": ""} {
		if got := texts(hosts.addrs(name)); got != want {
			t.Errorf("%s: got %q, want %q", name, got, want)
		}
	}
}

// Whoever writes a file anew may empty it first, or remove it: an attempt that meets that
// moment must not be one of three that read the same.
func TestFileThatIsBeingWrittenIsReadAgainAtOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "hosts")
	s := newStub(path, "/nonexistent", 53, nil)
	for i, text := range []string{"10.0.0.5 db\n", "", "10.0.0.6 db\n", "missing", "10.0.0.7 db\n"} {
		if text == "missing" {
			if err := os.Remove(path); err != nil {
				t.Fatal(err)
			}
		} else if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		want, _, _ := strings.Cut(strings.TrimPrefix(text, "missing"), " ")
		if got := texts(s.hosts.get().addrs("db")); got != want {
			t.Errorf("step %d: got %q, want %q", i, got, want)
		}
	}
}

// What of a file is passed over is said.
func TestHostsFileThatIsTooLargeIsSaid(t *testing.T) {
	path := filepath.Join(t.TempDir(), "hosts")
	text := "10.0.0.5 first\n" + strings.Repeat("#", maxConfigFile) + "\n10.0.0.6 last\n"
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	var said []string
	s := newStub(path, "/nonexistent", 53, func(subject, text string) { said = append(said, subject+": "+text) })
	if got := texts(s.hosts.get().addrs("first")) + texts(s.hosts.get().addrs("last")); got != "10.0.0.5" {
		t.Errorf("got %s, want that of the first name alone", got)
	}
	if len(said) != 1 || !strings.Contains(said[0], path+": it has 16 MiB or more") {
		t.Errorf("got %q said, want once that it is too large", said)
	}
}

func TestHostsAreAskedBeforeDNS(t *testing.T) {
	server := listenDNS(t, "127.0.0.1:0", zone("db. 10.0.0.1", "db. 2001:db8::1", "localhost. 10.0.0.1"), nil)
	r, _, _ := resolverAt(t, server.port(), nameserverLines(1), "10.0.0.5 db\n")
	for host, want := range map[string]string{
		"DB":                 "10.0.0.5",
		"localhost":          "127.0.0.1 ::1", // though the file has no line for it
		"localhost.":         "127.0.0.1 ::1",
		"web.test.LOCALHOST": "127.0.0.1 ::1",
	} {
		addrs, err := r.addrs(t.Context(), mustParse(t, "tcp://"+host+":1"), within(10*time.Second))
		if got := texts(addrs); got != want {
			t.Errorf("%s: got %q, %v, want %q", host, got, err, want)
		}
		if !r.resolved.IsZero() {
			t.Errorf("%s: got it taken for an answer of a nameserver", host)
		}
	}
	if asked := server.questions(); len(asked) > 0 {
		t.Errorf("a nameserver was asked %q, want nothing", asked)
	}
}

func TestConfigurationIsReadAgainWhenItChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		reads, path := 0, filepath.Join(t.TempDir(), "resolv.conf")
		w := watchedFile[string]{path: path, parse: func(text string) string { reads++; return text }}
		want := func(text string, times int) {
			t.Helper()
			if got := w.get(); got != text || reads != times {
				t.Errorf("got %q after %d reads, want %q after %d", got, reads, text, times)
			}
		}
		write := func(text string) {
			t.Helper()
			if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		want("", 1) // there is none
		write("one")
		want("one", 2)
		long := time.Now().Add(-time.Hour)
		if err := os.Chtimes(path, long, long); err != nil {
			t.Fatal(err)
		}
		want("one", 3)
		write("three") // of a file that has settled, this is not seen at once
		want("one", 3)
		time.Sleep(watchInterval)
		want("three", 4)
		want("three", 4)
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		want("", 5)
		if err := os.Mkdir(path, 0o700); err != nil { // it cannot be read
			t.Fatal(err)
		}
		want("", 5)
	})
}

func TestNameserversAreAskedWithoutEDNS(t *testing.T) {
	server := listenDNS(t, "127.0.0.1:0", good, nil)
	r, _, _ := resolverAt(t, server.port(), nameserverLines(1)+"search corp.test test\n", "")
	if _, err := r.addrs(t.Context(), mustParse(t, "tcp://web:1"), within(10*time.Second)); err != nil {
		t.Fatal(err)
	}
	asked := server.questions()
	slices.Sort(asked)
	if want := []string{"A web.corp.test.", "A web.test.", "AAAA web.corp.test.", "AAAA web.test."}; !slices.Equal(asked, want) {
		t.Errorf("it was asked %q, want %q", asked, want)
	}
	for _, q := range server.seen {
		if !q.message.RecursionDesired || len(q.message.Additionals) > 0 {
			t.Errorf("got the question %v, want one that wants recursion, without EDNS", q.message.GoString())
		}
	}
}

func TestNoAAAA(t *testing.T) {
	server := listenDNS(t, "127.0.0.1:0", good, nil)
	r, _, _ := resolverAt(t, server.port(), nameserverLines(1)+"options no-aaaa\n", "")
	addrs, err := r.addrs(t.Context(), mustParse(t, "tcp://web.test:1"), within(10*time.Second))
	if asked := server.questions(); err != nil || texts(addrs) != "10.0.0.5" || slices.ContainsFunc(asked, func(q string) bool { return q != "A web.test." }) {
		t.Errorf("got %v, %v, after the questions %q, want no AAAA", addrs, err, asked)
	}
}
