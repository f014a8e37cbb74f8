package main

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/crisp-im/crisp-status-local/v2/internal/config"
	"github.com/crisp-im/crisp-status-local/v2/internal/duty"
	"github.com/crisp-im/crisp-status-local/v2/internal/sandbox"
	"github.com/crisp-im/crisp-status-local/v2/internal/scheduler"
)

// oneEtcd starts an etcd on loopback, and returns its client URL.
func oneEtcd(t *testing.T) string {
	t.Helper()
	path, err := exec.LookPath("etcd")
	if err != nil {
		if os.Getenv("CRISP_REQUIRE_TOOLS") != "" {
			t.Fatal("etcd is not installed: apt-get install etcd-server")
		}
		t.Skip("etcd is not installed: apt-get install etcd-server")
	}
	var urls []string
	for range 2 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		urls = append(urls, "http://"+l.Addr().String())
	}
	cmd := exec.Command(path, "--data-dir", filepath.Join(t.TempDir(), "data"), "--listen-client-urls", urls[0], "--advertise-client-urls", urls[0],
		"--listen-peer-urls", urls[1], "--initial-advertise-peer-urls", urls[1], "--initial-cluster", "default="+urls[1])
	cmd.Env = append(os.Environ(), "ETCD_UNSUPPORTED_ARCH="+runtime.GOARCH)
	t.Cleanup(func() {
		if cmd.Process != nil {
			cmd.Process.Kill()
			cmd.Wait()
		}
	})
	defer func() {
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
	}()
	return urls[0]
}

// joined adds a section about a group to the configuration of w.
func (w *world) joined(section string) {
	w.t.Helper()
	f, err := os.OpenFile(w.config, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		w.t.Fatal(err)
	}
	defer f.Close()
	if _, err := fmt.Fprintf(f, "[cluster]\n%s\n", section); err != nil {
		w.t.Fatal(err)
	}
}

