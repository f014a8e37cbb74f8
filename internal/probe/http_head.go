package probe

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net/http"
)

const (
	maxHead  = 1 << 20  // bytes of an answer's head, those of the 1xx answers before it included
	maxField = 16 << 10 // bytes that are kept of a header line; of a longer one, a buffer more
)

var (
	errHeadTooLong  = errors.New("head too long")
	errNoStatusLine = errors.New("no status line")
)

// answerHead is the part of an answer's head that a verdict needs. The rest is
// ignored: a server that people use is not down because of a line that they never
// see.
type answerHead struct {
	status   int
	location string   // where a redirect points to; "" if it is none
	cookies  []string // the values of a redirect's Set-Cookie lines
	framing
}

// headReader reads the head of an answer. Its memory is a buffer and one line.
type headReader struct {
	from  *bufio.Reader
	size  int    // bytes read so far
	begun bool   // a status line was there
	first []byte // the line that is no status line; valid until the next read
	long  []byte // a line that is longer than the buffer
}

// read returns the head of the answer, passing over the 1xx answers before it.
// Where the connection ends within the header lines, they end there too. The
// error is io.EOF, of the connection, errHeadTooLong, or errNoStatusLine.
func (h *headReader) read() (answerHead, error) {
	for {
		status, err := h.statusLine()
		if err != nil {
			return answerHead{}, err
		}
		a := answerHead{status: status}
		err = h.fields(&a)
		if passing := status/100 == 1 && status != http.StatusSwitchingProtocols; passing && err == nil {
			continue
		} else if errors.Is(err, io.EOF) && !passing {
			a.cut, err = true, nil
		}
		return a, err
	}
}

// piece returns the next piece of a line, with the line's end in it if last:
// the whole line, unless it is longer than the buffer.
func (h *headReader) piece() (piece []byte, last bool, err error) {
	piece, err = h.from.ReadSlice('\n')
	if last = err == nil; errors.Is(err, bufio.ErrBufferFull) {
		err = nil
	}
	if h.size += len(piece); h.size > maxHead {
		err = errHeadTooLong
	}
	return piece, last, err
}

// statusLine reads the status line. Empty lines before it are passed over, as
// the original does.
func (h *headReader) statusLine() (int, error) {
	for {
		piece, last, err := h.piece()
		if err != nil {
			return 0, err
		}
		line := trimEnd(piece)
		if last && len(line) == 0 {
			continue
		}
		status, ok := parseStatus(line)
		if !ok {
			h.first = line
			return 0, errNoStatusLine
		}
		h.begun = true
		return status, h.skip(last)
	}
}

// skip reads the rest of a line.
func (h *headReader) skip(last bool) error {
	var err error
	for !last && err == nil {
		_, last, err = h.piece()
	}
	return err
}

// whole returns the whole line that piece begins, as far as it is kept.
func (h *headReader) whole(piece []byte, last bool) ([]byte, error) {
	if last {
		return piece, nil
	}
	h.long = append(h.long[:0], piece...)
	for !last {
		var err error
		if piece, last, err = h.piece(); err != nil {
			return nil, err
		}
		if len(h.long) <= maxField {
			h.long = append(h.long, piece...)
		}
	}
	return h.long, nil
}

// fields reads the header lines up to the empty line that ends them.
func (h *headReader) fields(a *answerHead) error {
	folded := fieldOther // the line before is this one, and has no value yet
	for {
		piece, last, err := h.piece()
		if err != nil {
			return err
		}
		if last && len(trimEnd(piece)) == 0 {
			return nil
		}
		f := fieldOf(piece)
		if piece[0] == ' ' || piece[0] == '\t' {
			// Only a value that begins on the next line is read on, which is
			// what is left of folded lines (RFC 9112, 5.2).
			f = folded
		}
		folded = fieldOther
		if f == fieldOther || f.ofRedirect() && !isRedirect(a.status) {
			if err := h.skip(last); err != nil {
				return err
			}
			continue
		}
		line, err := h.whole(piece, last)
		if err != nil {
			return err
		}
		if line[0] != ' ' && line[0] != '\t' {
			line = line[len(fieldNames[f])+1:]
		}
		if value := bytes.Trim(line, " \t\r\n"); len(value) > 0 {
			a.take(f, value)
		} else {
			folded = f
		}
	}
}

// take notes the value of a header line.
func (a *answerHead) take(f field, value []byte) {
	switch f {
	case fieldLocation:
		if a.location == "" {
			a.location = string(value)
		}
	case fieldCookie:
		if len(value) <= maxCookieLine && len(a.cookies) < maxCookies {
			a.cookies = append(a.cookies, string(value))
		}
	case fieldLength:
		a.takeLength(value)
	case fieldTransfer:
		a.takeTransfer(value)
	case fieldEncoding:
		a.takeEncoding(value)
	}
}

// isRedirect reports whether status is one of a redirect that is followed.
func isRedirect(status int) bool {
	switch status {
	case http.StatusMovedPermanently, http.StatusFound, http.StatusSeeOther,
		http.StatusTemporaryRedirect, http.StatusPermanentRedirect:
		return true
	}
	return false
}

// field is a header line that is kept.
type field int

const (
	fieldOther field = iota
	fieldLength
	fieldTransfer
	fieldEncoding
	fieldLocation
	fieldCookie
)

// fieldNames are the names of the fields, in lower case.
var fieldNames = [...]string{fieldOther: "", "content-length", "transfer-encoding", "content-encoding", "location", "set-cookie"}

// ofRedirect reports whether f matters in a redirect alone.
func (f field) ofRedirect() bool { return f == fieldLocation || f == fieldCookie }

// fieldOf returns which field line is. One with a blank before its colon is
// none, as with curl.
func fieldOf(line []byte) field {
	for f := fieldLength; f <= fieldCookie; f++ {
		name := fieldNames[f]
		if len(line) > len(name) && line[len(name)] == ':' && hasName(line, name) {
			return f
		}
	}
	return fieldOther
}

// hasName reports whether line begins with name, which is in lower case.
func hasName(line []byte, name string) bool {
	if len(line) < len(name) {
		return false
	}
	for i := range len(name) {
		c := line[i]
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		if c != name[i] {
			return false
		}
	}
	return true
}

// trimEnd returns line without its end, which may be LF, CR LF, or CR CR LF.
func trimEnd(line []byte) []byte { return bytes.TrimRight(line, "\r\n") }

// parseStatus returns the status of a status line: HTTP with or without a
// version, or the ICY of SHOUTcast servers, blanks, three digits that may be
// padded with zeros, and anything but a digit behind them.
func parseStatus(line []byte) (int, bool) {
	switch {
	case hasName(line, "http"):
		line = bytes.TrimLeft(line[len("http"):], "/.0123456789")
	case hasName(line, "icy"):
		line = line[len("icy"):]
	default:
		return 0, false
	}
	digits := bytes.TrimLeft(line, " \t")
	if len(digits) == len(line) {
		return 0, false
	}
	digits = bytes.TrimLeft(digits, "0")
	n, status := 0, 0
	for n < len(digits) && '0' <= digits[n] && digits[n] <= '9' && n <= 3 {
		status = 10*status + int(digits[n]-'0')
		n++
	}
	return status, n == 3
}
