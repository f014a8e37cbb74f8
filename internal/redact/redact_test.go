package redact

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"html"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"
)

// encodings are ways in which a server writes what it was sent.
var encodings = map[string]func(string) string{
	"raw": func(s string) string { return s },
	"upper case": func(s string) string {
		return strings.Map(func(r rune) rune {
			if 'a' <= r && r <= 'z' {
				r -= 'a' - 'A'
			}
			return r
		}, s)
	},
	"percent":        func(s string) string { return eachByte(s, "%%%02X") },
	"percent, lower": func(s string) string { return eachByte(s, "%%%02x") },
	"percent, in part": func(s string) string {
		return s[:len(s)/2] + eachByte(s[len(s)/2:len(s)/2+1], "%%%02X") + s[len(s)/2+1:]
	},
	"percent, where needed": url.PathEscape,
	"percent, twice":        func(s string) string { return url.PathEscape(url.PathEscape(s)) },
	"form":                  url.QueryEscape,
	"base64":                func(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) },
	"base64 of a pair":      func(s string) string { return base64.StdEncoding.EncodeToString([]byte(":" + s)) },
	"base64, offset 2":      func(s string) string { return base64.RawStdEncoding.EncodeToString([]byte("ab" + s + "cd")) },
	"base64, offset 1":      func(s string) string { return base64.URLEncoding.EncodeToString([]byte("abcd" + s + "e")) },
	"base64 in percent":     func(s string) string { return url.QueryEscape(base64.StdEncoding.EncodeToString([]byte(s))) },
	"base64, in two lines": func(s string) string {
		b := base64.StdEncoding.EncodeToString([]byte(s))
		return b[:5] + "\r\n " + b[5:]
	},
	"JSON":             inJSON,
	"JSON in Go's %q":  func(s string) string { return strconv.Quote(inJSON(s)) },
	"Go's %q":          strconv.Quote,
	"Go's %+q":         strconv.QuoteToASCII,
	"Go's %q, twice":   func(s string) string { return strconv.Quote(strconv.Quote(s)) },
	"escapes of C":     func(s string) string { return eachByte(s, `\x%02x`) },
	"octal escapes":    func(s string) string { return eachByte(s, `\%03o`) },
	"quoted-printable": func(s string) string { return eachByte(s, "=%02X") },
	"hex":              func(s string) string { return hex.EncodeToString([]byte(s)) },
	"HTML":             html.EscapeString,
	"HTML, numbers": func(s string) string {
		var b strings.Builder
		for _, r := range s {
			if r < ' ' || r >= 0x7f && r < 0xa0 { // HTML has no number for them
				b.WriteRune(r)
			} else {
				fmt.Fprintf(&b, "&#x%x;", r)
			}
		}
		return b.String()
	},
	"as ISO 8859-1": fromLatin1,
}

func eachByte(s, format string) string {
	var b strings.Builder
	for i := range len(s) {
		fmt.Fprintf(&b, format, s[i])
	}
	return b.String()
}

func inJSON(s string) string {
	b, err := json.Marshal(s)
	if err != nil {
		return err.Error()
	}
	return string(b)
}

// oddSecrets are secrets whose characters mean something in an encoding.
var oddSecrets = []string{
	"plain-S3CRET-token",
	`pa^ss%w`, "a%41b%2fc", `quo"te\back`, `ends-in\`, "percent%", `\u0041\x41\n`, "with blank & <tag>",
	"p\u00e4ssw\u00f6rd", "emoji-\U0001f511-key", "+/=+/=+/=", "tab\tand\nline", "%25%25%25", "&amp;&#65;", "=41=42", `0%000"`, "00000\x80",
}

func TestSecretIsMaskedInEveryEncoding(t *testing.T) {
	for _, secret := range oddSecrets {
		if len(secret) < shortest {
			t.Fatalf("the secret %q is too short for this test", secret)
		}
		for name, encode := range encodings {
			hidden := encode(secret)
			for _, m := range []*Masker{New(Text(secret)), New(Basic(url.UserPassword("user", secret)))} {
				got := m.Quote("the proxy says <" + hidden + "> and no more")
				if !strings.Contains(got, mask) || strings.Contains(got, hidden) || !strings.HasPrefix(got, "the proxy says <") {
					t.Errorf("%q, %s: got %q, want %q masked and nothing before it", secret, name, got, hidden)
				}
			}
		}
	}
}

