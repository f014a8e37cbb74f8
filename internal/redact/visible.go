package redact

import (
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// appendVisible appends text to b, escaped where it is invisible, and reports
// whether all of it found room.
func appendVisible(b *strings.Builder, text string) bool {
	for len(text) > 0 {
		r, n := utf8.DecodeRuneInString(text)
		shown := text[:n]
		if r == utf8.RuneError && n == 1 || !isVisible(r) {
			shown = strings.Trim(strconv.QuoteToASCII(shown), `"`)
		}
		if b.Len()+len(shown) > most {
			return false
		}
		b.WriteString(shown)
		text = text[n:]
	}
	return true
}

// isVisible reports whether r is visible by itself. Controls, separators of lines
// and paragraphs, and characters that order or join others are not: with them, a
// line of the log could look different from its content.
func isVisible(r rune) bool {
	return unicode.IsPrint(r) && !unicode.In(r, unicode.Other_Default_Ignorable_Code_Point, unicode.Variation_Selector)
}
