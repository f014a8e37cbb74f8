// Package sandbox is a stand-in for the Status API and for the page behind it,
// with targets of its own on loopback, so that the daemon can be watched, tested
// and measured without an account and without a network.
//
// A Server hands out a map, takes reports, and shows what it was told on a page.
// It is also the judge of the daemon: it knows what its own targets are, and
// counts reports that came late, verdicts that were wrong, and requests that the
// protocol does not know. It shares no type with the daemon, or the daemon would
// be judged by itself.
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
)

// Options say what a Server is. The zero value is an empty map with a random token.
type Options struct {
	Token    string        // what the daemon must send; empty: a random one, see Server.Token
	MapFile  string        // a file as ParseMap reads it; read again at every map request
	Map      Map           // used without MapFile
	Generate *Estate       // used without MapFile, in the place of Map
	Listen   string        // host:port of page and API; empty: a free port on 127.0.0.1
	TLS      bool          // the API is to be asked over HTTPS, with HTTP/2 (on a port of its own)
	APIDelay time.Duration // before every answer of the API
	Grace    time.Duration // after the promised interval, before the page says late; 0: 40 s
	Log      io.Writer     // takes a line when the map file breaks and when it is good again; nil: none
}

// Server is a stand-in for the Status API. New makes it, Run serves it.
type Server struct {
	options   Options
	judge     *judge
	traffic   traffic
	authority *authority
	generated map[string]*Target // of a generated map, by scheme and port
	page      net.Listener
	secure    net.Listener // nil without Options.TLS

	loadMu  sync.Mutex // held while a map is read and put in force; protects the following fields
	tried   []byte     // the text of the map file that was last tried, good or bad
	broken  string     // why the map file was not taken; empty when it was
	dates   map[int64]bool
	current int64 // the newest date

	faultMu sync.Mutex // protects faults
	faults  []*aimedFault

	moodMu   sync.Mutex // protects the following fields
	mood     mood
	healMood func()

	tokenMu  sync.Mutex // protects password
	password string
}

// New makes a Server and everything that its map asks for. It listens at once,
// and answers when Run is called. Without Run, Close must be.
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
	if o.Grace == 0 {
		o.Grace = 40 * time.Second
	}
	if o.Token == "" {
		o.Token = rand.Text()
	}
	if o.Log == nil {
		o.Log = io.Discard
	}
	ca, err := newAuthority()
	if err != nil {
		return nil, err
	}
	s := &Server{
		options:   o,
		judge:     newJudge(o.Grace),
		authority: ca,
		dates:     make(map[int64]bool),
		mood:      moods[0],
		password:  o.Token,
	}
	if err := s.firstMap(); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

func (s *Server) listen() error {
	address := s.options.Listen
	if address == "" {
		address = oneAddress + ":0"
	}
	var err error
	if s.page, err = net.Listen("tcp", address); err != nil {
		return err
	}
	if s.options.TLS {
		host, _, err := net.SplitHostPort(s.page.Addr().String())
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
func (s *Server) URL() string { return "http://" + s.page.Addr().String() + "/" }

// Endpoint is what the daemon's report.endpoint must be.
func (s *Server) Endpoint() string {
	if s.page == nil { // in a test without a listener
		return ""
	}
	if s.secure != nil {
		return "https://" + s.secure.Addr().String() + apiRoot
	}
	return "http://" + s.page.Addr().String() + apiRoot
}

// CA is the certificate, in PEM, that own https targets and an API over HTTPS are
// verified with.
func (s *Server) CA() []byte { return s.authority.pem() }

// Token is the token that is accepted now.
func (s *Server) Token() string { return s.token() }

func (s *Server) token() string {
	s.tokenMu.Lock()
	defer s.tokenMu.Unlock()
	return s.password
}

// SetToken makes another token the only one that is accepted.
func (s *Server) SetToken(token string) {
	s.tokenMu.Lock()
	defer s.tokenMu.Unlock()
	s.password = token
}

// Run serves until parent is done, and then closes everything, own targets included.
// It returns nil unless serving ended by itself.
func (s *Server) Run(parent context.Context) error {
	defer s.Close()
	ctx, cancel := context.WithCancelCause(parent)
	defer cancel(nil)
	var serving sync.WaitGroup
	plain := s.server(ctx, s.handler())
	serving.Go(func() { cancel(plain.Serve(s.page)) })
	servers := []*http.Server{plain}
	if s.secure != nil {
		secure := s.server(ctx, http.HandlerFunc(s.serveAPI))
		secure.TLSConfig = s.authority.serverConfig()
		serving.Go(func() { cancel(secure.ServeTLS(s.secure, "", "")) })
		servers = append(servers, secure)
	}
	<-ctx.Done()
	cause := context.Cause(ctx)
	for _, server := range servers {
		shut(server)
	}
	serving.Wait()
	if errors.Is(cause, ctx.Err()) || parent.Err() != nil {
		return nil
	}
	return fmt.Errorf("serving %s: %w", s.URL(), cause)
}

// server serves one listener until it is shut.
func (s *Server) server(ctx context.Context, handler http.Handler) *http.Server {
	return &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: 10 * time.Second,
		BaseContext:       func(net.Listener) context.Context { return ctx }, // ends requests that hang
		ConnContext:       connContext,
		ConnState:         s.traffic.connState,
		ErrorLog:          log.New(io.Discard, "", 0), // clients that leave are what this server is for
	}
}

// shut ends a server. Requests in flight have a moment to be answered: their
// context is done, so they do not take it.
func shut(server *http.Server) {
	ctx, cancel := context.WithTimeout(context.Background(), 200*time.Millisecond)
	defer cancel()
	if server.Shutdown(ctx) != nil {
		_ = server.Close()
	}
}

// Close closes listeners and own targets. It may be called more than once.
func (s *Server) Close() {
	if s.page != nil {
		_ = s.page.Close()
	}
	if s.secure != nil {
		_ = s.secure.Close()
	}
	s.loadMu.Lock()
	defer s.loadMu.Unlock()
	s.judge.current().closeTargets(nil)
	for _, t := range s.generated {
		t.Close()
	}
}
