package probe

import "bytes"

// MaxMatch bounds a match, in bytes.
const MaxMatch = 64 << 10

// pattern is a match made ready to be found in a stream by the algorithm of
// Knuth, Morris and Pratt: how far the match has come is all that a stream must
// remember, so that thousands of bodies may be searched at a time.
type pattern struct {
	text string
	// fallback has, for each prefix of text, how long the longest one is that it
	// ends in beside itself. It is shared by all searches.
	fallback []uint16
}

// newPattern returns the pattern of a match of MaxMatch bytes at most; nil for an
// empty one.
func newPattern(text string) *pattern {
	if text == "" {
		return nil
	}
	p := &pattern{text, make([]uint16, len(text))}
	for i, k := 1, 0; i < len(text); i++ {
		k = p.advance(k, text[i])
		p.fallback[i] = uint16(k)
	}
	return p
}

// advance returns how much of the pattern has come after b, when so much, and not
// all, had come before.
func (p *pattern) advance(come int, b byte) int {
	for come > 0 && p.text[come] != b {
		come = int(p.fallback[come-1])
	}
	if p.text[come] == b {
		come++
	}
	return come
}

// finder looks for a pattern in a stream.
type finder struct {
	*pattern
	come int // so much of the pattern stands at the end of what was seen
}

// finds reports whether the pattern is complete within piece, which continues
// what was seen before.
func (f *finder) finds(piece []byte) bool {
	i := 0
	for ; i < len(piece) && f.come > 0; i++ {
		if f.come = f.advance(f.come, piece[i]); f.come == len(f.text) {
			return true
		}
	}
	if piece = piece[i:]; len(piece) == 0 {
		return false
	}
	// Nothing has come: within the piece the search of package bytes is faster,
	// and only what begins at its end remains.
	if len(f.text) <= len(piece) {
		if bytes.Contains(piece, []byte(f.text)) {
			return true
		}
		piece = piece[len(piece)-len(f.text)+1:]
	}
	for len(piece) > 0 {
		if f.come == 0 {
			next := bytes.IndexByte(piece, f.text[0])
			if next < 0 {
				return false
			}
			piece = piece[next:]
		}
		f.come = f.advance(f.come, piece[0])
		piece = piece[1:]
	}
	return false
}
