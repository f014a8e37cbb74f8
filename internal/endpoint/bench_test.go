package endpoint

import (
	"fmt"
	"io"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/crisp-im/crisp-status-local/v2/internal/probe"
	"github.com/crisp-im/crisp-status-local/v2/internal/status"
)

// many returns a daemon that watches so many replicas, a tenth of them dead.
func many(t testing.TB, replicas int) *fake {
	t.Helper()
	f := newFake(t)
	refused := &probe.Error{Kind: probe.KindRefused, Reason: "connection refused"}
	for i := range replicas - len(f.state.Records) {
		target, err := probe.ParseTarget(fmt.Sprintf("tcp://10.0.%d.%d:1", i/250, i%250+1))
		if err != nil {
			t.Fatal(err)
		}
		r := probe.Result{Health: probe.Healthy, Attempts: 1, Latency: time.Millisecond}
		if i%10 == 9 {
			r = probe.Result{Health: probe.Dead, Attempts: 1, Err: refused, Trace: []probe.Attempt{{Err: refused}}}
		}
		rec := status.Record{Check: &probe.Check{ServiceID: "0b1f4dfe-9f4b-4d4b-8a26-6a8f5d6f0a10", NodeID: "6d0f6d3c-1fd5-4f0a-a62c-1f5f9f0d8a6e", Target: target}}
		rec.History.Record(f.state.Head.Now, r)
		f.state.Records = append(f.state.Records, rec)
	}
	return f
}

// BenchmarkScrape is what a scrape costs this process with 10,000 replicas, the
// copy of the state excepted.
func BenchmarkScrape(b *testing.B) {
	h := New(many(b, 10_000), Options{ReplicaMetrics: true})
	for _, path := range []string{"/metrics", "/metrics/replicas", "/replicas.json"} {
		b.Run(path[1:], func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				r := httptest.NewRequest("GET", path, nil)
				r.Host = "localhost"
				h.ServeHTTP(discard{httptest.NewRecorder()}, r)
			}
		})
	}
}

// discard is a client that reads and forgets.
type discard struct{ *httptest.ResponseRecorder }

func (discard) Write(b []byte) (int, error) { return io.Discard.Write(b) }
