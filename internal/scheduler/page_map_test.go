package scheduler_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/crisp-im/crisp-status-local/v2/internal/statusapi"
)

const (
	blockSize    = 8
	blocks       = 6 // of replicas, each in the map or not
	mostReplicas = blocks * blockSize
)

// mapVariant is a map, by bits: six blocks of replicas that are not there, a block that
// has other names, odd entries and replicas that are there twice; then the rules, and
// whether all are in another node.
type mapVariant uint16

func (v mapVariant) has(block int) bool { return v>>block&1 == 0 }
func (v mapVariant) renamed() bool      { return v>>6&1 == 1 }
func (v mapVariant) odd() bool          { return v>>7&1 == 1 }
func (v mapVariant) deadAfter() int     { return []int{10, 1, 20, 35}[v>>8&3] }
func (v mapVariant) retry() int         { return []int{2, 0}[v>>10&1] }
func (v mapVariant) moved() bool        { return v>>11&7 == 7 }
func (v mapVariant) dateless() bool     { return v>>14 == 3 }

func (v mapVariant) String() string {
	var text strings.Builder
	text.WriteString(fmt.Sprintf("delay_dead %d, retry %d, blocks", v.deadAfter(), v.retry()))
	for i := range blocks {
		if v.has(i) {
			text.WriteString(fmt.Sprintf(" %d", i))
		}
	}
	for _, part := range []struct {
		is   bool
		name string
	}{{v.renamed(), ", the last with other names"}, {v.odd(), ", odd entries"}, {v.moved(), ", in another node"}, {v.dateless(), ", no date"}} {
		if part.is {
			text.WriteString(part.name)
		}
	}
	return text.String()
}

// text returns the map as the API sends it.
func (v mapVariant) text(date int) string {
	var text strings.Builder
	text.WriteString(`{"data":{`)
	if !v.dateless() {
		fmt.Fprintf(&text, `"date":%d,`, date)
	}
	node := "n"
	if v.moved() {
		node = "m"
	}
	fmt.Fprintf(&text, `"metrics":{"local":{"retry":%d,"delay_dead":%d}},"services":[{"id":"s","nodes":[{"id":"%s0","replicas":[`, v.retry(), v.deadAfter(), node)
	if v.odd() {
		text.WriteString(`7,null,"gopher://x","tcp://no-port",`)
	}
	for i := range mostReplicas {
		if i == mostReplicas/2 {
			fmt.Fprintf(&text, `"icmp://"]},{"id":"%s1","replicas":[`, node)
		}
		if !v.has(i / blockSize) {
			continue
		}
		port := 1
		if v.renamed() && i/blockSize == blocks-1 {
			port = 2
		}
		for range 1 + int(v>>7&1) {
			fmt.Fprintf(&text, `"tcp://r%d:%d",`, i, port)
		}
	}
	text.WriteString(`"icmp://"]}]}]}}`)
	return text.String()
}

// numberOf returns the number of a replica of a map by its URL.
func numberOf(replica string) int {
	var n int
	fmt.Sscanf(replica, "tcp://r%d:", &n)
	return n
}

// mapSource gives maps as the daemon's own client makes them of what the API sends.
type mapSource struct {
	mu     sync.Mutex
	text   string // of the next answer
	server *httptest.Server
	client *statusapi.Client
	known  map[string]*statusapi.Map
}

func newMapSource(t testing.TB) *mapSource {
	s := &mapSource{known: make(map[string]*statusapi.Map)}
	s.server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.Write([]byte(s.text))
	}))
	s.client = statusapi.New(s.server.URL, "t", "test", func(time.Duration) time.Duration { return 0 })
	t.Cleanup(func() {
		s.client.Close()
		s.server.Close()
	})
	return s
}

// get returns the map of a text. It must not be called in a bubble.
func (s *mapSource) get(t testing.TB, text string) *statusapi.Map {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if m := s.known[text]; m != nil {
		return m
	}
	if len(s.known) > 1000 {
		clear(s.known)
	}
	s.text = text
	m, err := s.client.FetchMap(t.Context(), nil)
	if err != nil {
		t.Fatalf("the map %s: %v", text, err)
	}
	s.known[text] = m
	return m
}

// maps returns the maps of a script: the first, and those of its changes in their order.
func (s script) maps(t testing.TB, source *mapSource) []*statusapi.Map {
	all := []*statusapi.Map{source.get(t, s.first.text(1))}
	for _, e := range s.events {
		if e.kind == mapChanges {
			all = append(all, source.get(t, e.variant().text(1+len(all))))
		}
	}
	return all
}
