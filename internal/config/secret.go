package config

import (
	"fmt"
	"io"
	"strings"
	"unique"
)

const redacted = "[redacted]"

// shown returns what is written at a key, in quotes for a complaint, without what
// may be a secret in a URL: nothing where a password may stand before an "@", and
// no query or fragment; and no more than 80 characters.
func shown(written string) string {
	if strings.Contains(written, "@") {
		return redacted
	}
	if at := strings.IndexAny(written, "?#") + 1; at > 0 && at < len(written) {
		written = written[:at] + "…"
	}
	return fmt.Sprintf("%.80q", written)
}

// Secret is a text that no format verb, log entry or encoder shows: it prints
// as [redacted]. The zero Secret is empty. Two Secrets are equal, with ==, when
// their texts are.
type Secret struct {
	// A handle is a pointer: where fmt cannot call Format, in unexported
	// fields, it prints an address. A string it would print.
	text unique.Handle[string]
}

// NewSecret returns a Secret that holds text.
func NewSecret(text string) Secret {
	if text == "" {
		return Secret{}
	}
	return Secret{unique.Make(text)}
}

// Reveal returns the text. Call it where the text is sent, and nowhere else.
func (s Secret) Reveal() string {
	if s == (Secret{}) {
		return ""
	}
	return s.text.Value()
}

// String returns [redacted].
func (s Secret) String() string { return redacted }

// Format writes [redacted], whatever the verb and its flags.
func (s Secret) Format(f fmt.State, _ rune) { io.WriteString(f, redacted) }

// MarshalText returns [redacted], for JSON and every other encoder of texts.
func (s Secret) MarshalText() ([]byte, error) { return []byte(redacted), nil }
