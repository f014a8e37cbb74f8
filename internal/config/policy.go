package config

import (
	"strconv"

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
		case s.written == s.value && shown(s.written) == strconv.Quote(s.written):
			d.complain(at, "%q %v", s.written, err)
		default: // the error quotes what the variable holds, or is a secret
			d.complain(at, "%s holds no entry, want %s", shown(s.written), policy.Form)
		}
	}
	d.list(key, listWords{list: want, item: want, empty: "entry, want at least one, or no such key"}, add)
	return entries
}
