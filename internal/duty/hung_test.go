package duty

import (
	"context"
	"crypto/tls"
	"net"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// An etcd that is stopped accepts connections and then is silent, so no TLS handshake
// ends by itself; a host that is gone does not even refuse connections. In neither case
// may goroutines or connections grow with every pass.
func TestConnectionsThatHangEnd(t *testing.T) {
	for name, accepts := range map[string]bool{"stopped": true, "gone": false} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var tried, open atomic.Int64
				dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
					tried.Add(1)
					open.Add(1)
					if !accepts {
						<-ctx.Done()
						open.Add(-1)
						return nil, ctx.Err()
					}
					ours, theirs := net.Pipe()
					go func() { // as a kernel does, whose process is stopped
						for b := make([]byte, 1024); ; {
							if _, err := theirs.Read(b); err != nil {
								open.Add(-1)
								return
							}
						}
					}()
					return ours, nil
				}
				e, err := newEtcd(EtcdSettings{
					Endpoints: []string{"https://etcd:2379"}, Group: "office", Member: "host-a", TTL: 10 * time.Second, TLS: &tls.Config{MinVersion: tls.VersionTLS12},
				}, noLog(), func() time.Duration { return time.Since(time.Time{}) }, dial)
				if err != nil {
					t.Fatal(err)
				}
				ctx, cancel := context.WithCancel(t.Context())
				done := make(chan struct{})
				go func() { defer close(done); e.Run(ctx) }()
				time.Sleep(10 * time.Minute)
				if tried, open := tried.Load(), open.Load(); tried < 100 || open > 20 {
					t.Errorf("got %d connections open after %d tries, want those of the last seconds", open, tried)
				}
				cancel()
				<-done
				time.Sleep(time.Minute)
				synctest.Wait()
				stacks := make([]byte, 1<<20)
				if text := string(stacks[:runtime.Stack(stacks, true)]); open.Load() != 0 || strings.Contains(text, "dialConnFor") {
					t.Errorf("got %d connections open a minute after the end, want none", open.Load())
				}
			})
		})
	}
}
