//go:build faults

package faults

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/crisp-im/crisp-status-local/v2/cmd/crisp-status-local/namespaces"
	"github.com/crisp-im/crisp-status-local/v2/internal/sandbox"
)

// The replicas of a soak: half of them flap, at random, for as long as the page
// would notice.
const (
	soakReplicas = 500
	soakInterval = time.Second
	soakLongest  = soakInterval + 38*time.Second

	// soakSettle is how old an honest verdict may be: one interval, and where many die
	// at once the 3 s until they are confirmed, beside what the machine is late by.
	soakSettle = soakInterval + 3*time.Second
)

// soak is replicas that flap, and what is known of each.
type soak struct {
	replicas []string
	down     []atomic.Bool
	mu       sync.Mutex // protects all following fields
	changed  []time.Time
	outages  [][2]time.Time // of the API, and until what waited is delivered
}

// TestSoak runs the daemon for SOAK, 30 minutes without it.
func TestSoak(t *testing.T) {
	if !namespaces.InsideOnce(t) { // it takes lateness off its bounds
		return
	}
	lasts := 30 * time.Minute
	if given := os.Getenv("SOAK"); given != "" {
		var err error
		if lasts, err = time.ParseDuration(given); err != nil {
			t.Fatal(err)
		}
	}
	s := &soak{down: make([]atomic.Bool, soakReplicas), changed: make([]time.Time, soakReplicas)}
	for i := range soakReplicas {
		s.replicas = append(s.replicas, fmt.Sprintf("http://10.9.1.%d:8000/%d", i%250, i))
	}
	s.serve(t)
	// The targets share the machine with whatever else it does: that they are slow is
	// not what is tested.
	l := newLab(t, options{replicas: s.replicas, interval: soakInterval, delayDead: 20, server: "inet = \"" + nearAddress + ":" + endpointPort + "\"\n"})
	namespaces.Eventually(t, "all are reported", func() bool {
		for _, replica := range s.replicas {
			if len(l.api.of(replica)) == 0 {
				return false
			}
		}
		return true
	})
	ctx, cancel := context.WithTimeout(t.Context(), lasts)
	defer cancel()
	var running sync.WaitGroup
	running.Go(func() { s.flap(ctx) })
	running.Go(func() { s.failAPI(ctx, l) })
	quarters := s.watch(ctx, l)
	running.Wait()
	first, last := quarters[0], quarters[3]
	if last.files > first.files+moreFiles {
		t.Errorf("the daemon had %d files open at least in the last quarter, %d in the first", last.files, first.files)
	}
	if last.memory > first.memory+first.memory/4 {
		t.Errorf("the daemon held %d MiB in the last quarter, %d in the first, want no more than a quarter more", last.memory, first.memory)
	}
	if last.threads > first.threads+4 {
		t.Errorf("the daemon had %d threads in the last quarter, %d in the first", last.threads, first.threads)
	}
	if last.goroutines > first.goroutines+mostGoroutines/4 {
		t.Errorf("the daemon had %d goroutines at least in the last quarter, %d in the first", last.goroutines, first.goroutines)
	}
	t.Logf("by quarter, files at least, MiB and threads at most, goroutines at least: %v; this machine was late by %v", quarters, l.late.Total())
	if n := l.goroutines(); n > 3*soakReplicas || n == 0 {
		t.Errorf("the daemon has %d goroutines after the soak, want 1 to %d", n, 3*soakReplicas)
	}
	l.secretive()
}

// serve answers for every replica, up or down.
func (s *soak) serve(t *testing.T) {
	listener := listen(t, ":8000")
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var i int
		if _, err := fmt.Sscanf(r.URL.Path, "/%d", &i); err != nil || i >= soakReplicas || s.down[i].Load() {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	})}
	var serving sync.WaitGroup
	serving.Go(func() { _ = server.Serve(listener) })
	t.Cleanup(func() { server.Close(); serving.Wait() })
}

// flap turns a replica of the first half over, some twice a second.
func (s *soak) flap(ctx context.Context) {
	for ctx.Err() == nil {
		i := rand.IntN(soakReplicas / 2)
		s.mu.Lock()
		s.down[i].Store(!s.down[i].Load())
		s.changed[i] = time.Now()
		s.mu.Unlock()
		rest(ctx, rand.N(time.Second))
	}
}

