package config

import (
	"fmt"
	"strings"
)

// listWords are the words of the complaints about a list.
type listWords struct {
	list  string // what the key wants
	item  string // what an item is to be
	empty string // what a variable holds none of, and what is wanted
}

// list calls add with the place and the text of each item of the array at key, or of
// those in a variable that is the whole value: it may hold several, parted by commas or
// blanks. Without a value there is none.
func (d *document) list(key string, words listWords, add func(at string, s setting)) {
	switch v := d.value(key).(type) {
	case nil:
	case string:
		if !variable.MatchString(v) {
			d.complain(key, "a string, want %s", words.list)
			return
		}
		s, ok := d.expand(key, v)
		texts := strings.FieldsFunc(s.value, func(r rune) bool { return r == ',' || r == ' ' || r == '\t' || r == '\n' })
		for i, text := range texts {
			add(fmt.Sprintf("%s[%d]", key, i), setting{s.written, text})
		}
		if ok && len(texts) == 0 {
			d.complain(key, "%q holds no %s", s.written, words.empty)
		}
	case []any:
		for i, item := range v {
			at := fmt.Sprintf("%s[%d]", key, i)
			text, isText := item.(string)
			if !isText {
				d.complain(at, "%s, want %s", kind(item), words.item)
				continue
			}
			if s, ok := d.expand(at, text); ok {
				add(at, s)
			}
		}
	default:
		d.complain(key, "%s, want %s", kind(v), words.list)
	}
}
