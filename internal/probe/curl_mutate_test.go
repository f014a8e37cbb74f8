package probe

import (
	"bytes"
	"compress/flate"
	"compress/gzip"
	"compress/zlib"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
)

// draft is an answer on its way to bytes.
type draft struct {
	before  string // sent before the status line
	status  string
	lines   []string // header lines, without their ends
	length  []string // those that say how long the body is
	end     string   // of each line
	plain   []byte   // the body before any coding
	body    []byte
	missing int // bytes of the body's end that are not sent
	toHEAD  []byte
	noHEAD  bool
}

func newDraft(r *rand.Rand) *draft {
	d := &draft{status: "HTTP/1.1 200 OK", end: "\r\n", lines: []string{"Server: " + word(r, 12), "Date: Thu, 26 Nov 2026 00:00:00 GMT"}}
	d.plain = []byte(word(r, 200) + " status is fine " + word(r, 2000))
	d.setBody(d.plain)
	return d
}

func (d *draft) setBody(body []byte) {
	d.body = body
	d.length = []string{fmt.Sprintf("Content-Length: %d", len(body))}
}

// insert puts line at a random place among the header lines.
func (d *draft) insert(r *rand.Rand, line string) {
	d.lines = slices.Insert(d.lines, r.IntN(len(d.lines)+1), line)
}

func (d *draft) hop() hopAnswer {
	var head bytes.Buffer
	head.WriteString(d.before)
	for _, line := range slices.Concat([]string{d.status}, d.lines, d.length, []string{""}) {
		head.WriteString(line + d.end)
	}
	return hopAnswer{head: head.Bytes(), body: d.body[:max(0, len(d.body)-d.missing)], toHEAD: d.toHEAD, noHEAD: d.noHEAD}
}

// chunk puts the body into chunks, as liberal servers write them.
func (d *draft) chunk(r *rand.Rand, trailer string) {
	var b bytes.Buffer
	for rest := d.body; len(rest) > 0; {
		n := 1 + r.IntN(len(rest))
		size := strconv.FormatInt(int64(n), 16)
		if r.IntN(3) == 0 {
			size = strings.ToUpper(size)
		}
		size = pick(r, "", "", "00") + size + pick(r, "", "", ";ext=1", ` ; name="v"`, " ")
		b.WriteString(size + pick(r, "\r\n", "\r\n", "\n"))
		b.Write(rest[:n])
		b.WriteString(pick(r, "\r\n", "\r\n", "\n"))
		rest = rest[n:]
	}
	b.WriteString("0\r\n" + trailer + "\r\n")
	d.body, d.length = b.Bytes(), []string{"Transfer-Encoding: chunked"}
}

func compressed(coding string, plain []byte) []byte {
	var b bytes.Buffer
	var w io.WriteCloser
	switch coding {
	case "gzip":
		w = gzip.NewWriter(&b)
	case "zlib":
		w = zlib.NewWriter(&b)
	default:
		w, _ = flate.NewWriter(&b, 6)
	}
	w.Write(plain)
	w.Close()
	return b.Bytes()
}

// mutation is a way in which an answer of the world differs from the standard's.
type mutation struct {
	class string
	apply func(r *rand.Rand, c *answerCase, d *draft)
}

// inserts is a mutation that puts one of lines among the header lines.
func inserts(class string, lines ...string) mutation {
	return mutation{class, func(r *rand.Rand, _ *answerCase, d *draft) { d.insert(r, pick(r, lines...)) }}
}

var mutations = slices.Concat(headMutations, bodyMutations, exchangeMutations)

