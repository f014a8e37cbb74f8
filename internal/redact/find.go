package redact

import (
	"cmp"
	"slices"
	"strings"
)

const maxLayers = 12 // of escapes around one another, each way to undo them counted

// span is a piece of a text.
type span struct{ begin, end int }

// find returns the positions of patterns in text, in order and without overlap.
func find(patterns []*pattern, text string) []span {
	if len(patterns) == 0 || len(text) == 0 {
		return nil
	}
	var found []span
	for _, layer := range layers(text) {
		t := scan(layer.text)
		for _, p := range patterns {
			for _, s := range t.find(p) {
				found = append(found, span{layer.begin[s.begin], layer.end[s.end-1]})
			}
		}
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
	folded  byte   // the byte that follows
	opens   bool   // the text before may be missing
	closes  bool   // the text after may be missing, but for half an escape
	units   []unit // the readings of the text that follows: of the byte, and of escapes
	reached progress
}

// scanned is a text and its places.
type scanned struct {
	text   string
	places []place
}

func scan(text string) scanned {
	places := make([]place, len(text)+1)
	bytes := make([]unit, len(text))
	for i := range len(text) {
		bytes[i] = unit{bytes: text[i : i+1], width: 1}
		places[i].folded = foldByte(text[i])
		places[i].opens = i == 0 || strings.IndexByte("\"'`", text[i-1]) >= 0
		places[i].units = append(bytes[i:i+1:i+1], escapesAt(text, i)...)
	}
	for i, end := len(text), len(text); i >= 0; i-- {
		if quotesEndAt(text[i:]) {
			end = i
		}
		places[i].closes = i == end || end-i < longestUnit && strings.IndexByte(`%\=&`, text[i]) >= 0
	}
	return scanned{text, places}
}

// quotesEndAt reports whether text begins with the end of what another quotes.
func quotesEndAt(text string) bool {
	return text != "" && strings.IndexByte("\"'`", text[0]) >= 0 || strings.HasPrefix(text, "…") || strings.HasPrefix(text, "...")
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
		for s.begin > 0 && isDigit64(t.text[s.begin-1]) {
			s.begin--
		}
		for s.end < len(t.text) && (isDigit64(t.text[s.end]) || t.text[s.end] == '=') {
			s.end++
		}
	}
	if f.after {
		s.end = len(t.text)
	}
	return s
}

// isDigit64 reports whether c is a digit of base64, in either alphabet.
func isDigit64(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || strings.IndexByte("+/-_", c) >= 0
}
