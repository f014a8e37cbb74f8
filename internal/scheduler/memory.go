package scheduler

import (
	"runtime/debug"
	"time"
)

// tidyEvery is how often memory is given back at most: it costs some
// milliseconds, which is nothing once a minute.
const tidyEvery = time.Minute

// tidy gives back to the system what a cycle needed, when its work is done: the
// daemon then rests for most of the interval beside programs that have a use
// for it.
func (l *Loop) tidy(now time.Time) {
	due, ok := l.schedule.next()
	if !ok || due.Before(l.beat.Add(l.settings.Interval)) || now.Sub(l.tidied) < tidyEvery || !l.tidied.Before(l.beat) {
		return
	}
	if l.pool.Running() > 0 || l.outbox.Waiting() > 0 {
		return
	}
	l.tidied = now
	debug.FreeOSMemory()
}
