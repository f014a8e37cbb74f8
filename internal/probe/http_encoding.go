package probe

import (
	"bufio"
	"bytes"
	"compress/flate"
	"compress/gzip"
	"compress/zlib"
	"errors"
	"io"
	"strings"
	"sync"
)

// A body that unpacks to more than both of these is a bomb.
const (
	maxUnpacked      = 16 << 20 // bytes
	maxUnpackedRatio = 100      // times the bytes received
)

// maxCodings bounds the encodings of one body, as with curl.
const maxCodings = 5

var errBomb = errors.New("body unpacks to too much")

// coding is an encoding of a body.
type coding int

const (
	codingNone    coding = iota
	codingGzip           // RFC 1952
	codingDeflate        // RFC 1950, or RFC 1951 alone, which many servers send for it
	codingUnknown
)

// codingOf returns the coding of that name. Servers write "" and "none" for
// identity, and what belongs elsewhere: a charset, an encoding of MIME (RFC 2045, 6),
// or how an object was uploaded to a store. Browsers and curl take all of these for
// no encoding.
func codingOf(name []byte) coding {
	is := func(other string) bool { return len(name) == len(other) && hasName(name, other) }
	switch {
	case is(""), is("none"), is("identity"),
		is("utf-8"), is("utf8"), is("iso-8859-1"), is("us-ascii"),
		is("7bit"), is("8bit"), is("binary"), is("aws-chunked"):
		return codingNone
	case is("gzip"), is("x-gzip"):
		return codingGzip
	case is("deflate"):
		return codingDeflate
	}
	return codingUnknown
}

// codings are the encodings of a body, in the order in which they were made.
type codings struct {
	known   [maxCodings]coding
	count   int
	unknown string // the name of one that is not decoded; "": all are
}

func (c *codings) add(known coding) {
	if c.count == maxCodings {
		c.unknown = "more than five at once"
		return
	}
	c.known[c.count] = known
	c.count++
}

func (c *codings) refuse(name []byte) {
	if c.unknown == "" {
		c.unknown = string(name[:min(len(name), 40)])
	}
}

// decoded returns body without its encodings, and a function that releases the
// decoders.
func (c *codings) decoded(body io.Reader) (io.Reader, func()) {
	if c.count == 0 {
		return body, func() {}
	}
	received := &counter{from: body}
	var decoders []*decoder
	body = received
	for i := c.count - 1; i >= 0; i-- {
		d := newDecoder(c.known[i], body, received)
		decoders = append(decoders, d)
		body = d
	}
	return body, func() {
		for _, d := range decoders {
			d.close()
		}
	}
}

// counter counts the bytes read.
type counter struct {
	from io.Reader
	n    int64
}

func (c *counter) Read(b []byte) (int, error) {
	n, err := c.from.Read(b)
	c.n += int64(n)
	return n, err
}

// decoder removes one encoding from a body. A body that does not have it is
// returned unchanged: such headers are common, and browsers show the body.
type decoder struct {
	coding   coding
	in       *bufio.Reader // the encoded body; nil once closed
	seen     prefix
	out      io.Reader  // the body; nil: not begun
	pool     *sync.Pool // that out is from; may be nil
	received *counter
	unpacked int64
	err      error // that the body ended with
}

func newDecoder(c coding, from io.Reader, received *counter) *decoder {
	d := &decoder{coding: c, received: received, seen: prefix{from: from}, in: readers.Get().(*bufio.Reader)}
	d.in.Reset(&d.seen)
	return d
}

func (d *decoder) Read(b []byte) (int, error) {
	if d.out == nil && d.err == nil {
		d.err = d.detect()
	}
	if d.err != nil {
		return 0, d.err
	}
	n, err := d.out.Read(b)
	if d.unpacked += int64(n); d.unpacked > maxUnpacked+maxUnpackedRatio*d.received.n {
		err = errBomb
	}
	if d.isPlain(err) {
		plain := io.MultiReader(bytes.NewReader(bytes.Clone(d.seen.bytes())), d.seen.from)
		d.release()
		d.out, d.coding, err = plain, codingNone, nil
	} else if errors.Is(err, io.EOF) && d.isMember() {
		err = d.out.(*gzip.Reader).Reset(d.in)
		if err == nil {
			d.out.(*gzip.Reader).Multistream(false)
		}
	}
	d.err = err
	if n > 0 {
		err = nil
	}
	return n, err
}

