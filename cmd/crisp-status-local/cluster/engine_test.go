//go:build cluster

package cluster

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/crisp-im/crisp-status-local/v2/cmd/crisp-status-local/namespaces"
)

// TestEtcd breaks etcd.
func TestEtcd(t *testing.T) {
	t.Parallel()
	long, rounds := time.Minute, 1
	if full() {
		long, rounds = 10*time.Minute, 2
	}
	try(t, []fault{
		{name: "loses its leader", lasts: 10 * time.Second, begin: func(l *lab, _ *process) func() {
			leader := l.etcd.leader()
			leader.kill()
			return leader.start
		}},
		{name: "has a member killed beside the daemon on duty", lasts: 10 * time.Second, begin: func(l *lab, victim *process) func() {
			member := l.memberBeside(victim)
			member.kill()
			return member.start
		}},
		{name: "has a leader that hangs", lasts: 15 * time.Second, begin: func(l *lab, _ *process) func() { return l.etcd.leader().stop() }},
		{name: "has two members that hang", lasts: 20 * time.Second, withoutEngine: true, begin: func(l *lab, _ *process) func() {
			return all(l.etcd.members[0].stop(), l.etcd.members[1].stop())
		}, check: saysItOnce},
		{name: "is gone", lasts: long, rounds: rounds, withoutEngine: true, begin: func(l *lab, _ *process) func() {
			for _, m := range l.etcd.members {
				m.kill()
			}
			return func() {
				for _, m := range l.etcd.members {
					m.start()
				}
			}
		}, check: saysItOnce},
	})
}

// The daemon's log lines when etcd is lost, when it answers and is of no use, and when it
// is back.
const (
	lost    = "etcd does not say who is on duty"
	useless = "etcd answers, but "
	found   = "etcd says again who is on duty"
)

// saysItOnce checks that each daemon has logged one line when etcd was lost, and one when
// it was back. Those of later rounds are one outage that goes on, or begin one whose end
// is said once etcd has been back for a while.
func saysItOnce(l *lab, _ *process, round int) {
	l.t.Helper()
	for _, d := range l.daemons {
		if round == 1 {
			namespaces.Eventually(l.t, d.host.name+" says that etcd is back", func() bool { return d.wrote(found) > 0 })
		}
		was, is := d.wrote(lost)+d.wrote(useless), d.wrote(found)
		if was < 1 || was > round || is > was || is < was-1 || round == 1 && is != 1 {
			l.t.Errorf("%s wrote %d times that etcd was lost, and %d times that it was back, in %d rounds, want a line for each outage:\n%s", d.host.name, was, is, round, d.tail())
		}
	}
}

// memberBeside returns the member of etcd on the daemon's host.
func (l *lab) memberBeside(d *process) *process {
	l.t.Helper()
	for _, m := range l.etcd.members {
		if m.host == d.host {
			return m
		}
	}
	l.t.Fatalf("no member of etcd is on %s", d.host.name)
	return nil
}

// proxyURL is the daemons' endpoint if a proxy stands before etcd.
const proxyURL = "http://" + pageAddress + ":2379"

// proxy stands before etcd, and may answer in its place.
type proxy struct {
	answer atomic.Pointer[http.HandlerFunc] // nil: etcd's
	sent   atomic.Int64                     // bytes of a body without end
}

// newProxy serves until the test ends.
func newProxy(l *lab) *proxy {
	l.t.Helper()
	p := new(proxy)
	var next atomic.Int64
	members := l.etcd.endpoints()
	forward := &httputil.ReverseProxy{FlushInterval: -1, Rewrite: func(r *httputil.ProxyRequest) {
		member, err := url.Parse(members[int(next.Add(1))%len(members)])
		if err == nil {
			r.SetURL(member)
		}
	}}
	listener, err := net.Listen("tcp", pageAddress+":2379")
	if err != nil {
		l.t.Fatal(err)
	}
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if answer := p.answer.Load(); answer != nil {
			(*answer)(w, r)
			return
		}
		forward.ServeHTTP(w, r)
	})}
	var serving sync.WaitGroup
	serving.Go(func() { _ = server.Serve(listener) })
	l.t.Cleanup(func() { server.Close(); serving.Wait() })
	return p
}

// TestProxyBeforeEtcd answers in the place of etcd.
func TestProxyBeforeEtcd(t *testing.T) {
	t.Parallel()
	var faults []fault
	add := func(name string, answer func(p *proxy) http.HandlerFunc) {
		var p *proxy
		var memory int
		faults = append(faults, fault{
			name: name, lasts: 20 * time.Second, withoutEngine: true,
			options: options{endpoints: []string{proxyURL}, before: func(l *lab) { p = newProxy(l) }},
			begin: func(l *lab, victim *process) func() {
				memory = victim.memory()
				instead := answer(p)
				p.answer.Store(&instead)
				return func() { p.answer.Store(nil) }
			},
			check: func(l *lab, victim *process, round int) {
				saysItOnce(l, victim, round)
				if now := victim.memory(); now > memory+24 {
					l.t.Errorf("the daemon on %s holds %d MiB, %d before, want 24 more at most", victim.host.name, now, memory)
				}
				l.t.Logf("memory of the daemon on duty: %d MiB before, %d after; of a body without end were sent %d KiB", memory, victim.memory(), p.sent.Load()>>10)
			},
		})
	}
	add("answers 500", func(*proxy) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			http.Error(w, "out of order", http.StatusInternalServerError)
		}
	})
	add("answers a page", func(*proxy) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/html")
			_, _ = io.WriteString(w, "<html>log in to the network first</html>")
		}
	})
	add("answers without end", func(p *proxy) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			for chunk := strings.Repeat(" ", 64<<10); r.Context().Err() == nil; {
				n, err := io.WriteString(w, chunk)
				p.sent.Add(int64(n))
				if err != nil {
					return
				}
			}
		}
	})
	add("answers nothing", func(*proxy) http.HandlerFunc {
		return func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }
	})
	var slow *proxy
	faults = append(faults, fault{
		name: "answers after 3s", lasts: 20 * time.Second, withoutEngine: true,
		options: options{endpoints: []string{proxyURL}, before: func(l *lab) { slow = newProxy(l) }},
		begin: func(l *lab, _ *process) func() {
			members := l.etcd.endpoints()
			instead := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				time.Sleep(3 * time.Second)
				member, _ := url.Parse(members[0])
				httputil.NewSingleHostReverseProxy(member).ServeHTTP(w, r)
			})
			slow.answer.Store(&instead)
			return func() { slow.answer.Store(nil) }
		},
		check: saysItOnce,
	})
	try(t, faults)
}

// memory returns the resident memory of the process, in MiB.
func (p *process) memory() int {
	var size, resident int
	p.t.Helper()
	if _, err := fmt.Sscan(string(read(p.t, fmt.Sprintf("/proc/%d/statm", p.cmd.Process.Pid))), &size, &resident); err != nil {
		p.t.Fatal(err)
	}
	return resident * 4096 >> 20
}
