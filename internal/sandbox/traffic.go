package sandbox

import (
	"context"
	"net"
	"net/http"
	"sync"
	"time"
)

// traffic counts what goes over the API's connections, and collects the rules of
// the protocol that the client broke. The zero value is ready to use.
type traffic struct {
	mu         sync.Mutex // protects all following fields
	counts     trafficCounts
	open       map[net.Conn]bool // the connections that carried an API request
	second     int64             // the Unix second that thisSecond is about
	thisSecond int
	lastSecond int
	violations []Violation
}

type trafficCounts struct {
	inFlight, maxInFlight       int
	maxConnections, connections int // the latter in total
	maxPerSecond                int
	maps, unchanged             int // map requests answered 200, and 304
	unauthorized                int // requests answered 401
	refused                     int // reports answered with anything but 2xx
}

// Violation is a rule of the protocol that the client broke.
type Violation struct {
	Rule    string `json:"rule"`
	Count   int    `json:"count"`
	Example string `json:"example"` // the first case seen
}

type connKey struct{}

// connContext lets begin find the connection of a request.
func connContext(ctx context.Context, conn net.Conn) context.Context {
	return context.WithValue(ctx, connKey{}, conn)
}

// connState forgets connections that have ended.
func (t *traffic) connState(conn net.Conn, state http.ConnState) {
	if state != http.StateClosed && state != http.StateHijacked {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.open, conn)
}

// begin counts one API request; the caller calls end when it is answered.
func (t *traffic) begin(ctx context.Context) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.tickLocked()
	t.thisSecond++
	t.counts.maxPerSecond = max(t.counts.maxPerSecond, t.thisSecond)
	t.counts.inFlight++
	t.counts.maxInFlight = max(t.counts.maxInFlight, t.counts.inFlight)
	conn, ok := ctx.Value(connKey{}).(net.Conn)
	if !ok || t.open[conn] {
		return
	}
	if t.open == nil {
		t.open = make(map[net.Conn]bool)
	}
	t.open[conn] = true
	t.counts.connections++
	t.counts.maxConnections = max(t.counts.maxConnections, len(t.open))
}

func (t *traffic) end() { t.count(func(c *trafficCounts) { c.inFlight-- }) }

func (t *traffic) count(change func(*trafficCounts)) {
	t.mu.Lock()
	defer t.mu.Unlock()
	change(&t.counts)
}

// tickLocked moves on to the current second.
func (t *traffic) tickLocked() {
	now := time.Now().Unix()
	if now == t.second {
		return
	}
	t.lastSecond = 0
	if now == t.second+1 {
		t.lastSecond = t.thisSecond
	}
	t.second, t.thisSecond = now, 0
}

// blame notes that the client broke a rule. Only the first example is kept.
func (t *traffic) blame(rule, example string) {
	const longest = 200
	if len(example) > longest {
		example = example[:longest] + "…"
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	for i := range t.violations {
		if t.violations[i].Rule == rule {
			t.violations[i].Count++
			return
		}
	}
	t.violations = append(t.violations, Violation{Rule: rule, Count: 1, Example: example})
}
