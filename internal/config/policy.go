package config

import (
	"fmt"
	"strings"

	"github.com/crisp-im/crisp-status-local/v2/internal/policy"
)

// policy returns what the entries at the two keys permit. Every entry that is
// wrong is a complaint of its own.
func (d *document) policy(allowKey, denyKey string) *policy.Policy {
	return policy.New(d.entries(allowKey), d.entries(denyKey))
}

// entries returns the list at key; none if there is none.
func (d *document) entries(key string) []policy.Entry {
	const want = `an array of strings, such as ["10.0.0.0/8", "*.db.lan:5432"]`
	var entries []policy.Entry
	add := func(at string, s setting) {
		e, err := policy.ParseEntry(s.value)
		switch {
		case err == nil:
			entries = append(entries, e)
		case s.written == s.value:
			d.complain(at, "%q %v", s.written, err)
		default: // the error quotes what the variable holds
			d.complain(at, "%q holds no entry, want %s", s.written, policy.Form)
		}
	}
	switch v := d.value(key).(type) {
	case nil:
	case string:
		// A variable as the whole value may hold several.
		if !variable.MatchString(v) {
			d.complain(key, "a string, want %s", want)
			break
		}
		s, ok := d.expand(key, v)
		texts := strings.FieldsFunc(s.value, func(r rune) bool { return r == ',' || r == ' ' || r == '\t' || r == '\n' })
		for i, text := range texts {
			add(fmt.Sprintf("%s[%d]", key, i), setting{s.written, text})
		}
		if ok && len(texts) == 0 {
			d.complain(key, "%q holds no entry, want at least one, or no such key", s.written)
		}
	case []any:
		for i, item := range v {
			at := fmt.Sprintf("%s[%d]", key, i)
			text, isText := item.(string)
			if !isText {
				d.complain(at, "%s, want %s", kind(item), want)
				continue
			}
			if s, ok := d.expand(at, text); ok {
				add(at, s)
			}
		}
	default:
		d.complain(key, "%s, want %s", kind(v), want)
	}
	return entries
}
