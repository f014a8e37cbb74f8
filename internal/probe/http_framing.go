package probe

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"math"
	"net/http"
)

// framing is how long the body of an answer is and how it is encoded.
type framing struct {
	chunked  bool
	length   int64 // of the body, if lengthOf is not none
	lengthOf lengthState
	transfer bool // a Transfer-Encoding was there
	cut      bool // the connection ended within the head
	codings  codings
}

// lengthState is the state after the Content-Length lines.
type lengthState int

const (
	noLength   lengthState = iota
	oneLength              // all said the same
	openLength             // one said nothing, or they said different things
)

// takeLength notes a Content-Length: one number, or several that are the same.
// What else there is leaves the length open.
func (f *framing) takeLength(value []byte) {
	for item := range bytes.SplitSeq(value, []byte(",")) {
		n, ok := parseLength(bytes.Trim(item, " \t"))
		switch {
		case !ok || f.lengthOf == oneLength && n != f.length:
			f.lengthOf = openLength
		case f.lengthOf == noLength:
			f.length, f.lengthOf = n, oneLength
		}
	}
}

// parseLength returns the number that text is.
func parseLength(text []byte) (int64, bool) {
	var n int64
	for _, c := range text {
		if c < '0' || c > '9' || n > (math.MaxInt64-9)/10 {
			return 0, false
		}
		n = 10*n + int64(c-'0')
	}
	return n, len(text) > 0
}

// takeTransfer notes a Transfer-Encoding: chunked anywhere in it is chunked,
// gzip and deflate are decoded, and what else there is does not matter.
func (f *framing) takeTransfer(value []byte) {
	for item := range bytes.SplitSeq(value, []byte(",")) {
		name := nameOf(item)
		if len(name) == len("chunked") && hasName(name, "chunked") {
			f.chunked = true
		} else if c := codingOf(name); c != codingNone && c != codingUnknown {
			f.codings.add(c)
		}
		f.transfer = true
	}
}

// takeEncoding notes a Content-Encoding.
func (f *framing) takeEncoding(value []byte) {
	for item := range bytes.SplitSeq(value, []byte(",")) {
		name := nameOf(item)
		switch c := codingOf(name); c {
		case codingNone:
		case codingUnknown:
			f.codings.refuse(name)
		default:
			f.codings.add(c)
		}
	}
}

// nameOf returns the name in an item of a list, without its parameters.
func nameOf(item []byte) []byte {
	name, _, _ := bytes.Cut(item, []byte(";"))
	return bytes.Trim(name, " \t")
}

// body returns the body of the answer to method that f is of, as it was
// before it was put into chunks. Its end is io.EOF if it is whole, and
// io.ErrUnexpectedEOF where it breaks off.
func (a *answerHead) body(method string, from *bufio.Reader) io.Reader {
	switch {
	case method == http.MethodHead, a.status == http.StatusNoContent, a.status == http.StatusNotModified:
		return http.NoBody
	case a.cut:
		return brokenBody{}
	case a.chunked:
		return &chunkedBody{from: from}
	case a.lengthOf == oneLength && a.transfer:
		// The standard has it end with the connection (RFC 9112, 6.3), which
		// a server may keep open: it ends with what comes first.
		return &lengthBody{from: from, left: a.length, early: io.EOF}
	case a.lengthOf == oneLength:
		return &lengthBody{from: from, left: a.length, early: io.ErrUnexpectedEOF}
	}
	return from
}

// brokenBody is that of an answer whose head broke off.
type brokenBody struct{}

func (brokenBody) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

// lengthBody is a body of a length that was said.
type lengthBody struct {
	from  io.Reader
	left  int64
	early error // if the connection ends before that
}

func (l *lengthBody) Read(b []byte) (int, error) {
	if l.left == 0 {
		return 0, io.EOF
	}
	n, err := l.from.Read(b[:min(int64(len(b)), l.left)])
	l.left -= int64(n)
	if l.left > 0 && errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		err = l.early
	}
	return n, err
}