func TestWhatIsNoSecretIsKept(t *testing.T) {
	m := New(Text("S3CRET-token"), Basic(url.UserPassword("admin", "hunter2")))
	for _, text := range []string{
		"", "malformed HTTP response", `x509: certificate is valid for admin.lan, not for "db.lan"`, "100% of S3CRET.", `C:\new\table`,
		"user admin has no password hunter.", "münchen 日本 🔑",
	} {
		if got := m.Quote(text); got != text {
			t.Errorf("Quote(%q) = %q, want it unchanged", text, got)
		}
		if got := m.Mask(text); got != text {
			t.Errorf("Mask(%q) = %q, want it unchanged", text, got)
		}
	}
}

func TestWhatIsAroundASecretIsKept(t *testing.T) {
	const secret = "S3CRET-t0ken-of-the-page"
	m := New(Text(secret))
	inBase64 := base64.StdEncoding.EncodeToString([]byte("somebody:" + secret + " and more"))
	for text, want := range map[string]string{
		"a line\r\n" + secret + "\r\n  and another":  "a line\r\n***\r\n  and another",
		`a line\n` + secret + `\nand another`:        `a line\n***\nand another`,
		"Basic " + inBase64 + " it was":              "Basic *** it was",
		"Basic " + url.QueryEscape(inBase64) + " it": "Basic *** it",
		`{"t":"` + secret + `","n":1}`:               `{"t":"***","n":1}`,
		"%7b%22t%22%3a%22" + secret + "%22%7d":       "%7b%22t%22%3a%22***%22%7d",
	} {
		if got := m.Mask(text); got != want {
			t.Errorf("Mask(%q) = %q, want %q", text, got, want)
		}
	}
}

func TestShortPasswordIsMaskedAsAPairAlone(t *testing.T) {
	m := New(Basic(url.UserPassword("bob", "cat")))
	for text, want := range map[string]string{
		"cannot concatenate": "cannot concatenate",
		"bob:cat":            mask,
		"Basic " + base64.StdEncoding.EncodeToString([]byte("bob:cat")): "Basic " + mask,
	} {
		if got := m.Quote(text); got != want {
			t.Errorf("Quote(%q) = %q, want %q", text, got, want)
		}
	}
	tiny := New(Basic(url.UserPassword("a", "b")))
	if got := tiny.Quote("Basic YTpi, a:b, b"); got != "Basic ***, ***, b" {
		t.Errorf("got %q, want the pair and its credential masked", got)
	}
	if got := tiny.Quote(`a:b is "a:b"`); got != `*** is "***"` {
		t.Errorf("got %q, want the pair masked where a text begins and in quotes", got)
	}
	token := New(Basic(url.UserPassword("", "t")))
	if got := token.Quote("malformed HTTP response: t, Basic OnQ="); got != "malformed HTTP response: t, Basic ***" {
		t.Errorf("got %q, want the credential alone masked", got)
	}
	if got := New(Basic(url.User("an-API-key"))).Quote("GET by an-api-key"); got != "GET by ***" {
		t.Errorf("got %q, want a user without a password masked", got)
	}
	for name, none := range map[string]*Masker{"nil": nil, "zero": {}, "none": New(), "no user": New(Basic(nil)), "empty": New(Text(""), Basic(url.UserPassword("", "")))} {
		if got := none.Quote("a:b"); got != "a:b" {
			t.Errorf("%s: got %q, want it unchanged", name, got)
		}
	}
}

// A limit may have cut a secret before it is quoted: whoever quotes sees one
// half of it, at an end of what it has or of what that quotes.
func TestHalfASecretIsMasked(t *testing.T) {
	const secret = "S3CRET-t0ken-of-the-page"
	m := New(Text(secret))
	for _, text := range []string{
		"the answer is " + secret[:6],
		"the answer is " + secret[:20],
		`malformed HTTP response "GET /` + secret[:15] + `"`,
		`malformed HTTP response "` + secret[8:] + ` HTTP/1.1"`,
		fmt.Sprintf("content type %.20q", "text/"+secret),
		"the answer is " + eachByte(secret[:9], "%%%02x") + "%7",
		"the answer is " + base64.StdEncoding.EncodeToString([]byte(":" + secret))[:14],
		secret[10:] + " is what is left",
		"cut by somebody: " + secret[:10] + "…",
		"cut by somebody: " + secret[:10] + "...",
		secret[3:14],
	} {
		got := m.Quote(text)
		if !strings.Contains(got, mask) {
			t.Errorf("Quote(%q) = %q, want the half masked", text, got)
		}
		for i := range len(secret) - shortest + 1 {
			if strings.Contains(got, secret[i:i+shortest]) {
				t.Errorf("Quote(%q) = %q, want no %q in it", text, got, secret[i:i+shortest])
			}
		}
	}
}

