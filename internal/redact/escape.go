package redact

import (
	"html"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// longestUnit is how many bytes the longest escape has: a pair of \u1234.
const longestUnit = 12

// unit is one reading of a text at a position: its byte, or the bytes that an
// escape there encodes.
type unit struct {
	bytes string // empty where a line was broken
	width int    // bytes of the text
}

// escapesAt returns the readings of text[i:] as an escape; none if it begins with
// no escape.
func escapesAt(text string, i int) []unit {
	rest := text[i:]
	switch rest[0] {
	case '%':
		if b, ok := hexRune(rest, 1, 2); ok {
			return []unit{{bytes: string([]byte{byte(b)}), width: 3}}
		}
	case '=':
		if b, ok := hexRune(rest, 1, 2); ok {
			return []unit{{bytes: string([]byte{byte(b)}), width: 3}}
		} else if n := lineBreak(rest[1:]); n > 0 {
			return []unit{{width: 1 + n}}
		}
	case '\\':
		return backslash(rest)
	case '&':
		if n := strings.IndexByte(rest[:min(len(rest), longestUnit)], ';'); n > 0 {
			if c := html.UnescapeString(rest[:n+1]); c != rest[:n+1] {
				return []unit{{bytes: c, width: n + 1}}
			}
		}
	case '\r', '\n':
		return []unit{{width: lineBreak(rest)}}
	}
	return nil
}

// lineBreak returns how many bytes of text break a line, with the blanks that
// begin the next one.
func lineBreak(text string) int {
	n := len(text) - len(strings.TrimLeft(text, "\r\n"))
	if n > 0 {
		n = len(text) - len(strings.TrimLeft(text[n:], " \t"))
	}
	return n
}

// backslash returns the reading of the escape at the start of text, as JSON, Go, C
// or a shell write it.
func backslash(text string) []unit {
	if len(text) < 2 {
		return nil
	}
	switch c := text[1]; c {
	case 'x':
		if b, ok := hexRune(text, 2, 2); ok {
			return []unit{{bytes: string([]byte{byte(b)}), width: 4}}
		}
	case 'u':
		if r, ok := hexRune(text, 2, 4); ok {
			if len(text) >= longestUnit && text[6:8] == `\u` {
				low, _ := hexRune(text, 8, 4)
				if pair := utf16.DecodeRune(r, low); pair != utf8.RuneError {
					return []unit{{bytes: string(pair), width: longestUnit}}
				}
			}
			return []unit{{bytes: string(r), width: 6}}
		}
	case 'U':
		if r, ok := hexRune(text, 2, 8); ok {
			return []unit{{bytes: string(r), width: 10}}
		}
	case 'r', 'n':
		control := map[byte]string{'r': "\r", 'n': "\n"}[c]
		return []unit{{bytes: control, width: 2}, {width: 2}}
	case 'a', 'b', 'f', 't', 'v':
		control := map[byte]string{'a': "\a", 'b': "\b", 'f': "\f", 't': "\t", 'v': "\v"}[c]
		return []unit{{bytes: control, width: 2}}
	case '0', '1', '2', '3':
		if len(text) >= 4 {
			if b, err := strconv.ParseUint(text[1:4], 8, 8); err == nil {
				return []unit{{bytes: string([]byte{byte(b)}), width: 4}}
			}
		}
	default:
		if c > ' ' && c < 0x7f && !isDigit64(c) || strings.IndexByte("-_+/", c) >= 0 {
			return []unit{{bytes: text[1:2], width: 2}}
		}
	}
	return nil
}

// hexRune returns the number that n hexadecimal digits of text at i are.
func hexRune(text string, i, n int) (rune, bool) {
	if len(text) < i+n {
		return 0, false
	}
	number, err := strconv.ParseUint(text[i:i+n], 16, 32)
	return rune(number), err == nil
}

// layer is a text in which escapes were undone, and where each of its bytes
// came from.
type layer struct {
	text       string
	begin, end []int
}

// plain returns text as it is.
func plain(text string) layer {
	l := layer{text, make([]int, len(text)), make([]int, len(text))}
	for i := range len(text) {
		l.begin[i], l.end[i] = i, i+1
	}
	return l
}

// introducers begin the escapes that are undone layer by layer.
const introducers = `%\&`

// unescape undoes once the escapes of text that begin with introducer.
func unescape(text string, introducer byte) layer {
	var l layer
	b := make([]byte, 0, len(text))
	for i := 0; i < len(text); {
		u := unit{bytes: text[i : i+1], width: 1}
		if text[i] == introducer {
			if escapes := escapesAt(text, i); len(escapes) > 0 {
				u = escapes[0]
			}
		}
		for range len(u.bytes) {
			l.begin, l.end = append(l.begin, i), append(l.end, i+u.width)
		}
		b = append(b, u.bytes...)
		i += u.width
	}
	l.text = string(b)
	return l
}

// layers returns text, and text with its escapes decoded. Each kind is decoded
// separately: an escape that is part of a secret remains.
func layers(text string) []layer {
	all := []layer{plain(text)}
	seen := map[string]bool{text: true}
	for n := 0; n < len(all) && len(all) < maxLayers; n++ {
		for _, introducer := range []byte(introducers) {
			if strings.IndexByte(all[n].text, introducer) < 0 {
				continue
			}
			next := unescape(all[n].text, introducer)
			if !seen[next.text] {
				seen[next.text] = true
				all = append(all, next.within(all[n]))
			}
		}
	}
	return all
}

// within returns l, which was made of outer's text, with the places of that.
func (l layer) within(outer layer) layer {
	for i := range len(l.text) {
		l.begin[i], l.end[i] = outer.begin[l.begin[i]], outer.end[l.end[i]-1]
	}
	return l
}
