package probe

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
)

// answerCase is a replica whose answers were generated: one for each hop of a
// chain of redirects. Its host is c and its number, and its path the hop's.
type answerCase struct {
	number       int
	classes      []string
	healthyMatch string
	deadMatch    string
	user         string // of the URL, with the @; may be empty
	hops         []hopAnswer
	visit        []string // the cookies without which the first hop leads to itself
	setCookies   []string // lines by which it sets them, and others
}

// hopAnswer is an answer to GET, and to HEAD where that is another one.
type hopAnswer struct {
	head, body []byte
	toHEAD     []byte // nil: the same without the body
	noHEAD     bool   // HEAD is answered by closing the connection
}

func (c *answerCase) url() string { return fmt.Sprintf("http://%sc%d.test/0", c.user, c.number) }

func (c *answerCase) needBody() bool { return c.healthyMatch != "" || c.deadMatch != "" }

func (c *answerCase) has(class string) bool { return slices.Contains(c.classes, class) }

// respond returns the bytes that answer q; nil closes the connection.
func (c *answerCase) respond(q webRequest) []byte {
	number := strings.TrimLeft(q.path, `/\`)
	if i := strings.IndexAny(number, `-?%|/\`); i >= 0 {
		number = number[:i]
	}
	hop, err := strconv.Atoi(number)
	if err != nil || hop < 0 || hop >= len(c.hops) {
		return []byte("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
	}
	has := strings.Split(q.cookie, "; ")
	for _, pair := range c.visit {
		if hop == 0 && !slices.Contains(has, pair) {
			return []byte("HTTP/1.1 302 Found\r\n" + strings.Join(c.setCookies, "\r\n") + "\r\nLocation: /0\r\nContent-Length: 0\r\n\r\n")
		}
	}
	a := c.hops[hop]
	switch {
	case q.method != "HEAD":
		return slices.Concat(a.head, a.body)
	case a.noHEAD:
		return nil
	case a.toHEAD != nil:
		return a.toHEAD
	}
	return a.head
}

// String shows the case, for the message of a failure.
func (c *answerCase) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "case %d (%s) %s, healthy_match %q, dead_match %q\n", c.number, strings.Join(c.classes, ", "), c.url(), c.healthyMatch, c.deadMatch)
	if c.visit != nil {
		fmt.Fprintf(&b, "  first visit: %q\n", c.setCookies)
	}
	for i, hop := range c.hops {
		fmt.Fprintf(&b, "  hop %d: %.400q %.100q", i, hop.head, hop.body)
		if hop.toHEAD != nil {
			fmt.Fprintf(&b, " to HEAD: %.200q", hop.toHEAD)
		}
		b.WriteByte('\n')
	}
	return b.String()
}

// Of the same number comes the same case, on every machine.
func generateAnswer(number int) *answerCase {
	r := rand.New(rand.NewPCG(uint64(number), 0x5eed))
	c := &answerCase{number: number}
	d := newDraft(r)
	if r.IntN(3) == 0 {
		c.healthyMatch = "status is fine"
	}
	chosen := []mutation{mutations[number%len(mutations)]}
	if r.IntN(3) == 0 {
		chosen = append(chosen, pick(r, mutations...))
	}
	for _, m := range chosen {
		if !c.has(m.class) {
			c.classes = append(c.classes, m.class)
			m.apply(r, c, d)
		}
	}
	if c.has("redirects") || len(c.hops) == 0 && r.IntN(8) == 0 {
		for n := range 1 + r.IntN(6) {
			c.hops = append(c.hops, redirectHop(r, c, n+1))
		}
	}
	c.hops = append(c.hops, d.hop())
	return c
}

// redirectHop is an answer that leads to hop next.
func redirectHop(r *rand.Rand, c *answerCase, next int) hopAnswer {
	host := fmt.Sprintf("c%d.test", c.number)
	where := pick(r,
		fmt.Sprintf("/%d", next), strconv.Itoa(next), fmt.Sprintf("./%d", next), fmt.Sprintf("/a/../%d", next), fmt.Sprintf("  /%d ", next),
		fmt.Sprintf("/%d-sale-100%%/", next), fmt.Sprintf("/%d-%%zz", next), fmt.Sprintf("/%d?q=a b", next), fmt.Sprintf("/%d?q=%%", next),
		fmt.Sprintf("/%d#fragment", next), fmt.Sprintf("/%d-ü", next), fmt.Sprintf("/%d-\xfc", next), fmt.Sprintf("/%d-{a}|b", next),
		fmt.Sprintf("//%s/%d", host, next), fmt.Sprintf("http://%s/%d", host, next), fmt.Sprintf("HTTP://%s:80/%d", strings.ToUpper(host), next),
		fmt.Sprintf("http:/%d", next), fmt.Sprintf(`\%d`, next), fmt.Sprintf("http:///%s/%d", host, next))
	return redirectTo(r, where)
}

func redirectTo(r *rand.Rand, where string, lines ...string) hopAnswer {
	var head strings.Builder
	fmt.Fprintf(&head, "HTTP/1.1 %d Moved\r\n%s: %s\r\nContent-Length: 0\r\n", pick(r, 301, 302, 303, 307, 308), pick(r, "Location", "location", "LOCATION"), where)
	for _, line := range lines {
		head.WriteString(line + "\r\n")
	}
	return hopAnswer{head: []byte(head.String() + "\r\n")}
}

// strangerHop is a redirect with credentials, cookies or both in play that leads
// to another port, another host, or back.
func strangerHop(r *rand.Rand, c *answerCase, next int) hopAnswer {
	host := fmt.Sprintf("c%d.test", c.number)
	where := fmt.Sprintf(pick(r, "http://%s:8081/%d", "http://%s/%d", "http://www.%s/%d", "http://%s:80/%d", "//%s/%d", "http://other:secret@%s/%d"), host, next)
	var lines []string
	for range r.IntN(3) {
		lines = append(lines, "Set-Cookie: "+word(r, 4)+"="+word(r, 6)+pick(r, "", "; Path=/", "; HttpOnly", "; SameSite=Lax", "; Max-Age=60"))
	}
	return redirectTo(r, where, lines...)
}

// firstVisit has the first hop lead to itself until it gets the cookies that it
// sets.
func (c *answerCase) firstVisit(r *rand.Rand) {
	for range 1 + r.IntN(3) {
		pair := fmt.Sprintf("%s%d=%s", word(r, 6), len(c.visit), pick(r, word(r, 20), word(r, 3000), `"quoted"`, "a=b", "a b", ""))
		c.visit = append(c.visit, pair)
		attributes := pick(r, "; Path=/; HttpOnly", "", "; path=/", "; Max-Age=3600", "; Expires=Wed, 01 Jan 2098 00:00:00 GMT", "; SameSite=None", ";;", fmt.Sprintf("; Domain=c%d.test", c.number))
		c.setCookies = append(c.setCookies, pick(r, "Set-Cookie: ", "set-cookie:", "SET-COOKIE: ")+pair+attributes)
	}
	if r.IntN(3) == 0 {
		c.setCookies = append(c.setCookies, "Set-Cookie: gone=1; Max-Age=0", "Set-Cookie: tls=1; Secure", "Set-Cookie: deep=1; Path=/deep", "Set-Cookie: nothing")
	}
}

func pick[T any](r *rand.Rand, from ...T) T { return from[r.IntN(len(from))] }

func word(r *rand.Rand, most int) string {
	b := make([]byte, 1+r.IntN(most))
	for i := range b {
		b[i] = "abcdefghijklmnopqrstuvwxyz0123456789"[r.IntN(36)]
	}
	return string(b)
}