// detect sets up the decoder by the magic of the first bytes.
func (d *decoder) detect() error {
	magic, err := d.in.Peek(3)
	if len(magic) == 0 {
		return err
	}
	switch {
	case bytes.HasPrefix(magic, gzipMagic):
		r := gunzips.Get().(*gzip.Reader)
		d.out, d.pool, d.coding = r, &gunzips, codingGzip
		err := r.Reset(d.in)
		r.Multistream(false)
		return err
	case d.coding == codingDeflate && isZlib(magic):
		d.out, err = newZlib(d.in)
		d.pool = &unzlibs
		return err
	case d.coding == codingDeflate:
		r := inflates.Get().(flate.Resetter)
		d.out, d.pool = r.(io.Reader), &inflates
		return r.Reset(d.in, nil)
	}
	d.out, d.coding = d.in, codingNone
	return nil
}

// isMember reports whether another gzip member follows one that is over. Other
// bytes are padding.
func (d *decoder) isMember() bool {
	if d.coding != codingGzip {
		return false
	}
	magic, _ := d.in.Peek(len(gzipMagic))
	return bytes.Equal(magic, gzipMagic)
}

// isPlain reports whether a body whose decoding failed with err is text that was
// never encoded. Raw deflate has no magic, and that of zlib may begin a text.
func (d *decoder) isPlain(err error) bool {
	if d.coding != codingDeflate || err == nil || errors.Is(err, io.EOF) {
		return false
	}
	_, corrupt := errors.AsType[flate.CorruptInputError](err)
	corrupt = corrupt || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, zlib.ErrChecksum)
	return corrupt && d.seen.isText()
}

// release returns the decompressor to its pool.
func (d *decoder) release() {
	if d.pool != nil && d.out != nil {
		d.pool.Put(d.out)
	}
	d.out, d.pool = nil, nil
}

func (d *decoder) close() {
	d.release()
	d.in.Reset(nil)
	readers.Put(d.in)
	d.in, d.err = nil, io.ErrClosedPipe
}

// gzipMagic is the start of a gzip member: its magic, and deflate, the only method.
var gzipMagic = []byte{0x1f, 0x8b, 8}

// isZlib reports whether magic begins a zlib stream without a dictionary
// (RFC 1950, 2.2).
func isZlib(magic []byte) bool {
	return len(magic) >= 2 && magic[0]&0x0f == 8 && magic[0]>>4 <= 7 && magic[1]&0x20 == 0 &&
		(int(magic[0])<<8|int(magic[1]))%31 == 0
}

// Unpackers take some 40 KiB each, so they are kept for the next body.
var (
	gunzips  = sync.Pool{New: func() any { return new(gzip.Reader) }}
	unzlibs  = sync.Pool{}
	inflates = sync.Pool{New: func() any { return flate.NewReader(nil) }}
)

// newZlib returns a reader of the zlib stream that in begins with.
func newZlib(in io.Reader) (io.Reader, error) {
	if r, ok := unzlibs.Get().(io.Reader); ok {
		return r, r.(zlib.Resetter).Reset(in, nil)
	}
	return zlib.NewReader(in)
}

// prefix keeps the first bytes that are read.
type prefix struct {
	from io.Reader
	kept [1 << 10]byte
	n    int // bytes read
}

func (p *prefix) Read(b []byte) (int, error) {
	n, err := p.from.Read(b)
	if p.n < len(p.kept) {
		copy(p.kept[p.n:], b[:n])
	}
	p.n = min(p.n+n, len(p.kept)+1)
	return n, err
}

func (p *prefix) bytes() []byte { return p.kept[:min(p.n, len(p.kept))] }

// isText reports whether all bytes read were kept and are text: compressed data
// contains control characters.
func (p *prefix) isText() bool {
	isControl := func(r rune) bool { return r < ' ' && !strings.ContainsRune("\t\n\f\r", r) }
	return p.n <= len(p.kept) && !bytes.ContainsFunc(p.bytes(), isControl)
}
