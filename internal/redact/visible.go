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

// isVisible reports whether r leaves a mark of its own. Controls, line and
// paragraph separators, and what orders or joins characters do not: a line of
// the log would say something else than it holds.
func isVisible(r rune) bool {
	return unicode.IsPrint(r) && !unicode.In(r, unicode.Other_Default_Ignorable_Code_Point, unicode.Variation_Selector)
}
