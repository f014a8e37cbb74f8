package statusapi

import (
	"bytes"
	"encoding/json"
	"errors"
	"math"
	"reflect"
	"strconv"
	"strings"
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

// wireText is a string, missing, or null.
type wireText struct {
	text    string
	damaged bool // it was not Unicode: the decoder has replaced bytes by U+FFFD
}

func (t *wireText) UnmarshalJSON(b []byte) error {
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
	_, kind, _ := strings.Cut(jsonKind(b), " ")
	return &json.UnmarshalTypeError{Value: kind, Type: reflect.TypeFor[string]()}
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

// wireNumber is a whole number, missing, or null. Its value may be infinite: it is
// clamped where its range is known.
type wireNumber struct {
	text  string // as it came; empty if there is none
	value float64
}

func (n *wireNumber) UnmarshalJSON(b []byte) error {
	kind := jsonKind(b)
	switch kind {
	case "null":
		return nil
	case "a number":
	default:
		return notWhole(kind)
	}
	n.text = string(b)
	f, err := strconv.ParseFloat(n.text, 64)
	if err != nil && !errors.Is(err, strconv.ErrRange) || f != math.Trunc(f) {
		return notWhole(n.text)
	}
	n.value = f
	return nil
}

// notWhole returns the error of a value that is no whole number. The decoder adds its
// position.
func notWhole(what string) error {
	return &json.UnmarshalTypeError{Value: what, Type: reflect.TypeFor[wireNumber]()}
}
