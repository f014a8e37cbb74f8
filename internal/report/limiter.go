package report

import (
	"math"
	"time"

	"github.com/crisp-im/crisp-status-local/v2/internal/pace"
)

const (
	fewestInFlight = 8
	leastCeiling   = 256         // requests that servers let one connection carry
	promptly       = time.Second // a round trip within which an API that is well answers
	firstRTT       = 100 * time.Millisecond
	rttWindow      = 5 * time.Second        // in which the shortest round trip is looked for
	drainIn        = 2 * time.Second        // for the delivery of a backlog
	caughtUpIn     = 500 * time.Millisecond // the same at a limited rate, after the 5 s that a trial may take
	rateGrowth     = 1.1                    // a second
)

// limiter bounds the requests in flight by Little's law, and after a 429 the
// reports a second.
type limiter struct {
	replicas int // of the map
	interval time.Duration
	rtt      time.Duration // smoothed; see taken

	carried   int // by the connections to the API at a time; 0: any number
	carriable int // by as many of them as there may be

	shortest  [2]time.Duration // round trip of this window, and of the one before
	windowEnd time.Time

	fast int // requests in flight that may be answered promptly
	slow int // of the age slow; hung ones count no more

	rate     float64   // reports a second at the time of halved; 0 while there is no limit
	before   float64   // the rate at which the limit ends
	halved   time.Time // the last time
	next     time.Time // when the rate allows another one
	second   time.Time // in which sent reports were begun, after previous in the one before
	sent     int
	previous int
	behind   float64 // the rate that a backlog needs; 0 without one
}

// flow returns the requests in flight that deliver the verdicts of a cycle as they come
// (Little's law), and a quarter more. A higher limit would open connections for
// bursts alone. Beyond what the connections carry, requests would only wait for each
// other, and their round trips grow with their number, without end.
func (l *limiter) flow() int {
	spread := max(pace.Spread(l.interval), time.Millisecond)
	return l.fit(max(fewestInFlight, int(math.Ceil(1.25*float64(l.replicas)*l.rtt.Seconds()/spread.Seconds()))))
}

// ceiling returns the most requests in flight that do not hang.
func (l *limiter) ceiling() int { return l.fit(max(4*l.flow(), leastCeiling)) }

// fit returns n, or what the connections carry if that is less.
func (l *limiter) fit(n int) int {
	if l.carried > 0 {
		return min(n, l.carried)
	}
	return n
}

// late returns by how much a cycle's reports take longer than the interval; 0 if they
// do not.
func (l *limiter) late() time.Duration {
	if l.carried == 0 {
		return 0
	}
	whole := time.Duration(float64(l.replicas) / float64(l.carriable) * float64(l.rtt))
	return max(0, whole-l.interval)
}

// maxInFlight returns the limit of requests in flight with a backlog of so many
// verdicts.
func (l *limiter) maxInFlight(backlog int) int {
	drain := int(math.Ceil(float64(backlog) * l.rtt.Seconds() / drainIn.Seconds()))
	return max(l.flow(), min(drain, l.ceiling()))
}

// at returns the time at which another request may begin; false if none may before one
// has ended.
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

// needed returns the reports a second that keep every report deadline: those of a cycle
// within the interval and before the first deadline, and those of a backlog.
func (l *limiter) needed() float64 {
	within := min(l.interval, pace.Spread(l.interval)+pace.Deadline(0))
	return max(l.behind, float64(max(l.replicas, 1))/max(within.Seconds(), 0.001))
}

// catchUp notes a backlog of so many verdicts, and the time until their first report
// deadline. It hastens the next report: the rate of before was for those of a cycle alone.
func (l *limiter) catchUp(now time.Time, verdicts int, left time.Duration) {
	l.behind = float64(verdicts) / max(left, caughtUpIn).Seconds()
	if l.rate > 0 {
		l.rate = max(l.rate, l.behind)
		l.next = earliest(l.next, now.Add(time.Duration(float64(time.Second)/l.rate)))
	}
}

// caughtUp notes that the backlog is delivered.
func (l *limiter) caughtUp() { l.behind = 0 }

// taken notes the round trip of a report that was taken. What hung says nothing
// of the others. Round trips that grow while the shortest does not are those of a
// queue, most of all of a busy host's own: more requests in flight would only
// lengthen it, so no more is reckoned with than twice the shortest.
func (l *limiter) taken(now time.Time, rtt time.Duration) {
	rtt = min(rtt, promptly)
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

// nextAge moves the request of e to the next age.
func (l *limiter) nextAge(e *entry) {
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
