package statusapi

import (
	"context"
	"net"
	"sync/atomic"
)

// leastRequest is less than any request has, and more than an alert of TLS or a ping
// of HTTP/2, in bytes.
const leastRequest = 64

// conn is a connection that discards unsent data if it is closed before an answer has
// come (SO_LINGER 0). Otherwise the kernel would go on sending it for minutes, and when
// the network is whole again, an old report would replace newer ones.
type conn struct {
	*net.TCPConn
	asking atomic.Bool // a request was written, and nothing was read since
}

// dialBy returns a dialer's DialContext that makes such connections.
func dialBy(dialer *net.Dialer) func(ctx context.Context, network, address string) (net.Conn, error) {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		made, err := dialer.DialContext(ctx, network, address)
		if tcp, ok := made.(*net.TCPConn); ok {
			return &conn{TCPConn: tcp}, nil
		}
		return made, err
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
	}
	return n, err
}

// Close implements [net.Conn].
func (c *conn) Close() error {
	if c.asking.Load() {
		_ = c.SetLinger(0) // it is closed all the same
	}
	return c.TCPConn.Close()
}