func TestCheckOfAGroup(t *testing.T) {
	w := newWorld(t, sandbox.Options{}, "target:tcp")
	etcd := oneEtcd(t)
	joined := func(token, more string) {
		t.Helper()
		w.configure(token, 120)
		w.joined(fmt.Sprintf("engine = 'etcd'\ngroup = 'office'\nmember = 'host-a'\n%s", more))
	}
	joined(w.Token(), fmt.Sprintf("endpoints = [%q, 'http://127.0.0.1:1']", etcd))
	var stdout string
	w.eventually("an etcd that answers", func() bool {
		stdout, _, _ = started(t.Context(), t, "check", "-c", w.config)
		return strings.Contains(stdout, "✔ engine")
	})
	for _, want := range []string{
		"! engine   http://127.0.0.1:1: ", "✔ engine   etcd: 1 of 2 endpoints answer\n", "✔ rights   ", "✔ group    office: no daemon of it runs now; this one is host-a\n",
		"✔ clock    ", " rate     ", "in rate", "✔ map",
	} {
		if !strings.Contains(stdout, want) {
			t.Errorf("got\n%swant %q in it", stdout, want)
		}
	}

	w.launch()
	w.eventually("that the daemon is on duty", func() bool {
		stdout, _, _ := started(t.Context(), t, "status", "-c", w.config)
		return strings.Contains(stdout, "duty        on duty since ") && strings.Contains(stdout, "member      host-a (this daemon), on duty: ")
	})
	if stdout, _, exit := started(t.Context(), t, "check", "-c", w.config); exit != 0 || !strings.Contains(stdout, "✔ group    office: host-a "+version+"; this one is host-a; host-a is on duty\n") {
		t.Errorf("got exit status %d and\n%swant the daemon in its group", exit, stdout)
	}

	password := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(password, []byte("pa55\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	joined(w.Token(), fmt.Sprintf("endpoints = [%q]\nuser = 'u'\npassword_file = %q", etcd, password))
	if stdout, _, exit := started(t.Context(), t, "check", "-c", w.config); exit != 0 || !strings.Contains(stdout, "! user     "+duty.NoUsers) {
		t.Errorf("got exit status %d and\n%swant 0 and that etcd asks nobody for a user", exit, stdout)
	}
	joined("another", fmt.Sprintf("endpoints = [%q]", etcd))
	if stdout, _, exit := started(t.Context(), t, "check", "-c", w.config); exit != 1 || !strings.Contains(stdout, `✘ group    host-a of the group "office" has another token`) {
		t.Errorf("got exit status %d and\n%swant 1 and that the group is another page's", exit, stdout)
	}
	joined(w.Token(), fmt.Sprintf("endpoints = [%q, %q]", etcd, strings.TrimSuffix(w.URL(), "/")))
	if stdout, _, exit := started(t.Context(), t, "check", "-c", w.config); exit != 1 || !strings.Contains(stdout, "is not etcd's JSON gateway") || !strings.Contains(stdout, "✔ engine   etcd: 1 of 2 endpoints answer\n") {
		t.Errorf("got exit status %d and\n%swant 1 and which endpoint is no etcd", exit, stdout)
	}
	joined(w.Token(), "endpoints = ['http://127.0.0.1:1', 'http://127.0.0.1:2']")
	if stdout, _, exit := started(t.Context(), t, "check", "-c", w.config); exit != 1 || strings.Count(stdout, "engine   ") != 2 ||
		!strings.Contains(stdout, "✘ engine   http://127.0.0.1:1: ") || !strings.Contains(stdout, "✘ engine   http://127.0.0.1:2: ") {
		t.Errorf("got exit status %d and\n%swant 1, and of each endpoint once why it does not answer", exit, stdout)
	}
	w.stop()
}

func TestCheckOfDaemonsWithoutEtcd(t *testing.T) {
	w := newWorld(t, sandbox.Options{}, "target:tcp")
	for section, want := range map[string]string{
		"engine = 'alive'":                             "✔ duty     engine alive: ",
		"engine = 'address'\naddress = '192.0.2.77'":   "✔ duty     engine address: this host does not have 192.0.2.77 now, so its daemon stands by\n",
		"engine = 'address'\naddress = '2001:db8::77'": "this host does not have 2001:db8::77 now",
	} {
		w.configure(w.Token(), 120)
		w.joined(section)
		if stdout, stderr, exit := started(t.Context(), t, "check", "-c", w.config); exit != 0 || !strings.Contains(stdout, want) {
			t.Errorf("got exit status %d and\n%s%swant 0 and %q", exit, stdout, stderr, want)
		}
	}
	w.configure(w.Token(), 120)
	if stdout, _, _ := started(t.Context(), t, "check", "-c", w.config); strings.Contains(stdout, "duty") || strings.Contains(stdout, "in rate") {
		t.Errorf("got\n%sof a daemon by itself, want nothing about a duty", stdout)
	}
}

func TestCheckSaysWhatIsOddAboutAGroup(t *testing.T) {
	c := config.Cluster{Group: "office", Member: "host-a", TTL: 10 * time.Second}
	for _, tt := range []struct {
		found           duty.EtcdCheck
		want            string
		failed, noticed int
	}{
		{duty.EtcdCheck{Stray: "the key \"x\" is of no member: delete it"}, "✘ group    the key \"x\" is of no member: delete it\n", 1, 0},
		{duty.EtcdCheck{Namesakes: []string{"host-a"}, Members: []duty.Member{{Name: "host-a#1"}, {Name: "host-a#2"}}}, "! group    more than one daemon is called \"host-a\": give each its own name", 0, 1},
		{duty.EtcdCheck{Members: []duty.Member{{Name: "host-b", Version: "2.1.0"}}}, "✔ group    office: host-b 2.1.0; this one is host-a; nobody is on duty\n", 0, 0},
	} {
		l := &checklist{}
		l.group(tt.found, c)
		if got := l.text.String(); !strings.Contains(got, tt.want) || l.failed != tt.failed || l.noticed != tt.noticed {
			t.Errorf("got %q, %d failed and %d noticed, want %q, %d and %d", got, l.failed, l.noticed, tt.want, tt.failed, tt.noticed)
		}
	}
}

func TestAStandbyKnowsByItsMapWhetherTheAPIAnswers(t *testing.T) {
	now := time.Now()
	before, after := now.Add(-time.Hour), now.Add(-time.Minute)
	for _, tt := range []struct {
		name  string
		taken time.Time
		m     scheduler.MapState
		want  time.Time
	}{
		{"nothing yet", time.Time{}, scheduler.MapState{}, time.Time{}},
		{"a map, and no report", time.Time{}, scheduler.MapState{At: after}, after},
		{"a map after the last report", before, scheduler.MapState{At: after}, after},
		{"a report after the last map", after, scheduler.MapState{At: before}, after},
		{"a report, then no map", before, scheduler.MapState{At: before, Err: os.ErrDeadlineExceeded, FailingSince: after}, time.Time{}},
		{"a report while there is no map", after, scheduler.MapState{At: before, Err: os.ErrDeadlineExceeded, FailingSince: before}, after},
	} {
		if got := lastAnswer(tt.taken, tt.m); !got.Equal(tt.want) {
			t.Errorf("%s: got %v, want %v", tt.name, got, tt.want)
		}
	}
}

func TestAnAddressIsFoundHoweverItIsWritten(t *testing.T) {
	l := &checklist{}
	l.address(t.Context(), netip.MustParseAddr("::ffff:127.0.0.1"))
	if got := l.text.String(); !strings.Contains(got, "so its daemon is on duty") {
		t.Errorf("got %q of loopback, want that this host has it", got)
	}
	if got := l.text.String(); l.failed != 0 || l.noticed != 1 || !strings.Contains(got, "! duty     engine address: it cannot be checked here whether another host has ::ffff:127.0.0.1, too: lo is no Ethernet") {
		t.Errorf("got %q of loopback, want that no other host can be asked there", got)
	}
}

func TestALeaseThatOutlastsThePageIsNoticed(t *testing.T) {
	for _, tt := range []struct{ ttl, interval, promise, noticed int }{
		{10, 120, 120, 0}, {38, 120, 120, 0}, {39, 120, 120, 1}, {60, 120, 200, 1}, {60, 120, 600, 0},
	} {
		l := &checklist{}
		l.ttl(time.Duration(tt.ttl)*time.Second, time.Duration(tt.interval)*time.Second, time.Duration(tt.promise)*time.Second)
		if l.noticed != tt.noticed || l.failed != 0 {
			t.Errorf("ttl %d, interval %d, promise %d: got %d notices and %d failures, want %d and none: %s", tt.ttl, tt.interval, tt.promise, l.noticed, l.failed, tt.noticed, l.text.String())
		}
	}
}
