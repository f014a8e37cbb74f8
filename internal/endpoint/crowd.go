package endpoint

import (
	"context"
	"net"
	"net/http"
	"slices"
	"sync"
	"time"
)

// crowd bounds the connections of a server. Where they are as many as there may be,
// a new one takes the place of that which has asked for nothing the longest: else who
// holds connections open without a request would keep the prober of /healthz out,
// and the daemon would be ended for it. While all are being answered, or so new that
// their requests may still be on the way, a new one waits.
type crowd struct {
	most  int
	grace time.Duration

	mu       sync.Mutex
	changed  sync.Cond             // a place is free, or perhaps is to be had
	idle     []visitor             // the longest first
	answered map[net.Conn]struct{} // whose request the handler has
}

// visitor is a connection without a request, since then.
type visitor struct {
	conn  net.Conn
	since time.Time
}

// bound makes server have at most so many connections, each of which has the time of
// grace to ask for something. Call it before it serves, with its handler set.
func bound(server *http.Server, most int, grace time.Duration) {
	c := &crowd{most: most, grace: grace, answered: make(map[net.Conn]struct{})}
	c.changed.L = &c.mu
	type key struct{}
	server.ConnContext = func(ctx context.Context, conn net.Conn) context.Context {
		return context.WithValue(ctx, key{}, conn)
	}
	server.ConnState = func(conn net.Conn, state http.ConnState) {
		switch state {
		case http.StateNew: // the next one is accepted after it
			c.enter(conn)
		case http.StateIdle: // it has its answer
			c.end(conn)
		case http.StateClosed, http.StateHijacked:
			c.leave(conn)
		}
	}
	handler := server.Handler
	server.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		conn, _ := r.Context().Value(key{}).(net.Conn)
		if c.begin(conn) {
			handler.ServeHTTP(w, r)
		}
	})
}

// enter counts conn, once there is room.
func (c *crowd) enter(conn net.Conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for len(c.idle)+len(c.answered) >= c.most {
		if len(c.idle) == 0 {
			c.changed.Wait()
			continue
		}
		if young := c.grace - time.Since(c.idle[0].since); young > 0 {
			wake := time.AfterFunc(young, func() {
				c.mu.Lock() // not before it waits
				defer c.mu.Unlock()
				c.changed.Broadcast()
			})
			c.changed.Wait()
			wake.Stop()
			continue
		}
		c.idle[0].conn.Close()
		c.idle = slices.Delete(c.idle, 0, 1)
	}
	c.idle = append(c.idle, visitor{conn, time.Now()})
}

// begin keeps the place of conn until end or leave; false if it has lost it.
func (c *crowd) begin(conn net.Conn) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	at := slices.IndexFunc(c.idle, func(v visitor) bool { return v.conn == conn })
	if at < 0 {
		return false
	}
	c.idle = slices.Delete(c.idle, at, at+1)
	c.answered[conn] = struct{}{}
	return true
}

// end says that conn has its answer.
func (c *crowd) end(conn net.Conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, ok := c.answered[conn]; ok {
		delete(c.answered, conn)
		c.idle = append(c.idle, visitor{conn, time.Now()})
		c.changed.Broadcast()
	}
}

// leave forgets conn.
func (c *crowd) leave(conn net.Conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.answered, conn)
	c.idle = slices.DeleteFunc(c.idle, func(v visitor) bool { return v.conn == conn })
	c.changed.Broadcast()
}
