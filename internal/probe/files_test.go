package probe

import (
	"context"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
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
