package logging

import "strings"

// elided stands for a part of a text that changes by itself.
const elided = "#"

// Shape returns text without what changes by itself or names one of many: ports,
// addresses, durations, counters and whatever is quoted. Two lines of the same
// shape are about the same trouble. A number of three digits stays, since it is
// a status code.
func Shape(text string) string {
	var b strings.Builder
	for text != "" {
		if text[0] == '"' {
			b.WriteString(elided)
			text = text[quoted(text):]
			continue
		}
		n := strings.IndexAny(text, " \t,;()[]\"")
		switch n {
		case -1:
			n = len(text)
		case 0:
			b.WriteByte(text[0])
			text = text[1:]
			continue
		}
		word, colon := strings.CutSuffix(text[:n], ":")
		if varies(word) {
			word = elided
		}
		b.WriteString(word)
		if colon {
			b.WriteByte(':')
		}
		text = text[n:]
	}
	return b.String()
}

// quoted returns the length of the quoted string that text begins with.
func quoted(text string) int {
	for i := 1; i < len(text); i++ {
		switch text[i] {
		case '\\':
			i++
		case '"':
			return i + 1
		}
	}
	return len(text)
}

// varies reports whether word has a number that is no status code.
func varies(word string) bool {
	digits := strings.ContainsAny(word, "0123456789")
	return digits && (len(word) != 3 || strings.Trim(word, "0123456789") != "")
}
