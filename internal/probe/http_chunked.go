package probe

import (
	"bufio"
	"bytes"
	"errors"
	"io"
)

var errChunk = errors.New("malformed chunk")

const (
	maxChunk      = 1 << 62 // bytes of a chunk
	maxChunkZeros = 4 << 10 // leading zeros of its size
)

// chunkedBody is a body that comes in chunks (RFC 9112, 7.1). It forgives what
// curl does: lines that end with LF alone, blanks around a size, and anything
// behind it. The body is whole once its last chunk is there, so the trailers
// behind that are not waited for, however long they are.
type chunkedBody struct {
	from  *bufio.Reader
	left  uint64 // bytes of the chunk that are to come
	begun bool   // a chunk was there, so a line end stands before the next
	err   error  // that the body ended with
}

// Read gives out as many chunks as have come whole, so that a body in many
// small ones costs its reader no more than one in few, and waits only if there
// is nothing to give out.
func (c *chunkedBody) Read(b []byte) (n int, err error) {
	for n < len(b) && c.err == nil {
		if c.left == 0 {
			if n > 0 && !c.comesNext() {
				break
			}
			c.left, c.err = c.next()
			continue
		}
		part := b[n:]
		if c.left < uint64(len(part)) {
			part = part[:c.left]
		}
		m, err := c.from.Read(part)
		n += m
		c.left -= uint64(m)
		if c.err = unexpected(err); c.left > 0 {
			break
		}
	}
	if n == 0 && len(b) > 0 {
		return 0, c.err
	}
	return n, nil
}

// comesNext reports whether the end of this chunk and the size of the next one
// have come already.
func (c *chunkedBody) comesNext() bool {
	have, _ := c.from.Peek(c.from.Buffered())
	i := bytes.IndexByte(have, '\n')
	return i >= 0 && bytes.IndexByte(have[i+1:], '\n') >= 0
}

// next reads up to the data of the next chunk and returns its size, or io.EOF
// if it is the last one.
func (c *chunkedBody) next() (uint64, error) {
	if c.begun {
		if err := c.lineEnd(); err != nil {
			return 0, err
		}
	}
	c.begun = true
	size, err := c.size()
	if err == nil && size == 0 {
		err = io.EOF
	}
	return size, err
}

// lineEnd reads the line end behind the data of a chunk.
func (c *chunkedBody) lineEnd() error {
	for {
		switch b, err := c.from.ReadByte(); {
		case err != nil:
			return unexpected(err)
		case b == '\n':
			return nil
		case b != '\r' && b != ' ' && b != '\t':
			return errChunk
		}
	}
}

// size reads the line with the size of a chunk.
func (c *chunkedBody) size() (uint64, error) {
	var size uint64
	for digits := 0; ; {
		b, err := c.from.ReadByte()
		if err != nil {
			return 0, unexpected(err)
		}
		digit, ok := hexDigit(b)
		switch {
		case ok:
			if digits++; digits > maxChunkZeros || size > maxChunk>>4 {
				return 0, errChunk
			}
			size = size<<4 | digit
		case digits == 0 && (b == ' ' || b == '\t'):
		case digits == 0:
			return 0, errChunk
		default:
			if err := c.from.UnreadByte(); err != nil {
				return 0, err
			}
			return size, c.dropLine()
		}
	}
}

// dropLine reads to the end of the line.
func (c *chunkedBody) dropLine() error {
	for {
		_, err := c.from.ReadSlice('\n')
		if !errors.Is(err, bufio.ErrBufferFull) {
			return unexpected(err)
		}
	}
}

func hexDigit(b byte) (uint64, bool) {
	switch {
	case '0' <= b && b <= '9':
		return uint64(b - '0'), true
	case 'a' <= b && b <= 'f':
		return uint64(b-'a') + 10, true
	case 'A' <= b && b <= 'F':
		return uint64(b-'A') + 10, true
	}
	return 0, false
}

// unexpected is err for a reader that is not to end yet.
func unexpected(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