// failAPI breaks the Status API at random moments, for some seconds, in some way.
func (s *soak) failAPI(ctx context.Context, l *lab) {
	for rest(ctx, 5*time.Second+rand.N(30*time.Second)); ctx.Err() == nil; rest(ctx, 5*time.Second+rand.N(30*time.Second)) {
		ways := []sandbox.Fault{
			sandbox.Disconnect(), sandbox.Hang(), sandbox.HangInHead(), sandbox.HangInBody(), sandbox.HangAfter(),
			sandbox.Refuse(http.StatusUnauthorized, ""), sandbox.Refuse(http.StatusNotFound, ""), sandbox.Refuse(http.StatusTooManyRequests, "60"), sandbox.Refuse(http.StatusBadGateway, ""),
		}
		began := time.Now()
		heal := l.api.Break(sandbox.All, ways[rand.IntN(len(ways))])
		rest(ctx, rand.N(10*time.Second))
		heal()
		s.mu.Lock()
		s.outages = append(s.outages, [2]time.Time{began, time.Now().Add(longestBehind)})
		s.mu.Unlock()
	}
}

// rest sleeps, unless ctx is done.
func rest(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// outage returns how much of a time reports waited for the API.
func (s *soak) outage(from, to time.Time) time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	return namespaces.Overlap(s.outages, from, to)
}

// use is what the daemon held: files and goroutines at least, since how many probes are
// under way is the machine's doing, memory and threads at most.
type use struct{ files, memory, threads, goroutines int }

// goroutinesNow returns how many goroutines the daemon says that it has.
func (l *lab) goroutinesNow() int {
	l.t.Helper()
	client := http.Client{Timeout: 30 * time.Second}
	response, err := client.Get("http://" + nearAddress + ":" + endpointPort + "/metrics")
	if err != nil {
		l.t.Fatal(err)
	}
	defer response.Body.Close()
	defer client.CloseIdleConnections()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		l.t.Fatal(err)
	}
	_, after, _ := strings.Cut(string(text), "\ngo_goroutines ")
	var n int
	if _, err := fmt.Sscan(after, &n); err != nil {
		l.t.Fatalf("the metrics have no go_goroutines: %.1000s", text)
	}
	return n
}

// watch checks the newest reports until ctx is done, and returns what the daemon
// held in each quarter.
func (s *soak) watch(ctx context.Context, l *lab) [4]use {
	var quarters [4]use
	until, _ := ctx.Deadline()
	began := time.Now()
	wrong, late, seen := 0, 0, make(map[string]int)
	for ; ctx.Err() == nil; rest(ctx, 500*time.Millisecond) {
		q := &quarters[min(3, int(4*time.Since(began)/until.Sub(began)))]
		files := l.files()
		if q.files == 0 || files < q.files {
			q.files = files
		}
		if n := l.goroutinesNow(); q.goroutines == 0 || n < q.goroutines {
			q.goroutines = n
		}
		q.memory, q.threads = max(q.memory, l.memory()), max(q.threads, l.threads())
		for i, replica := range s.replicas {
			reports := l.api.of(replica)
			for j := max(seen[replica], 1); j < len(reports); j++ {
				if gap := reports[j].at.Sub(reports[j-1].at); gap-s.outage(reports[j-1].at, reports[j].at)-l.late.Within(reports[j-1].at, reports[j].at) > soakLongest {
					late++
					l.t.Errorf("%s had no report for %v", replica, gap)
				}
			}
			seen[replica] = len(reports)
			if s.contradicts(l, i, reports[len(reports)-1]) {
				wrong++
				l.t.Errorf("%s was reported %s at %v, and turned over at %v", replica, reports[len(reports)-1].health, reports[len(reports)-1].at, s.changed[i])
			}
		}
		if wrong+late > 20 {
			l.t.Fatal("too much is wrong to go on")
		}
	}
	return quarters
}

// contradicts reports whether a verdict is one that the replica has not earned for
// longer than a verdict may be old.
func (s *soak) contradicts(l *lab, i int, report taken) bool {
	s.mu.Lock()
	changed, down := s.changed[i], s.down[i].Load()
	s.mu.Unlock()
	if (report.health == sandbox.Dead) == down {
		return false
	}
	age := report.at.Sub(changed)
	return age-s.outage(changed, report.at)-l.late.Within(changed, report.at) > soakSettle
}
