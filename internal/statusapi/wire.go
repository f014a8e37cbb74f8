package statusapi

import (
	"bytes"
	"encoding/json"
	"errors"
	"strconv"
	"unicode/utf8"
)

// The parts of the wire format that are read whole. Pointers tell what is missing, or
// null, from what is zero.
type (
	wireMetrics struct {
		Local *struct {
			Retry     wireNumber `json:"retry"`
			DelayDead wireNumber `json:"delay_dead"`
			DelaySick wireNumber `json:"delay_sick"`
		} `json:"local"`
	}
	wireHTTP struct {
		Status *struct {
			HealthyAbove wireNumber `json:"healthy_above"`
			HealthyBelow wireNumber `json:"healthy_below"`
		} `json:"status"`
		Body *struct {
			HealthyMatch wireText `json:"healthy_match"`
			DeadMatch    wireText `json:"dead_match"`
		} `json:"body"`
	}
)

// wireReplica is a replica URL, or a value in place of one.
type wireReplica struct {
	url   wireText
	other string // the type of a value that is no string; empty if it is one
}

// UnmarshalJSON accepts everything: one odd replica must not cost the map.
func (r *wireReplica) UnmarshalJSON(b []byte) error {
	if b[0] == '"' {
		return r.url.UnmarshalJSON(b)
	}
	r.other = jsonKind(b)
	return nil
}

// wireText is a string, missing, or null. A number in its place is its text.
type wireText struct {
	text    string
	damaged bool   // it was not Unicode: the decoder has replaced bytes by U+FFFD
	other   string // the type of what is there in place of a string; empty if it is one
}

// String makes a text part of a problem that is noted before the text is read.
func (t *wireText) String() string { return t.text }

// lack says why an empty t is no id.
func (t *wireText) lack() string {
	if t.other == "" {
		return "no id"
	}
	return t.other + " for an id"
}

// UnmarshalJSON accepts everything: one odd text must not cost the map.
func (t *wireText) UnmarshalJSON(b []byte) error {
	*t = wireText{}
	switch b[0] {
	case 'n':
		return nil
	case '"':
		unicode, escaped := utf8.Valid(b), bytes.IndexByte(b, '\\') >= 0
		if unicode && !escaped {
			t.text = string(b[1 : len(b)-1]) // as most are; to decode it takes a dozen allocations
			return nil
		}
		t.damaged = !unicode || bytes.Contains(b, []byte(`\u`)) && hasLoneSurrogate(b)
		return json.Unmarshal(b, &t.text)
	}
	t.other = jsonKind(b)
	if t.other == "a number" {
		t.text = string(b)
	}
	return nil
}

// hasLoneSurrogate reports whether the JSON string b has an escape for one half
// of a character without the other.
func hasLoneSurrogate(b []byte) bool {
	high := false // the escape before this one is the first half
	for len(b) > 0 {
		length, nextHigh, low := 1, false, false
		if b[0] == '\\' && len(b) > 1 {
			length = 2
			if b[1] == 'u' && len(b) >= 6 {
				length = 6
				n, _ := strconv.ParseUint(string(b[2:6]), 16, 16)
				nextHigh, low = n&0xfc00 == 0xd800, n&0xfc00 == 0xdc00
			}
		}
		if high != low {
			return true
		}
		high, b = nextHigh, b[length:]
	}
	return high
}

// jsonKind names the type of a JSON value.
func jsonKind(b []byte) string {
	switch b[0] {
	case 'n':
		return "null"
	case '{':
		return "an object"
	case '[':
		return "an array"
	case '"':
		return "a string"
	case 't', 'f':
		return "a boolean"
	}
	return "a number"
}

// wireNumber is a number, missing, or null. Its value may be infinite or a fraction: it
// is clamped and rounded where its range is known.
type wireNumber struct {
	text  string // as it came, without quotes; empty if there is none
	value float64
	other string // the type of what is there in place of a number; empty if it is one
}

// UnmarshalJSON accepts everything: one odd number must not cost the map. A string that
// holds a number is that number, and has the type of a string all the same.
func (n *wireNumber) UnmarshalJSON(b []byte) error {
	*n = wireNumber{}
	switch b[0] {
	case 'n':
		return nil
	case '"', '{', '[', 't', 'f':
		n.other = jsonKind(b)
	}
	text := string(bytes.Trim(b, `"`))
	f, err := strconv.ParseFloat(text, 64)
	if !json.Valid([]byte(text)) || // as NaN, or hexadecimal
		err != nil && !errors.Is(err, strconv.ErrRange) {
		return nil
	}
	n.text, n.value = text, f
	return nil
}
