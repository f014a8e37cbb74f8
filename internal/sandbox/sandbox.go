// Package sandbox is a stand-in for the Status API: it hands out a map and takes
// reports, so that the daemon can be watched, tested and measured without an
// account and without a network.
//
// The replicas of its map may be targets that it makes on loopback (package
// target), so it knows the right verdict on each and can judge the daemon's
// (package judge). It shares no type with the daemon: with wire types of the
// daemon's, the daemon would be judged by itself.
package sandbox

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/crisp-im/crisp-status-local/v2/internal/sandbox/judge"
	"github.com/crisp-im/crisp-status-local/v2/internal/sandbox/target"
)

// grace is how long after the promised interval the page waits for a report
// before it shows the replica dead.
const grace = 40 * time.Second

// Options configure a Server. The zero value is an empty map with a random token.
type Options struct {
	Token    string                     // the token to accept; empty: a random one, see Server.Token
	MapFile  string                     // a file as ParseMap reads it; read again at every map request
	Map      Map                        // used without MapFile
	Generate *Generated                 // used without MapFile, in the place of Map
	Listen   string                     // host:port of page and API; empty: a free port on 127.0.0.1
	TLS      bool                       // serve the API over HTTPS, with HTTP/2 (on a port of its own)
	Members  []string                   // several daemons, each with an endpoint of its own: see Server.EndpointOf
	Takeover time.Duration              // allowed for a takeover between Members: their reports may be later by so much
	APIDelay time.Duration              // before every answer of the API
	Log      io.Writer                  // takes a line when the map file breaks and when it is good again; nil: none
	Page     func(*Server) http.Handler // serves everything but the API; nil: nothing does
	Taken    func(Report)               // is called with every accepted report before it is answered, by many goroutines; nil: nothing is
}

// Report is a report that was accepted.
type Report struct {
	At      time.Time
	By      string // which of several daemons sent it; empty where there is one
	Replica string
	Health  Health
}

// Server is a stand-in for the Status API. New makes it, Run serves it.
type Server struct {
	options   Options
	judge     *judge.Judge
	traffic   traffic
	members   *members
	authority *target.Authority
	listeners *target.Listeners // of a generated map
	plain     net.Listener
	secure    net.Listener // nil without Options.TLS

	mapMu    sync.Mutex // held while a map is read and put in force; protects the following fields
	active   *activeMap
	mapText  []byte         // of the map file at its last reading; nil: read it again
	mapError string         // the reason why the map file as it is now is not in force; empty: it is
	issued   map[int64]bool // the dates of all maps so far

	faultMu sync.Mutex // protects faults
	faults  []*aimedFault

	flightMu sync.Mutex // protects flights
	flights  map[replicaKey]*flight

	tokenMu sync.Mutex // protects token
	token   string
}

