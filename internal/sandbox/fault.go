package sandbox

import (
	"net/http"
	"slices"
)

// Request is what a fault can be aimed at. Service and Node are ids as sent,
// Replica is the replica_id of the body; all are empty for a map request.
type Request struct {
	Service, Node, Replica string
}

// All aims a fault at every request.
func All(Request) bool { return true }

// Maps aims a fault at map requests.
func Maps(r Request) bool { return r == Request{} }

// Reports aims a fault at reports.
func Reports(r Request) bool { return r != Request{} }

// ReportsOf aims a fault at the reports of one replica, in whichever node.
func ReportsOf(replica string) func(Request) bool {
	return func(r Request) bool { return r.Replica == replica }
}

// Fault answers a request in the place of the protocol.
type Fault func(http.ResponseWriter, *http.Request)

// Refuse answers with a status and no body. retryAfter becomes the header of
// that name unless it is empty.
func Refuse(code int, retryAfter string) Fault {
	return func(w http.ResponseWriter, _ *http.Request) {
		if retryAfter != "" {
			w.Header().Set("Retry-After", retryAfter)
		}
		w.WriteHeader(code)
	}
}

// Answer answers with whatever is given: half a JSON value, a page of HTML.
func Answer(code int, contentType string, body []byte) Fault {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", contentType)
		w.WriteHeader(code)
		_, _ = w.Write(body)
	}
}

// Redirect sends the client elsewhere, which it must not follow.
func Redirect(code int, location string) Fault {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Location", location)
		w.WriteHeader(code)
	}
}

// Hang never answers. It ends when the client leaves, or the server.
func Hang() Fault {
	return func(_ http.ResponseWriter, r *http.Request) {
		<-r.Context().Done()
		abort()
	}
}

// Gone ends the connection (over HTTP/2 the stream) without an answer.
func Gone() Fault {
	return func(http.ResponseWriter, *http.Request) { abort() }
}

// abort is how net/http lets a handler leave a request without any answer; the
// server expects this panic and keeps it to itself.
func abort() { panic(http.ErrAbortHandler) }

type aimedFault struct {
	aim   func(Request) bool
	fault Fault
}

// Break lets a fault answer the requests that aim picks, until heal is called.
// Of several faults that fit, the newest one answers.
func (s *Server) Break(aim func(Request) bool, fault Fault) (heal func()) {
	s.faultMu.Lock()
	defer s.faultMu.Unlock()
	aimed := &aimedFault{aim, fault}
	s.faults = slices.Insert(s.faults, 0, aimed)
	return func() {
		s.faultMu.Lock()
		defer s.faultMu.Unlock()
		s.faults = slices.DeleteFunc(s.faults, func(f *aimedFault) bool { return f == aimed })
	}
}

// faultFor returns the fault that answers the request, nil if none does.
func (s *Server) faultFor(r Request) Fault {
	s.faultMu.Lock()
	defer s.faultMu.Unlock()
	for _, f := range s.faults {
		if f.aim(r) {
			return f.fault
		}
	}
	return nil
}

// The ways in which a person can break the API from the page.
var moods = []mood{
	{"normal", "as it should", nil},
	{"500", "with status 500", Refuse(http.StatusInternalServerError, "")},
	{"401", "with status 401", Refuse(http.StatusUnauthorized, "")},
	{"hang", "never", Hang()},
	{"gone", "by closing the connection", Gone()},
}

type mood struct {
	Name  string
	Label string // completes "The API answers …"
	fault Fault
}

// setMood makes the API answer as the named mood says, and says whether there is
// such a mood. Faults set by Break stay.
func (s *Server) setMood(name string) bool {
	i := slices.IndexFunc(moods, func(m mood) bool { return m.Name == name })
	if i < 0 {
		return false
	}
	s.moodMu.Lock()
	defer s.moodMu.Unlock()
	if s.healMood != nil {
		s.healMood()
		s.healMood = nil
	}
	if moods[i].fault != nil {
		s.healMood = s.Break(All, moods[i].fault)
	}
	s.mood = moods[i]
	return true
}

func (s *Server) currentMood() mood {
	s.moodMu.Lock()
	defer s.moodMu.Unlock()
	return s.mood
}