var headMutations = []mutation{
	inserts("identity", "Transfer-Encoding: identity", "Transfer-Encoding: Identity", "transfer-encoding: identity"),
	inserts("name outside ASCII", "X\u2010Content\u2010Type: nosniff", "Größe: 1", "X-\xff: 1", "\xe4: b"),
	inserts("value outside ASCII", "X-Title: Grüße", "Server: \xff\xfe", "X-Bell: a\x07b", "X-Del: \x7f"),
	inserts("blank before the colon", "X-Powered-By : PHP", "Server\t: x", "X-A  : b"),
	inserts("no name", ": value", ":", ":a: b"),
	inserts("no colon", "this is no header", "X-Header", "<!-- debug -->"),
	{"folded", func(r *rand.Rand, _ *answerCase, d *draft) {
		d.lines = slices.Insert(d.lines, r.IntN(len(d.lines)+1), "X-Long: a", pick(r, " b", "\tb", "   c: d"))
	}},
	{"folded first", func(r *rand.Rand, _ *answerCase, d *draft) {
		d.lines = slices.Insert(d.lines, 0, pick(r, " X-First: 1", "\tfolded"))
	}},
	{"line ends", func(r *rand.Rand, _ *answerCase, d *draft) { d.end = pick(r, "\n", "\n", "\r\r\n") }},
	{"status line", func(r *rand.Rand, _ *answerCase, d *draft) {
		d.status = pick(r, "HTTP/1.1 200", "HTTP/1.1 200 ", "HTTP/1.0 200 OK", "http/1.1 200 OK", "ICY 200 OK", "HTTP/1.1  200 OK", "HTTP/1.1 200 Grüße",
			"HTTP/1.1 200OK", "HTTP/1.1 0200 OK", "HTTP/1.1 200 "+strings.Repeat("x", 3000), "HTTP/1.2 200 OK", "HTTP/2 200", "HTTP 200 OK", "HTTP/1.1\t200 OK")
	}},
	{"no header line", func(r *rand.Rand, _ *answerCase, d *draft) { d.lines, d.length = nil, nil }},
	{"long head", func(r *rand.Rand, _ *answerCase, d *draft) {
		size := pick(r, 5<<10, 70<<10, 90<<10, 250<<10, 600<<10, 1000<<10)
		if r.IntN(2) == 0 {
			d.insert(r, "X-Long: "+strings.Repeat("v", size))
			return
		}
		for n := 0; n < size; n += 1010 {
			d.lines = append(d.lines, "X-"+word(r, 6)+": "+strings.Repeat("v", 1000))
		}
	}},
	{"1xx", func(r *rand.Rand, _ *answerCase, d *draft) {
		for range 1 + r.IntN(3) {
			d.before += pick(r, "HTTP/1.1 100 Continue\r\n\r\n", "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n", "HTTP/1.1 102 Processing\r\n\r\n")
		}
	}},
	{"not HTTP", func(r *rand.Rand, _ *answerCase, d *draft) {
		d.status = pick(r, "SSH-2.0-OpenSSH_9.2", "220 smtp ready", "<html>", "\x16\x03\x01", "+OK", "HTTP", "HTTP/1.1 abc", "HTTP/1.1 20")
	}},
	{"status", func(r *rand.Rand, _ *answerCase, d *draft) {
		d.status = fmt.Sprintf("HTTP/1.1 %d X", pick(r, 201, 206, 226, 299, 300, 302, 304, 305, 400, 401, 404, 429, 500, 503, 599, 999))
		if r.IntN(3) == 0 && strings.HasPrefix(d.status, "HTTP/1.1 30") && !strings.Contains(d.status, "302") {
			d.insert(r, "Location: /elsewhere")
		}
	}},
}

