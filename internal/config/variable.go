package config

import (
	"regexp"
	"strings"

	"github.com/BurntSushi/toml"
)

const reference = `\$\{[A-Za-z_][A-Za-z0-9_.-]*\}`

var (
	// variable matches ${NAME}. Dots and dashes are allowed because container
	// orchestrators allow them in the names of variables.
	variable = regexp.MustCompile(reference)
	// bareVariable matches a line that sets a key to a ${NAME} without quotes.
	bareVariable = regexp.MustCompile(`(?m)^([\w.\-"' \t]+=[ \t]*)(` + reference + `)([ \t]*(?:#.*)?\r?)$`)
	// quotedString matches a TOML string of each kind, and nothing beside it.
	quotedString = regexp.MustCompile(`(?s)^(?:"(?:[^"\\\n]|\\.)*"|'[^'\n]*'|"""(?:"{0,2}(?:[^"\\]|\\.))*"{0,2}"""|'''(?:'{0,2}[^'])*'{0,2}''')$`)
)

// bareMark marks the decoded value of a variable without quotes. No TOML file can
// contain this character.
const bareMark = "\x00"

// quoteVariables puts each bare ${NAME} that is the value of a key into quotes,
// with bareMark before it, so that text is TOML; the rest is unchanged. It adds no
// lines. Expanding happens after decoding, so no variable can add TOML.
func quoteVariables(text string) string {
	return bareVariable.ReplaceAllString(text, `$1"\u0000$2"$3`)
}

// expand returns text, the value of key, with each ${NAME} replaced by the value of the
// variable. That value is not expanded again and may contain any character; only a
// quoted TOML string in a bare variable is unquoted, since the original pasted it. It
// complains about key, and returns false, if a variable is not set.
func (d *document) expand(key, text string) (setting, bool) {
	written, bare := strings.CutPrefix(text, bareMark)
	if variable.FindString(written) != written { // a character of the file after all, by an escape
		written, bare = text, false
	}
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
	if bare {
		value = unquote(value)
	}
	// ${NAME:-default} and the like would otherwise be sent as a token.
	if strings.Contains(variable.ReplaceAllString(written, " "), "${") {
		d.complain(key, `"${" that begins no variable, want ${NAME} with letters, digits and underscores in NAME`)
		ok = false
	}
	return setting{written, value}, ok
}

// unquote returns the text of content if that is a TOML string, with blanks around it
// or not; else content itself.
func unquote(content string) string {
	text := strings.TrimSpace(content)
	if !quotedString.MatchString(text) {
		return content
	}
	var decoded struct{ Value string }
	if _, err := toml.Decode("value = "+text, &decoded); err != nil {
		return content // an escape that TOML does not know
	}
	return decoded.Value
}
