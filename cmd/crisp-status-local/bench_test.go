package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/crisp-im/crisp-status-local/v2/internal/probe"
	"github.com/crisp-im/crisp-status-local/v2/internal/statusapi"
)

// The benchmarks measure what the daemon's own work costs beside the least that
// a program can do for the same on this machine, in turn and in one process;
// what they ask is in another one. CPU time is user and system time.
const (
	rounds   = 7  // ours and the limit in turn; the median of the ratios counts
	inFlight = 64 // at a time, as the daemon has them
)

// farm is the addresses of what the benchmarks ask.
type farm struct {
	TCP, HTTP, HTTPS, API, TLSAPI string
	CA                            []byte
}

// farmVariable tells the test binary to be the farm.
const farmVariable = "CRISP_STATUS_LOCAL_TEST_FARM"

// serveFarm is the farm: it serves until its standard input ends.
func serveFarm() {
	var f farm
	listen := func(handle func(net.Conn)) string {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		go func() {
			for {
				if c, err := l.Accept(); err == nil {
					go handle(c)
				}
			}
		}()
		return l.Addr().String()
	}
	answer := func(c net.Conn) {
		defer c.Close()
		b := make([]byte, 1024)
		if _, err := c.Read(b); err == nil {
			io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
		}
	}
	take := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.Copy(io.Discard, r.Body) })
	secure := httptest.NewUnstartedServer(take)
	secure.EnableHTTP2 = true
	secure.StartTLS()
	config := &tls.Config{Certificates: secure.TLS.Certificates}
	f.TCP = listen(func(c net.Conn) { c.Close() })
	f.HTTP = listen(answer)
	f.HTTPS = listen(func(c net.Conn) { answer(tls.Server(c, config)) })
	f.API = httptest.NewServer(take).URL
	f.TLSAPI = secure.URL
	f.CA = secure.Certificate().Raw
	json.NewEncoder(os.Stdout).Encode(f)
	io.Copy(io.Discard, os.Stdin)
}

// startFarm starts the farm in a process of its own.
func startFarm(b *testing.B) farm {
	b.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), farmVariable+"=1")
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		b.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		in.Close()
		cmd.Wait()
	})
	var f farm
	if err := json.NewDecoder(out).Decode(&f); err != nil {
		b.Fatal(err)
	}
	return f
}

// cost is what n operations took, each.
type cost struct{ cpu, allocs, bytes float64 }

func measure(n int, do func(n int)) cost {
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	start := cpuTime()
	do(n)
	spent := cpuTime() - start
	runtime.ReadMemStats(&after)
	return cost{
		cpu:    spent.Seconds() * 1e6 / float64(n),
		allocs: float64(after.Mallocs-before.Mallocs) / float64(n),
		bytes:  float64(after.TotalAlloc-before.TotalAlloc) / float64(n),
	}
}

func cpuTime() time.Duration {
	var r syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &r)
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}

// compare measures ours and each of the others in turn and reports ours, what
// the others took, and the medians of the ratios to them.
func compare(b *testing.B, n int, ours func(n int), others map[string]func(n int)) {
	b.Helper()
	names := slices.Sorted(func(yield func(string) bool) {
		for name := range others {
			if !yield(name) {
				return
			}
		}
	})
	for b.Loop() {
		var own []cost
		theirs, ratios := make(map[string][]float64), make(map[string][]float64)
		for range rounds {
			c := measure(n, ours)
			own = append(own, c)
			for _, name := range names {
				other := measure(n, others[name]).cpu
				theirs[name] = append(theirs[name], other)
				ratios[name] = append(ratios[name], c.cpu/other)
			}
		}
		each := func(of func(cost) float64) (all []float64) {
			for _, c := range own {
				all = append(all, of(c))
			}
			return all
		}
		b.ReportMetric(0, "ns/op") // the time that all rounds took says nothing
		b.ReportMetric(median(each(func(c cost) float64 { return c.cpu })), "µs")
		b.ReportMetric(median(each(func(c cost) float64 { return c.allocs })), "allocs")
		b.ReportMetric(median(each(func(c cost) float64 { return c.bytes })), "bytes")
		for _, name := range names {
			b.ReportMetric(median(theirs[name]), "µs-"+name)
			b.ReportMetric(median(ratios[name]), "x-"+name)
		}
	}
}

