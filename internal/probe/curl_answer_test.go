package probe

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

func TestProbeIsUpWhereCurlIs(t *testing.T) {
	curl := needTool(t, "curl")
	cases := make([]*answerCase, differentialCases(t, 600))
	for i := range cases {
		cases[i] = generateAnswer(i)
	}
	f := newFarm(t, answerCaseOf, func(q webRequest) []byte {
		i, err := strconv.Atoi(strings.TrimPrefix(answerCaseOf(q), "c"))
		if err != nil || i >= len(cases) {
			return []byte(ok)
		}
		return cases[i].respond(q)
	})
	contests := make([]*contest, len(cases))
	var heads, gets []*transfer
	folder := t.TempDir()
	for i, c := range cases {
		contests[i] = &contest{
			answerCase: c,
			head:       &transfer{url: c.url(), method: "HEAD"},
			get:        &transfer{url: c.url(), method: "GET", body: filepath.Join(folder, strconv.Itoa(i))},
		}
		heads, gets = append(heads, contests[i].head), append(gets, contests[i].get)
	}
	// Apart, since the transfers of one process share their cookies.
	f.run(t, curl, heads)
	f.run(t, curl, gets)
	p := f.prober()
	var wg sync.WaitGroup
	places := make(chan bool, 32)
	for _, c := range contests {
		places <- true
		wg.Go(func() {
			defer func() { <-places }()
			c.probe(t, p)
		})
	}
	wg.Wait()
	count := newTally()
	for _, c := range contests {
		count.classes(c.classes...)
		rule, err := c.compare(f)
		count.rule(t, c, rule, err)
	}
	var all []string
	for _, m := range mutations {
		all = append(all, m.class)
	}
	count.report(t, len(cases), all)
}

// answerCaseOf returns the case of a request: c7 of www.c7.test:8081.
func answerCaseOf(q webRequest) string {
	host, _, _ := strings.Cut(strings.TrimPrefix(strings.ToLower(q.host), "www."), ".")
	return host
}

// contest is a case, and what came of it.
type contest struct {
	*answerCase
	head, get *transfer
	result    Result
}

func (c *contest) probe(t *testing.T, p *Prober) {
	rules := &Rules{DeadAfter: 20 * time.Second, HealthyAbove: 200, HealthyBelow: 400, HealthyMatch: c.healthyMatch, DeadMatch: c.deadMatch}
	c.result = p.probe(t.Context(), Check{ServiceID: "s", NodeID: "n", Target: mustParse(t, c.url()), Rules: rules}, MaxProbe)
}

// curlUp reports whether the replica is up as far as curl can tell.
func (c *contest) curlUp(body []byte) bool {
	if !c.needBody() {
		return c.head.up() || c.get.up()
	}
	return c.get.up() && bytes.Contains(body, []byte(c.healthyMatch)) && (c.deadMatch == "" || !bytes.Contains(body, []byte(c.deadMatch)))
}

// compare names the rule of the protocol by which the probe and curl differ: ""
// if they do not. The error is that they differ though no rule says so.
func (c *contest) compare(f *farm) (rule string, err error) {
	body, _ := os.ReadFile(c.get.body)
	up, curlUp := c.result.Health == Healthy || c.result.Health == Sick, c.curlUp(body)
	switch {
	case curlUp && !up:
		rule = c.downRule()
	case up && !curlUp:
		rule = c.upRule()
	case up:
		return c.compareRequests(f)
	default:
		return "", nil
	}
	if rule == "" {
		err = fmt.Errorf("curl is up: %t (%v; %v), the probe says %q because %q", curlUp, c.head, c.get, c.result.Health, c.result.Reason())
	}
	return rule, err
}

// compareRequests compares what both asked for on the way to a good answer.
func (c *contest) compareRequests(f *farm) (string, error) {
	key := fmt.Sprintf("c%d", c.number)
	var curl []webRequest
	good := c.get
	if !good.up() {
		good = c.head
	}
	for _, q := range f.requests("curl", key) {
		if q.method == good.method {
			curl = append(curl, q)
		}
	}
	curl, probe := hops(curl), hops(f.requests("probe", key))
	if len(curl) != len(probe) {
		return "", fmt.Errorf("curl asks %q, the probe %q", curl, probe)
	}
	rule := ""
	for i := range curl {
		r, wrong := requestRule(curl[i], probe[i])
		if wrong != "" {
			r = c.strangerRule(curl[i], probe[i])
		}
		if wrong != "" && r == "" {
			return "", fmt.Errorf("%s at hop %d: curl asks for %q, the probe for %q", wrong, i, curl[i], probe[i])
		}
		if r != "" {
			rule = r
		}
	}
	return rule, nil
}

