package probe

import (
	"context"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

// TestNamesOfManyAddressesHaveABoundOfFiles: however many probes of names with
// eight silent addresses there are, and one after another as they fail, there is
// one connection for each and no more than the places beside.
func TestNamesOfManyAddressesHaveABoundOfFiles(t *testing.T) {
	const probes, places = 40, 16
	addrs := addrsOf("10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.4", "10.0.0.5", "10.0.0.6", "10.0.0.7", "10.0.0.8")
	synctest.Test(t, func(t *testing.T) {
		extra := make(extraDials, places)
		var open, most, tried atomic.Int64
		dial := func(ctx context.Context, addr netip.AddrPort) (struct{}, error) {
			n := open.Add(1)
			defer open.Add(-1)
			for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
			}
			tried.Add(1)
			switch addr.Addr().As4()[3] {
			case 8:
				return struct{}{}, nil // the last one is healthy
			case 1, 2, 3:
				if !sleep(ctx, 10*time.Second) {
					return struct{}{}, context.Cause(ctx)
				}
				return struct{}{}, noAnswer(10 * time.Second)
			}
			return struct{}{}, failure(KindRefused, "connection refused")
		}
		var wg sync.WaitGroup
		var local, up atomic.Int64
		for range probes {
			wg.Go(func() {
				switch _, err := race(t.Context(), extra, addrs, 80, dial, func(struct{}) {}); {
				case err == nil:
					up.Add(1)
				case isLocal(err):
					local.Add(1)
				default:
					t.Errorf("got %v, want up, or no verdict for want of files", err)
				}
			})
		}
		wg.Wait()
		if most.Load() > probes+places {
			t.Errorf("%d connections at a time of %d probes, want at most %d more", most.Load(), probes, places)
		}
		if most.Load() < probes+places || up.Load() != probes {
			t.Errorf("%d connections at a time, %d up, want all places used and all up in the end", most.Load(), up.Load())
		}
		if len(extra) != 0 {
			t.Errorf("%d places were not given back", len(extra))
		}
	})
}

// TestFilesBesideThoseOfProbes: a share of what the process may have open, however many
// that is.
func TestFilesBesideThoseOfProbes(t *testing.T) {
	for files, want := range map[int][2]int{64: {32, 8}, 1024: {128, 64}, 16_384: {2048, 1024}, 1 << 20: {2048, 1024}} {
		if got := [2]int{maxQuestions(files), maxExtraDials(files)}; got != want || FilesBeside(files) != want[0]+want[1] {
			t.Errorf("of %d files: got %d for look-ups, %d for further connections, %d together; want %v", files, got[0], got[1], FilesBeside(files), want)
		}
	}
}

// TestLookUpsHaveABoundOfFiles: however many wait for a nameserver that is silent.
func TestLookUpsHaveABoundOfFiles(t *testing.T) {
	const places, lookUps = 3, 20
	q, err := newQuestion("db.lan.", dnsmessage.TypeA)
	if err != nil {
		t.Fatal(err)
	}
	packets, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer packets.Close()
	stream := loopback(t)
	defer stream.Close()
	e := exchanger{make(chan struct{}, places)}
	for network, tt := range map[string]struct {
		server net.Addr
		ask    func(context.Context, netip.AddrPort, dnsQuestion, exchangeTiming) (dnsReply, error)
		next   func() string // the address of another socket that asks, or of one that did
	}{
		"udp": {packets.LocalAddr(), e.exchange, func() string {
			_, from, err := packets.ReadFrom(make([]byte, 512))
			if err != nil {
				t.Fatal(err)
			}
			return from.String()
		}},
		"tcp": {stream.Addr(), e.exchangeTCP, func() string {
			conn, err := stream.Accept()
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { conn.Close() })
			return conn.RemoteAddr().String()
		}},
	} {
		t.Run(network, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			var asking sync.WaitGroup
			for range lookUps {
				asking.Go(func() {
					_, _ = tt.ask(ctx, netip.MustParseAddrPort(tt.server.String()), q, exchangeTiming{resend: time.Hour, tcp: time.Hour})
				})
			}
			sockets := make(map[string]bool)
			for len(sockets) < places {
				sockets[tt.next()] = true
			}
			cancel()
			asking.Wait()
			last, err := net.Dial(network, tt.server.String())
			if err != nil {
				t.Fatal(err)
			}
			defer last.Close()
			if _, err := last.Write([]byte("the last one")); err != nil {
				t.Fatal(err)
			}
			for from := tt.next(); from != last.LocalAddr().String(); from = tt.next() {
				sockets[from] = true
			}
			if len(sockets) != places || len(e.slots) != 0 {
				t.Errorf("%d sockets for %d look-ups, and %d places not given back; want %d sockets, and none", len(sockets), lookUps, len(e.slots), places)
			}
		})
	}
}

// TestWantOfFilesIsNoDeath: a name whose other addresses could not be tried in time
// has no verdict.
func TestWantOfFilesIsNoDeath(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, err := race(t.Context(), make(extraDials), addrsOf("10.0.0.1", "10.0.0.2"), 80, func(context.Context, netip.AddrPort) (struct{}, error) {
			time.Sleep(time.Second)
			return struct{}{}, noAnswer(time.Second)
		}, func(struct{}) {})
		wantFailure(t, err, KindLocal, "this process has too many connections under way")
	})
}
