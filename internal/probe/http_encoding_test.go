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
	"testing"
	"testing/iotest"
	"time"
)

// The encodings of a body, as servers make them.
func gzipped(text string) string {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	io.WriteString(w, text)
	w.Close()
	return b.String()
}

func zlibbed(text string) string {
	var b bytes.Buffer
	w := zlib.NewWriter(&b)
	io.WriteString(w, text)
	w.Close()
	return b.String()
}

func deflated(text string) string {
	var b bytes.Buffer
	w, _ := flate.NewWriter(&b, flate.DefaultCompression)
	io.WriteString(w, text)
	w.Close()
	return b.String()
}

// decode returns body as it is searched, of an answer with those header lines.
func decode(header string, body io.Reader) (string, error) {
	var a answerHead
	head := "HTTP/1.1 200 OK\r\n" + header + "\r\n\r\n"
	a, err := (&headReader{from: bufio.NewReader(strings.NewReader(head))}).read()
	if err != nil {
		return "", err
	}
	decoded, release := a.codings.decoded(body)
	defer release()
	b, err := io.ReadAll(decoded)
	return string(b), err
}

func TestEncodedBodies(t *testing.T) {
	page := "the page: " + strings.Repeat("all of it, ", 500)
	noise := make([]byte, 5000) // that does not compress: stored blocks
	for i := range noise {
		noise[i] = byte(i * i >> 3)
	}
	gz, zl, raw := gzipped(page), zlibbed(page), deflated(page)
	for _, tt := range []struct{ name, header, body, want string }{
		{"gzip", "Content-Encoding: gzip", gz, page},
		{"x-gzip in capitals", "CONTENT-ENCODING: X-GZIP", gz, page},
		{"gzip of noise", "Content-Encoding: gzip", gzipped(string(noise)), string(noise)},
		{"gzip in members", "Content-Encoding: gzip", gz + gzipped("and more") + gz, page + "and more" + page},
		{"gzip with padding", "Content-Encoding: gzip", gz + strings.Repeat("\x00", 20), page},
		{"gzip with something behind", "Content-Encoding: gzip", gz + "xyz", page},
		{"gzip of nothing", "Content-Encoding: gzip", gzipped(""), ""},
		{"nothing for gzip", "Content-Encoding: gzip", "", ""},
		{"gzip as Transfer-Encoding", "Transfer-Encoding: gzip, chunked", gz, page},
		{"deflate by zlib", "Content-Encoding: deflate", zl, page},
		{"deflate alone", "Content-Encoding: deflate", raw, page},
		{"deflate alone of noise", "Content-Encoding: deflate", deflated(string(noise)), string(noise)},
		{"deflate that is gzip", "Content-Encoding: deflate", gz, page},
		{"short", "Content-Encoding: deflate", deflated("x"), "x"},
		{"gzip twice", "Content-Encoding: gzip, gzip", gzipped(gz), page},
		{"gzip twice in two lines, once in truth", "Content-Encoding: gzip\r\nContent-Encoding: gzip", gz, page},
		{"gzip over deflate", "Content-Encoding: deflate, gzip", gzipped(zl), page},
		{"identity", "Content-Encoding: identity", gz, gz},
		{"identity beside gzip", "Content-Encoding: gzip, identity", gz, page},
		{"no encoding", "Server: x", gz, gz},
		// Headers lie.
		{"a page that is not gzip", "Content-Encoding: gzip", page, page},
		{"JSON that is not gzip", "Content-Encoding: gzip", `{"status":"ok"}`, `{"status":"ok"}`},
		{"a byte that is not gzip", "Content-Encoding: gzip", "1", "1"},
	} {
		for _, size := range []int{1, 7, 1 << 20} {
			got, err := decode(tt.header, reads([]byte(tt.body), size))
			if got != tt.want || err != nil {
				t.Errorf("%s, in pieces of %d: got %.40q (%d bytes) and %v, want %.40q", tt.name, size, got, len(got), err, tt.want)
			}
		}
	}
}

