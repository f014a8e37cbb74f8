//go:build cluster

package cluster

import (
	"math/rand/v2"
	"os"
	"strconv"
	"syscall"
	"testing"
	"time"
)

// TestRandomFaults injects random faults for CRISP_CLUSTER_TIME. At most two of the three
// daemons are affected at a time, so that one sees everything and reaches the page.
func TestRandomFaults(t *testing.T) {
	t.Parallel()
	if !inside(t) {
		return
	}
	seed := uint64(time.Now().UnixNano())
	if given := os.Getenv("CRISP_CLUSTER_SEED"); given != "" {
		var err error
		if seed, err = strconv.ParseUint(given, 10, 64); err != nil {
			t.Fatalf("CRISP_CLUSTER_SEED: %v", err)
		}
	}
	t.Logf("CRISP_CLUSTER_SEED=%d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	lasts := during(t, "CRISP_CLUSTER_TIME", 75*time.Second)

	l := newLab(t, options{})
	var agreed figures
	counts := make(map[string]int)
	for began := time.Now(); time.Since(began) < lasts; {
		heal := l.breakSomething(random, counts)
		for n := random.IntN(4); n > 0; n-- {
			time.Sleep(time.Duration(random.IntN(3000)) * time.Millisecond)
			l.page.turn()
		}
		heal()
		t.Logf("%s all is well", time.Now().Format(time.TimeOnly))
		if random.IntN(3) == 0 {
			ended := time.Now()
			l.asItIs(ended)
			_, since := l.onDuty(ended)
			agreed = append(agreed, since.Sub(ended))
		} else {
			time.Sleep(time.Duration(random.IntN(4000)) * time.Millisecond)
		}
	}
	ended := time.Now()
	l.asItIs(ended)
	_, since := l.onDuty(ended)
	agreed = append(agreed, since.Sub(ended))
	v := l.judge(l.settled)
	t.Logf("figures: faults at random, of seed %d: %v: %v; one reports again after %v", seed, counts, v, agreed)
	fault{withoutEngine: true, inFlight: mostInFlight, gap: promised + back}.hold(l, v, nil)
}

// breakSomething injects a fault of one or two hosts, or of etcd, or both. It returns a
// function that ends the fault.
func (l *lab) breakSomething(random *rand.Rand, counts map[string]int) func() {
	kinds := []struct {
		name  string
		begin func(d *process) func()
	}{
		{"killed", func(d *process) func() { return killed(l, d) }},
		{"ended", func(d *process) func() { return ended(l, d) }},
		{"stopped", func(d *process) func() { return stopped(l, d) }},
		{"no etcd", func(d *process) func() { return d.host.cut(toEtcd) }},
		{"deaf to etcd", func(d *process) func() { return d.host.cutIn(fromEtcd) }},
		{"no etcd, no targets", func(d *process) func() { return d.host.cut(toEtcd, toLAN) }},
		{"no API", func(d *process) func() { return d.host.cut(toAPI) }},
		{"unplugged", func(d *process) func() { return unplugged(l, d) }},
	}
	var heals []func()
	order := random.Perm(len(l.daemons))
	hit := random.IntN(3)
	for _, i := range order[:hit] {
		kind := kinds[random.IntN(len(kinds))]
		counts[kind.name]++
		l.t.Logf("%s %s: %s", time.Now().Format(time.TimeOnly), l.daemons[i].host.name, kind.name)
		heals = append(heals, kind.begin(l.daemons[i]))
		time.Sleep(time.Duration(random.IntN(1500)) * time.Millisecond)
	}
	if hit == 0 || random.IntN(4) == 0 {
		member := l.etcd.members[random.IntN(len(l.etcd.members))]
		if random.IntN(2) == 0 {
			counts["member of etcd killed"]++
			l.t.Logf("%s etcd: killed", time.Now().Format(time.TimeOnly))
			member.end(syscall.SIGKILL)
			heals = append(heals, member.start)
		} else {
			counts["member of etcd stopped"]++
			l.t.Logf("%s etcd: stopped", time.Now().Format(time.TimeOnly))
			heals = append(heals, member.stop())
		}
	}
	time.Sleep(time.Duration(random.IntN(12000)) * time.Millisecond)
	return all(heals...)
}
