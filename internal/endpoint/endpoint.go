// Package endpoint shows the daemon's state over HTTP: health and readiness,
// metrics, the state as JSON, and a page of all replicas.
//
// It shows the names of internal hosts, so a web site that a browser nearby
// visits must not read it: only GET and HEAD are answered, only under a host
// name that is known (DNS rebinding), without CORS, and under a policy that lets
// the page load and ask nothing but what is here.
package endpoint

import (
	"context"
	"embed"
	"io/fs"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/crisp-im/crisp-status-local/v2/internal/probe"
	"github.com/crisp-im/crisp-status-local/v2/internal/status"
)

// patience is how long the parts of the daemon may take to show that they turn:
// they do within milliseconds.
const patience = 4 * time.Second

// State is the daemon's state at one moment.
type State struct {
	Head       status.Snapshot // without replicas
	Records    []status.Record // of the replicas, where they were asked for
	Reported   func(probe.ID) *status.Report
	Probing    status.Probing
	Maps       status.Requests
	Reports    status.Requests
	CycleBegan time.Time
	Reloaded   Reload
}

// Reload is the outcome of the last reading of the configuration.
type Reload struct {
	Failed bool
	At     time.Time // when it last succeeded
}

// Source is the daemon that is shown. Its methods return within their context,
// or say that the daemon hangs.
type Source interface {
	Totals(ctx context.Context) (State, error)
	Replicas(ctx context.Context) (State, error)
	Alive(ctx context.Context) error
	Ready(ctx context.Context) (note string, err error) // the note says how it is ready, if there is more to say
}

//go:embed page
var pageFiles embed.FS

// StateHandler returns the handler of the state alone, for those who were let in.
func StateHandler(source Source) http.Handler {
	paths := http.NewServeMux()
	h := handler{source}
	paths.HandleFunc("GET /healthz", h.healthz)
	paths.HandleFunc("GET /readyz", h.readyz)
	paths.HandleFunc("GET /replicas.json", h.replicas)
	return hardened(paths)
}

// Options are what the whole handler shows, and to whom.
type Options struct {
	Hosts          []string // further names by which it may be asked for, in lower case
	AnyHost        bool     // it listens where no browser comes: on a unix socket
	ReplicaMetrics bool
}

// New returns the handler of everything.
func New(source Source, o Options) http.Handler {
	paths := http.NewServeMux()
	h := handler{source}
	paths.HandleFunc("GET /replicas.json", h.replicas)
	paths.Handle("GET /metrics", metricsHandler(source))
	if o.ReplicaMetrics {
		paths.HandleFunc("GET /metrics/replicas", h.replicaMetrics)
	}
	// A folder that is embedded can be opened.
	files, _ := fs.Sub(pageFiles, "page")
	page := http.FileServerFS(files)
	for _, path := range []string{"GET /{$}", "GET /page.js", "GET /page.css", "GET /icon.svg"} {
		paths.Handle(path, page)
	}
	health := http.NewServeMux()
	health.HandleFunc("GET /healthz", h.healthz)
	health.HandleFunc("GET /readyz", h.readyz)
	health.Handle("/", fewAtATime(paths, maxReaders))
	all := hardened(health)
	if o.AnyHost {
		return all
	}
	return knownHosts(all, o.Hosts)
}

// hardened adds what browsers are told with every answer.
func hardened(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Cache-Control", "no-store")
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			h.Set("Allow", "GET, HEAD")
			http.Error(w, "only GET and HEAD are answered", http.StatusMethodNotAllowed)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// fewAtATime answers so many requests at a time, and refuses others at once. Who reads a
// large answer slowly has a connection for writeTime; as many as there are connections,
// who come again and again, would keep the prober of /healthz out, and the daemon would be
// ended for it.
func fewAtATime(next http.Handler, most int) http.Handler {
	places := make(chan struct{}, most)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		select {
		case places <- struct{}{}:
			defer func() { <-places }()
			next.ServeHTTP(w, r)
		default:
			w.Header().Set("Retry-After", "1")
			http.Error(w, "so many others are being answered that the places left are for /healthz and /readyz: ask again", http.StatusServiceUnavailable)
		}
	})
}

// knownHosts refuses requests for a host that is neither an address, localhost,
// nor one of names: a site whose name was pointed here would be the same origin.
func knownHosts(next http.Handler, names []string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !isKnown(r.Host, names) {
			w.Header().Set("X-Content-Type-Options", "nosniff")
			http.Error(w, "this host name is not known here: add it to hosts in [server] of the configuration", http.StatusMisdirectedRequest)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// isKnown reports whether host, with or without a port, may be asked for.
func isKnown(host string, names []string) bool {
	name := host
	if i := strings.LastIndexByte(host, ':'); i > strings.LastIndexByte(host, ']') {
		name = host[:i]
	}
	name = strings.ToLower(strings.TrimSuffix(strings.TrimSuffix(strings.TrimPrefix(name, "["), "]"), "."))
	if _, err := netip.ParseAddr(name); err == nil {
		return true
	}
	return name == "localhost" || name != "" && slices.Contains(names, name)
}

type handler struct{ source Source }

func (h handler) healthz(w http.ResponseWriter, r *http.Request) {
	answer(w, r, func(ctx context.Context) (string, error) { return "", h.source.Alive(ctx) })
}

func (h handler) readyz(w http.ResponseWriter, r *http.Request) { answer(w, r, h.source.Ready) }

// answer writes "ok" and the note, or the error, as one line.
func answer(w http.ResponseWriter, r *http.Request, ask func(context.Context) (string, error)) {
	ctx, cancel := context.WithTimeout(r.Context(), patience)
	defer cancel()
	note, err := ask(ctx)
	if err != nil {
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		return
	}
	if note != "" {
		note = ": " + note
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Write([]byte("ok" + note + "\n"))
}