// Deflate has no magic, and that of zlib may begin a text: a text is found in
// what is given out, whatever the decoder made of it before.
func TestPagesThatAreNotDeflate(t *testing.T) {
	for _, page := range []string{
		"ok", "x", "hi there", "<html><body>ok</body></html>", `{"status":"ok"}`, "x^2 + y^2", "hCard", "HC", "8 of 9", "\xef\xbb\xbfok",
		"\r\n\r\nok", "Grüße ok", strings.Repeat("<p>ok</p>\n", 1000), "k\x9c and more text", "[1,2]", "%PDF", "K ok",
	} {
		for _, size := range []int{1, 1 << 20} {
			got, err := decode("Content-Encoding: deflate", reads([]byte(page), size))
			if !strings.HasSuffix(got, page) || err != nil {
				t.Errorf("%.40q: got %.60q and %v, want it as it is", page, got, err)
			}
		}
	}
}

func TestEncodedBodiesThatBreakOff(t *testing.T) {
	noise := make([]byte, 5000)
	for i := range noise {
		noise[i] = byte(i*i>>3 ^ i>>5)
	}
	text := "it is ok " + string(noise)
	corrupt := []byte(gzipped(text))
	copy(corrupt[len(corrupt)/2:], "\xff\xff\xff\xff\xff\xff\xff\xff")
	gz, zl, raw := gzipped(text), zlibbed(text), deflated(text)
	for name, tt := range map[string]struct{ header, body string }{
		"gzip cut":          {"gzip", gz[:len(gz)/2]},
		"gzip cut in a sum": {"gzip", gz[:len(gz)-4]},
		"gzip with a sum":   {"gzip", gz[:len(gz)-8] + "abcdefgh"},
		"gzip corrupt":      {"gzip", string(corrupt)},
		"zlib cut":          {"deflate", zl[:len(zl)/2]},
		"deflate cut":       {"deflate", raw[:len(raw)/2]},
		"second member cut": {"gzip", gz + gz[:len(gz)/2]},
	} {
		answer := "HTTP/1.1 200 OK\r\nContent-Encoding: " + tt.header + "\r\n\r\n" + tt.body
		for rules, reason := range map[Rules]string{
			{HealthyMatch: "it is ok"}: "", // it counts as far as it came
			{HealthyMatch: "nowhere"}:  "body breaks off and lacks healthy_match so far",
			{DeadMatch: "nowhere"}:     "body breaks off before dead_match could be ruled out",
		} {
			s := serve(t, loopback(t), "http", always(answer))
			err := judge(t, testProber(), s.url, rules)
			if reason == "" && err != nil {
				t.Errorf("%s: got %v, want up", name, err)
			} else if reason != "" {
				wantFailure(t, err, KindBody, reason)
			}
		}
	}
}

// What the connection says reaches the search, so that a body that does not
// come in time is told from one that is corrupt.
func TestEncodedBodyPassesErrorsOn(t *testing.T) {
	late := errors.New("late")
	for header, body := range map[string]string{"gzip": gzipped("it is ok"), "deflate": deflated("it is ok"), "x-gzip": "no", "deflate ": "x^"} {
		_, err := decode("Content-Encoding: "+header, io.MultiReader(strings.NewReader(body[:len(body)-2]), iotest.ErrReader(late)))
		if !errors.Is(err, late) {
			t.Errorf("%s: got %v, want the connection's error", header, err)
		}
	}
}

func TestMatchesInEncodedBodies(t *testing.T) {
	for header, encode := range map[string]func(string) string{"gzip": gzipped, "deflate": deflated} {
		for way, transfer := range transfers {
			answer := strings.Replace(transfer(encode("we are down for maintenance")), "\r\n", "\r\nContent-Encoding: "+header+"\r\n", 1)
			s := serve(t, loopback(t), "http", always(answer))
			if err := judge(t, testProber(), s.url, Rules{HealthyMatch: "down for"}); err != nil {
				t.Errorf("%s, %s: got %v, want healthy_match found", header, way, err)
			}
			wantFailure(t, judge(t, testProber(), s.url, Rules{DeadMatch: "maintenance"}), KindBody, "body contains dead_match")
		}
	}
}

