package statusapi

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/crisp-im/crisp-status-local/v2/internal/redact"
)

const (
	maxValue = 2 << 20 // bytes of a map's text that are held at a time: two matches take a third of them, escaped
	maxDepth = 10_000  // of skipped values; encoding/json has the same bound
	mostText = 500     // bytes of an error of encoding/json
)

var (
	errMapValue  = fmt.Errorf("map has a value of over %d MiB", maxValue>>20)
	errMapDepth  = errors.New("exceeded max depth")
	errMapBreaks = errors.New("map breaks off before its end")
)

// bounds are the bounds of one map.
type bounds struct {
	bytes    int
	values   int  // of JSON: each takes time
	replicas int  // a node's own rules count as rulesCost
	byMemory bool // replicas follows from the memory limit: those beyond are left out, and the rest is watched
}

// largest returns the bounds of the largest map, which README states.
func largest() bounds {
	return bounds{
		bytes:    128 << 20, // a million replicas take some 60 to 110 MiB
		values:   8 << 20,
		replicas: 1 << 20,
	}
}

func (b bounds) errBytes() error { return fmt.Errorf("map over %d MiB", b.bytes>>20) }

func (b bounds) errValues() error { return fmt.Errorf("map of over %d values", b.values) }

func (b bounds) errReplicas() error {
	return fmt.Errorf("map of over %d replicas, or of as much by its nodes' own rules", b.replicas)
}

// left returns the problem of a map of which n replicas do not fit the memory.
func (b bounds) left(n int) string {
	return fmt.Sprintf("%d replicas are left out: no more than %d, nodes with rules of their own counted %d times, fit the memory limit of this process (MemoryMax=, the container's, or GOMEMLIMIT), want it raised", n, b.replicas, rulesCost)
}

// mapReader reads a map value by value, so that no more of its text is held than
// one of them. Its methods name the place of a value as the protocol does.
type mapReader struct {
	json   *json.Decoder
	body   *boundedBody
	bounds bounds
	values int
}

func newMapReader(body io.Reader, most bounds) *mapReader {
	bounded := &boundedBody{body: body, bounds: most}
	return &mapReader{json: json.NewDecoder(bounded), body: bounded, bounds: most}
}

// boundedBody is the body of a map. Reading fails once the map, or one value in it, has
// too many bytes.
type boundedBody struct {
	body   io.Reader
	bounds bounds
	size   int
	value  int   // bytes since the last value was begun
	err    error // that ended the reading; not io.EOF
}

func (b *boundedBody) Read(p []byte) (int, error) {
	const piece = 64 << 10
	p = p[:min(len(p), piece)]
	var n int
	var err error
	if b.size == 0 && len(p) >= len(byteOrderMark) {
		n, err = b.begin(p)
	} else {
		n, err = b.body.Read(p)
	}
	b.size += n
	b.value += n
	switch {
	case b.size > b.bounds.bytes:
		err = b.bounds.errBytes()
	case b.value > maxValue:
		err = errMapValue
	case err == io.ErrUnexpectedEOF:
		err = errMapBreaks
	}
	if err != io.EOF {
		b.err = err
	}
	return n, err
}

// byteOrderMark is put before a text by some editors and proxies; a parser may ignore it
// (RFC 8259, 8.1).
const byteOrderMark = "\uFEFF"

// begin reads the beginning of the body without its byte order mark.
func (b *boundedBody) begin(p []byte) (int, error) {
	n, err := io.ReadAtLeast(b.body, p, len(byteOrderMark))
	if err == io.ErrUnexpectedEOF {
		err = io.EOF // so short a map is none, whatever ended it
	}
	return copy(p, bytes.TrimPrefix(p[:n], []byte(byteOrderMark))), err
}

// next counts a value that is about to be read.
func (r *mapReader) next() error {
	if r.values++; r.values > r.bounds.values {
		return r.bounds.errValues()
	}
	r.body.value = 0
	return nil
}

// wrong returns the error that ended the reading: of the body, or of its JSON.
func (r *mapReader) wrong(err error) error {
	switch {
	case err == nil:
		return nil
	case r.body.err != nil:
		return r.body.err
	case err == io.EOF || err == io.ErrUnexpectedEOF:
		return protocolError(errors.New("unexpected end of JSON input"))
	}
	return protocolError(err)
}

// protocolError returns the error of a map that err says is wrong. An error of package json
// repeats a number of any length, so a text beyond mostText is cut.
func protocolError(err error) error {
	if text := err.Error(); len(text) > mostText {
		err = errors.New((*redact.Masker)(nil).Quote(text))
	}
	return fmt.Errorf("map is not what the protocol has: %w", err)
}

// token returns the next token.
func (r *mapReader) token() (json.Token, error) {
	if err := r.next(); err != nil {
		return nil, err
	}
	t, err := r.json.Token()
	return t, r.wrong(err)
}

// object reads an object, and hands each of its names to field, which reads the value. It
// returns false for a null in its place.
func (r *mapReader) object(place string, field func(name string) error) (bool, error) {
	return r.open(place, '{', func() error {
		name, err := r.token()
		if err != nil {
			return err
		}
		text, _ := name.(string)
		return field(text)
	})
}

// array reads an array, each element of which element reads. It returns false for a null
// in its place.
func (r *mapReader) array(place string, element func() error) (bool, error) {
	return r.open(place, '[', element)
}

func (r *mapReader) open(place string, want json.Delim, each func() error) (bool, error) {
	t, err := r.token()
	switch {
	case err != nil:
		return false, err
	case t == nil:
		return false, nil
	case t != want:
		return false, wrongType(place, jsonType(t))
	}
	for r.json.More() {
		if err := each(); err != nil {
			return false, err
		}
	}
	_, err = r.token()
	return err == nil, err
}

// value reads a value of the given place into v.
func (r *mapReader) value(place string, v any) error {
	if err := r.next(); err != nil {
		return err
	}
	err := r.json.Decode(v)
	if wrong, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		return wrongType(strings.Trim(place+"."+wrong.Field, "."), wrong.Value)
	}
	return r.wrong(err)
}

// skip skips a value that the protocol does not have.
func (r *mapReader) skip() error {
	for depth := 0; ; {
		t, err := r.token()
		if err != nil {
			return err
		}
		switch t {
		case json.Delim('{'), json.Delim('['):
			depth++
		case json.Delim('}'), json.Delim(']'):
			depth--
		}
		switch {
		case depth == 0:
			return nil
		case depth > maxDepth:
			return protocolError(errMapDepth)
		}
	}
}

// end returns an error if anything follows the document.
func (r *mapReader) end() error {
	switch _, err := r.json.Token(); {
	case err == io.EOF:
		return nil
	case r.body.err != nil:
		return r.body.err
	}
	return protocolError(errors.New("something follows after top-level value"))
}

// jsonType names the type of a token as encoding/json does.
func jsonType(t json.Token) string {
	switch t := t.(type) {
	case json.Delim:
		if t == '{' {
			return "object"
		}
		return "array"
	case string:
		return "string"
	case bool:
		return "bool"
	}
	return "number"
}

// wrongType returns the error of a value that has another type than the protocol says.
func wrongType(place, kind string) error {
	return protocolError(fmt.Errorf("%s must not be %.60s", cmp.Or(place, "the whole"), kind))
}
