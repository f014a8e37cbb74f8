package redact

import "slices"

// lengths is how many lengths of a piece of a form are told apart: from shortest
// bytes on, all are long enough.
const lengths = shortest + 1

// pattern is a form that is ready to be found. It has a position before each of
// its bytes, and one after the last.
type pattern struct {
	form
	words  int        // of a set of positions, one bit each
	number [256]uint8 // for each byte, which set of after; 0 if the form has it not
	after  []uint64   // sets of positions: none, and those after each byte
	begin  progress   // before the form
	resume progress   // in the form, where bytes before may be missing
}

// progress is all ways to read the text before a place as a piece of a form: for each
// length of the piece, the set of positions that it ends at; nil is none. A form that
// repeats itself is read in as many ways as it has bytes, at the cost of one.
type progress []uint64

func newPattern(f form) *pattern {
	p := &pattern{form: f, words: len(f.text)/64 + 1}
	p.after = make([]uint64, p.words)
	p.begin = p.add(nil, 0, 0, 1)
	p.resume = p.add(nil, 0, 0, 1)
	for i := range len(f.text) {
		c := f.text[i]
		if p.number[c] == 0 {
			p.number[c] = uint8(len(p.after) / p.words)
			p.after = append(p.after, make([]uint64, p.words)...)
		}
		p.afterByte(c)[(i+1)/64] |= 1 << ((i + 1) % 64)
		if i+shortest <= len(f.text) {
			p.add(p.resume, 0, i/64, 1<<(i%64))
		}
	}
	return p
}

// afterByte returns the positions after each c of the form.
func (p *pattern) afterByte(c byte) []uint64 {
	n := int(p.number[c]) * p.words
	return p.after[n : n+p.words]
}

// set returns the positions that pieces of a length end at.
func (p *pattern) set(of progress, length int) []uint64 {
	return of[length*p.words : (length+1)*p.words]
}

// read adds to to what becomes of from by reading u.
func (p *pattern) read(from progress, u unit, to progress) progress {
	if u.bytes == "" {
		return union(to, p.within(from))
	}
	for len(u.bytes) > 1 && from != nil {
		from = p.readByte(from, u.bytes[0], nil)
		u.bytes = u.bytes[1:]
	}
	if from == nil {
		return to
	}
	return p.readByte(from, u.bytes[0], to)
}

func (p *pattern) readByte(from progress, c byte, to progress) progress {
	c = foldByte(c)
	if p.number[c] == 0 {
		return to
	}
	after := p.afterByte(c)
	for length := range lengths {
		longer := min(length+1, shortest)
		var carry uint64
		for w, bits := range p.set(from, length) {
			to = p.add(to, longer, w, (bits<<1|carry)&after[w])
			carry = bits >> 63
		}
	}
	return to
}

// unread returns the part of from that becomes a part of to by reading u.
func (p *pattern) unread(from progress, u unit, to progress) progress {
	if u.bytes == "" {
		return intersection(p.within(to), from)
	}
	c := u.bytes[0]
	if rest := u.bytes[1:]; rest != "" {
		between := p.readByte(from, c, nil)
		if between == nil {
			return nil
		}
		to = p.unread(between, unit{bytes: rest}, to)
	}
	if to == nil {
		return nil
	}
	return p.unreadByte(from, c, to)
}

func (p *pattern) unreadByte(from progress, c byte, to progress) progress {
	var some progress
	after := p.afterByte(foldByte(c))
	for length := range lengths {
		set := p.set(from, length)
		var carry uint64
		for w, bits := range slices.Backward(p.set(to, min(length+1, shortest))) {
			bits &= after[w]
			some = p.add(some, length, w, (bits>>1|carry)&set[w])
			carry = bits << 63
		}
	}
	return some
}

// add adds bits to word w of the positions of a length.
func (p *pattern) add(to progress, length, w int, bits uint64) progress {
	if bits == 0 {
		return to
	}
	if to == nil {
		to = make(progress, lengths*p.words)
	}
	to[length*p.words+w] |= bits
	return to
}

// within returns the part of at that has begun and not ended the form: a line break
// there is no byte of it.
func (p *pattern) within(at progress) progress {
	var inside progress
	for length := 1; length < lengths; length++ {
		for w, bits := range p.set(at, length) {
			inside = p.add(inside, length, w, bits&^p.end(w))
		}
	}
	return inside
}

// complete returns the part of at that ends the form, or, where the text may have
// been cut, a piece of it that is long enough.
func (p *pattern) complete(at progress, cut bool) progress {
	var ends progress
	for length := range lengths {
		for w, bits := range p.set(at, length) {
			if !cut || length < shortest {
				bits &= p.end(w)
			}
			ends = p.add(ends, length, w, bits)
		}
	}
	return ends
}

// end returns word w of the set of the position after the form.
func (p *pattern) end(w int) uint64 {
	if w < p.words-1 {
		return 0
	}
	return 1 << (len(p.text) % 64)
}

// union returns what is in a or in b: b itself, or a, which it writes to.
func union(a, b progress) progress {
	if a == nil {
		return b
	}
	for i := range b {
		a[i] |= b[i]
	}
	return a
}

// intersection returns what is in a and in b: a, which it writes to.
func intersection(a, b progress) progress {
	var some uint64
	for i := range a {
		a[i] &= b[i]
		some |= a[i]
	}
	if some == 0 {
		return nil
	}
	return a
}
