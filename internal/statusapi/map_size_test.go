package statusapi

import (
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"
)

// mapOfReplicas returns a map whose only node has n replicas.
func mapOfReplicas(n int, format string) string {
	var text strings.Builder
	text.WriteString(`{"data":{"services":[{"id":"s","nodes":[{"id":"n","replicas":[`)
	for i := range n {
		if i > 0 {
			text.WriteByte(',')
		}
		fmt.Fprintf(&text, format, i)
	}
	text.WriteString("]}]}]}}")
	return text.String()
}

func heapAllocated() uint64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.TotalAlloc
}

// TestMapOfAMillionReplicasIsRefused: before it costs more than its text.
func TestMapOfAMillionReplicasIsRefused(t *testing.T) {
	text := mapOfReplicas(1_000_000, `"tcp://h%d:1"`)
	before := heapAllocated()
	if _, err := decodeMap(strings.NewReader(text)); !errors.Is(err, errMapReplicas) {
		t.Errorf("got %v, want %v", err, errMapReplicas)
	}
	if cost, most := heapAllocated()-before, uint64(3*len(text)+4<<20); cost > most {
		t.Errorf("%d MiB allocated for a map of %d MiB that is refused, want at most %d", cost>>20, len(text)>>20, most>>20)
	}
	// However the URLs are spelt.
	if _, err := decodeMap(strings.NewReader(mapOfReplicas(maxReplicas+1, `"tcp:\\/\\/h%d:1"`))); !errors.Is(err, errMapReplicas) {
		t.Errorf("got %v of escaped URLs, want %v", err, errMapReplicas)
	}
}

// TestNodesWithTheSameRulesShareThem: what a match costs it costs once.
func TestNodesWithTheSameRulesShareThem(t *testing.T) {
	node := func(id, match string) string {
		return fmt.Sprintf(`{"id":%q,"replicas":["http://h/"],"http":{"body":{"healthy_match":%q}}}`, id, match)
	}
	m, err := decodeMap(strings.NewReader(`{"data":{"services":[{"id":"s","nodes":[` +
		node("a", "ok") + "," + node("b", "ok") + "," + node("c", "other") + "]}]}}"))
	if err != nil {
		t.Fatal(err)
	}
	if m.Checks[0].Rules != m.Checks[1].Rules || m.Checks[0].Rules == m.Checks[2].Rules {
		t.Error("want the rules shared by those that have the same, and by no others")
	}
}

// TestAMillionNodesWithRulesOfTheirOwnAreRefused: rules are shared by those that have the
// same, so the most costly map is one in which none has.
func TestAMillionNodesWithRulesOfTheirOwnAreRefused(t *testing.T) {
	var text strings.Builder
	text.WriteString(`{"data":{"services":[{"id":"s","nodes":[`)
	for i := range 1_000_000 {
		if i > 0 {
			text.WriteByte(',')
		}
		fmt.Fprintf(&text, `{"id":"%d","replicas":["http://h/"],"http":{"body":{"dead_match":"%d"}}}`, i, i)
	}
	text.WriteString("]}]}}")
	before := heapAllocated()
	if _, err := decodeMap(strings.NewReader(text.String())); !errors.Is(err, errMapTooLarge) && !errors.Is(err, errMapTooMany) {
		t.Errorf("got %v, want it refused", err)
	}
	if cost, most := heapAllocated()-before, uint64(3*maxMap); cost > most {
		t.Errorf("%d MiB allocated for a map of %d MiB that is refused, want at most %d", cost>>20, text.Len()>>20, most>>20)
	}
}
