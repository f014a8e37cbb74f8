package sandbox

import (
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/crisp-im/crisp-status-local/v2/internal/sandbox/judge"
)

const (
	apiRoot    = "/v1"
	mapPath    = apiRoot + "/probes/local"
	reportPath = apiRoot + "/report/"
)

var userAgent = regexp.MustCompile(`^crisp-status-local/[0-9]\S*$`)

// serveAPI speaks the protocol. It splits the path itself: a ServeMux would
// redirect ids that contain dots, and the protocol knows no redirect.
func (s *Server) serveAPI(w http.ResponseWriter, r *http.Request) {
	s.traffic.startRequest(r.Context())
	defer s.traffic.endRequest()
	if got := r.UserAgent(); !userAgent.MatchString(got) {
		s.traffic.recordViolation("User-Agent must be crisp-status-local/<version>", strconv.Quote(got))
	}
	member, path, ok := s.members.route(r.URL.EscapedPath())
	switch {
	case ok && path == mapPath:
		s.answer(w, r, Request{Member: member}, func(w http.ResponseWriter, r *http.Request) { s.serveMap(w, r, member) })
	case ok && strings.HasPrefix(path, reportPath):
		s.serveReport(w, r, member, strings.TrimPrefix(path, reportPath))
	default:
		s.traffic.recordViolation("a client must request only the map and reports", r.Method+" "+r.URL.EscapedPath())
		http.NotFound(w, r)
	}
}

// answer waits for the delay of the API, and lets the protocol answer, or a fault
// instead.
func (s *Server) answer(w http.ResponseWriter, r *http.Request, about Request, protocol http.HandlerFunc) {
	if !pause(r.Context(), s.options.APIDelay) {
		abort()
	}
	if fault := s.faultFor(about); fault != nil {
		fault(w, r.WithContext(context.WithValue(r.Context(), protocolKey{}, protocol)))
		return
	}
	protocol(w, r)
}

// preflight refuses wrong methods and tokens. It reports whether the request may
// go on.
func (s *Server) preflight(w http.ResponseWriter, r *http.Request, method string) bool {
	if r.Method != method {
		s.traffic.recordViolation("maps must be fetched with GET, reports sent with POST", r.Method+" "+r.URL.EscapedPath())
		w.Header().Set("Allow", method)
		http.Error(w, "method not allowed", http.StatusMethodNotAllowed)
		return false
	}
	user, password, ok := r.BasicAuth()
	if !ok || user != "" || subtle.ConstantTimeCompare([]byte(password), []byte(s.Token())) != 1 {
		s.traffic.count(func(c *Traffic) { c.Unauthorized++ })
		if ok && user != "" {
			s.traffic.recordViolation("the user of the Basic authentication must be blank", strconv.Quote(user))
		}
		http.Error(w, "unauthorized", http.StatusUnauthorized)
		return false
	}
	return true
}

func pause(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}

func (s *Server) serveMap(w http.ResponseWriter, r *http.Request, member string) {
	if !s.preflight(w, r, http.MethodGet) {
		return
	}
	s.members.change(member, func(m *Member) {
		m.Requests++
		m.LastAsked = time.Now()
	})
	query := r.URL.Query()
	for key := range query {
		if key != "since" {
			s.traffic.recordViolation("since must be the only query of a map request", key)
		}
	}
	s.refresh()
	since, _ := strconv.ParseInt(query.Get("since"), 10, 64) // no map has the date 0
	active, answer := s.mapFor(since)
	if query.Has("since") && !answer.issued {
		s.traffic.recordViolation("since must be a date that the API has handed out", strconv.Quote(query.Get("since")))
	}
	if !answer.changed {
		s.traffic.count(func(c *Traffic) { c.MapsCurrent++ })
		w.WriteHeader(http.StatusNotModified)
		return
	}
	s.traffic.count(func(c *Traffic) { c.MapsSent++ })
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.Header().Set("Content-Length", strconv.Itoa(len(active.body)))
	_, _ = w.Write(active.body)
}

