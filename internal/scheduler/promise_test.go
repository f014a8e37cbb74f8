package scheduler_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/crisp-im/crisp-status-local/v2/internal/pace"
)

// simulations is the variable of the environment that says how many simulations
// are to be run; without it, it is as many as take some seconds.
const simulations = "CRISP_SIMULATIONS"

// faults returns what an API does in a bad moment.
func faults(random *rand.Rand) []fault {
	retryAfter := []time.Duration{0, 3 * time.Second, time.Hour}[random.IntN(3)]
	away := time.Duration(random.Int64N(int64(pace.Outage))) + 1
	if random.IntN(2) == 0 {
		away = pace.Outage
	}
	odd := []time.Duration{0, time.Second, 6 * time.Second, away}[random.IntN(4)]
	var all []fault
	for _, code := range []int{401, 404, 422, 429, 500, 503} {
		all = append(all, fault{name: fmt.Sprintf("%d (%v)", code, retryAfter), err: refusal(code, retryAfter), lasts: odd})
	}
	return append(all,
		fault{name: "a hang", after: requestTimeout, lasts: odd},
		fault{name: "a lost answer", lost: true, lasts: odd},
		fault{name: "no connection", err: errUnreachable, lasts: away},
		fault{name: "no connection after 4s", err: errUnreachable, after: 4 * time.Second, lasts: away},
		fault{name: "status 500 after 6s", err: refusal(500, 0), after: 6 * time.Second, lasts: away},
		fault{name: "an answer after 4s", after: 4 * time.Second, lasts: away},
		fault{name: "an answer after 6s", after: 6 * time.Second, lasts: away},
	)
}

// draw returns a simulation of so many replicas in which everything else is
// random.
func draw(seed uint64, replicas int) *simulation {
	random := rand.New(rand.NewPCG(seed, 1))
	s := &simulation{replicas: replicas, seed: seed}
	s.interval = []time.Duration{10 * time.Second, time.Minute, 2 * time.Minute, time.Hour}[random.IntN(4)]
	s.deadAfter = []time.Duration{time.Second, 10 * time.Second, 35 * time.Second}[random.IntN(3)]
	s.rtt = []time.Duration{0, 20 * time.Millisecond, 200 * time.Millisecond}[random.IntN(3)]
	all := faults(random)
	s.fault = all[random.IntN(len(all))]
	s.delays = []time.Duration{0, 5 * time.Second, s.deadAfter - 1, 30400 * time.Millisecond, 35 * time.Second}
	if random.IntN(3) == 0 {
		s.delays = s.delays[:1]
	}
	s.faultAt = 2*s.interval + around(random, s.interval)
	if promises := rand.New(rand.NewPCG(seed, 4)); promises.IntN(2) == 0 {
		longer := []float64{1.1, 1.5, 1.9, 2, 2.1, 5}[promises.IntN(6)]
		s.promise = min(time.Duration(longer*float64(s.interval)).Round(time.Second), time.Hour)
		s.faultAt += s.interval * time.Duration(promises.IntN(4)) // at a renewal, too
	}
	if last := replicas % 32; random.IntN(3) == 0 && replicas > 9 && (last == 0 || last > 4) {
		s.hostAt = 2*s.interval + around(random, s.interval)
		s.hostTakes = []time.Duration{400 * time.Millisecond, 35 * time.Second}[random.IntN(2)]
	}
	return s
}

// around returns a moment of the cycle: any, or one near its beginning, where
// most happens.
func around(random *rand.Rand, interval time.Duration) time.Duration {
	first, last := time.Duration(0), interval
	if random.IntN(3) > 0 {
		first, last = -30*time.Second, pace.Spread(interval)+40*time.Second
	}
	return max(first+time.Duration(random.Int64N(int64(last-first))), -interval)
}

// found are simulations that have broken the promise once, by their seed and
// number of replicas.
var found = []struct {
	seed     uint64
	replicas int
}{
	{1723, 7}, // all replicas had a request that hung, and none was left to be tried
}

// TestNoFaultOfTheAPITurnsThePageRed: whatever the API does for up to 25 s,
// whenever that begins, and whenever verdicts are ready, no replica that is up
// is unreported for longer than the promise and 38 s; no verdict is lost, none
// follows a newer one, and no replica has two requests at a time.
func TestNoFaultOfTheAPITurnsThePageRed(t *testing.T) {
	n := 64
	if text := os.Getenv(simulations); text != "" {
		var err error
		if n, err = strconv.Atoi(text); err != nil {
			t.Fatal(err)
		}
	}
	longest := time.Duration(0)
	simulate := func(s *simulation) {
		s.run(t, s.faultAt+s.fault.lasts+s.promised()+2*s.interval+90*time.Second)
		longest = max(longest, s.longest-s.promised())
	}
	for _, f := range found {
		simulate(draw(f.seed, f.replicas))
	}
	sizes := []int{1, 2, 3, 7, 32, 40, 100, 320}
	for seed := range n {
		replicas := sizes[seed%len(sizes)]
		if seed%64 == 63 {
			replicas = 2000
		}
		simulate(draw(uint64(seed), replicas))
	}
	t.Logf("%d simulations: the longest gap was the promise and %v", len(found)+n, longest)
}

