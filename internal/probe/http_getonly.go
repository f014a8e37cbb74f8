package probe

import (
	"hash/maphash"
	"sync"
	"time"
)

const (
	getOnlyFor = 24 * time.Hour // until a replica is asked with HEAD again
	maxGetOnly = 100_000        // replicas; beyond that all are forgotten, which costs each a request
)

// getOnly is the set of replicas that were up by GET alone: for a day they are not
// asked with HEAD, which would cost each a useless request. It keeps hashes: after
// a collision, another replica is asked with GET too, no more.
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

// add notes that t was up by GET alone. The time of a known one is not extended, so
// that a server that has learned HEAD is asked with it again.
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
