package config

import (
	"regexp"
	"strings"
)

// variable matches ${NAME}. Dots and dashes are allowed because container
// orchestrators allow them in the names of variables.
var variable = regexp.MustCompile(`\$\{[A-Za-z_][A-Za-z0-9_.-]*\}`)

// expand returns written with each ${NAME} replaced by what the variable holds.
// What it holds is never looked at again, so it may hold any characters. It
// complains about key, and returns false, when a variable is not set.
func (d *decoder) expand(key, written string) (string, bool) {
	ok := true
	value := variable.ReplaceAllStringFunc(written, func(reference string) string {
		name := reference[len("${") : len(reference)-len("}")]
		content, set := d.lookupEnv(name)
		if !set {
			d.complain(key, "variable %s is not set, want it in the environment of the daemon", name)
			ok = false
		}
		return content
	})
	// ${NAME:-default} and the like would otherwise be sent as a token.
	if strings.Contains(variable.ReplaceAllString(written, " "), "${") {
		d.complain(key, `"${" that begins no variable, want ${NAME} with letters, digits and underscores in NAME`)
		ok = false
	}
	return value, ok
}

// quoteVariables puts each bare ${NAME} that is a value into quotes, so that
// text is TOML; those in quotes, comments and keys stay as they are. It adds
// no lines. Expanding only after decoding means that no variable can add TOML.
func quoteVariables(text string) string {
	var out strings.Builder
	depth := 0         // of arrays
	last := byte('\n') // the last byte that is neither blank nor comment
	for len(text) > 0 {
		c, length, bare := text[0], 1, false
		atValue := last == '=' || depth > 0
		switch {
		case c == '#':
			length = lineLength(text)
		case c == '"' || c == '\'':
			length = stringLength(text)
		case c == '[' && atValue:
			depth++
		case c == ']' && depth > 0:
			depth--
		case c == '$' && atValue:
			length, bare = bareLength(text)
		}
		if bare {
			out.WriteString(`"` + text[:length] + `"`)
		} else {
			out.WriteString(text[:length])
		}
		if c != ' ' && c != '\t' && c != '#' {
			last = c
		}
		text = text[length:]
	}
	return out.String()
}

// bareLength returns the length of the ${NAME} that text begins with, if it
// does and nothing is joined to it; else 1 and false.
func bareLength(text string) (int, bool) {
	at := variable.FindStringIndex(text[:lineLength(text)])
	if at == nil || at[0] != 0 {
		return 1, false
	}
	if rest := text[at[1]:]; rest != "" && !strings.ContainsRune(" \t\r\n,]}#", rune(rest[0])) {
		return 1, false
	}
	return at[1], true
}

// lineLength returns the length of text up to its first line break.
func lineLength(text string) int {
	if end := strings.IndexByte(text, '\n'); end >= 0 {
		return end
	}
	return len(text)
}

// stringLength returns the length of the TOML string, of any of the four
// kinds, that text begins with. One that is not closed ends with its line, or
// with the text if it may have many: the decoder will say so.
func stringLength(text string) int {
	quote := text[:1]
	many := strings.HasPrefix(text, strings.Repeat(quote, 3))
	if many {
		quote = text[:3]
	}
	for i := len(quote); i < len(text); i++ {
		switch {
		case text[i] == '\\' && quote[0] == '"':
			i++ // what is escaped closes nothing
		case text[i] == '\n' && !many:
			return i
		case strings.HasPrefix(text[i:], quote):
			i += len(quote)
			// """a""""" is a"": up to two quotes may touch the closing three.
			for extra := 0; many && extra < 2 && i < len(text) && text[i] == quote[0]; extra++ {
				i++
			}
			return i
		}
	}
	return len(text)
}