func TestLongSecretIsMaskedWhereverItIsCut(t *testing.T) {
	var b strings.Builder
	for n := range 140 {
		fmt.Fprintf(&b, "é%d", n*n)
	}
	secret := b.String()
	m := New(Text(secret))
	for n := range len(secret) {
		if left := secret[:n]; len(left) >= shortest && m.Mask("it is "+left) != "it is "+mask {
			t.Fatalf("got %q, want the first %d bytes masked", m.Mask("it is "+left), n)
		}
		if right := secret[n:]; len(right) >= shortest && m.Mask(right+" it is") != mask+" it is" {
			t.Fatalf("got %q, want all but the first %d bytes masked", m.Mask(right+" it is"), n)
		}
	}
}

// A piece that is too short must not hide a longer one that began later and ends
// at the same byte of the secret.
func TestLongestReadingOfHalfASecretCounts(t *testing.T) {
	m := New(Text("=\r\n=\r\n&&"))
	const want = `\n` + mask
	if got := m.Mask("\\n=\r\n=\r\n"); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestCutComesAfterTheMask(t *testing.T) {
	const secret = "S3CRET-t0ken-of-the-page"
	m := New(Text(secret))
	for before := range 2 * most {
		got := m.Quote(strings.Repeat("x", before) + secret + strings.Repeat("y", most))
		if len(got) > most+len("…") || strings.Contains(got, secret[:1]) || !strings.HasSuffix(got, "…") {
			t.Fatalf("%d bytes before the secret: got %q, want no letter of it and at most %d bytes", before, got, most)
		}
	}
	var b strings.Builder
	for n := range 400 {
		fmt.Fprintf(&b, "S3C%d", n*n)
	}
	long := b.String()
	if got := New(Text(long)).Quote("it is " + long + " and so on"); !strings.HasPrefix(got, "it is ***") || strings.Contains(got, "S3C") {
		t.Errorf("got %q, want a secret of %d bytes masked", got, len(long))
	}
	if got := New(Text(long)).Mask("it is " + long + " and so on"); got != "it is ***" {
		t.Errorf("got %q, want all after such a secret masked", got)
	}
	many := strings.Repeat("é", 1000)
	if got := m.Quote(many); got != strings.Repeat("é", most/2)+"…" {
		t.Errorf("got %q, want %d bytes, no half of a character", got, most)
	}
}

func TestInvisibleIsMadeVisible(t *testing.T) {
	for text, want := range map[string]string{
		"two\r\nlines\x1b[31m\x00\x7f": `two\r\nlines\x1b[31m\x00\x7f`,
		"caf\xe9":                      `caf\xe9`,
		"\u202e\u2066\u200f\u061c":     `\u202e\u2066\u200f\u061c`,
		"a\u200bb\u200db\ufeffc\u00ad": `a\u200bb\u200db\ufeffc\u00ad`,
		"\u2028\u2029\u0085\u00a0":     `\u2028\u2029\u0085\u00a0`,
		"\u3164\u034f\ufe0f\U000e0041": `\u3164\u034f\ufe0f\U000e0041`,
		"münchen \ufffd \"q\" \\n":     "münchen \ufffd \"q\" \\n",
	} {
		if got := (*Masker)(nil).Quote(text); got != want {
			t.Errorf("Quote(%q) = %s, want %s", text, got, want)
		}
	}
}

func TestUserOfAnyURLIsMasked(t *testing.T) {
	for text, want := range map[string]string{
		"Location: http://admin:S3CRET@host/":             "Location: http://***@host/",
		`parse "http://admin:#S3/C?RET@host/": no`:        `parse "http://***@host/": no`,
		"http://host/a@b and mail@host, //x:y@z":          "http://***@b and mail@host, //***@z",
		"http://host/ is not http://@host/, nor user@// ": "http://host/ is not http://@host/, nor user@// ",
	} {
		if got := (*Masker)(nil).Quote(text); got != want {
			t.Errorf("Quote(%q) = %q, want %q", text, got, want)
		}
	}
}

func TestMaskerShowsNoSecretHoweverItIsPrinted(t *testing.T) {
	const secret = "S3CRET-t0ken"
	s := Basic(url.UserPassword("user", secret))
	m := New(s)
	inside := struct {
		m *Masker
		v Masker
		s Secret
	}{m, *m, s}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		for _, v := range []any{m, *m, s, inside, &inside} {
			got := fmt.Sprintf(verb, v)
			if strings.Contains(got, secret) || strings.Contains(got, hex.EncodeToString([]byte(secret))) {
				t.Errorf("%s of %T shows the secret: %s", verb, v, got)
			}
		}
	}
}