// downRule names the rule by which the replica is down though curl gets a good
// answer.
func (c *contest) downRule() string {
	switch status := c.head.status; {
	case c.has("HEAD refused") && (status == 401 || status == 407 || status == 429) && kindOf(c.result.Err) == KindStatus:
		return fmt.Sprintf("HEAD that is answered %d is not asked again with GET", status)
	}
	return ""
}

// upRules has the rules by which a replica is up though curl gets no good answer,
// each with the class that it is about and what curl exits with there.
var upRules = []struct {
	class string
	exit  int
	rule  string
}{
	{"no colon", 8, headRule + "a line without a colon"},
	{"folded first", 8, headRule + "a folded line comes first"},
	{"folded first", fatalExit, headRule + "a folded line comes first"},
	{"length odd", 8, headRule + "an odd Content-Length"},
	{"status line", 1, headRule + "an odd status line"},
	{"long head", 27, "the head may be 1 MiB"},
	{"long head", 56, "the head may be 1 MiB"},
	{"mislabelled", 61, "without the encoding's magic the bytes are searched as they are"},
	{"breaks off", 18, "a body that breaks off counts as far as it came"},
}

const headRule = "the head of an answer is read for what a verdict needs: "

// strangerRule names the rule by which a request on the way back from strangers
// has another user, or fewer cookies, than curl's.
func (c *contest) strangerRule(curl, probe webRequest) string {
	name, _, _ := strings.Cut(c.user, "@")
	own := percentDecode(name)
	switch {
	case !c.has("strangers") || curl.path != probe.path:
	case own != "" && plainUser(probe.authorization) == own && probe.host == fmt.Sprintf("c%d.test", c.number):
		return "user and password are sent to the host and port of the URL, also on the way back from others"
	case plainUser(curl.authorization) == "other:secret" && probe.authorization == "":
		return "user and password are sent to the host and port of their URL, those of a Location no further"
	case c.has("first visit") && strings.HasPrefix(probe.host, "www.") && len(probe.cookie) < len(curl.cookie):
		return "the Domain of a cookie is ignored"
	}
	return ""
}

// ownLocation is a Location that curl takes for another one than the standard.
var ownLocation = regexp.MustCompile(`(?i)\nlocation: (\\|http:/[^/]|http:///)`)

// notRedirect is a head with a Location that curl goes to though its status is of
// no redirect.
var notRedirect = regexp.MustCompile(`(?s)HTTP/1.1 30[045] .*\nLocation: /elsewhere`)

// encodings returns how many encodings the last answer says it has, of which only
// the last one is there.
func (c *contest) encodings() int {
	n := 0
	for _, class := range []string{"gzip", "deflate", "transfer gzip", "dead match", "mislabelled"} {
		if c.has(class) {
			n++
		}
	}
	return n
}

// upRule names the rule by which the replica is up though curl gets no good answer.
func (c *contest) upRule() string {
	for _, r := range upRules {
		if c.has(r.class) && c.get.exit == r.exit {
			return r.rule
		}
	}
	if c.get.exit == 61 && c.encodings() > 1 {
		return "without the encoding's magic the bytes are searched as they are"
	}
	for _, hop := range c.hops {
		// At the path that it makes of it, curl finds nothing, or the same again.
		lost := c.get.exit == 0 && c.get.status == 404 || c.get.exit == 47
		if lost && ownLocation.Match(hop.head) {
			return standardRule + "a Location with a backslash, or one or three slashes"
		}
		if lost && c.has("status") && notRedirect.Match(hop.head) {
			return "300, 304 and 305 are themselves the answer"
		}
	}
	return ""
}

// tally counts the cases of each class, and those of each rule.
type tally struct{ ofClass, ofRule map[string]int }

func newTally() *tally { return &tally{make(map[string]int), make(map[string]int)} }

func (n *tally) classes(classes ...string) {
	for _, class := range classes {
		n.ofClass[class]++
	}
}

func (n *tally) rule(t *testing.T, c fmt.Stringer, rule string, err error) {
	t.Helper()
	if err != nil {
		t.Errorf("%v: %v", c, err)
	} else if rule != "" {
		n.ofRule[rule]++
	}
}

// report says how often which rule held, and holds the classes to a hundredth
// of the cases each.
func (n *tally) report(t *testing.T, cases int, classes []string) {
	t.Helper()
	for rule, count := range n.ofRule {
		t.Logf("%6d × %s", count, rule)
	}
	for _, class := range classes {
		if n.ofClass[class] < cases/100 {
			t.Errorf("class %q has %d cases of %d, want a hundredth at least", class, n.ofClass[class], cases)
		}
	}
}