// TestDeliveries: what a healthy replica of forty is unreported for at most in
// a passing mood of the API, whenever that comes.
func TestDeliveries(t *testing.T) {
	for _, tt := range []struct {
		fault    fault
		interval time.Duration
		within   time.Duration // of the cycle, it begins
		most     time.Duration
	}{
		{fault{name: "one 401", err: refusal(401, 0)}, 2 * time.Minute, 2 * time.Minute, 125 * time.Second},
		{fault{name: "404", err: refusal(404, 0), lasts: 6 * time.Second}, 2 * time.Minute, time.Second, 135 * time.Second},
		{fault{name: "503 (1h)", err: refusal(503, time.Hour), lasts: 6 * time.Second}, time.Minute, time.Minute, 75 * time.Second},
		{fault{name: "503", err: refusal(503, 0), lasts: 35 * time.Second}, time.Minute, time.Minute, 101 * time.Second},
	} {
		random := rand.New(rand.NewPCG(1, 1))
		longest := time.Duration(0)
		for n := range 12 {
			s := &simulation{replicas: 40, interval: tt.interval, deadAfter: 10 * time.Second, rtt: 20 * time.Millisecond,
				delays: []time.Duration{5 * time.Millisecond}, fault: tt.fault, seed: uint64(n)}
			s.faultAt = 2*s.interval + time.Duration(random.Int64N(int64(tt.within)))
			s.slack = tt.most - tt.interval
			s.run(t, 6*s.interval)
			longest = max(longest, s.longest)
		}
		t.Logf("%s for %v, interval %v: a gap of %v at most", tt.fault.name, tt.fault.lasts, tt.interval, longest)
	}
}

// TestRefusedForAnHour: whatever is refused for an hour costs few requests, and
// all is well when it is accepted again.
func TestRefusedForAnHour(t *testing.T) {
	const from, lasts = 5 * time.Minute, time.Hour
	for _, tt := range []struct {
		code          int
		reports, maps int           // in an interval, later on
		burst         int           // in the first one
		recovery      time.Duration // of all replicas
	}{
		{401, 3, 1, 60, time.Minute + pace.Recovery},
		{403, 31, 1, 60, 5*time.Second + pace.Recovery},
		{404, 31, 1, 60, 5*time.Second + pace.Recovery},
		{422, 31, 1, 60, 5*time.Second + pace.Recovery},
	} {
		s := &simulation{replicas: 500, interval: 2 * time.Minute, deadAfter: 10 * time.Second, rtt: 20 * time.Millisecond,
			delays: []time.Duration{5 * time.Millisecond}, fault: fault{name: fmt.Sprint(tt.code), err: refusal(tt.code, 0), lasts: lasts},
			faultAt: from + 7*time.Second, slack: 2 * time.Hour}
		s.run(t, from+lasts+5*time.Minute)
		for at := s.faultAt; at < s.faultAt+lasts-s.interval; at += s.interval {
			reports, maps := count(s.requests, at, at+s.interval), count(s.maps, at, at+s.interval)
			mostReports, mostMaps := tt.reports, tt.maps
			switch since := at - s.faultAt; {
			case since == 0:
				mostReports, mostMaps = tt.burst, 6
			case since < pace.UnauthorizedGrace+s.interval:
				mostReports, mostMaps = 31, 3
			}
			if at-s.faultAt == 30*time.Minute || at == s.faultAt {
				t.Logf("status %d, %v into it: %d reports and %d map requests in an interval", tt.code, at-s.faultAt, reports, maps)
			}
			if reports > mostReports || maps > mostMaps {
				t.Errorf("status %d, %v into it: got %d reports and %d map requests in an interval, want %d and %d at most",
					tt.code, at-s.faultAt, reports, maps, mostReports, mostMaps)
			}
		}
		if tt.recovery < s.recovered {
			t.Errorf("status %d: got the last replica reported %v after its end, want %v at most", tt.code, s.recovered, tt.recovery)
		}
		t.Logf("status %d: all replicas were reported %v after its end", tt.code, s.recovered)
	}
}

// count returns how many times lie from one to another.
func count(times []time.Duration, from, to time.Duration) int {
	n := 0
	for _, at := range times {
		if at >= from && at < to {
			n++
		}
	}
	return n
}

// TestReplicasThatTheAPINeverTakesMakeNoOtherLate: however it fails to take them,
// and be they nine of ten. Nothing tells then at first which are the others, and
// single trials find one in ten only after 9 · 5 s: that takes an interval or two. A
// 429 slows down all reports, so there half of the replicas take as long.
func TestReplicasThatTheAPINeverTakesMakeNoOtherLate(t *testing.T) {
	for _, f := range []fault{
		{name: "a hang", after: requestTimeout},
		{name: "500", err: refusal(500, 0)},
		{name: "503 (1h)", err: refusal(503, time.Hour)},
		{name: "429", err: refusal(429, 0)},
		{name: "422", err: refusal(422, 0)},
	} {
		for _, estate := range []struct{ replicas, only int }{{20, 1}, {20, 5}, {20, 9}, {100, 1}, {100, 5}, {100, 9}, {1000, 1}} {
			f.lasts, f.only = 24*time.Hour, estate.only
			s := &simulation{replicas: estate.replicas, interval: 2 * time.Minute, deadAfter: 10 * time.Second, rtt: 20 * time.Millisecond,
				delays: []time.Duration{0}, fault: f, faultAt: 3 * time.Minute}
			if estate.only == 9 || estate.only == 5 && f.name == "429" {
				s.ignored = s.faultAt + 2*s.interval
			}
			s.run(t, 16*time.Minute)
			t.Logf("%s for %d of 10 of %d: %v at most, %d reports", f.name, estate.only, estate.replicas, s.longest, len(s.requests))
		}
	}
}