func (s *Server) serveReport(w http.ResponseWriter, r *http.Request, member, ids string) {
	accepted := false
	defer func() {
		if !accepted {
			s.traffic.count(func(c *Traffic) { c.Refused++ })
		}
	}()
	node, found := s.parseIDs(ids)
	report, malformed := s.readReport(r)
	about := Request{member, node.Service, node.Node, report.Replica}
	refuse := func(w http.ResponseWriter, r *http.Request) {
		switch {
		case !s.preflight(w, r, http.MethodPost):
		case malformed != nil:
			http.Error(w, malformed.Error(), http.StatusBadRequest)
		default:
			http.Error(w, "no such replica", http.StatusNotFound)
		}
	}
	if malformed != nil || !found || !s.judge.Has(node, report.Replica) {
		s.answer(w, r, about, refuse)
		return
	}
	own, before := s.startReport(replicaKey{member, node, report.Replica})
	defer s.endReport(own, http.ErrAbortHandler) // if a fault ends it without an answer
	if before != nil {
		s.awaitReport(before)
	}
	s.answer(w, r, about, func(w http.ResponseWriter, r *http.Request) {
		if !s.preflight(w, r, http.MethodPost) {
			return
		}
		now := time.Now()
		if !s.judge.AcceptFrom(member, node, report.Replica, report.Health, time.Duration(report.Interval)*time.Second, now) {
			http.Error(w, "no such replica", http.StatusNotFound)
			return
		}
		accepted = true
		s.members.change(member, func(m *Member) {
			m.Requests++
			m.Reports++
			m.ByHealth[report.Health]++
			m.LastReport = now
		})
		if s.options.Taken != nil {
			s.options.Taken(Report{now, member, report.Replica, report.Health})
		}
		s.endReport(own, r.Context().Err()) // a fault may prolong the body
		w.WriteHeader(http.StatusOK)
	})
	s.endReport(own, r.Context().Err())
}

// parseIDs returns the service and the node in the path of a report.
func (s *Server) parseIDs(ids string) (judge.NodeID, bool) {
	parts := strings.Split(ids, "/")
	for i, part := range parts {
		if part == "." || part == ".." {
			s.traffic.recordViolation("ids must be path-escaped, dots included", ids)
		}
		id, err := url.PathUnescape(part)
		if err != nil {
			return judge.NodeID{}, false
		}
		parts[i] = id
	}
	if len(parts) != 2 {
		s.traffic.recordViolation("the path of a report must have two ids", ids)
		return judge.NodeID{Service: strings.Join(parts, "/")}, false
	}
	return judge.NodeID{Service: parts[0], Node: parts[1]}, true
}

// readReport reads the body of a report, and records its violations of the
// protocol.
func (s *Server) readReport(r *http.Request) (wireReport, error) {
	if r.Method != http.MethodPost {
		return wireReport{}, errors.New("not a report")
	}
	if r.URL.RawQuery != "" {
		s.traffic.recordViolation("a report must have no query", r.URL.RawQuery)
	}
	const longest = 64 << 10
	body, err := io.ReadAll(io.LimitReader(r.Body, longest))
	if err != nil {
		return wireReport{}, fmt.Errorf("reading report: %w", err)
	}
	media, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || media != "application/json" {
		s.traffic.recordViolation("the Content-Type of a report must be application/json", strconv.Quote(r.Header.Get("Content-Type")))
		return wireReport{}, fmt.Errorf("content type is %q, want application/json", r.Header.Get("Content-Type"))
	}
	report, err := parseReport(body)
	switch {
	case errors.Is(err, errReportForm):
		s.traffic.recordViolation("the body of a report must have the protocol's form", mask(string(body)))
	case err != nil:
		s.traffic.recordViolation("the body of a report must be valid", err.Error())
		return wireReport{}, err
	}
	return report, nil
}
