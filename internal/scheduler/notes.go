package scheduler

import "github.com/crisp-im/crisp-status-local/v2/internal/probe"

// maxNotes bounds the notes that are logged in a cycle: a cause that all
// replicas share would fill the log.
const maxNotes = 10

// note is a remark of a probe on a replica, beside its verdict.
type note struct {
	check *probe.Check // of the current map
	text  string
}

// logNotes logs the notes of a result, each once for a replica and a map. Those
// beyond maxNotes are left to the next cycle, whose probes make them again.
func (s *Scheduler) logNotes(r *replica, result probe.Result) {
	for _, text := range result.Notes {
		n := note{r.check, text}
		switch {
		case s.noted[n]:
		case s.stats.notes >= maxNotes:
			s.stats.unsaidNotes++
		default:
			s.stats.notes++
			s.noted[n] = true
			s.logTo(r).WithField("note", text).Warn("a replica is judged, but there is something to know of it")
		}
	}
}
