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
// in constant memory: a window slides over it, with as much of the last piece
// kept as a match that lies across two pieces can need.
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
		filled += n
		if len(dead) > 0 && bytes.Contains(window[:filled], dead) {
			return failure(KindBody, "body holds dead_match")
		}
		isHealthy = isHealthy || bytes.Contains(window[:filled], healthy)
		switch {
		case isHealthy && len(dead) == 0:
			return nil // whatever follows
		case err != nil:
			return ended(err, empty, isHealthy, len(dead) > 0, a)
		}
		if filled > overlap {
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
	case !whole && mustRuleOut:
		return &Error{Kind: KindBody, Reason: "body breaks off before dead_match could be ruled out", Err: err}
	case empty:
		return failure(KindBody, "body is empty")
	case !isHealthy && !whole:
		return &Error{Kind: KindBody, Reason: "body breaks off and lacks healthy_match so far", Err: err}
	case !isHealthy:
		return failure(KindBody, "body lacks healthy_match")
	}
	return nil
}
