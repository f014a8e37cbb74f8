//go:build cluster

package cluster

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/crisp-im/crisp-status-local/v2/cmd/crisp-status-local/namespaces"
)

// newerFormat is the tag of a daemon of a later version: its records have another format,
// and a field that those of the daemon under test have not.
const newerFormat = "newer"

// TestUpgradeToANewerVersion upgrades the daemons one by one to a later version and back,
// and kills the one on duty while both versions are there.
func TestUpgradeToANewerVersion(t *testing.T) {
	t.Parallel()
	if !inside(t) {
		return
	}
	l := newLab(t, options{})
	older, newer := namespaces.Daemon(), namespaces.DaemonWith(newerFormat)
	formats := map[string]int{older: 1, newer: 2}
	var handed, killed figures
	held := make(map[string]int) // by the format of the holder and those of all: how often
	look := func() {
		l.t.Helper()
		since := time.Now()
		l.asItIs(since)
		holder, _ := l.onDuty(since)
		is := l.formats()
		held[fmt.Sprint(is[holder.host.name], " of ", slices.Sorted(maps.Values(is)))]++
	}
	for range rounds() {
		for _, binary := range []string{newer, older} {
			for i, d := range l.daemons {
				l.page.turn()
				began := time.Now()
				d.end(syscall.SIGTERM)
				d.args[0] = binary
				d.start()
				namespaces.Eventually(t, d.host.name+" is in the group, of the other version", func() bool { return l.formats()[d.host.name] == formats[binary] })
				look()
				if took, is := l.takeover(d, began); is {
					handed = append(handed, took)
				}
				if i > 0 {
					continue
				}
				victim, _ := l.onDuty(time.Now())
				l.page.turn()
				began = time.Now()
				victim.kill()
				time.Sleep(ttl + time.Second)
				victim.start()
				look()
				if took, is := l.takeover(victim, began); is {
					killed = append(killed, took)
				}
				for _, d := range l.daemons {
					l.sees(d)
				}
			}
		}
	}
	v := l.judge(l.settled)
	t.Logf("figures: upgrade to a newer version and back: %v; another reported %v after SIGTERM, %v after SIGKILL; on duty was %v", v, handed, killed, held)
	for _, holder := range []string{"1 of [1 1 2]", "2 of [1 2 2]"} {
		if held[holder] == 0 {
			t.Errorf("on duty was format %v, want %s as well", held, holder)
		}
	}
	fault{}.hold(l, v, nil)
}

// formats returns the format of the record of each member; 0 where it has none.
func (l *lab) formats() map[string]int {
	keys, err := l.etcd.below(prefix + "members/")
	formats := make(map[string]int)
	for _, kv := range keys {
		var record struct {
			Format  int
			Member  string
			Vantage *struct{} // a newer one's alone
		}
		if json.Unmarshal(kv.Value, &record) != nil || (record.Vantage != nil) != (record.Format > 1) {
			l.t.Errorf("got the record %s, want JSON with a field more in the newer format", kv.Value)
		}
		formats[record.Member] = record.Format
	}
	if err != nil {
		return nil
	}
	return formats
}

// sees waits until a daemon shows all members of the group with what they see, whatever
// their version.
func (l *lab) sees(d *process) {
	l.t.Helper()
	shown := ""
	namespaces.Eventually(l.t, d.host.name+" shows what every member sees", func() bool {
		var err error
		shown, err = namespaces.Output(namespaces.In(d.host.holder, append([]string{d.args[0], "status", "-o", "json"}, d.args[1:]...)...)...)
		var state struct {
			Cluster struct {
				Members []struct {
					Healthy, Dead int
				}
			}
		}
		if err != nil || json.Unmarshal([]byte(shown), &state) != nil || len(state.Cluster.Members) != len(l.daemons) {
			return false
		}
		for _, m := range state.Cluster.Members {
			if m.Healthy == 0 || m.Dead == 0 {
				return false
			}
		}
		return true
	})
}
