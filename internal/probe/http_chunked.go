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
// behind it; and trailers of any length are dropped as they come.
type chunkedBody struct {
	from  *bufio.Reader
	left  uint64 // bytes of the chunk that are to come
	state chunkState
	err   error // that the body ended with
}

type chunkState int

const (
	beforeSize  chunkState = iota
	inChunk                // data, or the line end behind it
	behindChunk            // the last one: trailers
)

// Read gives out as many chunks as have come whole, so that a body in many
// small ones costs its reader no more than one in few, and waits only if there
// is nothing to give out.
func (c *chunkedBody) Read(b []byte) (n int, err error) {
	for n < len(b) && c.err == nil {
		if n > 0 && (c.state == behindChunk || c.left == 0 && !c.comesNext()) {
			break
		}
		if c.left == 0 {
			c.err = c.next()
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

// next reads up to the data of the next chunk, or to the end of the body.
func (c *chunkedBody) next() error {
	switch c.state {
	case behindChunk:
		return c.trailers()
	case inChunk:
		if err := c.lineEnd(); err != nil {
			return err
		}
	}
	size, err := c.size()
	if err != nil {
		return err
	}
	if c.left, c.state = size, inChunk; size == 0 {
		c.state = behindChunk
	}
	return nil
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
			_, err := c.dropLine()
			return size, err
		}
	}
}

// trailers drops the lines behind the last chunk. They are no part of the
// body, which is whole whatever they are; where they break off, it is not, as
// with curl.
func (c *chunkedBody) trailers() error {
	for {
		empty, err := c.dropLine()
		if err != nil {
			return err
		}
		if empty {
			return io.EOF
		}
	}
}

// dropLine reads to the end of the line and reports whether nothing was there.
func (c *chunkedBody) dropLine() (empty bool, err error) {
	empty = true
	for {
		piece, err := c.from.ReadSlice('\n')
		empty = empty && len(trimEnd(piece)) == 0
		if !errors.Is(err, bufio.ErrBufferFull) {
			return empty, unexpected(err)
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
