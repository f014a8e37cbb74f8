package probe

import (
	"errors"
	"io"
	"os"
	"sync"
)

// pieceSize is the number of bytes of a body that are searched at a time: enough to
// be fast, and few, since thousands of bodies may be waited for, each with a piece.
const pieceSize = 4 << 10

// searchBuffers pools buffers for bodies that are being searched.
var searchBuffers = sync.Pool{New: func() any { return new([pieceSize]byte) }}

// matches is the matches of rules, ready to be found.
type matches struct{ healthy, dead *pattern }

// Compile prepares the matches, once for all probes. It must be called before the
// rules are shared.
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

// bodySearch is the search of one body for the matches of its rules.
type bodySearch struct {
	healthy, dead finder // to find, and not to find
	found         bool   // healthy was found, or there is no such match
	empty         bool   // the body, so far
}

// search reads body until it is decided whether it passes the matches, in
// constant memory.
func (rules *Rules) search(body io.Reader, a attempt) error {
	m := rules.compiled()
	s := bodySearch{healthy: finder{pattern: m.healthy}, dead: finder{pattern: m.dead}, found: m.healthy == nil, empty: true}
	buffer := searchBuffers.Get().(*[pieceSize]byte)
	defer searchBuffers.Put(buffer)
	for {
		n, err := body.Read(buffer[:])
		s.empty = s.empty && n == 0
		piece := buffer[:n]
		if s.mayBeDead() && s.dead.finds(piece) {
			return failure(KindBody, "body contains dead_match")
		}
		s.found = s.found || s.healthy.finds(piece)
		switch {
		case s.found && !s.mayBeDead():
			return nil // the rest does not matter
		case err != nil:
			return s.verdict(err, a)
		}
	}
}

// mayBeDead reports whether there is a dead_match.
func (s *bodySearch) mayBeDead() bool { return s.dead.pattern != nil }

// verdict returns the failure of a body that ended with err before its matches
// were decided; nil if it passes.
func (s *bodySearch) verdict(err error, a attempt) error {
	whole := errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF)
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return failure(KindTimeout, "body not complete within %v", rounded(a.limit))
	case errors.Is(err, errBomb):
		return failure(KindBody, "body unpacks to over %d MiB and %d times what was received", maxUnpacked>>20, maxUnpackedRatio)
	case !whole && s.mayBeDead():
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
