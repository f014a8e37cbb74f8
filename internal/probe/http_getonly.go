package probe

import (
	"hash/maphash"
	"sync"
	"time"
)

const (
	getOnlyFor = 24 * time.Hour // how long a replica is not asked with HEAD again
	maxGetOnly = 100_000        // replicas; with more it begins anew, which costs each a request
)

// getOnly remembers the replicas that were up by GET alone: they are not
// asked with HEAD for a day, since that costs each a request in vain. It takes
// memory only for those, and little: hashes, since of two that share one the
// other is only asked with GET, too.
type getOnly struct {
	mu    sync.Mutex // protects all following fields
	seed  maphash.Seed
	until map[uint64]time.Time // nil: none was yet
}

// has reports whether t was up by GET alone within the last day.
func (h *getOnly) has(t Target) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.until) == 0 {
		return false
	}
	key := maphash.String(h.seed, t.ID())
	until, ok := h.until[key]
	if ok && !time.Now().Before(until) {
		delete(h.until, key)
		return false
	}
	return ok
}

// add notes that t was up by GET alone. One that is known keeps its day, so that
// a server that has learned HEAD is asked with it again.
func (h *getOnly) add(t Target) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.until == nil {
		h.seed = maphash.MakeSeed()
	}
	if h.until == nil || len(h.until) >= maxGetOnly {
		h.until = make(map[uint64]time.Time)
	}
	key := maphash.String(h.seed, t.ID())
	if _, ok := h.until[key]; !ok {
		h.until[key] = time.Now().Add(getOnlyFor)
	}
}