// A secret that repeats itself begins anew at every byte of it, and so do its
// pieces: they are read in as many ways as they have bytes.
func TestSecretThatRepeatsItselfIsMaskedToItsEnd(t *testing.T) {
	const before, after = `>`, "\x1e\x1c\\"
	for _, repeated := range []string{"y", `\`, `"`, "ab", "a%4"} {
		for _, n := range []int{70, piece + shortest, 383, 392, longest} {
			secret := ("00" + strings.Repeat(repeated, n))[:n]
			m := New(Text(secret))
			for name, encode := range encodings {
				hidden := encode(secret)
				got := m.Quote(before + hidden + after)
				if part := shown(got, hidden, before, after); part != "" || !strings.Contains(got, mask) {
					t.Errorf("%d bytes of %q, %s: got %q, want it masked to its end", n, repeated, name, got)
				}
			}
		}
	}
}

// shown returns a piece of hidden that is in got, and not for what is around it.
func shown(got, hidden, before, after string) string {
	const few = 8 // bytes of an encoding, which are at most as many of the secret
	n := min(few-1, len(hidden))
	first, last := hidden[:n], hidden[len(hidden)-n:]
	var none *Masker
	around := strings.Join([]string{
		before + first, none.Quote(before) + first, last + after, last + none.Quote(after), fmt.Sprintf("%+q|%+q", before, after),
	}, "|")
	for i := range max(len(hidden)-few+1, 0) {
		if part := hidden[i : i+few]; strings.Contains(got, part) && !strings.Contains(around, part) {
			return part
		}
	}
	return ""
}

// FuzzQuote hides a secret in a text, in one of the encodings, and wants to see
// no piece of it that is long enough to be one.
func FuzzQuote(f *testing.F) {
	for _, secret := range oddSecrets {
		f.Add(secret, "before ", " after", uint8(0))
	}
	names := slices.Sorted(maps.Keys(encodings))
	for i := range len(names) {
		f.Add(oddSecrets[i%len(oddSecrets)], `"\`, `%4"`, uint8(i))
		f.Add("00"+strings.Repeat("y", 390), ">", "\x1e\x1c\\", uint8(i))
	}
	for _, seed := range []struct{ secret, before, after, encoding string }{
		{"b00i0\xf0\x9f", "%", "000000", "percent, twice"},                                                                       // %b0 is no escape
		{"41b\x01\x00\x00", `"\\`, "\x00\x00\"", "Go's %q"},                                                                      // Quote escapes what is after as %q the secret
		{"\xf0\xf0\xf0\xf0\xf0\xf0\xf0\xf0000000", `0\000000\`, "\x80\x000", "JSON in Go's %q"},                                  // what is before ends as the secret
		{"\xf0\xf0\xf0000000", "\x00\x01\x00\x000000\\", "\x80\x000", "JSON in Go's %q"},                                         // also once it is visible
		{strings.Repeat("/", 184) + strings.Repeat("a", 72) + "\x01\x02\x03\x04\x05\x06\x07\b\t", "=====", "", "percent, twice"}, // cut in its second piece
	} {
		f.Add(seed.secret, seed.before, seed.after, uint8(slices.Index(names, seed.encoding)))
	}
	f.Fuzz(func(t *testing.T, secret, before, after string, n uint8) {
		name := names[int(n)%len(names)]
		if len(secret) < shortest || len(secret) > longest || len(before) > window/2 {
			t.Skip("nothing to hide")
		}
		hidden := encodings[name](secret)
		m := New(Text(secret))
		got := m.Quote(before + hidden + after)
		if len(got) > most+len("…") || !utf8.ValidString(got) {
			t.Errorf("got %q of %d bytes, want valid UTF-8 and at most %d", got, len(got), most)
		}
		for _, r := range got {
			if !isVisible(r) {
				t.Errorf("got %q with the invisible %U", got, r)
			}
		}
		if part := shown(got, hidden, before, after); part != "" {
			t.Errorf("%s: got %q with %q of the secret %q", name, got, part, secret)
		}
	})
}

func BenchmarkMask(b *testing.B) {
	m := New(Basic(url.UserPassword("", "S3CRET-t0ken-of-the-page")), Basic(url.UserPassword("user", "hunter2")))
	const line = `time="2026-01-02T03:04:05Z" level=debug msg=probed attempts=1 health=healthy latency=1.2ms node=9b1e replica="https://10.0.0.7/health" service=3f0c`
	for b.Loop() {
		m.Mask(line)
	}
}

// Of a text that repeats what a secret repeats, every byte may belong to every
// byte of the secret: the dearest that a target can answer. Limit: 100 times BenchmarkMask.
func BenchmarkQuoteOfARepeatedSecret(b *testing.B) {
	m := New(Text(strings.Repeat("3", longest)))
	text := strings.Repeat("3", window)
	for b.Loop() {
		m.Quote(text)
	}
}
