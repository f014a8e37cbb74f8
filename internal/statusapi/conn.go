package statusapi

import (
	"context"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// leastRequest is less than any request has, and more than an alert of TLS or a ping
// of HTTP/2, in bytes.
const leastRequest = 64

// conns are the open connections to the API, or to a proxy before it.
type conns struct {
	firstByte time.Duration // until something is read at all; 0: for ever

	mu   sync.Mutex
	open map[*conn]struct{}
}

// conn is a connection that discards unsent data if it is closed before an answer has
// come (SO_LINGER 0). Otherwise the kernel would go on sending it for minutes, and when
// the network is whole again, an old report would replace newer ones.
type conn struct {
	*net.TCPConn
	conns  *conns
	asking atomic.Bool // a request was written, and nothing was read since
	bound  atomic.Bool // it has a deadline until something is read
}

// dialBy returns a dialer's DialContext that makes such connections.
func (c *conns) dialBy(dialer *net.Dialer) func(ctx context.Context, network, address string) (net.Conn, error) {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		made, err := dialer.DialContext(ctx, network, address)
		tcp, ok := made.(*net.TCPConn)
		if !ok {
			return made, err
		}
		one := &conn{TCPConn: tcp, conns: c}
		if c.firstByte > 0 {
			one.bound.Store(true)
			_ = tcp.SetDeadline(time.Now().Add(c.firstByte)) // of an open connection it does not fail
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		c.open[one] = struct{}{}
		return one, nil
	}
}

// sever closes the connections on which a request was written, and nothing was read since.
func (c *conns) sever() {
	c.mu.Lock()
	var asking []*conn
	for one := range c.open {
		if one.asking.Load() {
			asking = append(asking, one)
		}
	}
	c.mu.Unlock()
	for _, one := range asking {
		_ = one.Close() // its user closes it, too
	}
}

// Write implements [net.Conn].
func (c *conn) Write(b []byte) (int, error) {
	if len(b) >= leastRequest {
		c.asking.Store(true)
	}
	return c.TCPConn.Write(b)
}

// Read implements [net.Conn].
func (c *conn) Read(b []byte) (int, error) {
	n, err := c.TCPConn.Read(b)
	if n > 0 {
		c.asking.Store(false)
		if c.bound.CompareAndSwap(true, false) {
			_ = c.TCPConn.SetDeadline(time.Time{}) // as above
		}
	}
	return n, err
}

// Close implements [net.Conn].
func (c *conn) Close() error {
	if c.asking.Load() {
		_ = c.SetLinger(0) // it is closed all the same
	}
	c.conns.mu.Lock()
	delete(c.conns.open, c)
	c.conns.mu.Unlock()
	return c.TCPConn.Close()
}
