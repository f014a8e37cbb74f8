package report

import (
	"testing"
	"time"
)

// TestRequestsInFlight: Little's law, from eight to as many as a map needs.
func TestRequestsInFlight(t *testing.T) {
	for _, tt := range []struct {
		replicas          int
		interval, rtt     time.Duration
		backlog           int
		inFlight, ceiling int
	}{
		{10, 2 * time.Minute, 50 * time.Millisecond, 0, 8, 256},
		{10_000, 2 * time.Minute, 50 * time.Millisecond, 0, 21, 256},
		{10_000, 2 * time.Minute, 50 * time.Millisecond, 10_000, 250, 256},
		{2_000, 2 * time.Minute, 100 * time.Millisecond, 2_000, 100, 256},
		{2_000, 10 * time.Second, 100 * time.Millisecond, 2_000, 100, 400},
		{600_000, 2 * time.Minute, 100 * time.Millisecond, 0, 2500, 10_000},
		{6_000_000, 2 * time.Minute, 100 * time.Millisecond, 0, 25_000, 100_000},
	} {
		l := limiter{replicas: tt.replicas, interval: tt.interval, rtt: tt.rtt}
		if got := l.maxInFlight(tt.backlog); got != tt.inFlight || l.ceiling() != tt.ceiling {
			t.Errorf("%d replicas, interval %v, round trip %v, %d behind: got %d in flight, %d at most; want %d and %d",
				tt.replicas, tt.interval, tt.rtt, tt.backlog, got, l.ceiling(), tt.inFlight, tt.ceiling)
		}
	}
}

// TestNoMoreRequestsThanConnectionsCarry, whatever Little's law and a backlog ask for: they
// would wait for each other, with a round trip that grows with their number.
func TestNoMoreRequestsThanConnectionsCarry(t *testing.T) {
	l := limiter{replicas: 1_000_000, interval: 2 * time.Minute, rtt: time.Second, carried: 504}
	if got := l.maxInFlight(1_000_000); got != 504 || l.flow() != 504 || l.ceiling() != 504 {
		t.Errorf("got %d in flight, %d with a backlog, %d at most, want 504", l.flow(), got, l.ceiling())
	}
	l.carried = 0
	if l.maxInFlight(1_000_000) <= 504 {
		t.Error("got no more without that bound, so this shows nothing")
	}
}

// TestSlowRequestsMakeRoom, and those that hang even more.
func TestSlowRequestsMakeRoom(t *testing.T) {
	now := time.Now()
	l := limiter{replicas: 10, interval: time.Minute, rtt: firstRTT}
	for range fewestInFlight {
		l.begin(now)
	}
	var e entry
	if _, ok := l.at(now, 0); ok {
		t.Fatal("got a request more than fit")
	}
	l.nextAge(&e)
	if _, ok := l.at(now, 0); !ok {
		t.Error("got no room beside a slow request")
	}
	l.nextAge(&e)
	if l.fast != fewestInFlight-1 || l.slow != 0 {
		t.Errorf("got %d fast and %d slow, want the one that hangs to count no more", l.fast, l.slow)
	}
	if l.end(&e); l.fast != fewestInFlight-1 || l.slow != 0 {
		t.Errorf("after its end: got %d fast and %d slow, want no change", l.fast, l.slow)
	}
}

// sendFor begins requests as the limiter lets them for a while, and returns how
// many.
func sendFor(l *limiter, now time.Time, d time.Duration) int {
	sent, end := 0, now.Add(d)
	for now.Before(end) {
		at, _ := l.at(now, 0)
		if at.After(now) {
			now = at
			continue
		}
		l.begin(now)
		l.end(&entry{})
		sent++
		now = now.Add(time.Millisecond)
	}
	return sent
}

// TestTooManyRequestsHalveTheRate: once for all that were under way; it grows by
// a tenth a second, and is never below what the report deadlines need.
func TestTooManyRequestsHalveTheRate(t *testing.T) {
	start := time.Now()
	l := limiter{replicas: 600, interval: 2 * time.Minute, rtt: firstRTT}
	before := sendFor(&l, start, time.Second)
	now := start.Add(time.Second)
	for range 8 {
		l.throttle(now, now.Add(-time.Millisecond))
		now = now.Add(time.Microsecond)
	}
	after := sendFor(&l, now, time.Second)
	if after < before*45/100 || after > before*60/100 {
		t.Errorf("got %d reports a second after %d, want half", after, before)
	}
	if got := sendFor(&l, now.Add(5*time.Second), time.Second); got < before*75/100 {
		t.Errorf("got %d reports a second after five, want a tenth more for each", got)
	}
	for i := range 100 {
		now = start.Add(time.Duration(10+i) * time.Second)
		l.begin(now)
		l.end(&entry{})
		l.throttle(now, now)
	}
	if got := sendFor(&l, now, 10*time.Second); got < 100 {
		t.Errorf("got %d reports in ten seconds after a hundred refusals, want the 100 that keep 600 deadlines", got)
	}
	l.catchUp(now, 600, 0)
	if got := sendFor(&l, now, time.Second); got < 590 {
		t.Errorf("got %d reports in a second with 600 behind, want them all", got)
	}
}

// TestBacklogAfterTooManyRequests: a map of seven needs a report in six seconds, which is
// too late for those that wait.
func TestBacklogAfterTooManyRequests(t *testing.T) {
	now := time.Now()
	l := limiter{replicas: 7, interval: time.Minute, rtt: firstRTT}
	sendFor(&l, now, time.Second)
	for range 8 {
		now = now.Add(5 * time.Second)
		l.begin(now)
		l.end(&entry{})
		l.throttle(now, now)
	}
	if at, _ := l.at(now, 7); at.Sub(now) < 5*time.Second {
		t.Fatalf("the next report may begin %v after many refusals, want 6.4 s", at.Sub(now))
	}
	l.catchUp(now, 6, 0)
	if got := sendFor(&l, now, time.Second); got < 5 {
		t.Errorf("got %d reports in a second with six behind, want them all", got)
	}
}

// On a busy host all round trips grow, and with them the requests that Little's
// law asks for: each more would make them longer still.
func TestRoundTripsThatQueueMakeNoMoreRequests(t *testing.T) {
	now := time.Now()
	l := limiter{replicas: 10_000, interval: 20 * time.Second, rtt: firstRTT}
	for range 100 {
		now = now.Add(10 * time.Millisecond)
		l.taken(now, 10*time.Millisecond)
	}
	usual := l.flow()
	for i := range 1000 {
		now = now.Add(10 * time.Millisecond)
		rtt := time.Second
		if i%50 == 0 {
			rtt = 10 * time.Millisecond
		}
		l.taken(now, rtt)
	}
	if got := l.flow(); got > 2*usual+1 {
		t.Errorf("got %d requests in flight behind a queue of ours, want at most twice the usual %d", got, usual)
	}
	for range 1200 {
		now = now.Add(10 * time.Millisecond)
		l.taken(now, 500*time.Millisecond)
	}
	if got, want := l.flow(), 40*usual; got < want {
		t.Errorf("got %d requests in flight with an API that takes 50 times as long, want at least %d", got, want)
	}
}
