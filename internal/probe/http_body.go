package probe

import (
	"bytes"
	"errors"
	"io"
	"os"
	"sync"
)

// windowSize is how much of a body is searched at a time.
const windowSize = 16 << 10

// windows holds buffers for bodies that are being searched.
var windows = sync.Pool{New: func() any { return new([2 * windowSize]byte) }}

// search reads body as far as it must to know whether it passes the matches,
// in constant memory: pieces are put one behind another into a window, and when
// it is full, as much of its end is kept as a match that lies across can need.
func (rules *Rules) search(body io.Reader, a attempt) error {
	healthy, dead := []byte(rules.HealthyMatch), []byte(rules.DeadMatch)
	overlap := max(len(healthy), len(dead)) - 1
	pooled := windows.Get().(*[2 * windowSize]byte)
	defer windows.Put(pooled)
	window := pooled[:]
	if overlap > windowSize {
		window = make([]byte, overlap+windowSize)
	}
	isHealthy, filled, empty := len(healthy) == 0, 0, true
	for {
		n, err := body.Read(window[filled:])
		empty = empty && n == 0
		piece := window[max(0, filled-overlap) : filled+n]
		filled += n
		if len(dead) > 0 && bytes.Contains(piece, dead) {
			return failure(KindBody, "body holds dead_match")
		}
		isHealthy = isHealthy || bytes.Contains(piece, healthy)
		switch {
		case isHealthy && len(dead) == 0:
			return nil // whatever follows
		case err != nil:
			return ended(err, empty, isHealthy, len(dead) > 0, a)
		}
		if filled > max(overlap, len(window)-windowSize) {
			copy(window, window[filled-overlap:filled])
			filled = overlap
		}
	}
}

// ended returns what a body comes to that ended with err before its matches
// decided.
func ended(err error, empty, isHealthy, mustRuleOut bool, a attempt) error {
	whole := errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF)
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return failure(KindTimeout, "body not complete within %v", readable(a.limit))
	case errors.Is(err, errBomb):
		return failure(KindBody, "body unpacks to over %d MiB and %d times what was received", maxUnpacked>>20, maxUnpackedRatio)
	case !whole && mustRuleOut:
		return &Error{Kind: KindBody, Reason: "body breaks off before dead_match could be ruled out", Err: err}
	case empty && !isHealthy:
		return failure(KindBody, "body is empty")
	case !isHealthy && !whole:
		return &Error{Kind: KindBody, Reason: "body breaks off and lacks healthy_match so far", Err: err}
	case !isHealthy:
		return failure(KindBody, "body lacks healthy_match")
	}
	return nil
}
