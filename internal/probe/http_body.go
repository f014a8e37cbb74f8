package probe

import (
	"bytes"
	"errors"
	"io"
	"os"
	"sync"
)

// windowSize is the number of bytes of a body that are searched at a time.
const windowSize = 16 << 10

// windows pools buffers for bodies that are being searched.
var windows = sync.Pool{New: func() any { return new([2 * windowSize]byte) }}

// bodySearch is the search of one body for the matches of its rules.
type bodySearch struct {
	healthy, dead []byte // to find, and not to find; empty: no such match
	found         bool   // healthy was found, or there is no such match
	empty         bool   // the body, so far
}

// search reads body until it is decided whether it passes the matches, in
// constant memory: pieces are put one behind another into a window, and when the
// window is full, as much of its end is kept as a match that lies across can need.
func (rules *Rules) search(body io.Reader, a attempt) error {
	s := bodySearch{healthy: []byte(rules.HealthyMatch), dead: []byte(rules.DeadMatch), empty: true}
	s.found = len(s.healthy) == 0
	overlap := max(len(s.healthy), len(s.dead)) - 1
	pooled := windows.Get().(*[2 * windowSize]byte)
	defer windows.Put(pooled)
	window := pooled[:]
	if overlap > windowSize {
		window = make([]byte, overlap+windowSize)
	}
	filled := 0
	for {
		n, err := body.Read(window[filled:])
		s.empty = s.empty && n == 0
		piece := window[max(0, filled-overlap) : filled+n]
		filled += n
		if len(s.dead) > 0 && bytes.Contains(piece, s.dead) {
			return failure(KindBody, "body contains dead_match")
		}
		s.found = s.found || bytes.Contains(piece, s.healthy)
		switch {
		case s.found && len(s.dead) == 0:
			return nil // the rest does not matter
		case err != nil:
			return s.verdict(err, a)
		}
		if filled > max(overlap, len(window)-windowSize) {
			copy(window, window[filled-overlap:filled])
			filled = overlap
		}
	}
}

// verdict returns the failure of a body that ended with err before its matches
// were decided; nil if it passes.
func (s *bodySearch) verdict(err error, a attempt) error {
	whole := errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF)
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return failure(KindTimeout, "body not complete within %v", rounded(a.limit))
	case errors.Is(err, errBomb):
		return failure(KindBody, "body unpacks to over %d MiB and %d times what was received", maxUnpacked>>20, maxUnpackedRatio)
	case !whole && len(s.dead) > 0:
		return &Error{Kind: KindBody, Reason: "body breaks off before dead_match could be ruled out", Err: err}
	case s.empty && !s.found:
		return failure(KindBody, "body is empty")
	case !s.found && !whole:
		return &Error{Kind: KindBody, Reason: "body breaks off and lacks healthy_match so far", Err: err}
	case !s.found:
		return failure(KindBody, "body lacks healthy_match")
	}
	return nil
}
