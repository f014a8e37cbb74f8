//go:build cluster

package cluster

import (
	"context"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/crisp-im/crisp-status-local/v2/internal/sandbox"
)

const token = "a-token-that-nobody-may-see"

// The replicas: some are up, many are down, so that there are dead reports all the
// time, and two turn over. None is an address that another host could take.
var (
	up      = []string{"tcp://10.9.1.1:80", "tcp://10.9.1.2:80", "http://10.9.1.3/up", "http://10.9.1.4/up", "icmp://10.9.1.5", "icmp://10.9.1.6"}
	down    = many("http://10.9.1.%d/down", 100, 24)
	turning = []string{"http://10.9.1.201/turns/0", "http://10.9.1.202/turns/1"}
)

// many returns replicas at the addresses from that number on.
func many(format string, from, n int) []string {
	var replicas []string
	for i := range n {
		replicas = append(replicas, fmt.Sprintf(format, from+i))
	}
	return replicas
}

// page is the Status API, and the targets.
type page struct {
	*sandbox.Server
	turned  atomic.Bool // the first of turning is down, and the second up
	mu      sync.Mutex  // protects all following fields
	turns   []time.Time
	reports []report
}

// report is one that the page has taken.
type report struct {
	at      time.Time
	from    string // the host
	replica string
	health  sandbox.Health
}

func newPage(t *testing.T, hosts []*host) *page {
	t.Helper()
	var names []string
	for _, h := range hosts {
		names = append(names, h.name)
	}
	p := new(page)
	var err error
	p.Server, err = sandbox.New(sandbox.Options{
		Token:   token,
		Listen:  pageAddress + ":8080",
		Members: names,
		Map: sandbox.Map{
			Metrics:  sandbox.Metrics{Retry: new(1), DelayDead: new(5)},
			Services: []sandbox.Service{{ID: "service", Nodes: []sandbox.Node{{ID: "node", Replicas: slices.Concat(up, down, turning)}}}},
		},
		Taken: func(r sandbox.Report) {
			p.mu.Lock()
			defer p.mu.Unlock()
			p.reports = append(p.reports, report{r.At, r.By, r.Replica, r.Health})
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", ":80")
	if err != nil {
		t.Fatal(err)
	}
	targets := &http.Server{Handler: http.HandlerFunc(p.target), ErrorLog: log.New(io.Discard, "", 0)}
	ctx, cancel := context.WithCancel(context.Background())
	var serving sync.WaitGroup
	serving.Go(func() { _ = p.Run(ctx) })
	serving.Go(func() { _ = targets.Serve(listener) })
	t.Cleanup(func() { cancel(); targets.Close(); serving.Wait() })
	return p
}

// target answers for the replicas.
func (p *page) target(w http.ResponseWriter, r *http.Request) {
	isDown := r.URL.Path == "/down"
	if number, turns := strings.CutPrefix(r.URL.Path, "/turns/"); turns {
		isDown = p.turned.Load() == (number == "0")
	}
	if isDown {
		w.WriteHeader(http.StatusServiceUnavailable)
	}
}

// turn swaps the health of the two replicas in turning.
func (p *page) turn() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.turned.Store(!p.turned.Load())
	p.turns = append(p.turns, time.Now())
}

// expected returns how a replica is now.
func (p *page) expected(replica string) sandbox.Health {
	if slices.Contains(down, replica) || p.turned.Load() && replica == turning[0] || !p.turned.Load() && replica == turning[1] {
		return sandbox.Dead
	}
	return sandbox.Healthy
}

// after returns the reports after a time.
func (p *page) after(t time.Time) []report {
	p.mu.Lock()
	defer p.mu.Unlock()
	first := len(p.reports)
	for first > 0 && p.reports[first-1].at.After(t) {
		first--
	}
	return slices.Clone(p.reports[first:])
}

// newest returns the newest report of each replica.
func newest(reports []report) map[string]report {
	last := make(map[string]report)
	for _, r := range reports {
		last[r.replica] = r
	}
	return last
}