// New makes a Server and everything that its map asks for. It listens at once,
// and answers when Run is called. Without Run, Close must be called.
func New(o Options) (*Server, error) {
	s, err := newServer(o)
	if err != nil {
		return nil, err
	}
	if err := s.listen(); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

// newServer is New without a listener.
func newServer(o Options) (*Server, error) {
	if o.Token == "" {
		o.Token = rand.Text()
	}
	if o.Log == nil {
		o.Log = io.Discard
	}
	ca, err := target.NewAuthority()
	if err != nil {
		return nil, err
	}
	s := &Server{
		options:   o,
		judge:     judge.New(grace),
		members:   newMembers(o.Members),
		authority: ca,
		listeners: target.NewListeners(ca),
		active:    &activeMap{},
		issued:    make(map[int64]bool),
		flights:   make(map[replicaKey]*flight),
		token:     o.Token,
	}
	s.judge.AllowTakeover(o.Takeover)
	if err := s.firstMap(); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

func (s *Server) listen() error {
	address := s.options.Listen
	if address == "" {
		address = "127.0.0.1:0"
	}
	var err error
	if s.plain, err = net.Listen("tcp", address); err != nil {
		return err
	}
	if s.options.TLS {
		host, _, err := net.SplitHostPort(s.plain.Addr().String())
		if err != nil {
			return err
		}
		if s.secure, err = net.Listen("tcp", net.JoinHostPort(host, "0")); err != nil {
			return err
		}
	}
	return nil
}

// URL is the address of the page.
func (s *Server) URL() string { return "http://" + s.plain.Addr().String() + "/" }

// Endpoint is the value for the daemon's report.endpoint.
func (s *Server) Endpoint() string {
	if s.plain == nil { // in a test without a listener
		return ""
	}
	if s.secure != nil {
		return "https://" + s.secure.Addr().String() + apiRoot
	}
	return "http://" + s.plain.Addr().String() + apiRoot
}

// CA is the certificate, in PEM, that verifies own https targets and an API over
// HTTPS.
func (s *Server) CA() []byte { return s.authority.PEM() }

// Token is the token that is accepted now.
func (s *Server) Token() string {
	s.tokenMu.Lock()
	defer s.tokenMu.Unlock()
	return s.token
}

// SetToken makes another token the only one that is accepted.
func (s *Server) SetToken(token string) {
	s.tokenMu.Lock()
	defer s.tokenMu.Unlock()
	s.token = token
}

// Handler serves the API, and the page beside it.
func (s *Server) Handler() http.Handler {
	page := http.NotFoundHandler()
	if s.options.Page != nil {
		page = s.options.Page(s)
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, _, ok := s.members.route(r.URL.EscapedPath()); ok {
			s.serveAPI(w, r)
			return
		}
		page.ServeHTTP(w, r)
	})
}

// Run serves until parent is done, and then closes everything, own targets
// included. It returns nil unless a listener fails.
func (s *Server) Run(parent context.Context) error {
	defer s.Close()
	ctx, cancel := context.WithCancelCause(parent)
	defer cancel(nil)
	var serving sync.WaitGroup
	plain := s.server(ctx, s.Handler())
	serving.Go(func() { cancel(plain.Serve(s.plain)) })
	servers := []*http.Server{plain}
	if s.secure != nil {
		secure := s.server(ctx, http.HandlerFunc(s.serveAPI))
		secure.TLSConfig = s.authority.ServerConfig()
		serving.Go(func() { cancel(secure.ServeTLS(s.secure, "", "")) })
		servers = append(servers, secure)
	}
	<-ctx.Done()
	cause := context.Cause(ctx)
	for _, server := range servers {
		shutdown(server)
	}
	serving.Wait()
	if errors.Is(cause, ctx.Err()) || parent.Err() != nil {
		return nil
	}
	return fmt.Errorf("serving %s: %w", s.URL(), cause)
}

// server returns an HTTP server for one listener. Its requests end with ctx.
func (s *Server) server(ctx context.Context, handler http.Handler) *http.Server {
	return &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: 10 * time.Second,
		BaseContext:       func(net.Listener) context.Context { return ctx }, // ends requests that hang
		ConnContext:       connContext,
		ConnState:         s.traffic.connState,
		ErrorLog:          log.New(io.Discard, "", 0), // a client that leaves is expected here
	}
}

// shutdown ends a server. Requests in flight have a moment to be answered: their
// context is done, so they do not take it.
func shutdown(server *http.Server) {
	ctx, cancel := context.WithTimeout(context.Background(), 200*time.Millisecond)
	defer cancel()
	if server.Shutdown(ctx) != nil {
		_ = server.Close()
	}
}

// Close closes listeners and own targets. It may be called more than once.
func (s *Server) Close() {
	if s.plain != nil {
		_ = s.plain.Close()
	}
	if s.secure != nil {
		_ = s.secure.Close()
	}
	s.mapMu.Lock()
	defer s.mapMu.Unlock()
	s.active.closeTargets(nil)
	s.listeners.Close()
}
