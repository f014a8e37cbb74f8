// Package redact quotes words that came from outside: an answer of the Status
// API, of a proxy or of a target, and errors that repeat one. A server has seen the
// credentials of the request, and many repeat them.
package redact

import (
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"net/url"
	"strings"
	"unicode/utf8"
)

const (
	mask     = "***"
	most     = 200       // bytes that Quote returns, besides the mark of a cut
	window   = 1 << 10   // bytes that Quote reads: masks are shorter than secrets
	shortest = 6         // bytes: the masks of a shorter secret would show its letters
	piece    = 256       // bytes of a long secret that are searched as one
	longest  = 4 * piece // bytes of a secret that are searched; the rest of the text is masked
)

// Masker masks secrets in texts. A nil Masker masks none. Under every verb of fmt
// it shows no secret.
type Masker struct {
	find func(text string) []span // a closure over the secrets, which fmt prints as an address
}

// Secret is a text that must not be shown, in any encoding.
type Secret struct{ forms func() []form }

// Text returns a secret that is masked by its text. One shorter than 6 bytes is not
// masked: the positions of the masks would show its letters.
func Text(secret string) Secret {
	return Secret{func() []form { return formsOf(secret) }}
}

// Basic returns the password of user, the pair of both, and the credential that
// HTTP makes of them. A user without a password is a secret itself. The pair is
// masked however short it is; nil is no secret.
func Basic(user *url.Userinfo) Secret {
	return Secret{func() []form {
		if user == nil {
			return nil
		}
		name := user.Username()
		password, _ := user.Password()
		pair := name + ":" + password
		switch {
		case password == "":
			return append(formsOf(name), formsOf(pair)...)
		case len(password) >= shortest: // the credential contains it
			return append(formsOf(password), newForm(pair))
		case len(pair) >= shortest:
			return formsOf(pair)
		case name == "":
			return []form{newForm(inBase64(pair))}
		}
		return []form{newForm(pair), newForm(inBase64(pair))}
	}}
}

func inBase64(text string) string { return base64.StdEncoding.EncodeToString([]byte(text)) }

// New returns a Masker of secrets.
func New(secrets ...Secret) *Masker {
	var forms []form
	for _, s := range secrets {
		forms = append(forms, s.forms()...)
	}
	var patterns []*pattern
	for _, f := range unique(forms) {
		patterns = append(patterns, newPattern(f))
	}
	return &Masker{func(text string) []span { return find(patterns, text) }}
}

// Quote returns text for printing: secrets, and the user before the host of a URL,
// are masked; characters that are invisible or move the cursor are escaped; and it
// is cut at 200 bytes. The cut comes last, since half a secret would not be found.
func (m *Masker) Quote(text string) string {
	whole := len(text)
	text = text[:min(whole, window)]
	var b strings.Builder
	for _, word := range split(text, join(append(m.spans(text), userinfos(text)...))) {
		if word.masked {
			if b.Len()+len(mask) > most {
				return b.String() + "…"
			}
			b.WriteString(mask)
			continue
		}
		if !appendVisible(&b, word.text) {
			return b.String() + "…"
		}
	}
	if whole > window {
		b.WriteString("…")
	}
	return b.String()
}

// Mask returns text with its secrets masked and otherwise unchanged. It is for
// lines of the log, whose fields are quoted already.
func (m *Masker) Mask(text string) string {
	words := split(text, m.spans(text))
	if len(words) == 1 && !words[0].masked {
		return text
	}
	var b strings.Builder
	for _, word := range words {
		if word.masked {
			b.WriteString(mask)
		} else {
			b.WriteString(word.text)
		}
	}
	return b.String()
}

// Format writes a placeholder under every verb.
func (Masker) Format(f fmt.State, _ rune) { io.WriteString(f, "[redacted]") }

// Format writes a placeholder under every verb.
func (Secret) Format(f fmt.State, _ rune) { io.WriteString(f, "[redacted]") }

// word is a piece of a text that is masked or not.
type word struct {
	text   string
	masked bool
}

