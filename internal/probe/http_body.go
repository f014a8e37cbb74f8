package probe

import (
	"errors"
	"io"
	"os"
	"sync"
)

// pieceSize is how much of a body is searched at a time: enough to be fast, and
// so little that thousands of bodies may be waited for, each with a piece.
const pieceSize = 4 << 10

// searchBuffers holds buffers for bodies that are being searched.
var searchBuffers = sync.Pool{New: func() any { return new([pieceSize]byte) }}

// matches are those of rules, ready to be found.
type matches struct{ healthy, dead *pattern }

// Compile makes the matches ready, once for all probes. It is for whoever makes
// the rules, before they are shared.
func (rules *Rules) Compile() { rules.matches = rules.compiled() }

func (rules *Rules) compiled() *matches {
	switch {
	case !rules.needBody():
		return nil
	case rules.matches != nil:
		return rules.matches
	}
	return &matches{newPattern(rules.HealthyMatch), newPattern(rules.DeadMatch)}
}

// search reads body as far as it must to know whether it passes the matches, in
// constant memory.
func (rules *Rules) search(body io.Reader, a attempt) error {
	m := rules.compiled()
	healthy, dead := finder{pattern: m.healthy}, finder{pattern: m.dead}
	buffer := searchBuffers.Get().(*[pieceSize]byte)
	defer searchBuffers.Put(buffer)
	isHealthy, empty := m.healthy == nil, true
	for {
		n, err := body.Read(buffer[:])
		empty = empty && n == 0
		piece := buffer[:n]
		if m.dead != nil && dead.finds(piece) {
			return failure(KindBody, "body holds dead_match")
		}
		isHealthy = isHealthy || healthy.finds(piece)
		switch {
		case isHealthy && m.dead == nil:
			return nil // whatever follows
		case err != nil:
			return ended(err, empty, isHealthy, m.dead != nil, a)
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