// What servers name there that encodes nothing.
func TestEncodingsThatAreNone(t *testing.T) {
	for _, name := range []string{"UTF-8", "utf8", "iso-8859-1", "us-ascii", "7bit", "8bit", "binary", "aws-chunked", "none", ""} {
		s := serve(t, loopback(t), "http", always("HTTP/1.1 200 OK\r\nContent-Encoding: "+name+"\r\nContent-Length: 11\r\n\r\nall is well"))
		if err := judge(t, testProber(), s.url, Rules{HealthyMatch: "well"}); err != nil {
			t.Errorf("%q: got %v, want healthy_match found", name, err)
		}
		wantFailure(t, judge(t, testProber(), s.url, Rules{DeadMatch: "well"}), KindBody, "body contains dead_match")
	}
}

func TestEncodingsThatAreNotDecoded(t *testing.T) {
	const answer = "HTTP/1.1 200 OK\r\nContent-Encoding: br\x1b\r\nContent-Length: 4\r\n\r\n\x01\x02\x03\x04"
	s := serve(t, loopback(t), "http", always(answer))
	wantFailure(t, judge(t, testProber(), s.url, Rules{HealthyMatch: "ok"}), KindBody, `body has the encoding "br\x1b", in which healthy_match cannot be found`)
	wantFailure(t, judge(t, testProber(), s.url, Rules{HealthyMatch: "ok", DeadMatch: "gone"}), KindBody, "body has the encoding")
	rules := DefaultRules()
	rules.DeadMatch = "gone"
	r := testProber().probe(t.Context(), Check{Target: mustParse(t, s.url), Rules: rules}, MaxProbe)
	if r.Health != Healthy || len(r.Notes) != 1 || !strings.Contains(r.Notes[0], `body has the encoding "br\x1b", in which dead_match cannot be found`) {
		t.Errorf("got %q because %v with the notes %q, want healthy and one that names the encoding", r.Health, r.Err, r.Notes)
	}
}

// bomb gives out a gzip stream of that many megabytes of zeros.
func bomb(megabytes int) string {
	var b bytes.Buffer
	w, _ := gzip.NewWriterLevel(&b, gzip.BestCompression)
	zeros := make([]byte, 1<<20)
	for range megabytes {
		w.Write(zeros)
	}
	w.Close()
	return b.String()
}

func TestBombsAreDownInConstantMemory(t *testing.T) {
	const reason = "body unpacks to over 16 MiB and 100 times what was received"
	flat, nested := bomb(64), gzipped(bomb(100))
	for name, tt := range map[string]struct{ header, body, reason string }{
		"a bomb":               {"gzip", flat, reason},
		"a bomb in a bomb":     {"gzip, gzip", nested, reason},
		"bombs upon a bomb":    {"gzip, gzip, gzip, gzip", gzipped(gzipped(nested)), reason},
		"a page of 10 MiB":     {"gzip", bomb(10), ""},
		"deflate without end":  {"deflate", flat[10:], reason},
		"many encodings named": {strings.Repeat("gzip, ", 6) + "gzip", "", ""},
	} {
		answer := "HTTP/1.1 200 OK\r\nContent-Encoding: " + tt.header + "\r\n\r\n" + tt.body
		s := serve(t, loopback(t), "http", always(answer))
		var err error
		cost := allocated(func() { err = judge(t, testProber(), s.url, Rules{DeadMatch: "gone"}) })
		if tt.reason == "" && err != nil {
			t.Errorf("%s: got %v, want up", name, err)
		} else if tt.reason != "" {
			wantFailure(t, err, KindBody, tt.reason)
		}
		if cost > 2<<20 {
			t.Errorf("%s: %d KiB allocated, want some hundreds at most", name, cost>>10)
		}
	}
}

func TestDecodersAreUsedAgain(t *testing.T) {
	for range 3 {
		for header, body := range map[string]string{"gzip": gzipped("it is ok"), "deflate": zlibbed("it is ok"), "Deflate": deflated("it is ok")} {
			err := (&Rules{HealthyMatch: "is ok"}).search(decodedBody(header, body), within(time.Second))
			if err != nil {
				t.Errorf("%s: got %v, want up", header, err)
			}
		}
	}
}

func decodedBody(header, body string) io.Reader {
	text, err := decode("Content-Encoding: "+header, strings.NewReader(body))
	if err != nil {
		return iotest.ErrReader(err)
	}
	return strings.NewReader(text)
}
