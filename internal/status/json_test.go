package status

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/crisp-im/crisp-status-local/v2/internal/probe"
)

func TestJSONIsThatOfTheStandardLibrary(t *testing.T) {
	var well, ill History
	for i := range 12 {
		well.Record(epoch.Add(time.Duration(i)*time.Minute), up(time.Duration(i)*time.Millisecond))
	}
	ill.Record(epoch.Add(123*time.Millisecond), down(3))
	for _, r := range []Replica{
		{},
		show(t, well),
		show(t, ill),
		{Service: "a\"b\\c<d>&\n", Node: "é\u2028\x7f", Replica: "\xff", LatencySeconds: 1e-7, Reported: &Report{Health: "dead"}},
		{LatencySeconds: 1e22, Attempts: -3, Reported: &Report{Health: "healthy", At: epoch, Due: epoch.Add(time.Minute)}, History: []Verdict{}},
		{LatencySeconds: 0.000001, History: []Verdict{{At: epoch, Health: "sick", LatencySeconds: 12.345678, Attempts: 15}}},
	} {
		if r.History == nil {
			r.History = []Verdict{}
		}
		want, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		if got := string(r.AppendJSON(nil)); got != string(want) {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	}
}

func BenchmarkShow(b *testing.B) {
	target, err := probe.ParseTarget("https://user:password@replica.example:8443/health?token=x")
	if err != nil {
		b.Fatal(err)
	}
	rec := Record{Check: &probe.Check{ServiceID: "3f0c1e2d-0000-4000-8000-000000000000", NodeID: "9b1e", Target: target}}
	for i := range 12 {
		rec.History.Record(epoch.Add(time.Duration(i)*time.Minute), up(time.Duration(i)*time.Millisecond))
	}
	var buffer []byte
	for b.Loop() {
		r := rec.Show()
		buffer = r.AppendJSON(buffer[:0])
	}
}
