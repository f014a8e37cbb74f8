package scheduler

import (
	"slices"

	"github.com/crisp-im/crisp-status-local/v2/internal/probe"
)

// maxNotes bounds the notes that are logged in a cycle: a cause that all
// replicas share would fill the log.
const maxNotes = 10

// maxTexts bounds the notes of one replica and a map: a note has words of the server's,
// which may be others in each answer, for as long as the map stays the same.
const maxTexts = 4

// notes is the notes that were logged, by the checks of the current map.
type notes map[*probe.Check][]string

// logNotes logs the notes of a result, each once for a replica and a map, but maxTexts of
// one at most. Those beyond maxNotes are left to the next cycle, whose probes make them again.
func (s *Scheduler) logNotes(r *replica, result probe.Result) {
	for _, text := range result.Notes {
		said := s.noted[r.check]
		switch {
		case slices.Contains(said, text) || len(said) >= maxTexts:
		case s.stats.notes >= maxNotes:
			s.stats.unsaidNotes++
		default:
			s.stats.notes++
			s.noted[r.check] = append(said, text)
			s.logTo(r).WithField("note", text).Warn("a replica is judged, but there is something to know of it")
		}
	}
}
