package scheduler

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/crisp-im/crisp-status-local/v2/internal/probe"
)

const (
	maxChanges  = 20          // changes of health that have a line each, in a cycle
	digestAfter = time.Minute // at the latest, the rest are summed up
	flapChanges = 4           // of one replica that have a line each, in flapPeriod
	flapPeriod  = time.Hour
)

// changelog decides which changes of health have a line of their own: a switch
// that fails changes a thousand replicas at once, and a replica that flaps
// changes for ever.
//
// The first maxChanges of a cycle do; the rest are summed up in digests, one for
// each direction. A replica that changes more often than flapChanges in
// flapPeriod has one line in each, with a count.
type changelog struct {
	renewed time.Time // when said began to be counted
	said    int
	digests map[string]*digest // by what happened
	due     time.Time          // when they are said at the latest; zero: there is none
	flaps   map[*replica]*flap // of the replicas that have changed within flapPeriod
}

// flap is the record of a replica that changes.
type flap struct {
	began    time.Time
	changes  int
	flapping bool          // it changes too often for a line each
	trouble  logrus.Fields // while it flaps: of the last result that was not healthy
}

func newChangelog() changelog {
	return changelog{digests: make(map[string]*digest), flaps: make(map[*replica]*flap)}
}

// spend reports whether one more line may be written in this cycle.
func (l *changelog) spend() bool {
	l.said++
	return l.said <= maxChanges
}

// renew starts the count of lines again. Cycles of less than a minute share what
// a minute may have.
func (l *changelog) renew(now time.Time) {
	if now.Sub(l.renewed) >= digestAfter {
		l.renewed, l.said = now, 0
	}
}

// digest returns the digest of what happened, due from now on.
func (l *changelog) digest(now time.Time, happened string) *digest {
	if l.due.IsZero() {
		l.due = now.Add(digestAfter)
	}
	d := l.digests[happened]
	if d == nil {
		d = &digest{reasons: make(map[string]*reasonCount)}
		l.digests[happened] = d
	}
	return d
}

// flap counts a change of r.
func (l *changelog) flap(r *replica, now time.Time) *flap {
	f := l.flaps[r]
	if f == nil || !f.flapping && now.Sub(f.began) >= flapPeriod {
		f = &flap{began: now}
		l.flaps[r] = f
	}
	f.changes++
	return f
}

// logChange says that the health of a replica is another than before, once it is
// worth a line. To be healthy from the first is not.
func (s *Scheduler) logChange(r *replica, result probe.Result) {
	now, since := time.Now(), r.since
	r.since = now
	if r.health == probe.Unknown {
		if result.Health != probe.Healthy {
			s.sayChange(r, result, "new", 0)
		}
		return
	}
	f := s.changes.flap(r, now)
	if f.changes > flapChanges && !f.flapping {
		f.keep(result)
		s.sayFlap(r, result.Health, f, now)
		return
	}
	if f.flapping {
		f.keep(result)
		return
	}
	s.sayChange(r, result, string(r.health), now.Sub(since))
}

// keep keeps result for the line about a replica that flaps.
func (f *flap) keep(result probe.Result) {
	if result.Health == probe.Healthy {
		return
	}
	f.trouble = logrus.Fields{"reason": result.Reason()}
	maps.Copy(f.trouble, kindOf(result))
}

// reason returns the last reason that was kept.
func (f *flap) reason() string {
	reason, _ := f.trouble["reason"].(string)
	return reason
}

// sayChange says one change, or counts it among those that are summed up. after
// is how long the old health lasted; zero where there was none.
func (s *Scheduler) sayChange(r *replica, result probe.Result, from string, after time.Duration) {
	if !s.changes.spend() {
		happened := "turned " + string(result.Health)
		if result.Health == probe.Healthy {
			happened = healthyAgain
		}
		s.changes.digest(time.Now(), happened).add(r, result.Reason(), after)
		return
	}
	log := s.logResult(r, result).WithFields(logrus.Fields{"from": from, "to": result.Health})
	if after > 0 {
		log = log.WithField("after", age(after))
	}
	log.Warn("health changed")
}

// sayFlap says that a replica flaps, and starts the count again.
func (s *Scheduler) sayFlap(r *replica, health probe.Health, f *flap, now time.Time) {
	within := now.Sub(f.began)
	if s.changes.spend() {
		log := s.logTo(r).WithFields(f.trouble)
		log.WithFields(logrus.Fields{"changes": f.changes, "within": age(within), "health": health}).
			Warn("health keeps changing: it is said once an hour from now on, until it has stayed the same for one")
	} else {
		s.changes.digest(now, keepsChanging).add(r, f.reason(), 0)
	}
	*f = flap{began: now, flapping: true}
}

// logChanges says what is due: digests, and the replicas that flap.
func (s *Scheduler) logChanges(now time.Time) {
	if !s.changes.due.IsZero() && !now.Before(s.changes.due) {
		s.logDigests()
	}
}

// cycleOfChanges ends a cycle of changes and begins the next one.
func (s *Scheduler) cycleOfChanges(now time.Time) {
	if now.Sub(s.changes.renewed) >= digestAfter {
		s.logDigests()
	}
	s.changes.renew(now)
	s.logFlaps(now)
}

// logFlaps says which replicas have flapped for flapPeriod, and forgets those
// that are calm.
func (s *Scheduler) logFlaps(now time.Time) {
	var flapping []*replica
	for r, f := range s.changes.flaps {
		switch {
		case r.phase == gone:
			delete(s.changes.flaps, r)
		case now.Sub(f.began) < flapPeriod:
		case f.flapping && f.changes > 0:
			flapping = append(flapping, r)
		default:
			delete(s.changes.flaps, r)
		}
	}
	slices.SortFunc(flapping, func(a, b *replica) int {
		return strings.Compare(a.check.Target.String(), b.check.Target.String())
	})
	for _, r := range flapping {
		s.sayFlap(r, r.health, s.changes.flaps[r], now)
	}
}

// logDigests says what was summed up, and starts again.
func (s *Scheduler) logDigests() {
	for _, happened := range []string{"turned dead", "turned sick", healthyAgain, keepsChanging} {
		if d := s.changes.digests[happened]; d != nil {
			s.log.WithFields(d.fields()).Warn(d.message(happened))
		}
	}
	clear(s.changes.digests)
	s.changes.due = time.Time{}
}

// age is a time that something lasted, in two units: 9d4h, 14m, 12s.
type age time.Duration

// Seconds returns a as a log of numbers has it.
func (a age) Seconds() float64 { return time.Duration(a).Seconds() }

func (a age) String() string {
	d := time.Duration(a).Round(time.Second)
	units := []struct {
		name string
		size time.Duration
	}{{"d", 24 * time.Hour}, {"h", time.Hour}, {"m", time.Minute}, {"s", time.Second}}
	for i, u := range units[:len(units)-1] {
		if d < u.size {
			continue
		}
		text, next := fmt.Sprintf("%d%s", d/u.size, u.name), units[i+1]
		if rest := d % u.size / next.size; rest > 0 {
			text += fmt.Sprintf("%d%s", rest, next.name)
		}
		return text
	}
	return fmt.Sprintf("%ds", d/time.Second)
}
