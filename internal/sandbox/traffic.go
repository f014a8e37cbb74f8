package sandbox

import (
	"context"
	"net"
	"net/http"
	"sync"
	"time"
)

// Traffic counts the requests and connections of the API, and the rules of the
// protocol that the client broke.
type Traffic struct {
	Refused      int `json:"refused"`        // reports answered with anything but 2xx
	MapsSent     int `json:"maps_sent"`      // map requests answered with a map
	MapsCurrent  int `json:"maps_unchanged"` // map requests answered with 304
	Unauthorized int `json:"unauthorized"`   // requests answered with 401, for a wrong token

	InFlight         int `json:"in_flight"` // requests
	MaxInFlight      int `json:"max_in_flight"`
	Connections      int `json:"connections"`
	MaxConnections   int `json:"max_connections"`
	TotalConnections int `json:"total_connections"`
	PerSecond        int `json:"requests_per_second"` // in the last full second
	MaxPerSecond     int `json:"max_requests_per_second"`

	Violations []Violation `json:"violations"` // of the protocol, by the client
}

// Violation is a rule of the protocol that the client broke.
type Violation struct {
	Rule    string `json:"rule"` // a sentence with "must"
	Count   int    `json:"count"`
	Example string `json:"example"` // the first case seen
}

// traffic counts while the API is served. The zero value is ready to use.
type traffic struct {
	mu         sync.Mutex // protects all following fields
	counts     Traffic
	open       map[net.Conn]bool // the connections that carried an API request
	second     int64             // the Unix second that thisSecond is about
	thisSecond int
}

type connKey struct{}

// connContext lets startRequest find the connection of a request.
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

// startRequest counts one API request. The caller calls endRequest when it is
// answered.
func (t *traffic) startRequest(ctx context.Context) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.tickLocked()
	t.thisSecond++
	t.counts.MaxPerSecond = max(t.counts.MaxPerSecond, t.thisSecond)
	t.counts.InFlight++
	t.counts.MaxInFlight = max(t.counts.MaxInFlight, t.counts.InFlight)
	conn, ok := ctx.Value(connKey{}).(net.Conn)
	if !ok || t.open[conn] {
		return
	}
	if t.open == nil {
		t.open = make(map[net.Conn]bool)
	}
	t.open[conn] = true
	t.counts.TotalConnections++
	t.counts.MaxConnections = max(t.counts.MaxConnections, len(t.open))
}

func (t *traffic) endRequest() { t.count(func(c *Traffic) { c.InFlight-- }) }

func (t *traffic) count(change func(*Traffic)) {
	t.mu.Lock()
	defer t.mu.Unlock()
	change(&t.counts)
}

// snapshot returns the counts of this moment.
func (t *traffic) snapshot() Traffic {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.tickLocked()
	counts := t.counts
	counts.Connections = len(t.open)
	counts.Violations = append([]Violation{}, t.counts.Violations...)
	return counts
}

// tickLocked moves on to the current second.
func (t *traffic) tickLocked() {
	now := time.Now().Unix()
	if now == t.second {
		return
	}
	t.counts.PerSecond = 0
	if now == t.second+1 {
		t.counts.PerSecond = t.thisSecond
	}
	t.second, t.thisSecond = now, 0
}

// recordViolation counts a broken rule, and keeps the first example of each.
func (t *traffic) recordViolation(rule, example string) {
	const longest = 200
	if len(example) > longest {
		example = example[:longest] + "…"
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	for i := range t.counts.Violations {
		if v := &t.counts.Violations[i]; v.Rule == rule {
			v.Count++
			return
		}
	}
	t.counts.Violations = append(t.counts.Violations, Violation{Rule: rule, Count: 1, Example: example})
}
