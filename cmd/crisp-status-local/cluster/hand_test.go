//go:build cluster

package cluster

import (
	"os"
	"testing"
	"time"
)

func read(t *testing.T, path string) []byte {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// lead returns the key of who is on duty.
func (l *lab) lead() keyValue {
	l.t.Helper()
	keys, err := l.etcd.below(prefix + "election/")
	if err != nil || len(keys) == 0 {
		l.t.Fatalf("etcd has no key of the election: %v", err)
	}
	return keys[0]
}

// do asks something of etcd that must succeed.
func (l *lab) do(path string, question any) {
	l.t.Helper()
	var answer map[string]any
	if err := l.etcd.ask(path, question, &answer); err != nil {
		l.t.Fatal(err)
	}
}

// TestByHand does what an operator may do to the keys by mistake. Who is on duty
// cannot know before its next renewal: until then, two may be.
func TestByHand(t *testing.T) {
	t.Parallel()
	try(t, []fault{
		{name: "the lease is revoked", lasts: 5 * time.Second, inFlight: untilRenewed, begin: func(l *lab, _ *process) func() {
			l.do("/v3/lease/revoke", map[string]string{"ID": l.lead().Lease})
			return func() {}
		}},
		{name: "the key of the election is deleted", lasts: 5 * time.Second, inFlight: untilRenewed, begin: func(l *lab, _ *process) func() {
			l.do("/v3/kv/deleterange", map[string][]byte{"key": l.lead().Key})
			return func() {}
		}},
		{name: "all keys of the group are deleted", lasts: 5 * time.Second, inFlight: untilRenewed, begin: func(l *lab, _ *process) func() {
			end := []byte(prefix)
			end[len(end)-1]++
			l.do("/v3/kv/deleterange", map[string][]byte{"key": []byte(prefix), "range_end": end})
			return func() {}
		}},
	})
}

// untilRenewed is how many dead reports may be sent until the next renewal: of each
// replica that is down, one.
const untilRenewed = 30
