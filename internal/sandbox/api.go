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
)

const (
	apiRoot    = "/v1"
	mapPath    = apiRoot + "/probes/local"
	reportPath = apiRoot + "/report/"
)

var agent = regexp.MustCompile(`^crisp-status-local/[0-9]\S*$`)

// serveAPI speaks the protocol. The path is taken apart by hand: a ServeMux would
// redirect ids that hold dots, and the protocol knows no redirect.
func (s *Server) serveAPI(w http.ResponseWriter, r *http.Request) {
	s.traffic.begin(r.Context())
	defer s.traffic.end()
	if got := r.UserAgent(); !agent.MatchString(got) {
		s.traffic.blame("User-Agent is crisp-status-local/<version>", strconv.Quote(got))
	}
	path := r.URL.EscapedPath()
	switch {
	case path == mapPath:
		s.serveMap(w, r)
	case strings.HasPrefix(path, reportPath):
		s.serveReport(w, r, strings.TrimPrefix(path, reportPath))
	default:
		s.traffic.blame("only the map and reports are asked for", r.Method+" "+path)
		http.NotFound(w, r)
	}
}

// answered does what comes before any answer: it waits for as long as the API is
// meant to take, lets a fault answer, and turns wrong methods and tokens away.
// It reports whether nothing is left to do.
func (s *Server) answered(w http.ResponseWriter, r *http.Request, method string, about Request) bool {
	if !pause(r.Context(), s.options.APIDelay) {
		abort()
	}
	if fault := s.faultFor(about); fault != nil {
		fault(w, r)
		return true
	}
	if r.Method != method {
		s.traffic.blame("maps are fetched with GET, reports sent with POST", r.Method+" "+r.URL.EscapedPath())
		w.Header().Set("Allow", method)
		http.Error(w, "method not allowed", http.StatusMethodNotAllowed)
		return true
	}
	user, password, ok := r.BasicAuth()
	if !ok || user != "" || subtle.ConstantTimeCompare([]byte(password), []byte(s.token())) != 1 {
		s.traffic.count(func(c *trafficCounts) { c.unauthorized++ })
		if ok && user != "" {
			s.traffic.blame("the user of the Basic authentication is blank", strconv.Quote(user))
		}
		http.Error(w, "unauthorized", http.StatusUnauthorized)
		return true
	}
	return false
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

func (s *Server) serveMap(w http.ResponseWriter, r *http.Request) {
	if s.answered(w, r, http.MethodGet, Request{}) {
		return
	}
	query := r.URL.Query()
	for key := range query {
		if key != "since" {
			s.traffic.blame("since is the only query of a map request", key)
		}
	}
	s.refresh()
	since, err := strconv.ParseInt(query.Get("since"), 10, 64)
	if query.Has("since") && (err != nil || !s.issued(since)) {
		s.traffic.blame("since is a date that the API has handed out", strconv.Quote(query.Get("since")))
		since = 0
	}
	ro, fresh := s.judge.handOut(since, time.Now())
	if !fresh {
		s.traffic.count(func(c *trafficCounts) { c.unchanged++ })
		w.WriteHeader(http.StatusNotModified)
		return
	}
	s.traffic.count(func(c *trafficCounts) { c.maps++ })
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.Header().Set("Content-Length", strconv.Itoa(len(ro.body)))
	_, _ = w.Write(ro.body)
}

func (s *Server) serveReport(w http.ResponseWriter, r *http.Request, ids string) {
	accepted := false
	defer func() {
		if !accepted {
			s.traffic.count(func(c *trafficCounts) { c.refused++ })
		}
	}()
	at, found := s.parseIDs(ids)
	report, failed := s.readReport(r)
	own := &inFlight{over: make(chan struct{})}
	defer func() {
		own.givenUp = r.Context().Err() != nil
		close(own.over)
	}()
	if found && failed == nil {
		var before *inFlight
		if before, found = s.judge.claim(at, report.Replica, own); before != nil {
			s.awaitTurn(before, report.Replica)
		}
	}
	if s.answered(w, r, http.MethodPost, Request{at.service, at.node, report.Replica}) {
		return
	}
	switch {
	case failed != nil:
		http.Error(w, failed.Error(), http.StatusBadRequest)
		return
	case !found, !s.judge.accept(at, report.Replica, report.Health, time.Duration(report.Interval)*time.Second, time.Now()):
		http.Error(w, "no such replica", http.StatusNotFound)
		return
	}
	accepted = true
	w.WriteHeader(http.StatusOK)
}

// parseIDs takes service and node from the path of a report.
func (s *Server) parseIDs(ids string) (place, bool) {
	parts := strings.Split(ids, "/")
	for i, part := range parts {
		if part == "." || part == ".." {
			s.traffic.blame("ids are path-escaped, dots included", ids)
		}
		id, err := url.PathUnescape(part)
		if err != nil {
			return place{}, false
		}
		parts[i] = id
	}
	if len(parts) != 2 {
		s.traffic.blame("a report's path has two ids", ids)
		return place{strings.Join(parts, "/"), ""}, false
	}
	return place{parts[0], parts[1]}, true
}

// readReport reads a report's body, and notes what the protocol does not know.
func (s *Server) readReport(r *http.Request) (wireReport, error) {
	if r.Method != http.MethodPost {
		return wireReport{}, errors.New("not a report")
	}
	if r.URL.RawQuery != "" {
		s.traffic.blame("a report has no query", r.URL.RawQuery)
	}
	const longest = 64 << 10
	body, err := io.ReadAll(io.LimitReader(r.Body, longest))
	if err != nil {
		return wireReport{}, fmt.Errorf("reading report: %w", err)
	}
	media, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || media != "application/json" {
		s.traffic.blame("a report's Content-Type is application/json", strconv.Quote(r.Header.Get("Content-Type")))
		return wireReport{}, fmt.Errorf("content type is %q, want application/json", r.Header.Get("Content-Type"))
	}
	report, err := parseReport(body)
	switch {
	case errors.Is(err, errReportForm):
		s.traffic.blame("a report's body has the protocol's form", mask(string(body)))
	case err != nil:
		s.traffic.blame("a report's body can be understood", err.Error())
		return wireReport{}, err
	}
	return report, nil
}

// inFlight is a request about a replica.
type inFlight struct {
	over    chan struct{} // closed when it ends
	givenUp bool          // by its client, before it was answered; set before over is closed
}

// ended reports whether the request is over; nil is none, which is.
func (f *inFlight) ended() bool {
	if f == nil {
		return true
	}
	select {
	case <-f.over:
		return true
	default:
		return false
	}
}

// awaitTurn notes that a request came while the one before about the same
// replica was not answered yet. A request that its client has given up ends here
// when the machine finds the time, and is none of its faults.
func (s *Server) awaitTurn(before *inFlight, replica string) {
	const longest = 10 * time.Second // to learn that a client has left
	select {
	case <-before.over:
		if before.givenUp {
			return
		}
	case <-time.After(longest):
	}
	s.traffic.blame("one request per replica at a time", mask(replica))
}
