package sandbox

import (
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/crisp-im/crisp-status-local/v2/internal/sandbox/judge"
)

// memberRoot is above the endpoints of several daemons. They are told apart by
// the path: their addresses and their User-Agent are the same on one host.
const memberRoot = "/m/"

// Member is one of several daemons that report to one page, as the sandbox sees it
// by the requests to its own endpoint.
type Member struct {
	Name       string         `json:"name"`
	Requests   int            `json:"requests"`             // with the right token
	Reports    int            `json:"reports"`              // accepted
	ByHealth   map[Health]int `json:"by_health"`            // those, by the health
	LastAsked  time.Time      `json:"last_asked,omitzero"`  // for the map
	LastReport time.Time      `json:"last_report,omitzero"` // accepted
}

// members counts the requests of each daemon of Options.Members.
type members struct {
	mu     sync.Mutex // protects all following fields
	byName map[string]*Member
}

func newMembers(names []string) *members {
	m := &members{byName: make(map[string]*Member, len(names))}
	for _, name := range names {
		m.byName[name] = &Member{Name: name, ByHealth: make(map[judge.Health]int)}
	}
	return m
}

// change changes the record of a member; there is none of a daemon without a name.
func (m *members) change(name string, change func(*Member)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if record := m.byName[name]; record != nil {
		change(record)
	}
}

// list returns the records by name.
func (m *members) list() []Member {
	m.mu.Lock()
	defer m.mu.Unlock()
	var list []Member
	for _, name := range slices.Sorted(maps.Keys(m.byName)) {
		record := *m.byName[name]
		record.ByHealth = maps.Clone(record.ByHealth)
		list = append(list, record)
	}
	return list
}

// route returns the daemon whose endpoint a path is of, and the path as the
// protocol has it; false if no daemon has such an endpoint. The daemon of the
// ordinary endpoint has no name.
func (m *members) route(path string) (string, string, bool) {
	member := ""
	if rest, ok := strings.CutPrefix(path, memberRoot); ok {
		member, path, _ = strings.Cut(rest, "/")
		if path = "/" + path; m.byName[member] == nil { // the names never change
			return "", "", false
		}
	}
	return member, path, path == apiRoot || strings.HasPrefix(path, apiRoot+"/")
}

// EndpointOf is the value for report.endpoint of the daemon of Options.Members with
// that name; the sandbox tells by it who reports.
func (s *Server) EndpointOf(member string) string {
	root, _ := strings.CutSuffix(s.Endpoint(), apiRoot)
	return root + memberRoot + member + apiRoot
}
