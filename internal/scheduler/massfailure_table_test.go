package scheduler

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/crisp-im/crisp-status-local/v2/internal/probe"
)

// deathTrial drives a massFailure: replicas are numbers, and what it decides is
// written down as "report 1 2" and "retry 3".
type deathTrial struct {
	massFailure
	all  []*replica
	said []string
}

func newDeathTrial(replicas int) *deathTrial {
	d := new(deathTrial)
	for range replicas {
		d.all = append(d.all, &replica{health: probe.Healthy})
	}
	d.startCycle(0)
	d.mapChanged(replicas, replicas)
	return d
}

func (d *deathTrial) start(from, to int) {
	for _, r := range d.all[from:to] {
		r.phase = probing
	}
	d.started(d.all[from:to], time.Time{})
}

func (d *deathTrial) up(from, to int) {
	for _, r := range d.all[from:to] {
		r.phase = idle
		d.say(d.survived(r))
	}
}

func (d *deathTrial) die(from, to int) {
	for _, r := range d.all[from:to] {
		r.phase, r.death = withheld, new(pendingDeath)
		d.say(d.massFailure.died(r))
	}
}

// confirm tells that another attempt failed too.
func (d *deathTrial) confirm(from, to int) {
	for _, r := range d.all[from:to] {
		d.say(d.confirmed(r))
	}
}

func (d *deathTrial) leave(from, to int) {
	for _, r := range d.all[from:to] {
		d.left(r)
		r.phase = gone
	}
	d.say(d.mapChanged(d.replicas-(to-from), 0))
}

func (d *deathTrial) say(what decision) {
	for verb, replicas := range map[string][]*replica{"report": what.report, "retry": what.retry} {
		for _, r := range replicas {
			d.said = append(d.said, fmt.Sprint(verb, " ", slices.Index(d.all, r)))
		}
	}
}

// spoken returns what was decided since the last call: verb, how many.
func (d *deathTrial) spoken() string {
	report, retry := 0, 0
	for _, s := range d.said {
		if strings.HasPrefix(s, "report") {
			report++
		} else {
			retry++
		}
	}
	d.said = nil
	return fmt.Sprintf("report %d, retry %d", report, retry)
}

