// Package pace holds every duration that follows from the interval (the time between
// two probes of a replica) and from the promise (the time within which the page is told
// to expect the next report), and the inequalities that they keep.
//
// The page shows a replica dead Grace (40 s) after the time that its last report
// promised. For a replica that is up, with i as the interval and p as the promise,
// which is the interval or longer:
//
//	           i = 10 s  i = 120 s  rule                            bounds
//	Spread        2.5 s       30 s  min(i/4, 30 s)                  the starts of a cycle
//	Budget          5 s       35 s  max(dead, min(i/2, 35 s))       all attempts of one probe
//	Repeat          5 s        5 s                                  from a turn to a report, its verdict or the last one
//	RepeatFor      90 s      240 s  max(2i, 90 s)                   how long a last verdict is repeated
//	Trial        1.25 s        5 s  min(max(i/8, 0.5 s), 5 s)       two tries at an API that takes nothing; the obedience to Retry-After
//	Deadline       40 s      150 s  p + 30 s (here p = i)           two reports, when the API has refused some
//	Recovery        3 s        3 s                                  the delivery of the backlog, once the API takes reports
//	Renewal         0 s        0 s  min(p/2, p − i) (here p = i)    the age of a report that is not renewed yet
//	Parting         3 s        3 s                                  the same when the daemon ends
//
// Turns of a replica lie i apart. A verdict that has not changed is not reported
// while the replica's last report is younger than Renewal; then the next turn brings
// one. So two of its reports lie at most
//
//	Renewal + i + Repeat + Outage + Trial + Recovery ≤ (p − i) + i + 5 s + 25 s + 5 s + 3 s = p + 38 s < p + Grace
//
// apart if the API is away for an Outage (25 s), whenever that begins. Without an
// outage, a report that was rejected alone is sent again at its deadline,
// Grace − 30 s = 10 s before the page turns red.
//
// When the daemon ends, the last report of a replica is at most Renewal + i old if it
// was killed, and Parting if it was told to end. An absence lasts from the end to the
// replica's next report. The page shows no absence up to
//
//	unplanned   p + Grace − Renewal − i     (Absence): p/2 + Grace − i, or Grace below p = 2i
//	planned     p                           since Parting + Spread + Repeat ≤ 3 s + 30 s + 5 s < Grace
//
// The planned one is counted to the next start: the time of the start itself, Spread for
// the turns of a new map and Repeat for the map and the first verdict, comes on top.
//
// Recovery bounds the number of replicas: B verdicts need B·RTT/2 s requests in
// flight, and some 0.2 ms of CPU each, so the 3 s hold up to some 10,000 waiting
// verdicts on one core. A cycle of N verdicts needs N·0.2 ms too: at an interval
// below 6 s, 5,000 replicas that all fail and are tried three times take a whole
// core, and none is left to catch up.
package pace

import (
	"math/rand/v2"
	"time"
)

const (
	// Grace is how long after the promised time the page still shows the
	// last health of a replica. It is the default of Vigil, the open sibling of
	// Crisp Status.
	Grace = 40 * time.Second

	// Outage is the longest outage of the API that the page does not show.
	Outage = 25 * time.Second

	// Repeat is the time after its turn at which a replica last reported up,
	// without a verdict yet, repeats the last one, so that the time of attempts
	// never adds to a silence.
	Repeat = 5 * time.Second

	// Recovery is the longest that the delivery of all waiting verdicts takes
	// once the API takes reports again.
	Recovery = 3 * time.Second

	// Parting is the age of a report above which it is renewed when the daemon is told
	// to end, so that its absence may last as long as the promise.
	Parting = 3 * time.Second

	// StatusLine is the time without a status line after which a report counts as
	// failed, though its answer still counts when it comes.
	StatusLine = 5 * time.Second

	// Shortest is the shortest wait before a retry: an API in trouble gets two
	// tries a second at most.
	Shortest = 500 * time.Millisecond

	// UnauthorizedGrace is the time for which a refusal of the token may be the
	// passing error of a proxy.
	UnauthorizedGrace = 10 * time.Minute

	// LongestProbe is the longest that all attempts of one probe take, whatever
	// the map says.
	LongestProbe = 35 * time.Second

	longestSpread = 30 * time.Second
	longestTrial  = 5 * time.Second
	lateReport    = 30 * time.Second // beyond the promise
	shortRepeat   = 90 * time.Second
	longestFresh  = time.Minute
)

