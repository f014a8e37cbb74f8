//go:build faults

package faults

import (
	"bytes"
	"maps"
	"math/rand/v2"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
)

// garbler mutates what servers say. It is safe for many goroutines.
type garbler struct {
	heads  atomic.Int64 // map answers so far: of the even ones the head is garbled
	mu     sync.Mutex   // protects all following fields
	random *rand.Rand
	off    bool
	said   map[string]int      // by stage
	last   map[string][][]byte // by stage, the newest last
}

// keptGarbage is how much of each stage a failure shows.
const keptGarbage = 4

func newGarbler(seed uint64) *garbler {
	return &garbler{random: rand.New(rand.NewPCG(seed, 0)), off: true, said: make(map[string]int), last: make(map[string][][]byte)}
}

// tokens are what the decoders of a stage look for.
var tokens = map[string][]string{
	"map": {`{`, `}`, `[`, `]`, `,`, `:`, `"`, `null`, `-1`, `1e999`, `18446744073709551616`, `"\ud800"`, `"\u0000"`, `"id":`, `"id":".."`, `"nodes":[`, `"replicas":[`, `"http":{"status":{"healthy_above":`,
		`"body":{"healthy_match":"`, `"dead_match":`, `"tcp://"`, `"icmp://[::1]"`, `"https://%zz/"`, `"tcp://10.9.1.1:99999"`, `"http://user:pa55@10.9.1.2:81/?q#f"`, "\x00", "\xff\xfe", `\`},
	"head": {"\r\n", "\n", "\r", ":", " ", "\t", "HTTP/1.1 ", "HTTP/0.9", "100 Continue\r\n\r\n", "204", "301", "304", "400", "401", "404", "429", "500", "503", "Content-Length: ", "-1", "99999999999999999999",
		"Transfer-Encoding: chunked\r\n", "Content-Encoding: gzip\r\n", "Content-Encoding: br\r\n", "Content-Type: text/html\r\n", "Location: //[::1", "Location: http://10.9.1.2/\r\n", "Retry-After: 99999999999\r\n",
		"Retry-After: Fri, 31 Dec 9999 23:59:59 GMT\r\n", "Set-Cookie: a=b; Domain=lan\r\n", "Connection: close\r\n", "Upgrade: h2c\r\n", "ffffffffffffffff\r\n", "0\r\n\r\n", "\x00", "\x1b[2J"},
	"bytes": {"\x00", "\xff", "\x00\x00\x00\x00", "\xff\xff\xff\xff", "\x80", "\x7f", "\xc0\x0c", "\x00\x01\x00\x01", "\x16\x03\x03", "\x30\x84\xff\xff\xff\xff"},
}

// garble returns other bytes instead of those that a server would honestly say at a stage.
func (g *garbler) garble(stage, kind string, honest []byte) []byte {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.off {
		return honest
	}
	garbage := bytes.Clone(honest)
	if g.random.IntN(8) == 0 {
		garbage = g.noise(g.random.IntN(1 << (1 + g.random.IntN(16))))
	} else {
		for range 1 + g.random.IntN(1<<g.random.IntN(5)) {
			garbage = g.mutate(garbage, tokens[kind])
		}
	}
	g.said[stage]++
	g.last[stage] = append(g.last[stage], garbage)
	if all := g.last[stage]; len(all) > keptGarbage {
		g.last[stage] = all[1:]
	}
	return garbage
}

// noise returns n random bytes.
func (g *garbler) noise(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(g.random.Uint32())
	}
	return b
}

// mutate changes one place.
func (g *garbler) mutate(b []byte, words []string) []byte {
	if len(b) == 0 || len(b) > 1<<20 {
		return []byte(words[g.random.IntN(len(words))])
	}
	at := g.random.IntN(len(b))
	end := min(len(b), at+1+g.random.IntN(1<<g.random.IntN(10)))
	switch g.random.IntN(8) {
	case 0:
		b[at] ^= 1 << g.random.IntN(8)
	case 1:
		b[at] = byte(g.random.Uint32())
	case 2:
		return b[:at]
	case 3:
		return slices.Delete(b, at, end)
	case 4:
		return slices.Insert(b, at, bytes.Clone(b[at:end])...)
	case 5:
		return slices.Insert(b, at, bytes.Repeat(bytes.Clone(b[at:end]), 1<<g.random.IntN(10))...)
	case 6:
		return slices.Insert(b, at, []byte(words[g.random.IntN(len(words))])...)
	default:
		word := words[g.random.IntN(len(words))]
		return slices.Replace(b, at, min(len(b), at+len(word)), []byte(word)...)
	}
	return b
}

// one returns one of n, at random.
func (g *garbler) one(n int) int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.random.IntN(n)
}

// switched has it mutate, or not.
func (g *garbler) switched(on bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.off = !on
}

// report logs how often each stage was garbled, and fails the test for a stage that was not.
func (g *garbler) report(t *testing.T, stages ...string) {
	t.Helper()
	g.mu.Lock()
	defer g.mu.Unlock()
	total := 0
	for _, n := range g.said {
		total += n
	}
	t.Logf("figures: %d answers were garbled: %v", total, g.said)
	for _, stage := range stages {
		if g.said[stage] == 0 {
			t.Errorf("nothing was garbled at the stage %q", stage)
		}
	}
	if t.Failed() {
		for _, stage := range slices.Sorted(maps.Keys(g.last)) {
			for _, garbage := range g.last[stage] {
				t.Logf("one of the last of the stage %q: %.2000q", stage, garbage)
			}
		}
	}
}

// garbledConn is a server's side of a connection.
type garbledConn struct {
	net.Conn
	garbler *garbler
	garble  func(honest []byte) []byte
}

// Write writes something else, and sometimes nothing more.
func (c *garbledConn) Write(b []byte) (int, error) {
	garbage := c.garble(b)
	if _, err := c.Conn.Write(garbage); err != nil {
		return 0, err
	}
	if !bytes.Equal(garbage, b) && c.garbler.one(4) > 0 {
		c.Conn.Close()
	}
	return len(b), nil
}

// conn returns what garbles a connection of the Status API, if g is not nil: over TLS what
// TLS writes, which does not come to be another answer.
func (g *garbler) conn(conn net.Conn, secure bool) net.Conn {
	switch {
	case g == nil:
		return conn
	case secure:
		return &garbledConn{conn, g, g.now(8, "records of the API", "bytes")}
	}
	return &garbledConn{conn, g, g.garbleAPI}
}

// garbledListener has connections that garble.
type garbledListener struct {
	net.Listener
	wrap func(net.Conn) net.Conn
}

func (l garbledListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return l.wrap(conn), nil
}

// garbledService is the id of the service of the map whose text is garbled. What stands
// before it in the map stays as it is.
const garbledService = "garbled"

// garbleMap garbles the text of a map from the garbled service on, or so that no map is
// left, and of every second one the head of the answer instead.
func (g *garbler) garbleMap(text []byte) []byte {
	at := bytes.Index(text, []byte(`{"id":"`+garbledService+`"`))
	if at < 0 || g.heads.Add(1)%2 == 0 {
		return text
	}
	switch g.one(8) {
	case 0:
		return g.garble("map", "map", nil)
	case 1:
		return text[:g.one(len(text))]
	default:
		return slices.Concat(text[:at], g.garble("map", "map", text[at:]))
	}
}

// garbleAPI garbles what the Status API writes on a connection: of an answer with a map its
// head alone, since another map may be one without the replicas that the test watches.
func (g *garbler) garbleAPI(b []byte) []byte {
	_, body, whole := bytes.Cut(b, []byte("\r\n\r\n"))
	switch {
	case !whole || !bytes.HasPrefix(b, []byte("HTTP/1.")):
		return b // it goes on with a map
	case !bytes.HasPrefix(body, []byte(`{"data":`)):
		if g.one(3) > 0 {
			return b
		}
		return g.garble("report", "head", b)
	case g.heads.Load()%2 == 1:
		return b
	}
	return slices.Concat(g.garble("head of the map", "head", b[:len(b)-len(body)]), body)
}
