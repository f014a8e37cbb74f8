//go:build cluster

package cluster

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/crisp-im/crisp-status-local/v2/internal/sandbox"
)

const (
	interval = 2 * time.Second
	ttl      = 5 * time.Second

	// longest is the longest allowed time between two reports of a replica that is up,
	// two seconds before the page turns red. promised is the daemons' own bound, on an
	// idle machine.
	longest  = interval + 38*time.Second
	promised = interval + ttl + 2*time.Second

	// settle is the greatest age of a correct verdict: an interval, an attempt with its
	// retry, the confirmation of a mass failure, and the lateness of a busy machine.
	settle = interval + 2*time.Second + 5*time.Second + 5*time.Second

	// repeated is how long a daemon repeats the last verdict of a replica that was up,
	// if its host cannot probe.
	repeated = 90 * time.Second

	group  = "office"
	prefix = "/crisp-status-local/v1/" + group + "/"
)

// sighting is one answer of the engine to the question who is on duty.
type sighting struct {
	asked, answered time.Time
	holder          string // empty: nobody
}

// watcher polls the engine for the holder.
type watcher struct {
	ask  func() (string, error)
	mu   sync.Mutex // protects seen
	seen []sighting
}

// newWatcher asks until the test ends.
func newWatcher(t *testing.T, ask func() (string, error)) *watcher {
	w := &watcher{ask: ask}
	ctx, cancel := context.WithCancel(context.Background())
	var asking sync.WaitGroup
	asking.Go(func() {
		for ctx.Err() == nil {
			w.look()
			select {
			case <-ctx.Done():
			case <-time.After(100 * time.Millisecond):
			}
		}
	})
	t.Cleanup(func() { cancel(); asking.Wait() })
	return w
}

// look asks once.
func (w *watcher) look() {
	asked := time.Now()
	holder, err := w.ask()
	if err != nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.seen = append(w.seen, sighting{asked, time.Now(), holder})
}

// after returns the sightings after a time, and the one before it.
func (w *watcher) after(t time.Time) []sighting {
	w.mu.Lock()
	defer w.mu.Unlock()
	first := len(w.seen)
	for first > 0 && w.seen[first-1].answered.After(t) {
		first--
	}
	return slices.Clone(w.seen[max(first-1, 0):])
}

// byEtcd returns a function that asks etcd for the holder: the member with the oldest
// key of the election.
func byEtcd(e *etcd) func() (string, error) {
	return func() (string, error) {
		keys, err := e.below(prefix + "election/")
		if err != nil || len(keys) == 0 {
			return "", err
		}
		return string(keys[0].Value), nil
	}
}

// around returns the last sighting that was answered before a moment, and the first that
// was asked after it; zero if there is none.
func around(seen []sighting, at time.Time) (before, next sighting) {
	i, _ := slices.BinarySearchFunc(seen, at, func(s sighting, at time.Time) int { return s.answered.Compare(at) })
	if i > 0 {
		before = seen[i-1]
	}
	for ; i < len(seen); i++ {
		if !seen[i].asked.Before(at) {
			return before, seen[i]
		}
	}
	return before, next
}

// verdict is the result of a judgement.
type verdict struct {
	reports  int
	worst    time.Duration // without a report of a replica that is up
	worstOf  string
	worstEnd time.Time
	overlaps []report // dead ones, of one who was not on duty (I2)
	strays   []report // others, of one who was not on duty while the engine said who is (I3)
	wrong    []report // of a health that the replica did not have
	stale    int      // alive, of one not on duty, who cannot see that it is dead by now
}

// judge looks at all reports since a time.
func (l *lab) judge(since time.Time) verdict {
	reports := l.page.after(since)
	var seen []sighting
	if l.watcher != nil {
		seen = l.watcher.after(since)
	}
	v := verdict{reports: len(reports)}
	last := make(map[string]time.Time)
	for _, replica := range up {
		last[replica] = since
	}
	gap := func(replica string, to time.Time) {
		if silent := to.Sub(last[replica]); silent > v.worst {
			v.worst, v.worstOf, v.worstEnd = silent, replica, to
		}
		last[replica] = to
	}
	for _, r := range reports {
		if slices.Contains(up, r.replica) {
			gap(r.replica, r.at)
		}
		onDuty := l.watcher == nil || permitted(seen, r)
		switch {
		case !l.page.contradicts(r, settle):
		case r.health != sandbox.Dead && (!onDuty || l.o.engine == "alive") && !l.page.contradicts(r, repeated+settle):
			v.stale++
		default:
			v.wrong = append(v.wrong, r)
		}
		switch before, next := around(seen, r.at); {
		case onDuty:
		case r.health == sandbox.Dead:
			v.overlaps = append(v.overlaps, r)
		case before.holder != "" && before.holder == next.holder && next.answered.Sub(before.asked) < 2*time.Second:
			v.strays = append(v.strays, r)
		}
	}
	for _, replica := range up {
		gap(replica, time.Now())
	}
	return v
}

// permitted reports whether the sender of a dead report was on duty, as far as can be
// known: the last sighting before the report named it, no longer ago than a TTL, or the
// next one does, shortly after.
func permitted(seen []sighting, r report) bool {
	before, next := around(seen, r.at)
	const shortly = 2 * time.Second
	return before.holder == r.from && (r.at.Sub(before.answered) <= ttl) ||
		next.holder == r.from && next.asked.Sub(r.at) <= shortly
}

// contradicts reports whether a report has a health that the replica has not had for
// longer than that.
func (p *page) contradicts(r report, settle time.Duration) bool {
	if slices.Contains(up, r.replica) || slices.Contains(down, r.replica) {
		return (r.health == sandbox.Dead) != (p.expected(r.replica) == sandbox.Dead)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	turns := 0
	for _, at := range p.turns {
		if at.After(r.at) {
			break
		}
		if r.at.Sub(at) < settle {
			return false
		}
		turns++
	}
	down := (turns%2 == 1) == (r.replica == turning[0])
	return (r.health == sandbox.Dead) != down
}

// String is for the log of a test.
func (v verdict) String() string {
	return fmt.Sprintf("%d reports, worst gap %v, %d dead reports of one not on duty, %d others of one not on duty, %d wrong, %d stale",
		v.reports, v.worst.Round(10*time.Millisecond), len(v.overlaps), len(v.strays), len(v.wrong), v.stale)
}

// figures are durations that were measured.
type figures []time.Duration

// String returns them as least, median and most.
func (f figures) String() string {
	if len(f) == 0 {
		return "none"
	}
	f = slices.Clone(f)
	slices.Sort(f)
	round := func(d time.Duration) time.Duration { return d.Round(10 * time.Millisecond) }
	return fmt.Sprintf("%v / %v / %v of %d", round(f[0]), round(f[len(f)/2]), round(f[len(f)-1]), len(f))
}
