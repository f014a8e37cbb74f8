package probe

import (
	"errors"
	"net/netip"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// BenchmarkPing beside BenchmarkPingBare shows what a ping costs beyond its two
// system calls: compare cpu-ns/op, the CPU time of the whole process. Compare it
// on one CPU (-cpu 1), as the bare loop uses no more: with others idle, most of
// what is measured is how often the kernel wakes one.
func BenchmarkPing(b *testing.B) {
	p := openPinger()
	defer p.close()
	if p.errV4 != nil {
		b.Skipf("no echo can be sent here: %v", p.errV4)
	}
	loopback := netip.MustParseAddr("127.0.0.1")
	b.ReportAllocs()
	b.SetParallelism(32) // a group of the beat is under way at once
	defer reportCPU(b)()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, err := p.ping(b.Context(), loopback, time.Second); err != nil {
				b.Error(err)
			}
		}
	})
}

// BenchmarkPingBare sends 64 echoes and reads 64 answers over and over, over a
// socket of the kind that BenchmarkPing has.
func BenchmarkPingBare(b *testing.B) {
	s := newEchoSocket(unix.AF_INET)
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM, unix.IPPROTO_ICMP)
	if err != nil {
		s.raw, s.ipHeader = true, true
		fd, err = unix.Socket(unix.AF_INET, unix.SOCK_RAW, unix.IPPROTO_ICMP)
	}
	if err != nil {
		b.Skipf("no echo can be sent here: %v", err)
	}
	defer unix.Close(fd)
	s.tune(fd)
	var packet [echoLen]byte
	marshalEcho(&packet, s.request, reply{id: s.id})
	to := &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}
	b.ReportAllocs()
	defer reportCPU(b)()
	for done := 0; done < b.N; done += 64 {
		group := min(64, b.N-done)
		for range group {
			if err := unix.Sendto(fd, packet[:], 0, to); err != nil {
				b.Fatal(err)
			}
		}
		for range group {
			if _, _, err := syscall.Recvfrom(fd, s.buffer[:], 0); err != nil && !errors.Is(err, unix.EINTR) {
				b.Fatal(err)
			}
		}
	}
}

// reportCPU reports the process's CPU time from now until the returned function
// is called, for each of b.N.
func reportCPU(b *testing.B) func() {
	used := func() time.Duration {
		var r unix.Rusage
		if err := unix.Getrusage(unix.RUSAGE_SELF, &r); err != nil {
			b.Fatal(err)
		}
		return time.Duration(r.Utime.Nano() + r.Stime.Nano())
	}
	before := used()
	return func() { b.ReportMetric(float64(used()-before)/float64(b.N), "cpu-ns/op") }
}
