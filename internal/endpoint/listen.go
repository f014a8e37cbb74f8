package endpoint

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"strings"
	"syscall"
	"time"
)

const (
	maxConnections = 16
	maxReaders     = 12                    // of these, for answers other than those of health and readiness
	askTime        = 20 * time.Millisecond // from a connection to its request, where others want its place
	headTime       = 5 * time.Second       // for a request
	writeTime      = 5 * time.Second       // for an answer to be read
	idleTime       = 30 * time.Second
	maxHead        = 16 << 10 // bytes
	socketMode     = 0o660
)

// Server serves the endpoint where it listens.
type Server struct {
	server   *http.Server
	listener net.Listener
	served   chan struct{}
}

// IsSocket reports whether where is the path of a unix socket.
func IsSocket(where string) bool { return strings.HasPrefix(where, "/") }

// Serve listens at where, an address with a port or the absolute path of a unix
// socket, and serves handler there. The caller closes the server.
func Serve(where string, handler http.Handler) (*Server, error) {
	listener, err := listen(where)
	if err != nil {
		return nil, err
	}
	s := &Server{
		server: &http.Server{
			Handler:           handler,
			ReadHeaderTimeout: headTime,
			ReadTimeout:       headTime,
			WriteTimeout:      writeTime,
			IdleTimeout:       idleTime,
			MaxHeaderBytes:    maxHead,
			ErrorLog:          log.New(io.Discard, "", 0), // what is odd about a request is the client's to know
		},
		listener: listener,
		served:   make(chan struct{}),
	}
	bound(s.server, maxConnections, askTime)
	go func() {
		defer close(s.served)
		s.server.Serve(listener)
	}()
	return s, nil
}

// Addr returns where it listens.
func (s *Server) Addr() net.Addr { return s.listener.Addr() }

// Close ends it; answers under way are broken off.
func (s *Server) Close() error {
	err := s.server.Close()
	<-s.served
	return err
}

// listen returns a listener at where. The error says what to do.
func listen(where string) (net.Listener, error) {
	if IsSocket(where) {
		return listenUnix(where)
	}
	listener, err := net.Listen("tcp", where)
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return nil, fmt.Errorf("%s is in use by another process (ss -ltnp names it), want a free address or port", where)
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return nil, fmt.Errorf("%s is no address of this host, want one that ip addr shows", where)
	case errors.Is(err, syscall.EACCES):
		return nil, fmt.Errorf("%s may not be listened at by this user, want port 1024 or a higher one", where)
	}
	return listener, err
}

// listenUnix returns a listener at path, after it has removed the socket of a
// daemon that is gone.
func listenUnix(path string) (net.Listener, error) {
	switch info, err := os.Lstat(path); {
	case errors.Is(err, os.ErrNotExist):
	case err != nil:
		return nil, err
	case info.Mode().Type() != os.ModeSocket:
		return nil, fmt.Errorf("%s exists and is no socket, want a path that is free", path)
	case answers(path):
		return nil, fmt.Errorf("%s is the socket of a process that runs, want a path that is free", path)
	default:
		if err := os.Remove(path); err != nil {
			return nil, err
		}
	}
	listener, err := net.Listen("unix", path)
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(path, socketMode); err != nil {
		listener.Close()
		return nil, err
	}
	return listener, nil
}

// answers reports whether a process listens at path, as far as this one can know.
func answers(path string) bool {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	conn, err := new(net.Dialer).DialContext(ctx, "unix", path)
	if err == nil {
		conn.Close()
	}
	return !errors.Is(err, syscall.ECONNREFUSED)
}
