package sandbox

import (
	"bytes"
	"cmp"
	"context"
	"io"
	"net/http"
	"slices"
	"strconv"
	"time"
)

// Request describes a request for the aim of a fault. Member is the daemon whose
// endpoint it came to, empty at the ordinary one. Service and Node are ids as sent,
// Replica is the replica_id of the body; these are empty for a map request.
type Request struct {
	Member, Service, Node, Replica string
}

// All aims a fault at every request.
func All(Request) bool { return true }

// Maps aims a fault at map requests.
func Maps(r Request) bool { return r == Request{Member: r.Member} }

// Reports aims a fault at reports.
func Reports(r Request) bool { return !Maps(r) }

// ReportsOf aims a fault at the reports of one replica, in whichever node.
func ReportsOf(replica string) func(Request) bool {
	return func(r Request) bool { return r.Replica == replica }
}

// From aims a fault at every request of one daemon of Options.Members.
func From(member string) func(Request) bool {
	return func(r Request) bool { return r.Member == member }
}

// Fault answers a request instead of the protocol.
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

// Answer answers with any status and body: half a JSON value, a page of HTML.
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

// Hang never sends a status line. It ends when the client leaves, or the server.
func Hang() Fault {
	return func(_ http.ResponseWriter, r *http.Request) {
		<-r.Context().Done()
		abort()
	}
}

// HangInHead sends a status line and half of a header line, and then hangs. Over
// HTTP/2, which sends the head as one block, it is Hang.
func HangInHead() Fault {
	return func(w http.ResponseWriter, r *http.Request) {
		conn, buffered, err := http.NewResponseController(w).Hijack()
		if err != nil {
			Hang()(w, r)
			return
		}
		defer conn.Close()
		defer context.AfterFunc(r.Context(), func() { conn.Close() })()
		_, _ = buffered.WriteString("HTTP/1.1 200 OK\r\nContent-Ty")
		if buffered.Flush() == nil {
			_, _ = io.Copy(io.Discard, conn) // until the client leaves
		}
		abort()
	}
}

// HangInBody lets the protocol answer, so that a report is taken, but the body
// never ends. An answer that has no body, a 304, is not affected.
func HangInBody() Fault {
	return func(w http.ResponseWriter, r *http.Request) {
		serve, ok := r.Context().Value(protocolKey{}).(http.HandlerFunc)
		if !ok {
			return
		}
		endless := &endlessWriter{ResponseWriter: w}
		if serve(endless, r); endless.code == http.StatusNotModified {
			return
		}
		if http.NewResponseController(w).Flush() == nil {
			<-r.Context().Done()
		}
		abort()
	}
}

// HangAfter lets the protocol answer, and then reads no other request from that
// connection, though it stays open: as behind a worker that hangs, or a middlebox that
// has forgotten it. Over HTTP/2 it hangs no other request.
func HangAfter() Fault {
	return func(w http.ResponseWriter, r *http.Request) {
		serve, ok := r.Context().Value(protocolKey{}).(http.HandlerFunc)
		if !ok {
			return
		}
		whole := &wholeWriter{ResponseWriter: w}
		serve(whole, r)
		whole.send()
		if http.NewResponseController(w).Flush() == nil {
			<-r.Context().Done()
		}
		abort()
	}
}

// protocolKey is the key of the context value with the handler that a fault stands
// in for.
type protocolKey struct{}

// endlessWriter sends an answer without its length, and keeps its status.
type endlessWriter struct {
	http.ResponseWriter
	code int // 0 until it is sent
}

func (w *endlessWriter) WriteHeader(code int) {
	w.code = code
	w.Header().Del("Content-Length")
	w.ResponseWriter.WriteHeader(code)
}

func (w *endlessWriter) Write(b []byte) (int, error) {
	if w.code == 0 {
		w.WriteHeader(http.StatusOK)
	}
	return w.ResponseWriter.Write(b)
}

// wholeWriter keeps an answer until it is sent with its length, so that a client knows
// its end.
type wholeWriter struct {
	http.ResponseWriter
	code int
	body bytes.Buffer
}

func (w *wholeWriter) WriteHeader(code int) { w.code = code }

func (w *wholeWriter) Write(b []byte) (int, error) { return w.body.Write(b) }

func (w *wholeWriter) send() {
	if w.code != http.StatusNotModified { // which has none
		w.Header().Set("Content-Length", strconv.Itoa(w.body.Len()))
	}
	w.ResponseWriter.WriteHeader(cmp.Or(w.code, http.StatusOK))
	_, _ = w.ResponseWriter.Write(w.body.Bytes())
}

// Disconnect ends the connection (over HTTP/2 the stream) without an answer.
func Disconnect() Fault {
	return func(http.ResponseWriter, *http.Request) { abort() }
}

// abort ends a request without an answer: net/http recovers from this panic, and
// closes the connection.
func abort() { panic(http.ErrAbortHandler) }

type aimedFault struct {
	aim   func(Request) bool
	fault Fault
	until time.Time // zero: until it is healed
}

// Break lets a fault answer the requests that aim picks, until heal is called.
// Of several faults that fit, the newest one answers. A request that hangs goes
// on hanging after heal.
func (s *Server) Break(aim func(Request) bool, fault Fault) (heal func()) {
	return s.addFault(&aimedFault{aim: aim, fault: fault})
}

// BreakFor is Break that heals by itself after d.
func (s *Server) BreakFor(d time.Duration, aim func(Request) bool, fault Fault) (heal func()) {
	return s.addFault(&aimedFault{aim, fault, time.Now().Add(d)})
}

func (s *Server) addFault(aimed *aimedFault) func() {
	s.faultMu.Lock()
	defer s.faultMu.Unlock()
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
	now := time.Now()
	s.faults = slices.DeleteFunc(s.faults, func(f *aimedFault) bool { return !f.until.IsZero() && !now.Before(f.until) })
	for _, f := range s.faults {
		if f.aim(r) {
			return f.fault
		}
	}
	return nil
}
