package redact

import (
	"cmp"
	"slices"
	"strings"
)

const (
	maxLayers = 12 // of escapes around one another, each way to undo them counted
	maxStates = 64 // ways to read a text as a secret that are followed at a time
)

// span is a piece of a text.
type span struct{ begin, end int }

// find returns the positions of forms in text, in order and without overlap.
func find(forms []form, text string) []span {
	if len(forms) == 0 || len(text) == 0 {
		return nil
	}
	var found []span
	for _, layer := range layers(text) {
		t := scan(layer.text)
		for _, f := range forms {
			for _, s := range t.find(f) {
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

// scanned is a text with the escapes at each place of it.
type scanned struct {
	text    string
	folded  string
	escapes [][]unit
}

func scan(text string) scanned {
	t := scanned{text, fold(text), make([][]unit, len(text))}
	for i := range len(text) {
		t.escapes[i] = escapesAt(text, i)
	}
	return t
}

// state is a partial match of a form: its start in the text, and the bytes of the
// form that were read.
type state struct{ begin, first, next int }

// find returns where the text reads as f, however its bytes are escaped. The
// text may have been cut at either end, or where it quotes: there a piece of f
// counts that is long enough.
func (t scanned) find(f form) []span {
	var found []span
	live := make(map[int][]state)
	for i := range len(t.text) {
		var states []state
		if len(live) > 0 {
			states = live[i]
			delete(live, i)
		}
		found = append(found, t.cutAt(i, f, states)...)
		for _, s := range t.startAt(i, f, states) {
			found = t.step(f, s, unit{bytes: t.text[i : i+1], width: 1}, i, live, found)
			for _, u := range t.escapes[i] {
				found = t.step(f, s, u, i, live, found)
			}
		}
	}
	return append(found, t.cutAt(len(t.text), f, live[len(t.text)])...)
}

// startAt adds to states those that begin at i.
func (t scanned) startAt(i int, f form, states []state) []state {
	if t.mayBe(i, f.text[0]) {
		states = append(states, state{i, 0, 0})
	}
	if t.mayBeCutBefore(i) {
		for k := 1; k <= len(f.text)-shortest; k++ {
			if t.mayBe(i, f.text[k]) {
				states = append(states, state{i, k, k})
			}
		}
	}
	return states
}

// mayBe reports whether c can be read at i.
func (t scanned) mayBe(i int, c byte) bool { return t.folded[i] == c || len(t.escapes[i]) > 0 }

// step reads u at i as the next bytes of f, if they match: a complete f is added to
// found, a partial one to the states at the end of u.
func (t scanned) step(f form, s state, u unit, i int, live map[int][]state, found []span) []span {
	if !u.continues(f.text, s) {
		return found
	}
	s.next += len(u.bytes)
	end := i + u.width
	if s.next == len(f.text) {
		return append(found, t.widen(f, span{s.begin, end}))
	}
	live[end] = follow(live[end], s)
	return found
}

// cutAt returns the pieces of f that states have read up to end, if the text
// may have been cut there.
func (t scanned) cutAt(end int, f form, states []state) []span {
	if len(states) == 0 || !t.mayBeCutAfter(end) {
		return nil
	}
	var spans []span
	for _, s := range states {
		if s.next-s.first >= shortest {
			spans = append(spans, t.widen(f, span{s.begin, end}))
		}
	}
	return spans
}

// follow adds s to states, unless there is one that is as far and began before.
func follow(states []state, s state) []state {
	for i, other := range states {
		if other.next == s.next {
			if s.begin < other.begin || s.begin == other.begin && s.first < other.first {
				states[i] = s
			}
			return states
		}
	}
	if len(states) >= maxStates {
		return states
	}
	return append(states, s)
}

// mayBeCutBefore reports whether the text before i may be missing.
func (t scanned) mayBeCutBefore(i int) bool {
	return i == 0 || strings.IndexByte("\"'`", t.text[i-1]) >= 0
}

// mayBeCutAfter reports whether what is right of i may be missing, but for half
// an escape.
func (t scanned) mayBeCutAfter(i int) bool {
	rest := t.text[i:]
	if n := strings.IndexAny(rest, "\"'`…"); n >= 0 {
		rest = rest[:n]
	}
	if n := strings.Index(rest, "..."); n >= 0 {
		rest = rest[:n]
	}
	return rest == "" || len(rest) < longestUnit && strings.IndexByte(`%\=&`, rest[0]) >= 0
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