var bodyMutations = []mutation{
	{"chunked", func(r *rand.Rand, _ *answerCase, d *draft) { d.chunk(r, "") }},
	{"chunked twice", func(r *rand.Rand, _ *answerCase, d *draft) {
		d.chunk(r, "")
		d.length = append(d.length, pick(r, "Transfer-Encoding: chunked", "transfer-encoding: Chunked"))
	}},
	{"trailers", func(r *rand.Rand, _ *answerCase, d *draft) {
		var trailer strings.Builder
		for range 1 + r.IntN(40) {
			trailer.WriteString("X-" + word(r, 8) + ": " + word(r, 120) + "\r\n")
		}
		d.chunk(r, trailer.String())
	}},
	{"length list", func(r *rand.Rand, _ *answerCase, d *draft) {
		d.length = []string{fmt.Sprintf("Content-Length: %d, %d", len(d.body), len(d.body))}
	}},
	{"length twice", func(r *rand.Rand, _ *answerCase, d *draft) {
		line := fmt.Sprintf("Content-Length: %d", len(d.body))
		d.length = []string{line, strings.ToLower(line)}
	}},
	{"length odd", func(r *rand.Rand, _ *answerCase, d *draft) {
		d.length = []string{pick(r, "Content-Length:", "Content-Length: ", "Content-Length: -1", "Content-Length: many",
			fmt.Sprintf("Content-Length:   %d  ", len(d.body)), fmt.Sprintf("Content-Length:\t%d", len(d.body)))}
	}},
	{"gzip", func(r *rand.Rand, _ *answerCase, d *draft) {
		d.setBody(compressed("gzip", d.plain))
		d.lines = append(d.lines, pick(r, "Content-Encoding: gzip", "content-encoding: GZIP", "Content-Encoding: x-gzip"))
		if r.IntN(3) == 0 {
			d.chunk(r, "")
		}
	}},
	{"deflate", func(r *rand.Rand, _ *answerCase, d *draft) {
		d.setBody(compressed(pick(r, "zlib", "raw"), d.plain))
		d.lines = append(d.lines, "Content-Encoding: deflate")
	}},
	{"transfer gzip", func(r *rand.Rand, _ *answerCase, d *draft) {
		d.setBody(compressed("gzip", d.plain))
		d.chunk(r, "")
		d.length = []string{"Transfer-Encoding: gzip, chunked"}
	}},
	inserts("mislabelled", "Content-Encoding: gzip", "Content-Encoding: identity", "Content-Encoding: none"),
	{"breaks off", func(r *rand.Rand, _ *answerCase, d *draft) { d.missing = 1 + r.IntN(len(d.body)+1) }},
	{"no body", func(r *rand.Rand, c *answerCase, d *draft) {
		d.setBody(nil)
		if d.plain = nil; r.IntN(2) == 0 {
			d.status, d.length = "HTTP/1.1 204 No Content", nil
		}
		if r.IntN(2) == 0 {
			c.healthyMatch, c.deadMatch = "", "maintenance"
		}
	}},
	{"dead match", func(r *rand.Rand, c *answerCase, d *draft) {
		if c.deadMatch = "maintenance"; r.IntN(2) == 0 {
			d.plain = slices.Concat(d.plain[:r.IntN(len(d.plain)+1)], []byte(" maintenance "), d.plain)
		}
		d.setBody(d.plain)
		switch r.IntN(4) {
		case 0:
			d.setBody(compressed("gzip", d.plain))
			d.insert(r, "Content-Encoding: gzip")
		case 1:
			d.chunk(r, "X-Trailer: "+word(r, 4000)+"\r\n")
		}
	}},
}

var exchangeMutations = []mutation{
	{"HEAD refused", func(r *rand.Rand, _ *answerCase, d *draft) {
		d.toHEAD = fmt.Appendf(nil, "HTTP/1.1 %d No\r\nContent-Length: 5\r\n\r\n", pick(r, 400, 401, 403, 404, 405, 407, 410, 411, 429, 500, 501, 502, 503))
	}},
	{"HEAD closed", func(_ *rand.Rand, _ *answerCase, d *draft) { d.noHEAD = true }},
	{"first visit", func(r *rand.Rand, c *answerCase, _ *draft) { c.firstVisit(r) }},
	{"strangers", func(r *rand.Rand, c *answerCase, _ *draft) {
		c.user = pick(r, "user:pass@", "", "us%65r:p%40ss@")
		for n := range 1 + r.IntN(4) {
			c.hops = append(c.hops, strangerHop(r, c, n+1))
		}
	}},
	{"redirects", func(*rand.Rand, *answerCase, *draft) {}}, // generateAnswer makes them
	{"plain", func(*rand.Rand, *answerCase, *draft) {}},
}
