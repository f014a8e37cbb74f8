package probe

import (
	"fmt"
	"time"
)

// lookups is the time that the look-ups of one attempt took, and the bound on
// look-ups that it may share. A nil one counts nothing.
type lookups struct {
	notBefore time.Time     // a look-up must begin after it; zero: a fresh answer will do
	took      time.Duration // all of them together
	slowest   string        // the host whose look-up took longest
	longest   time.Duration // how long that was
	stale     string        // a host whose addresses are those of an earlier look-up
	joinable  time.Time     // when one began that was not over yet when the attempt ended
}

// next returns notBefore of the next attempt: the end of this one. A look-up that
// is still running has given no wrong answer, and may be joined.
func (l *lookups) next() time.Time {
	if !l.joinable.IsZero() {
		return l.joinable.Add(-1)
	}
	return time.Now()
}

func (l *lookups) after() time.Time {
	if l == nil {
		return time.Time{}
	}
	return l.notBefore
}

// add counts a look-up of host that took so long.
func (l *lookups) add(host string, took time.Duration) {
	if l == nil {
		return
	}
	if l.took += took; took > l.longest {
		l.slowest, l.longest = host, took
	}
}

// addSilent says that the look-up that began then goes on.
func (l *lookups) addSilent(began time.Time) {
	if l != nil {
		l.joinable = began
	}
}

func (l *lookups) addStale(host string) {
	if l != nil {
		l.stale = host
	}
}

// time returns how long the attempt's look-ups took.
func (l *lookups) time() time.Duration {
	if l == nil {
		return 0
	}
	return l.took
}

// slowLookup is the time from which a look-up is mentioned in the reason.
const slowLookup = 250 * time.Millisecond

// anomaly returns the oddity of the look-ups; "" if there was none.
func (l *lookups) anomaly() string {
	switch {
	case l == nil:
	case l.stale != "":
		return fmt.Sprintf("%q cannot be looked up, its last known addresses are used", l.stale)
	case l.longest >= slowLookup:
		return fmt.Sprintf("looking up %q took %v", l.slowest, rounded(l.longest))
	}
	return ""
}

// localIfStale makes err local if it is about stale addresses, which the name may
// no longer have, and nothing answered there.
func (l *lookups) localIfStale(err error) error {
	if l == nil || l.stale == "" {
		return err
	}
	switch kindOf(err) {
	case KindRefused, KindTimeout, KindUnreachable, KindBroken, KindTLS:
		return &Error{Kind: KindLocal, Reason: fmt.Sprintf("%v (%s)", err, l.anomaly()), Err: err}
	}
	return err
}