func median(values []float64) float64 {
	slices.Sort(values)
	return values[len(values)/2]
}

// together calls do n times, inFlight at a time.
func together(b *testing.B, n int, do func() error) {
	var workers sync.WaitGroup
	var mu sync.Mutex
	for range inFlight {
		workers.Go(func() {
			for {
				mu.Lock()
				n--
				over := n < 0
				mu.Unlock()
				if over {
					return
				}
				if err := do(); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	workers.Wait()
}

// probing returns what probes url n times.
func probing(b *testing.B, p *probe.Prober, url string) func(n int) {
	target, err := probe.ParseTarget(url)
	if err != nil {
		b.Fatal(err)
	}
	c := probe.Check{ServiceID: "s", NodeID: "n", Target: target}
	return func(n int) {
		together(b, n, func() error {
			if r := p.Probe(context.Background(), probe.Task{Check: c, Budget: time.Minute}); r.Health != probe.Healthy {
				return fmt.Errorf("%v: %s (%s)", target, r.Health, r.Reason())
			}
			return nil
		})
	}
}

func BenchmarkTCPProbe(b *testing.B) {
	f, p := startFarm(b), probe.New(userAgent)
	defer p.Close()
	compare(b, 10_000, probing(b, p, "tcp://"+f.TCP), map[string]func(int){
		"bare-epoll": func(n int) { epollLoop(b, f.TCP, "", n) },
		"net.Dialer": dialing(b, f.TCP),
	})
}

func dialing(b *testing.B, addr string) func(int) {
	var d net.Dialer
	return func(n int) {
		together(b, n, func() error {
			c, err := d.DialContext(context.Background(), "tcp", addr)
			if err != nil {
				return err
			}
			return c.Close()
		})
	}
}

const bareRequest = "HEAD / HTTP/1.1\r\nHost: farm\r\nUser-Agent: bare\r\nConnection: close\r\n\r\n"

func BenchmarkHTTPProbe(b *testing.B) {
	f, p := startFarm(b), probe.New(userAgent)
	defer p.Close()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	compare(b, 5_000, probing(b, p, "http://"+f.HTTP), map[string]func(int){
		"raw-bytes": func(n int) { epollLoop(b, f.HTTP, bareRequest, n) },
		"net/http":  heading(b, client, "http://"+f.HTTP),
	})
}

func heading(b *testing.B, client *http.Client, url string) func(int) {
	return func(n int) {
		together(b, n, func() error {
			resp, err := client.Head(url)
			if err != nil {
				return err
			}
			return resp.Body.Close()
		})
	}
}

func BenchmarkHTTPSProbe(b *testing.B) {
	f, p := startFarm(b), probe.New(userAgent)
	defer p.Close()
	roots := roots(b, f)
	p.TrustRoots(roots)
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{RootCAs: roots}}}
	bare := &tls.Config{RootCAs: roots, ServerName: "127.0.0.1", CurvePreferences: []tls.CurveID{tls.X25519}}
	compare(b, 1_000, probing(b, p, "https://"+f.HTTPS), map[string]func(int){
		"bare-handshake": func(n int) {
			together(b, n, func() error {
				c, err := tls.Dial("tcp", f.HTTPS, bare)
				if err != nil {
					return err
				}
				return c.Close()
			})
		},
		"net/http": heading(b, client, "https://"+f.HTTPS),
	})
}

func roots(b *testing.B, f farm) *x509.CertPool {
	cert, err := x509.ParseCertificate(f.CA)
	if err != nil {
		b.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(cert)
	return pool
}

func BenchmarkReport(b *testing.B) {
	f := startFarm(b)
	v := statusapi.Verdict{ID: probe.ID{Service: "3f0c", Node: "9b1e", Replica: "tcp://10.0.0.5:3306"}, Health: probe.Healthy}
	client := statusapi.New(f.API+"/v1", "token", userAgent, nil)
	fresh := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{RootCAs: roots(b, f)}}}
	host := strings.TrimPrefix(f.API, "http://")
	body := `{"replica_id":"tcp://10.0.0.5:3306","health":"healthy","interval":120}`
	request := fmt.Sprintf("POST /v1/report/3f0c/9b1e HTTP/1.1\r\nHost: %s\r\nAuthorization: Basic OnRva2Vu\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s",
		host, len(body), body)
	compare(b, 1_000, func(n int) {
		together(b, n, func() error { return client.Report(context.Background(), v, 2*time.Minute) })
	}, map[string]func(int){
		"bare-keep-alive": func(n int) {
			var workers sync.WaitGroup
			for range inFlight {
				workers.Go(func() { keepAlive(b, host, request, n/inFlight) })
			}
			workers.Wait()
		},
		"fresh-TLS-each": func(n int) {
			together(b, n, func() error {
				resp, err := fresh.Post(f.TLSAPI, "application/json", strings.NewReader(body))
				if err != nil {
					return err
				}
				return resp.Body.Close()
			})
		},
	})
}

func BenchmarkICMPProbe(b *testing.B) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_ICMP)
	if err != nil {
		b.Skipf("no raw socket for the bare echo: %v", err)
	}
	defer unix.Close(fd)
	p := probe.New(userAgent)
	defer p.Close()
	compare(b, 10_000, probing(b, p, "icmp://127.0.0.1"), map[string]func(int){
		"bare-socket": func(n int) { echoLoop(b, fd, n) },
	})
}

