//go:build cluster

package cluster

import (
	"bytes"
	"encoding/json"
	"fmt"
	"syscall"
	"testing"
	"time"

	"github.com/crisp-im/crisp-status-local/v2/cmd/crisp-status-local/namespaces"
	"github.com/crisp-im/crisp-status-local/v2/internal/sandbox"
)

// TestRollingUpgrade ends the daemons one by one, and starts each again.
func TestRollingUpgrade(t *testing.T) {
	t.Parallel()
	for _, engine := range []string{"etcd", "alive"} {
		t.Run(engine, func(t *testing.T) {
			t.Parallel()
			if !inside(t) {
				return
			}
			l := newLab(t, options{engine: engine})
			var takeovers figures
			for range rounds() {
				for _, d := range l.daemons {
					began := time.Now()
					d.end(syscall.SIGTERM)
					d.start()
					time.Sleep(2 * interval)
					if took, is := l.takeover(d, began); is {
						takeovers = append(takeovers, took)
					}
				}
			}
			l.asItIs(time.Now())
			v := l.judge(l.settled)
			t.Logf("figures: rolling upgrade with %s: %v; another reported after %v", engine, v, takeovers)
			fault{gap: interval + 2*time.Second}.hold(l, v, nil)
		})
	}
}

// TestMembersOfOtherVersions adds members whose records lack fields and have unknown
// ones, and lets each be on duty for a while.
func TestMembersOfOtherVersions(t *testing.T) {
	t.Parallel()
	if !inside(t) {
		return
	}
	l := newLab(t, options{daemons: 2})
	var record map[string]any
	keys, err := l.etcd.below(prefix + "members/")
	if err != nil || len(keys) != 2 || json.Unmarshal(keys[0].Value, &record) != nil {
		t.Fatalf("etcd has %d members: %v, want 2 with a record", len(keys), err)
	}
	older := map[string]any{"format": 1, "member": "host-3", "page": record["page"]}
	newer := map[string]any{"format": 2, "member": "host-4", "page": record["page"], "version": "99.0.0", "eyes": []int{1, 2, 3}, "weather": map[string]any{"rain": true}}
	first, second := l.newMember(older), l.newMember(newer)

	// Both wait in line behind the daemons. When those are gone, they are on duty one
	// after the other, and the daemons that come back wait for them.
	began := time.Now()
	for _, d := range l.daemons {
		d.end(syscall.SIGTERM)
	}
	namespaces.Eventually(t, "the older one is on duty", func() bool { return bytes.Equal(l.lead().Value, []byte("host-3")) })
	for _, d := range l.daemons {
		d.start()
	}
	time.Sleep(ttl + 2*time.Second)
	if reports := l.page.after(time.Now().Add(-time.Second)); len(reports) > 0 {
		t.Errorf("%s reports beside a member of another version that is on duty, want nothing", reports[0].from)
	}
	first()
	namespaces.Eventually(t, "the newer one is on duty", func() bool { return bytes.Equal(l.lead().Value, []byte("host-4")) })
	time.Sleep(2 * time.Second)
	second()
	l.asItIs(time.Now())
	since := time.Now()
	l.onDuty(since)
	v := l.judge(began)
	t.Logf("figures: beside members of other versions: %v", v)
	if len(v.overlaps) > 0 {
		t.Errorf("I2: %s", l.explain(v.overlaps))
	}
	l.secretive()
}

// newMember writes the keys of a member and keeps its lease alive. It returns a function
// that revokes the lease.
func (l *lab) newMember(record map[string]any) func() {
	l.t.Helper()
	var lease struct{ ID string }
	if err := l.etcd.ask("/v3/lease/grant", map[string]any{"TTL": 60}, &lease); err != nil {
		l.t.Fatal(err)
	}
	value, err := json.Marshal(record)
	if err != nil {
		l.t.Fatal(err)
	}
	name := fmt.Sprint(record["member"])
	l.do("/v3/kv/put", map[string]any{"key": fmt.Appendf(nil, "%smembers/%s/%s", prefix, name, lease.ID), "value": value, "lease": lease.ID})
	l.do("/v3/kv/put", map[string]any{"key": fmt.Appendf(nil, "%selection/%s", prefix, lease.ID), "value": []byte(name), "lease": lease.ID})
	return func() { l.do("/v3/lease/revoke", map[string]string{"ID": lease.ID}) }
}

// TestAnotherPage starts a daemon of another page in the group, which must stay off
// duty, and say why.
func TestAnotherPage(t *testing.T) {
	t.Parallel()
	if !inside(t) {
		return
	}
	l := newLab(t, options{daemons: 2})
	stranger := l.newDaemon(l.hosts[2], "host-3", "another-token-that-nobody-may-see")
	stranger.start()
	namespaces.Eventually(t, "it says that the group is another page's", func() bool { return stranger.wrote("of another page") > 0 })
	before, _ := l.onDuty(time.Now())
	before.kill()
	time.Sleep(2 * ttl)
	before.start()
	l.asItIs(time.Now())
	if n := stranger.wrote(useless); n != 1 || stranger.wrote(lost) > 0 {
		t.Errorf("it said %d times that it cannot take part, and %d times that etcd does not answer, want 1 and 0:\n%s", n, stranger.wrote(lost), stranger.tail())
	}
	if stranger.wrote("another-token") > 0 {
		t.Error("it wrote its token")
	}
	v := l.judge(l.settled)
	t.Logf("figures: beside a daemon of another page: %v", v)
	fault{}.hold(l, v, nil)
}

// TestOneNameTwice starts a daemon with the name of another one. Both are told
// apart: one is on duty at a time, and the other takes over.
func TestOneNameTwice(t *testing.T) {
	t.Parallel()
	if !inside(t) {
		return
	}
	l := newLab(t, options{daemons: 1, watch: func(l *lab) func() (string, error) {
		return func() (string, error) { // the lease tells them apart
			keys, err := l.etcd.below(prefix + "election/")
			if err != nil || len(keys) == 0 {
				return "", err
			}
			return keys[0].Lease, nil
		}
	}})
	twin := l.newDaemon(l.hosts[1], "host-1", token)
	twin.start()
	namespaces.Eventually(t, "it says that the name is taken", func() bool { return twin.wrote("is called") > 0 })
	one, other := l.daemons[0], twin
	for range rounds() {
		killed := time.Now()
		one.kill()
		namespaces.Eventually(t, "the other one reports", func() bool {
			reports := l.page.after(killed)
			return len(reports) > 0 && reports[len(reports)-1].from == other.host.name
		})
		one.start()
		time.Sleep(ttl)
		one, other = other, one
	}
	seen := l.watcher.after(l.settled)
	owner := make(map[string]string) // of a lease: the host whose dead reports came while it was first
	for _, r := range l.page.after(l.settled) {
		before, next := around(seen, r.at)
		if r.health != sandbox.Dead || before.holder == "" || before.holder != next.holder {
			continue
		}
		if owner[before.holder] == "" {
			owner[before.holder] = r.from
		}
		if owner[before.holder] != r.from {
			t.Errorf("I2: %s reported %s dead while the lease of %s was first", r.from, r.replica, owner[before.holder])
		}
	}
	if len(owner) < 1+rounds() {
		t.Errorf("%d leases were first, want %d at least", len(owner), 1+rounds())
	}
	l.secretive()
}
