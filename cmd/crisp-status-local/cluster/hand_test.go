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

// lead returns the election key of the holder.
func (l *lab) lead() keyValue {
	l.t.Helper()
	keys, err := l.etcd.below(prefix + "election/")
	if err != nil || len(keys) == 0 {
		l.t.Fatalf("etcd has no key of the election: %v", err)
	}
	return keys[0]
}

// do sends etcd a request that must succeed.
func (l *lab) do(path string, question any) {
	l.t.Helper()
	var answer map[string]any
	if err := l.etcd.ask(path, question, &answer); err != nil {
		l.t.Fatal(err)
	}
}

// TestByHand deletes and revokes keys and leases, as an operator may by mistake. The
// holder cannot know before its next renewal: until then, two may be on duty.
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

// untilRenewed bounds the dead reports until the next renewal: one for each replica
// that is down.
const untilRenewed = 30
