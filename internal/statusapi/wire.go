package statusapi

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"reflect"
	"strconv"
)

// The wire format. Pointers tell what is missing, or null, from what is zero.
type (
	wireAnswer struct {
		Data *struct {
			Date     wireNumber     `json:"date"`
			Metrics  *wireMetrics   `json:"metrics"`
			Services *[]wireService `json:"services"`
		} `json:"data"`
	}
	wireMetrics struct {
		Local *struct {
			Retry     wireNumber `json:"retry"`
			DelayDead wireNumber `json:"delay_dead"`
			DelaySick wireNumber `json:"delay_sick"`
		} `json:"local"`
	}
	wireService struct {
		ID    string      `json:"id"`
		Nodes *[]wireNode `json:"nodes"`
	}
	wireNode struct {
		ID       string        `json:"id"`
		Replicas []wireReplica `json:"replicas"`
		HTTP     *struct {
			Status *struct {
				HealthyAbove wireNumber `json:"healthy_above"`
				HealthyBelow wireNumber `json:"healthy_below"`
			} `json:"status"`
			Body *struct {
				HealthyMatch string `json:"healthy_match"`
				DeadMatch    string `json:"dead_match"`
			} `json:"body"`
		} `json:"http"`
	}
)

// wireReplica is a replica URL, or whatever stands in place of one.
type wireReplica struct {
	url   string
	other string // what stands there that is no string
}

// UnmarshalJSON accepts everything: one odd replica must not cost the map.
func (r *wireReplica) UnmarshalJSON(b []byte) error {
	if b[0] == '"' {
		return json.Unmarshal(b, &r.url)
	}
	r.other = jsonKind(b)
	return nil
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

// wireNumber is a whole number, missing, or null. One that no int64 holds is
// the nearest that it holds: it is clamped further where its range is known.
type wireNumber struct {
	text  string // as it came; empty if there is none
	value int64
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
	value, err := strconv.ParseInt(n.text, 10, 64)
	if err == nil {
		n.value = value
		return nil
	}
	f, err := strconv.ParseFloat(n.text, 64)
	switch {
	case err != nil && !errors.Is(err, strconv.ErrRange), f != math.Trunc(f):
		return notWhole(n.text)
	case f >= math.MaxInt64:
		n.value = math.MaxInt64
	case f <= math.MinInt64:
		n.value = math.MinInt64
	default:
		n.value = int64(f)
	}
	return nil
}

// notWhole is the error of what stands in place of a whole number. The decoder
// adds where that is.
func notWhole(what string) error {
	return &json.UnmarshalTypeError{Value: what, Type: reflect.TypeFor[wireNumber]()}
}

// readable names the field that has a wrong type as the protocol does.
func readable(err error) error {
	if wrong, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		return fmt.Errorf("%s must not be %.60s", cmp.Or(wrong.Field, "the whole"), wrong.Value)
	}
	return err
}
