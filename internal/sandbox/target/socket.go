package target

import (
	"context"
	"fmt"
	"net"
	"os"
	"strconv"
	"syscall"
	"time"
)

// The addresses that targets listen on.
const (
	oneAddress   = "127.0.0.1"
	everyAddress = "0.0.0.0" // all of 127.0.0.0/8: the sockets are bound to the loopback interface
)

// port is a reserved TCP port: it is bound until close, so that the kernel gives it
// to nobody else, and refuses connections while nothing listens on it.
type port struct {
	fd     int
	host   string
	number int
}

// reservePort binds a free port on host.
func reservePort(host string) (*port, error) {
	syscall.ForkLock.RLock() // so that a child started meanwhile does not inherit the socket
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, 0)
	if err == nil {
		syscall.CloseOnExec(fd)
	}
	syscall.ForkLock.RUnlock()
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	p := &port{fd: fd, host: host}
	if err := p.bind(); err != nil {
		p.close()
		return nil, fmt.Errorf("binding a port on %s: %w", host, err)
	}
	return p, nil
}

func (p *port) bind() error {
	// Two sockets with SO_REUSEADDR may share a port while at most one of them
	// listens: this one never does, a listener of listen comes and goes.
	if err := syscall.SetsockoptInt(p.fd, syscall.SOL_SOCKET, syscall.SO_REUSEADDR, 1); err != nil {
		return os.NewSyscallError("setsockopt", err)
	}
	address := &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}
	if p.host == everyAddress {
		address.Addr = [4]byte{}
		if err := bindToLoopback(uintptr(p.fd)); err != nil {
			return err
		}
	}
	if err := syscall.Bind(p.fd, address); err != nil {
		return os.NewSyscallError("bind", err)
	}
	bound, err := syscall.Getsockname(p.fd)
	if err != nil {
		return os.NewSyscallError("getsockname", err)
	}
	p.number = bound.(*syscall.SockaddrInet4).Port
	return nil
}

func (p *port) close() { _ = syscall.Close(p.fd) } // nothing was ever written to it

// listen opens the port. The caller closes the listener.
func (p *port) listen() (*net.TCPListener, error) {
	config := net.ListenConfig{KeepAlive: -1} // connections live for one answer
	if p.host == everyAddress {
		config.Control = func(_, _ string, c syscall.RawConn) error {
			var failed error
			if err := c.Control(func(fd uintptr) { failed = bindToLoopback(fd) }); err != nil {
				return err
			}
			return failed
		}
	}
	ln, err := config.Listen(context.Background(), "tcp4", net.JoinHostPort(p.host, strconv.Itoa(p.number)))
	if err != nil {
		return nil, err
	}
	return ln.(*net.TCPListener), nil
}

// blackHole is a listener with a full queue that is never emptied: the kernel drops
// every further SYN, and a client waits until its time-out.
type blackHole struct {
	listener *net.TCPListener
	fillers  []net.Conn
}

func openBlackHole(p *port) (*blackHole, error) {
	ln, err := p.listen()
	if err != nil {
		return nil, err
	}
	hole := &blackHole{listener: ln}
	if err := hole.fill(p.number); err != nil {
		hole.close()
		return nil, fmt.Errorf("filling the queue of port %d: %w", p.number, err)
	}
	return hole, nil
}

// fill shrinks the queue to the smallest there is, one connection on Linux, and
// connects until a connection has no answer.
func (h *blackHole) fill(number int) error {
	raw, err := h.listener.SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	if err := raw.Control(func(fd uintptr) { failed = syscall.Listen(int(fd), 0) }); err != nil {
		return err
	}
	if failed != nil {
		return os.NewSyscallError("listen", failed)
	}
	const most = 16
	address := net.JoinHostPort(oneAddress, strconv.Itoa(number))
	for range most {
		// On loopback a connection is established within a millisecond or never.
		filler, err := net.DialTimeout("tcp4", address, 100*time.Millisecond)
		if err != nil {
			return nil
		}
		h.fillers = append(h.fillers, filler)
	}
	return fmt.Errorf("still not full after %d connections", most)
}

func (h *blackHole) close() {
	_ = h.listener.Close()
	for _, filler := range h.fillers {
		_ = filler.Close()
	}
}

// bindToLoopback restricts a socket to the loopback interface, so that the network
// cannot reach a listener on every address. It needs no privilege since Linux 5.7.
func bindToLoopback(fd uintptr) error { return syscall.BindToDevice(int(fd), "lo") }
