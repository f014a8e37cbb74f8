//go:build linux

package main

import (
	"bytes"
	"context"
	"embed"
	"encoding/json"
	"fmt"
	"html/template"
	"net/http"
	"time"

	"github.com/crisp-im/crisp-status-local/v2/internal/sandbox"
)

//go:embed page.html page.css page.js
var pageFiles embed.FS

// page shows the state of a server, and lets a person break targets and the API.
type page struct {
	server   *sandbox.Server
	daemon   daemon
	group    *group // nil: one daemon, or none
	template *template.Template
	breakage breakage
}

// newPage returns the handler of the page and its parts, beside a daemon, or several,
// that are asked for their reasons.
func newPage(server *sandbox.Server, beside daemon, several *group) http.Handler {
	p := &page{server: server, daemon: beside, group: several, breakage: breakage{server: server, mode: failureModes[0].Name}}
	p.template = template.Must(template.New("page.html").Funcs(template.FuncMap{
		"seconds": seconds,
		"ago":     ago,
		"count":   count,
		"share":   func(part, whole int) string { return fmt.Sprintf("%.3f%%", 100*float64(part)/float64(max(whole, 1))) },
		"offset":  total,
		"plural":  plural,
		"word":    word,
	}).ParseFS(pageFiles, "page.html"))
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", p.servePage)
	mux.HandleFunc("GET /state.json", p.serveState)
	mux.HandleFunc("POST /target", p.changeTarget)
	mux.HandleFunc("POST /failure-mode", p.changeFailureMode)
	mux.HandleFunc("POST /program", p.changeProgram)
	for name, media := range map[string]string{"page.css": "text/css; charset=utf-8", "page.js": "text/javascript; charset=utf-8"} {
		mux.HandleFunc("GET /"+name, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", media)
			http.ServeFileFS(w, r, pageFiles, name)
		})
	}
	forms := http.NewCrossOriginProtection().Handler(mux) // no other site may press the buttons
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		header := w.Header()
		header.Set("Content-Security-Policy", "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'")
		header.Set("X-Content-Type-Options", "nosniff")
		header.Set("Referrer-Policy", "no-referrer")
		header.Set("Cache-Control", "no-store")
		forms.ServeHTTP(w, r)
	})
}

func (p *page) state() pageState {
	mode, until := p.breakage.current()
	return pageState{p.server.State(), mode, until, p.group.states()}
}

// words returns what each daemon says, by its name; one by itself has none.
func (p *page) words(ctx context.Context) map[string]*told {
	if p.group != nil {
		return p.group.ask(ctx)
	}
	if t := p.daemon.ask(ctx); t != nil {
		return map[string]*told{"": t}
	}
	return nil
}

func (p *page) servePage(w http.ResponseWriter, r *http.Request) {
	var (
		b     bytes.Buffer
		words map[string]*told
		state = p.state()
	)
	if state.Summary.Counts.Replicas <= mostRows {
		words = p.words(r.Context())
	}
	if err := p.template.Execute(&b, newView(state, words)); err != nil {
		http.Error(w, "rendering the page: "+err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	_, _ = w.Write(b.Bytes())
}

func (p *page) serveState(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	_ = enc.Encode(p.state()) // fails only if the client leaves
}

// changeTarget stops or starts the target that a form names.
func (p *page) changeTarget(w http.ResponseWriter, r *http.Request) {
	t, ok := p.server.Target(r.PostFormValue("name"))
	if !ok || !t.CanStop() {
		http.Error(w, "no such target, or none that can be stopped", http.StatusNotFound)
		return
	}
	var err error
	switch r.PostFormValue("do") {
	case "stop":
		err = t.Stop()
	case "start":
		err = t.Start()
	default:
		http.Error(w, "do must be stop or start", http.StatusBadRequest)
		return
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	http.Redirect(w, r, "/", http.StatusSeeOther)
}

// changeProgram stops or starts the daemon or the server that a form names.
func (p *page) changeProgram(w http.ResponseWriter, r *http.Request) {
	program := p.group.find(r.PostFormValue("name"))
	if program == nil {
		http.Error(w, "no such program", http.StatusNotFound)
		return
	}
	if err := program.do(action(r.PostFormValue("do"))); err != nil {
		http.Error(w, err.Error(), http.StatusConflict)
		return
	}
	http.Redirect(w, r, "/", http.StatusSeeOther)
}

// changeFailureMode breaks or heals the API as a form asks.
func (p *page) changeFailureMode(w http.ResponseWriter, r *http.Request) {
	var duration time.Duration // none: until the next form
	if text := r.PostFormValue("for"); text != "" {
		var err error
		if duration, err = time.ParseDuration(text); err != nil || duration <= 0 {
			http.Error(w, "for must be a duration such as 6s", http.StatusBadRequest)
			return
		}
	}
	if !p.breakage.set(r.PostFormValue("mode"), duration) {
		http.Error(w, "no such failure mode", http.StatusBadRequest)
		return
	}
	http.Redirect(w, r, "/", http.StatusSeeOther)
}
