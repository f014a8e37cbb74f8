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

const (
	layered     = `%\&` // these begin escapes that may be around one another
	introducers = layered + "="
	maxLayers   = 12 // of escapes around one another, each way to undo them counted
)

// escapesOf returns the readings of the start of text as an escape; none if it is
// no escape.
func escapesOf(text string) []unit {
	switch text[0] {
	case '%', '=':
		if b, ok := hexRune(text, 1, 2); ok {
			return []unit{{bytes: string([]byte{byte(b)}), width: 3}}
		}
		if text[0] == '=' && len(text) > 1 && isBreak(text[1:2]) {
			return []unit{{width: 1}}
		}
	case '\\':
		return backslash(text)
	case '&':
		if n := strings.IndexByte(text, ';'); n > 0 {
			if c := html.UnescapeString(text[:n+1]); c != text[:n+1] {
				return []unit{{bytes: c, width: n + 1}}
			}
		}
	}
	return nil
}

// isBreak reports whether a line is broken at bytes.
func isBreak(bytes string) bool { return bytes == "\r" || bytes == "\n" }

// isBlank reports whether bytes are a blank.
func isBlank(bytes string) bool { return bytes == " " || bytes == "\t" }

// isQuote reports whether bytes begin or end what is quoted.
func isQuote(bytes string) bool { return bytes == `"` || bytes == "'" || bytes == "`" }

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
	case 'a', 'b', 'f', 'n', 'r', 't', 'v':
		n := strings.IndexByte("abfnrtv", c)
		return []unit{{bytes: "\a\b\f\n\r\t\v"[n : n+1], width: 2}}
	case '0', '1', '2', '3':
		if len(text) >= 4 {
			if b, err := strconv.ParseUint(text[1:4], 8, 8); err == nil {
				return []unit{{bytes: string([]byte{byte(b)}), width: 4}}
			}
		}
	default:
		if c > ' ' && c < 0x7f && !isDigit64(text[1:2]) || strings.IndexByte("-_+/", c) >= 0 {
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

// layer is one way to read a text: a unit for each place of it, since nobody knows
// at which a secret begins. That may be inside of an escape that is none.
type layer []unit

// plain reads text as it is.
func plain(text string) layer {
	l := make(layer, len(text))
	for i := range l {
		l[i] = unit{bytes: text[i : i+1], width: 1}
	}
	return l
}

// escapesAt returns the readings of what l reads at i as an escape.
func (l layer) escapesAt(i int) []unit {
	if strings.IndexByte(introducers, l[i].bytes[0]) < 0 {
		return nil
	}
	var text [longestUnit]byte
	var widths [longestUnit]int
	n := 0
	for end := i; end < len(l) && n < longestUnit && len(l[end].bytes) == 1; n++ {
		text[n] = l[end].bytes[0]
		end += l[end].width
		widths[n] = end - i
	}
	if n == 0 {
		return nil
	}
	escapes := escapesOf(string(text[:n]))
	for n := range escapes {
		escapes[n].width = widths[escapes[n].width-1]
	}
	return escapes
}