// spans returns the positions of secrets in text.
func (m *Masker) spans(text string) []span {
	if m == nil || m.find == nil {
		return nil
	}
	return m.find(text)
}

// split returns the words of text, of which those at spans are masked.
func split(text string, spans []span) []word {
	var words []word
	at := 0
	for _, s := range spans {
		if s.begin > at {
			words = append(words, word{text: text[at:s.begin]})
		}
		words = append(words, word{masked: true})
		at = s.end
	}
	if at < len(text) || len(words) == 0 {
		words = append(words, word{text: text[at:]})
	}
	return words
}

// form is one spelling of a secret.
type form struct {
	text  string // folded
	blob  bool   // base64: the whole word around it is masked
	after bool   // the rest of the text is masked too
}

func newForm(text string) form { return form{text: fold(text)} }

// formsOf returns the spellings of secret; none if it is too short to be masked.
// Escapes are not among them: they are decoded in the text.
func formsOf(secret string) []form {
	var forms []form
	for _, p := range pieces(secret) {
		all := formsOfPiece(p.text)
		for i := range all {
			all[i].after = p.after
		}
		forms = append(forms, all...)
	}
	return forms
}

func formsOfPiece(secret string) []form {
	forms := []form{
		newForm(secret),
		newForm(fromLatin1(secret)),
		newForm(string([]rune(secret))), // an encoder of JSON writes U+FFFD for bytes that are not UTF-8
		newForm(hex.EncodeToString([]byte(secret))),
	}
	for offset := range 3 {
		forms = append(forms, form{text: fold(base64At(secret, offset)), blob: true})
	}
	return forms
}

// base64At returns the base64 of a text that has secret after so many bytes, as
// far as it depends on the secret alone.
func base64At(secret string, offset int) string {
	text := base64.RawStdEncoding.EncodeToString([]byte(strings.Repeat("\x00", offset) + secret))
	const bits = 6 // of a digit
	return text[(offset*8+bits-1)/bits : (offset+len(secret))*8/bits]
}

// fromLatin1 returns text as it is written by a server that takes it for
// ISO 8859-1, which Basic authentication leaves open (RFC 7617, 2.1).
func fromLatin1(text string) string {
	var b strings.Builder
	for i := range len(text) {
		b.WriteRune(rune(text[i]))
	}
	return b.String()
}

// part is a piece of a secret.
type part struct {
	text  string
	after bool // the text after it is secret too
}

// pieces cuts secret into pieces of a bounded length between characters, each long
// enough to be masked. They overlap: of a secret that is cut, no end is then too short.
func pieces(secret string) []part {
	var parts []part
	cut := len(secret) > longest
	secret = secret[:min(len(secret), longest)]
	for len(secret) > piece+shortest {
		end := boundary(secret, piece)
		parts = append(parts, part{text: secret[:end]})
		secret = secret[boundary(secret, end-shortest):]
	}
	if len(secret) >= shortest {
		parts = append(parts, part{text: secret, after: cut})
	}
	return parts
}

// boundary returns the last place between two characters of text up to n, or n if
// it has none close by.
func boundary(text string, n int) int {
	for i := n; i > n-utf8.UTFMax; i-- {
		if utf8.RuneStart(text[i]) {
			return i
		}
	}
	return n
}

// unique returns forms without duplicates.
func unique(forms []form) []form {
	seen := make(map[form]bool, len(forms))
	kept := forms[:0:0]
	for _, f := range forms {
		if f.text != "" && !seen[f] {
			seen[f] = true
			kept = append(kept, f)
		}
	}
	return kept
}

// fold maps the variants of encodings to one: letters of either case, the two
// alphabets of base64, and the blank of a form.
func fold(text string) string {
	b := []byte(text)
	for i := range b {
		b[i] = foldByte(b[i])
	}
	return string(b)
}

func foldByte(c byte) byte {
	switch {
	case 'A' <= c && c <= 'Z':
		return c + 'a' - 'A'
	case c == '-', c == ' ':
		return '+'
	case c == '_':
		return '/'
	}
	return c
}