// echoLoop sends n echo requests over one raw socket, inFlight at a time, and
// reads the answers.
func echoLoop(b *testing.B, fd, n int) {
	request := []byte{8, 0, 0xf7, 0xff, 0, 0, 0, 0} // type echo, its checksum, identifier and sequence 0
	const filter, allButEchoReply = 1, ^uint32(1)   // ICMP_FILTER (linux/icmp.h)
	if err := unix.SetsockoptInt(fd, unix.SOL_RAW, filter, int(int32(allButEchoReply&0x7fffffff))|-1<<31); err != nil {
		b.Fatal(err)
	}
	to := &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}
	answer := make([]byte, 1500)
	send := func() {
		if err := unix.Sendto(fd, request, 0, to); err != nil {
			b.Fatal(err)
		}
	}
	sent := 0
	for ; sent < min(n, inFlight); sent++ {
		send()
	}
	for range n {
		if _, _, err := unix.Recvfrom(fd, answer, 0); err != nil {
			b.Fatal(err)
		}
		if sent < n {
			send()
			sent++
		}
	}
}

// keepAlive sends the same request n times over one connection.
func keepAlive(b *testing.B, addr, request string, n int) {
	c, err := net.Dial("tcp", addr)
	if err != nil {
		b.Error(err)
		return
	}
	defer c.Close()
	r := bufio.NewReader(c)
	for range n {
		io.WriteString(c, request)
		resp, err := http.ReadResponse(r, nil)
		if err != nil {
			b.Error(err)
			return
		}
		io.Copy(io.Discard, resp.Body)
	}
}

// epollLoop connects to addr n times, inFlight at a time, in one thread and with
// nothing between it and the kernel; with a request, it is sent, and the answer
// read.
func epollLoop(b *testing.B, addr, request string, n int) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	ap := netip.MustParseAddrPort(addr)
	sa := &unix.SockaddrInet4{Port: int(ap.Port()), Addr: ap.Addr().As4()}
	poll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		b.Fatal(err)
	}
	defer unix.Close(poll)
	begun, over := 0, 0
	begin := func() {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			b.Fatal(err)
		}
		if err := unix.Connect(fd, sa); err != nil && err != unix.EINPROGRESS {
			b.Fatal(err)
		}
		unix.EpollCtl(poll, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: unix.EPOLLOUT, Fd: int32(fd)})
		begun++
	}
	events, answer := make([]unix.EpollEvent, inFlight), make([]byte, 1024)
	for range min(n, inFlight) {
		begin()
	}
	for over < n {
		ready, err := unix.EpollWait(poll, events, -1)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			b.Fatal(err)
		}
		for _, e := range events[:ready] {
			fd := int(e.Fd)
			if request != "" && e.Events&unix.EPOLLOUT != 0 {
				unix.Write(fd, []byte(request))
				unix.EpollCtl(poll, unix.EPOLL_CTL_MOD, fd, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: e.Fd})
				continue
			}
			if request != "" {
				unix.Read(fd, answer)
			} else if _, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ERROR); err != nil {
				b.Fatal(err)
			}
			unix.Close(fd)
			if over++; begun < n {
				begin()
			}
		}
	}
}