// Spread returns the time over which the starts of a cycle are spread. The rest
// of the interval absorbs retries.
func Spread(interval time.Duration) time.Duration { return min(interval/4, longestSpread) }

// Budget returns the longest that all attempts of one probe may take together.
// The first attempt has delayDead whole, even where that is more.
func Budget(interval, delayDead time.Duration) time.Duration {
	return max(delayDead, min(interval/2, LongestProbe))
}

// Trial returns the longest time between two tries at an API that takes no report. A
// Retry-After is obeyed no longer: a page that turns red because of politeness is a
// false outage.
func Trial(interval time.Duration) time.Duration {
	return min(max(interval/8, Shortest), longestTrial)
}

// Deadline returns the time from a report that was taken to the report deadline
// of its replica: ten seconds before the page turns red.
func Deadline(promise time.Duration) time.Duration { return promise + lateReport }

// Renewal returns the age from which on the report of an unchanged verdict is renewed:
// half the promise, or less if the next turn would come too late. It is zero if the
// promise is the interval: then every verdict is reported.
func Renewal(interval, promise time.Duration) time.Duration {
	return max(0, min(promise/2, promise-interval))
}

// Absence returns how long the daemon may be away after it was killed, from its end to
// the next report of a replica, before the page shows that replica dead.
func Absence(interval, promise time.Duration) time.Duration {
	return promise + Grace - Renewal(interval, promise) - interval
}

// RepeatFor returns the longest time for which the last verdict of a replica is
// repeated while there is no newer one.
func RepeatFor(interval time.Duration) time.Duration { return max(2*interval, shortRepeat) }

// FreshFor returns the longest time for which a verdict that was not sent, since
// another daemon was on duty, may be sent without another probe.
func FreshFor(interval time.Duration) time.Duration { return min(interval, longestFresh) }

// Backoff returns the wait before try n, counted from 1: first, doubling with
// each, at most longest.
func Backoff(first, longest time.Duration, n int) time.Duration {
	d := min(first, longest)
	for ; n > 1 && d < longest; n-- {
		d = min(2*d, longest)
	}
	return d
}

// Jitter returns d less up to a fifth, so that daemons that fail together do not
// return together. A limit on d is one on the result.
func Jitter(d time.Duration) time.Duration {
	return d - time.Duration(rand.Float64()*0.2*float64(d))
}

// TrialWait returns the wait before trial n, counted from 1, at an API that
// takes no report: half a second, doubling up to Trial, jitter included.
func TrialWait(interval time.Duration, n int) time.Duration {
	return max(Shortest, Jitter(Backoff(Shortest, Trial(interval), n)))
}

// RejectedWait returns the wait before a verdict that was rejected alone, or of
// an unknown replica, is sent for the n-th time more: 1, 2, 4 … s up to half the
// interval.
func RejectedWait(interval time.Duration, n int) time.Duration {
	return max(Shortest, Backoff(time.Second, interval/2, n))
}

// UnauthorizedWait returns the wait before report n, counted from 1, after a
// token was refused: 1, 2, 4, 5, 5 … s. After UnauthorizedGrace it is a minute,
// since only an operator can help.
func UnauthorizedWait(refusedFor time.Duration, n int) time.Duration {
	if refusedFor >= UnauthorizedGrace {
		return time.Minute
	}
	return Backoff(time.Second, 5*time.Second, n)
}

// MapAttempt returns the wait before another attempt within one map request,
// jitter included. The API can ask for another one by Retry-After, up to Trial.
func MapAttempt(interval, retryAfter time.Duration) time.Duration {
	if retryAfter > 0 {
		return min(retryAfter, Trial(interval))
	}
	return Jitter(min(5*time.Second, interval/2))
}

// MapMissing returns the wait before map request n, counted from 1, without a map in
// hand: 1, 2, 4 … 15 s, whatever the answer was.
func MapMissing(n int) time.Duration { return Backoff(time.Second, 15*time.Second, n) }

// MapRefused returns the wait before map request n, counted from 1, after a 401
// or while the API does not know replicas of the map in hand: 5 s, doubling up
// to the interval.
func MapRefused(interval time.Duration, n int) time.Duration {
	return Backoff(5*time.Second, interval, n)
}
