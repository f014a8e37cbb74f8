package sandbox

import (
	"bytes"
	"cmp"
	"embed"
	"encoding/json"
	"fmt"
	"html/template"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

// What the page shows of a large map: 100,000 rows would be of no use to anyone.
const (
	mostRows    = 500 // above this a map is shown by node
	mostTrouble = 30  // then so many of the replicas that are not healthy
	sampleSize  = 20  // and so many of those that are
)

//go:embed page.html page.css page.js
var pageFiles embed.FS

// handler serves the API, the page, and what the page is made of.
func (s *Server) handler() http.Handler {
	page := template.Must(template.New("page.html").Funcs(template.FuncMap{
		"seconds": seconds,
		"ago":     ago,
		"count":   count,
		"share":   func(part, whole int) string { return fmt.Sprintf("%.3f%%", 100*float64(part)/float64(max(whole, 1))) },
		"offset":  total,
		"plural":  plural,
		"word":    func(status Status) string { return words[status] },
	}).ParseFS(pageFiles, "page.html"))
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) { s.servePage(w, page) })
	mux.HandleFunc("GET /state.json", s.serveState)
	mux.HandleFunc("POST /target", s.changeTarget)
	mux.HandleFunc("POST /mood", s.changeMood)
	for name, media := range map[string]string{"page.css": "text/css; charset=utf-8", "page.js": "text/javascript; charset=utf-8"} {
		mux.HandleFunc("GET /"+name, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", media)
			http.ServeFileFS(w, r, pageFiles, name)
		})
	}
	forms := http.NewCrossOriginProtection().Handler(mux) // no other site may press the buttons
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if path := r.URL.EscapedPath(); path == apiRoot || strings.HasPrefix(path, apiRoot+"/") {
			s.serveAPI(w, r)
			return
		}
		header := w.Header()
		header.Set("Content-Security-Policy", "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'")
		header.Set("X-Content-Type-Options", "nosniff")
		header.Set("Referrer-Policy", "no-referrer")
		header.Set("Cache-Control", "no-store")
		forms.ServeHTTP(w, r)
	})
}

func (s *Server) servePage(w http.ResponseWriter, page *template.Template) {
	var b bytes.Buffer
	if err := page.Execute(&b, newView(s.State())); err != nil {
		http.Error(w, "rendering the page: "+err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	_, _ = w.Write(b.Bytes())
}

func (s *Server) serveState(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	_ = enc.Encode(s.State()) // only the client's leaving can break it
}

// changeTarget stops or starts the own target that a form names.
func (s *Server) changeTarget(w http.ResponseWriter, r *http.Request) {
	t, ok := s.Target(r.PostFormValue("name"))
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

// changeMood makes the API answer as a form asks.
func (s *Server) changeMood(w http.ResponseWriter, r *http.Request) {
	if !s.setMood(r.PostFormValue("mood")) {
		http.Error(w, "no such way to answer", http.StatusBadRequest)
		return
	}
	http.Redirect(w, r, "/", http.StatusSeeOther)
}

// view is a State, arranged for the template.
type view struct {
	State
	Level   Status // the worst status of any replica: it colours the headline
	Head    string
	Large   bool  // by node, not by replica
	Refresh int   // milliseconds until the page is fetched again
	Trouble []row // of a large map: some that are not healthy
	Sample  []row // of a large map: some that are
	Moods   []mood
	Tiles   []tile
}

type row struct {
	ReplicaState
	Service, Node string
}

type tile struct {
	Status Status
	Count  int
}

var words = map[Status]string{
	Status(Healthy): "Healthy",
	Status(Sick):    "Sick",
	Status(Dead):    "Dead",
	Late:            "Late",
	Silent:          "No report yet",
}

func newView(state State) view {
	c := state.Summary.Counts
	v := view{
		State:   state,
		Large:   c.Replicas > mostRows,
		Refresh: 1000,
		Moods:   moods,
		Tiles: []tile{
			{Status(Healthy), c.Healthy}, {Status(Sick), c.Sick}, {Status(Dead), c.Dead}, {Late, c.Late}, {Silent, c.Silent},
		},
	}
	v.Level, v.Head = headline(state.Summary)
	if v.Large {
		v.Refresh = 5000 // it takes a while to make
		v.Trouble, v.Sample = pick(state.Services)
	}
	return v
}

// headline says in one line how things are.
func headline(sum Summary) (Status, string) {
	c := sum.Counts
	down := c.Dead + c.Late
	switch {
	case c.Replicas == 0:
		return Silent, "The map is empty"
	case sum.Reports == 0 && c.Late == 0:
		return Silent, "Waiting for the first report"
	case down > 0:
		level := Status(Dead)
		if c.Dead == 0 {
			level = Late
		}
		return level, fmt.Sprintf("%s of %s down", count(down), plural(c.Replicas, "replica is", "replicas are"))
	case c.Sick > 0:
		return Status(Sick), fmt.Sprintf("%s of %s sick", count(c.Sick), plural(c.Replicas, "replica is", "replicas are"))
	case c.Silent > 0:
		return Silent, fmt.Sprintf("%s not been reported yet", plural(c.Silent, "replica has", "replicas have"))
	}
	return Status(Healthy), "All replicas are healthy"
}

// pick chooses what to show of a large map: the worst first, and a sample of the
// healthy ones from all over the map.
func pick(services []ServiceState) (trouble, sample []row) {
	var healthy []row
	for _, service := range services {
		for _, node := range service.Nodes {
			for _, r := range node.Replicas {
				if r.Status == Status(Healthy) && r.Wrong == 0 && r.LateGaps == 0 {
					healthy = append(healthy, row{r, service.Name, node.Name})
				} else {
					trouble = append(trouble, row{r, service.Name, node.Name})
				}
			}
		}
	}
	rank := map[Status]int{Late: -4, Status(Sick): -1, Status(Dead): -2, Silent: -3}
	slices.SortStableFunc(trouble, func(a, b row) int {
		return cmp.Or(cmp.Compare(b.Wrong+b.LateGaps, a.Wrong+a.LateGaps), cmp.Compare(rank[a.Status], rank[b.Status]))
	})
	trouble = trouble[:min(len(trouble), mostTrouble)]
	n := min(len(healthy), sampleSize)
	for i := range n {
		sample = append(sample, healthy[i*len(healthy)/n])
	}
	return trouble, sample
}

func plural(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return count(n) + " " + many
}

// count prints a number with a comma at each thousand.
func count(n int) string {
	digits := strconv.Itoa(n)
	for i := len(digits) - 3; i > 0; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	return digits
}

func total(parts ...int) int {
	all := 0
	for _, part := range parts {
		all += part
	}
	return all
}
