package duty

import (
	"time"

	"github.com/sirupsen/logrus"
)

const (
	// recent is how long an outage of the engine makes the next one a repeated one.
	recent = time.Hour

	// leastCalm and mostCalm bound how long the engine must say who is on duty, after
	// a repeated outage, before its return is logged.
	leastCalm = 30 * time.Second
	mostCalm  = time.Hour
)

// outage is the loss of the engine as it is logged: a line at its beginning and one at
// its end. An engine that keeps coming and going is one outage, with a count: after each
// one within an hour of the last, the engine must be back for twice as long, so that the
// lines become rare. The zero value is an engine that was never lost.
type outage struct {
	began    time.Time     // zero: there is none
	returned time.Time     // the engine is back since then; zero: it is not
	losses   int           // of the engine, in this outage
	lost     time.Duration // in all of them
	calm     time.Duration // for which the engine must be back
	over     time.Time     // when the last outage was logged as over
	excluded bool          // it was logged that the engine shuts this daemon out
}

// reason is why the engine does not say who is on duty.
type reason struct {
	plight Plight
	why    string
}

// lostBy is the log line of a loss, by its kind.
var lostBy = map[Plight]string{
	Unreachable: "etcd does not say who is on duty",
	Excluded:    "etcd answers, but this daemon cannot take part in its group",
	Undecided:   "etcd answers, but nobody is on duty",
}

// lasts reports whether the engine is lost now.
func (o *outage) lasts() bool { return !o.began.IsZero() && o.returned.IsZero() }

// lose notes that the engine, which was not lost, is lost since a time, for a first
// reason.
func (o *outage) lose(log logrus.FieldLogger, since time.Time, first reason) {
	if o.began.IsZero() {
		calm := time.Duration(0)
		if !o.over.IsZero() && since.Sub(o.over) < recent {
			calm = min(max(leastCalm, 2*o.calm), mostCalm)
		}
		*o = outage{began: since, losses: 1, calm: calm, over: o.over, excluded: first.plight == Excluded}
		log.WithField("why", first.why).Warn(lostBy[first.plight])
		return
	}
	o.lost += o.returned.Sub(o.began)
	o.began, o.returned = since, time.Time{}
	o.losses++
	o.goOn(log, first)
}

// goOn notes another reason of a loss. Only the first by which an engine that answers
// shuts this daemon out is news: it has another cure than the silence before it.
func (o *outage) goOn(log logrus.FieldLogger, is reason) {
	log = log.WithField("why", is.why)
	if is.plight == Excluded && !o.excluded {
		o.excluded = true
		log.Warn(lostBy[is.plight])
		return
	}
	log.Debug(lostBy[is.plight])
}

// find notes that the engine is back, and logs it once it has been for long enough.
func (o *outage) find(log logrus.FieldLogger, now time.Time) {
	if o.began.IsZero() {
		return
	}
	if o.returned.IsZero() {
		o.returned = now
	}
	if now.Sub(o.returned) < o.calm {
		return
	}
	log = log.WithField("after", (o.lost + o.returned.Sub(o.began)).Round(time.Second))
	if o.losses > 1 {
		log = log.WithField("losses", o.losses)
	}
	log.Warn("etcd says again who is on duty")
	*o = outage{calm: o.calm, over: now}
}