func TestMassFailure(t *testing.T) {
	type step struct {
		do   func(d *deathTrial)
		want string // "" means nothing
	}
	start := func(from, to int) func(*deathTrial) { return func(d *deathTrial) { d.start(from, to) } }
	up := func(from, to int) func(*deathTrial) { return func(d *deathTrial) { d.up(from, to) } }
	die := func(from, to int) func(*deathTrial) { return func(d *deathTrial) { d.die(from, to) } }
	confirm := func(from, to int) func(*deathTrial) { return func(d *deathTrial) { d.confirm(from, to) } }
	leave := func(from, to int) func(*deathTrial) { return func(d *deathTrial) { d.leave(from, to) } }
	cycle := func(alive int) func(*deathTrial) {
		return func(d *deathTrial) { d.say(d.startCycle(alive)) }
	}
	const nothing = "report 0, retry 0"
	for _, tt := range []struct {
		name     string
		replicas int
		steps    []step
	}{
		{"one of ten", 10, []step{{start(0, 10), ""}, {die(0, 1), ""}, {up(1, 6), ""}, {up(6, 7), "report 1, retry 0"}}},
		{"four of four are too few", 4, []step{{start(0, 4), ""}, {die(0, 4), "report 4, retry 0"}}},
		{"five of ten", 10, []step{{start(0, 10), ""}, {die(0, 4), ""}, {die(4, 5), "report 0, retry 5"}, {die(5, 6), "report 0, retry 1"}}},
		{"a group of a large map", 320, []step{
			{start(0, 32), ""}, {die(0, 15), ""}, {die(15, 16), "report 0, retry 16"}, {die(16, 32), "report 0, retry 16"},
			{start(32, 64), ""}, {up(32, 64), ""},
			// confirmed while half of the map may still die: withheld further
			{confirm(0, 32), ""},
			{start(64, 224), ""}, {up(64, 192), ""}, {up(192, 193), "report 32, retry 0"},
		}},
		{"a group, and then the cycle", 320, []step{
			{start(0, 32), ""}, {die(0, 32), "report 0, retry 32"}, {confirm(0, 32), ""},
			{start(32, 160), ""}, {die(32, 159), "report 0, retry 127"},
			// the threshold of the cycle: what was confirmed before is tried once more
			{die(159, 160), "report 0, retry 33"},
			{confirm(0, 32), "report 32, retry 0"},
			// their attempts had begun before that
			{confirm(32, 64), "report 0, retry 32"}, {confirm(32, 64), "report 32, retry 0"},
		}},
		{"few in every group, many in the cycle", 320, []step{
			{start(0, 320), ""}, {die(0, 159), ""}, {die(159, 160), "report 0, retry 160"}, {confirm(0, 160), "report 160, retry 0"},
		}},
		{"few in a group, while the cycle is open", 320, []step{
			{start(0, 32), ""}, {die(0, 1), ""}, {up(1, 32), ""}, {start(32, 160), ""}, {up(32, 160), ""}, {start(160, 192), ""}, {up(160, 161), ""}, {up(161, 162), "report 1, retry 0"},
		}},
		{"few in the cycle, while a group is open", 320, []step{
			{start(0, 32), ""}, {start(32, 320), ""}, {up(32, 320), ""}, {die(0, 1), ""}, {up(1, 17), ""}, {up(17, 18), "report 1, retry 0"},
		}},
		{"the cycle that follows starts no more of the old one", 320, []step{
			{start(0, 32), ""}, {die(0, 1), ""}, {up(1, 32), ""}, {cycle(320), "report 1, retry 0"},
		}},
		{"late results count for their own cycle", 10, []step{
			{start(0, 10), ""}, {die(0, 3), ""}, {cycle(10), ""}, {die(3, 5), "report 0, retry 5"},
		}},
		{"those that leave cannot die any more", 10, []step{
			{start(0, 10), ""}, {die(0, 3), ""}, {up(3, 5), ""}, {leave(5, 10), "report 3, retry 0"},
		}},
		{"those that leave before their turn neither", 320, []step{
			{start(0, 32), ""}, {die(0, 3), ""}, {up(3, 32), ""}, {leave(100, 320), ""}, {start(32, 64), ""}, {up(32, 64), "report 3, retry 0"},
		}},
		{"a withheld one that leaves", 10, []step{{start(0, 10), ""}, {die(0, 2), ""}, {leave(0, 1), ""}, {up(2, 10), "report 1, retry 0"}}},
		{"those of an old cycle leave", 10, []step{
			{start(0, 10), ""}, {die(0, 4), ""}, {cycle(10), ""}, {leave(4, 10), "report 4, retry 0"},
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d := newDeathTrial(tt.replicas)
			for i, s := range tt.steps {
				s.do(d)
				want := s.want
				if want == "" {
					want = nothing
				}
				if got := d.spoken(); got != want {
					t.Fatalf("step %d: got %s, want %s", i, got, want)
				}
			}
		})
	}
}

func TestReplicasThatWereDeadAreNotCounted(t *testing.T) {
	d := newDeathTrial(32)
	for _, r := range d.all[:26] {
		r.health = probe.Dead
	}
	d.startCycle(6)
	d.start(0, 32)
	if d.all[0].cohort != nil {
		t.Error("a replica that was dead has a cohort, want none")
	}
	d.die(26, 30)
	if got := d.spoken(); got != "report 0, retry 0" {
		t.Errorf("four of six: got %s, want nothing yet", got)
	}
	d.die(30, 31)
	if got := d.spoken(); got != "report 0, retry 5" {
		t.Errorf("five of the six that were not dead: got %s, want a retry of each", got)
	}
}
