package report

import (
	"math"
	"time"

	"github.com/crisp-im/crisp-status-local/v2/internal/pace"
)

const (
	fewestInFlight = 8
	leastCeiling   = 256         // requests that servers let one connection carry
	slowAfter      = time.Second // an older request may hang, and holds up only itself
	firstRTT       = 100 * time.Millisecond
	rttWindow      = 5 * time.Second // in which the shortest round trip is looked for
	drainIn        = 2 * time.Second // the time in which a backlog goes out
	rateGrowth     = 1.1             // a second
)

// limiter bounds the requests in flight by Little's law, and after a 429 the
// reports a second.
type limiter struct {
	replicas int // of the map
	interval time.Duration
	rtt      time.Duration // smoothed; see taken

	shortest  [2]time.Duration // round trip of this window, and of the one before
	windowEnd time.Time

	fast int // requests in flight that are younger than slowAfter
	slow int // the older ones; those that hang count no more

	rate     float64   // reports a second at the time of halved; 0 while there is no limit
	before   float64   // the rate to which it grows; then there is no limit any more
	halved   time.Time // the last time
	next     time.Time // when the rate lets another one begin
	second   time.Time // in which sent reports were begun, after previous in the one before
	sent     int
	previous int
	behind   float64 // the rate that verdicts need which were held up; 0 if none were
}

// flow returns the requests in flight that get the verdicts of a cycle through
// as they come, and a quarter more. Others would only open connections for the
// bursts in which they come.
func (l *limiter) flow() int {
	spread := max(pace.Spread(l.interval), time.Millisecond)
	return max(fewestInFlight, int(math.Ceil(1.25*float64(l.replicas)*l.rtt.Seconds()/spread.Seconds())))
}

// ceiling returns the most requests in flight that do not hang.
func (l *limiter) ceiling() int { return max(4*l.flow(), leastCeiling) }

// maxInFlight returns how many requests may be in flight with a backlog of so
// many verdicts.
func (l *limiter) maxInFlight(backlog int) int {
	drain := int(math.Ceil(float64(backlog) * l.rtt.Seconds() / drainIn.Seconds()))
	return max(l.flow(), min(drain, l.ceiling()))
}

// at returns when another request may begin; false if the end of one comes
// first.
func (l *limiter) at(now time.Time, backlog int) (time.Time, bool) {
	if l.fast >= l.maxInFlight(backlog) || l.fast+l.slow >= l.ceiling() {
		return time.Time{}, false
	}
	if l.rate > 0 && l.next.After(now) {
		return l.next, true
	}
	return now, true
}

func (l *limiter) begin(now time.Time) {
	l.fast++
	if away := now.Sub(l.second); away >= time.Second {
		if l.previous = l.sent; away >= 2*time.Second {
			l.previous = 0
		}
		l.second, l.sent = now, 0
	}
	l.sent++
	if l.rate == 0 {
		return
	}
	rate := l.rate * math.Pow(rateGrowth, now.Sub(l.halved).Seconds())
	if rate >= l.before {
		l.rate = 0
		return
	}
	l.next = now.Add(time.Duration(float64(time.Second) / rate))
}

// throttle halves the rate because of a 429 to a request that began then: once
// for all that were under way together, and never below what the report
// deadlines need.
func (l *limiter) throttle(now, began time.Time) {
	if began.Before(l.halved) {
		return
	}
	rate := float64(max(l.sent, l.previous))
	if l.rate > 0 {
		rate = min(rate, l.rate*math.Pow(rateGrowth, now.Sub(l.halved).Seconds()))
	}
	if l.rate == 0 {
		l.before = rate
	}
	l.rate, l.halved = max(rate/2, l.needed()), now
	l.next = now.Add(time.Duration(float64(time.Second) / l.rate))
}

// needed returns the reports a second that keep every report deadline: all
// verdicts of a cycle, before the next one and before the first deadline, and
// what is behind.
func (l *limiter) needed() float64 {
	within := min(l.interval, pace.Spread(l.interval)+pace.Deadline(0))
	return max(l.behind, float64(max(l.replicas, 1))/max(within.Seconds(), 0.001))
}

// catchUp notes that so many verdicts were held up, and how long it is until the
// first report deadline of theirs.
func (l *limiter) catchUp(verdicts int, left time.Duration) {
	l.behind = float64(verdicts) / max(left, drainIn).Seconds()
	if l.rate > 0 {
		l.rate = max(l.rate, l.behind)
	}
}

// caughtUp notes that nothing is behind any more.
func (l *limiter) caughtUp() { l.behind = 0 }

// taken notes the round trip of a report that was taken. What hung says nothing
// of the others. Round trips that grow while the shortest does not are those of a
// queue, most of all of a busy host's own: more requests in flight would only
// lengthen it, so no more is reckoned with than twice the shortest.
func (l *limiter) taken(now time.Time, rtt time.Duration) {
	rtt = min(rtt, slowAfter)
	if !now.Before(l.windowEnd) {
		l.shortest = [2]time.Duration{rtt, l.shortest[0]}
		if now.Sub(l.windowEnd) > rttWindow {
			l.shortest[1] = 0 // it is of long ago
		}
		l.windowEnd = now.Add(rttWindow)
	}
	l.shortest[0] = min(l.shortest[0], rtt)
	l.rtt += (rtt - l.rtt) / 8
	shortest := l.shortest[0]
	if l.shortest[1] > 0 {
		shortest = min(shortest, l.shortest[1])
	}
	l.rtt = min(l.rtt, 2*shortest)
}

// grow makes the request of e one of the next age.
func (l *limiter) grow(e *entry) {
	l.end(e)
	if e.age++; e.age == slow {
		l.slow++
	}
}

// end notes that the request of e is over.
func (l *limiter) end(e *entry) {
	switch e.age {
	case fresh:
		l.fast--
	case slow:
		l.slow--
	}
}
