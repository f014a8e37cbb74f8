package redact

import (
	"cmp"
	"slices"
	"strings"
)

// span is a piece of a text.
type span struct{ begin, end int }

// find returns the positions of patterns in text, in order and without overlap.
func find(patterns []*pattern, text string) []span {
	if len(patterns) == 0 || len(text) == 0 {
		return nil
	}
	var found []span
	t := scan(text)
	for _, p := range patterns {
		found = append(found, t.find(p)...)
	}
	return join(found)
}

// join returns spans in order, those that touch as one.
func join(spans []span) []span {
	slices.SortFunc(spans, func(a, b span) int { return cmp.Compare(a.begin, b.begin) })
	var joined []span
	for _, s := range spans {
		if n := len(joined); n > 0 && s.begin <= joined[n-1].end {
			joined[n-1].end = max(joined[n-1].end, s.end)
			continue
		}
		joined = append(joined, s)
	}
	return joined
}

// userinfos returns the positions of the user and password of each URL: from two
// slashes to the last @ of the same word.
func userinfos(text string) []span {
	var found []span
	for end := 0; ; {
		n := strings.Index(text[end:], "//")
		if n < 0 {
			return found
		}
		begin := end + n + len("//")
		end = len(text)
		if n := strings.IndexAny(text[begin:], " \t\r\n\"'<>"); n >= 0 {
			end = begin + n
		}
		if at := strings.LastIndexByte(text[begin:end], '@'); at > 0 {
			found = append(found, span{begin, begin + at})
		}
	}
}

// place is a place of a text, before one of its bytes or at its end.
type place struct {
	units   []unit   // the readings of what follows: its byte, and escapes
	folded  byte     // that byte
	opens   bool     // the text before may be missing
	closes  bool     // the text after may be missing, but for half an escape
	word    span     // the digits of base64 around it
	reached progress // of the pattern that is looked for
}

// scanned is a text and its places.
type scanned struct {
	text   string
	places []place
}

func scan(text string) scanned {
	t := scanned{text, make([]place, len(text)+1)}
	all := []layer{plain(text)}
	for n := 0; n < len(all); n++ {
		for _, next := range t.addLayer(all[n]) {
			if len(all) < maxLayers && !slices.ContainsFunc(all, func(l layer) bool { return slices.Equal(l, next) }) {
				all = append(all, next)
			}
		}
	}
	t.lookBack()
	t.lookAhead()
	return t
}

// addLayer adds the readings of l and its escapes, and returns layers with these
// undone: each kind separately, so that an escape that is part of a secret remains.
func (t scanned) addLayer(l layer) []layer {
	next := make([]layer, len(layered))
	for i := range l {
		escapes := l.escapesAt(i)
		t.add(i, l[i:i+1]...)
		t.add(i, escapes...)
		kind := strings.IndexByte(layered, l[i].bytes[0])
		if kind < 0 || len(escapes) == 0 {
			continue
		}
		if next[kind] == nil {
			next[kind] = slices.Clone(l)
		}
		next[kind][i] = escapes[0]
	}
	return slices.DeleteFunc(next, func(l layer) bool { return l == nil })
}

// add adds to the readings at i those that are new.
func (t scanned) add(i int, units ...unit) {
	at := &t.places[i]
	if at.units == nil {
		at.units = units[:len(units):len(units)]
		return
	}
	for _, u := range units {
		if !slices.Contains(at.units, u) {
			at.units = append(at.units, u)
		}
	}
}

// lookBack sets what depends on the text before each place.
func (t scanned) lookBack() {
	for i := range t.places {
		t.places[i].opens = i == 0
		t.places[i].word.begin = i
	}
	broken := make([]bool, len(t.places)) // a line was, and the next one has not begun
	for i := range len(t.text) {
		at := &t.places[i]
		at.folded = foldByte(t.text[i])
		for _, u := range at.units {
			if isBreak(u.bytes) || broken[i] && isBlank(u.bytes) {
				t.add(i, unit{width: u.width})
			}
		}
		for _, u := range at.units {
			to := i + u.width
			switch {
			case u.bytes == "":
				broken[to] = true
			case isQuote(u.bytes):
				t.places[to].opens = true
			case isDigit64(u.bytes):
				t.places[to].word.begin = min(t.places[to].word.begin, at.word.begin)
			}
		}
	}
}

// lookAhead sets what depends on the text after each place.
func (t scanned) lookAhead() {
	end := len(t.text) // of what is quoted
	for i := len(t.text); i >= 0; i-- {
		at := &t.places[i]
		at.word.end = i
		for _, u := range at.units {
			if isQuote(u.bytes) {
				end = i
			}
			if isDigit64(u.bytes) || u.bytes == "=" {
				at.word.end = max(at.word.end, t.places[i+u.width].word.end)
			}
		}
		if t.reads(i, "…") || t.reads(i, "...") {
			end = i
		}
		// Half an escape may itself be escaped.
		at.closes = i == end || end-i < 2*longestUnit && strings.IndexByte(introducers, t.text[i]) >= 0
	}
}

// reads reports whether the text at i can be read as text.
func (t scanned) reads(i int, text string) bool {
	for _, u := range t.places[i].units {
		if rest, ok := strings.CutPrefix(text, u.bytes); ok && u.bytes != "" && (rest == "" || t.reads(i+u.width, rest)) {
			return true
		}
	}
	return false
}

// find returns where the text reads as p, however its bytes are escaped. The
// text may have been cut at either end, or where it quotes: there a piece of p
// counts that is long enough.
func (t scanned) find(p *pattern) []span {
	if !t.read(p) {
		return nil
	}
	return t.trace(p)
}

// read reads the text as p from every place on, and reports whether it succeeds once.
func (t scanned) read(p *pattern) bool {
	for i := range t.places {
		t.places[i].reached = nil
	}
	succeeds := false
	for i := range t.places {
		at := &t.places[i]
		if at.reached != nil && !succeeds {
			succeeds = p.complete(at.reached, at.closes) != nil
		}
		if at.opens {
			at.reached = union(at.reached, p.resume)
		} else if at.folded == p.text[0] || len(at.units) > 1 {
			at.reached = union(at.reached, p.begin)
		}
		if at.reached == nil {
			continue
		}
		for _, u := range at.units {
			to := &t.places[i+u.width]
			to.reached = p.read(at.reached, u, to.reached)
		}
	}
	return succeeds
}

// trace returns where the readings that succeed went: back from their ends.
func (t scanned) trace(p *pattern) []span {
	var found []span
	for i := len(t.places) - 1; i >= 0; i-- {
		at := &t.places[i]
		if at.reached == nil {
			continue
		}
		useful := p.complete(at.reached, at.closes)
		for _, u := range at.units {
			to := t.places[i+u.width].reached
			if to == nil {
				continue
			}
			if part := p.unread(at.reached, u, to); part != nil {
				useful = union(useful, part)
				found = append(found, span{i, i + u.width})
			}
		}
		at.reached = useful
	}
	found = join(found)
	for i := range found {
		found[i] = t.widen(p.form, found[i])
	}
	return found
}

// widen returns s with the text around f that is masked too.
func (t scanned) widen(f form, s span) span {
	if f.blob {
		s = span{t.places[s.begin].word.begin, t.places[s.end].word.end}
	}
	if f.after {
		s.end = len(t.text)
	}
	return s
}

// isDigit64 reports whether text is a digit of base64, in either alphabet.
func isDigit64(text string) bool {
	if len(text) != 1 {
		return false
	}
	c := text[0]
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || strings.IndexByte("+/-_", c) >= 0
}
