package probe

import (
	"fmt"
	"math/rand/v2"
	"regexp"
	"strings"
	"testing"
	"time"
)

func TestProbeAsksForTheSameAsCurl(t *testing.T) {
	curl := needTool(t, "curl")
	f := newFarm(t, urlCaseOf, func(webRequest) []byte { return []byte(ok) })
	cases := make([]*urlCase, differentialCases(t, 600))
	transfers := make([]*transfer, len(cases))
	for i := range cases {
		cases[i] = generateURL(i)
		transfers[i] = &transfer{url: cases[i].raw, method: "HEAD"}
	}
	f.run(t, curl, transfers)
	p := f.prober()
	count := newTally()
	for i, c := range cases {
		count.classes(strings.Split(c.class, ", ")...)
		rule, err := c.compare(t, f, p, transfers[i])
		count.rule(t, c, rule, err)
	}
	count.report(t, len(cases), urlClasses)
}

// compare names the rule of the protocol by which the probe and curl differ: ""
// if they do not. The error is that they differ though no rule says so.
func (c *urlCase) compare(t *testing.T, f *farm, p *Prober, tr *transfer) (rule string, err error) {
	up, reason := false, ""
	if target, err := ParseTarget(c.raw); err != nil {
		reason = err.Error()
	} else {
		rules := &Rules{DeadAfter: 20 * time.Second, HealthyAbove: 200, HealthyBelow: 400}
		r := p.probe(t.Context(), Check{ServiceID: "s", NodeID: "n", Target: target, Rules: rules}, MaxProbe)
		up, reason = r.Health == Healthy || r.Health == Sick, r.Reason()
	}
	switch {
	case up && !tr.up():
		if rule = c.upRule(tr); rule == "" {
			err = fmt.Errorf("the probe is up, curl is not (%v)", tr)
		}
	case up:
		key := fmt.Sprintf("case%d", c.number)
		return c.compareRequests(f.requests("curl", key), f.requests("probe", key))
	case tr.up():
		err = fmt.Errorf("curl is up, the probe is not: %s", reason)
	}
	return rule, err
}

// malformed are URLs that curl does not take (exit 3) though browsers do.
var malformed = []struct {
	pattern *regexp.Regexp
	what    string
}{
	{regexp.MustCompile(`[\t\r\n]`), "tabs and line ends count for nothing"},
	{regexp.MustCompile(` `), "a blank is %20"},
	{regexp.MustCompile(`\\`), "a backslash is a slash"},
	{regexp.MustCompile(`^(?i:http):([^/]|////)`), "any number of slashes after http:"},
	{regexp.MustCompile(`@[^/]*@`), "the last @ ends the user"},
}

// upRule names the rule by which a replica is up though curl gets no answer.
func (c *urlCase) upRule(tr *transfer) string {
	for _, m := range malformed {
		if tr.exit == 3 && m.pattern.MatchString(c.raw) {
			return standardRule + m.what
		}
	}
	return ""
}

// oddSlashes are URLs of which curl takes the scheme, or a slash, for a part of
// the user, or the scheme for the host.
var oddSlashes = regexp.MustCompile(`^(?i:http):(/?\\|[^/\\])`)

// compareRequests names the rule by which both ask for something else.
func (c *urlCase) compareRequests(curl, probe []webRequest) (string, error) {
	if len(curl) != 1 || len(probe) != 1 {
		return "", fmt.Errorf("curl asks for %q, the probe for %q", curl, probe)
	}
	rule, wrong := requestRule(curl[0], probe[0])
	switch {
	case wrong == "":
		return rule, nil
	case wrong == userDiffers && oddSlashes.MatchString(c.raw) && strings.HasSuffix(plainUser(curl[0].authorization), plainUser(probe[0].authorization)),
		wrong == hostDiffers && oddSlashes.MatchString(c.raw) && strings.HasPrefix(curl[0].host, "http:"):
		return standardRule + "any number of slashes after http:", nil
	}
	return "", fmt.Errorf("%s: curl asks for %q, the probe for %q", wrong, curl[0], probe[0])
}

// urlCase is a URL that was generated. Its case number is in the host or in
// the path.
type urlCase struct {
	number     int
	raw, class string
}

func (c *urlCase) String() string { return fmt.Sprintf("case %d (%s) %q", c.number, c.class, c.raw) }

var caseNumber = regexp.MustCompile(`case[0-9]+`)

// urlCaseOf returns the case of a request.
func urlCaseOf(q webRequest) string {
	if found := caseNumber.FindString(strings.ToLower(q.path)); found != "" {
		return found
	}
	return caseNumber.FindString(strings.ToLower(q.host))
}

var urlClasses = []string{"plain", "percent", "user", "backslash", "slashes", "control", "port", "numeric host", "IPv6", "zone", "IDNA", "query", "fragment",
	"dots", "case", "password", "trailing dot", "blank"}

// Of the same number comes the same URL, on every machine.
func generateURL(number int) *urlCase {
	r := rand.New(rand.NewPCG(uint64(number), 0x0417))
	c := &urlCase{number: number, class: urlClasses[number%len(urlClasses)]}
	d := urlDraft{number: number, scheme: "http", slashes: "://", host: fmt.Sprintf("case%d.test", number), path: fmt.Sprintf("/case%d", number)}
	d.mutate(r, c.class)
	if second := pick(r, urlClasses...); r.IntN(3) == 0 && second != c.class {
		c.class += ", " + second
		d.mutate(r, second)
	}
	c.raw = d.scheme + d.slashes + d.user + d.host + d.port + d.path
	return c
}

// urlDraft is a URL on its way to text.
type urlDraft struct {
	number                                  int
	scheme, slashes, user, host, port, path string
}

// users are those that may stand before a host, from the usual to the odd.
var users = []string{"user:pass@", "user@", "user:@", ":pass@", "user:pa%20ss@", "us%40er:p%3Ass@", "a:b:c@", "user:p;a=s,s@", "user:pa^ss%25w@", "user:pa^ss%w@", "user:p%zzss@",
	"user:100%@", "us er:p|ss@", "user:p{a}ss@", `us"er:p<a>ss@`, "user:p`ss@", "üser:pässwörd@", "user:p@ss@", `user:p\ss@`, "user:[p]ss@", "user:pa'ss!$&()*+@"}

// mutate makes the URL one of a class.
func (d *urlDraft) mutate(r *rand.Rand, class string) {
	switch class {
	case "percent":
		d.path += pick(r, "/100%", "/%", "/%zz", "/a%2", "/%41", "/a%2Fb", "/sale-100%/", "?q=100%", "/%e4%b8", "/a/%2e%2e/%2E")
	case "user", "password":
		d.user = pick(r, users...)
	case "backslash":
		d.slashes = pick(r, `:\\`, `://`, `:/\`)
		d.path = strings.ReplaceAll(d.path, "/", pick(r, `\`, `/`)) + pick(r, `\a`, `/a\b`, "")
	case "slashes":
		d.slashes = pick(r, ":/", ":///", ":////", ":")
	case "control":
		d.path = pick(r, d.path+"/a\tb", d.path+"/a\nb", fmt.Sprintf("/ca\tse%d", d.number), d.path+"\r\n")
	case "port":
		d.port = pick(r, ":80", ":8080", ":080", ":", ":00080", ":65535", ":443")
	case "numeric host":
		d.host = pick(r, "127.1", "0x7f.1", "2130706433", "0177.0.0.1", "127.0.0.1", "0x7f000001", "127.0.1", "017700000001", "0", "1.2.3.4", "0X7F.0.0.1", "127.0.0.1.")
	case "IPv6":
		d.host = pick(r, "[::1]", "[0:0:0:0:0:0:0:1]", "[::ffff:127.0.0.1]", "[FE80::1]", "[2001:db8::1]", "[2001:DB8:0:0:1::0]")
	case "zone":
		d.host = pick(r, "[fe80::1%251]", "[fe80::1%1]", "[fe80::1%25lo]", "[fe80::1%lo]")
	case "IDNA":
		d.host = pick(r, "bücher", "BÜCHER", "bücher_1", "straße", "例え", "xn--bcher-kva", "a_b", "-a", "a-", "faß", "ＡＢＣ") + fmt.Sprintf("-case%d.test", d.number)
	case "query":
		d.path += pick(r, "?a=b", "?a=b c", "?a=%zz", "?a='b'", `?a="b"`, "?", "?a=b?c", "?a=ü", "?a={b}", "?a=b|c", "?a=[b]", `?a=b\c`, "?a=<b>&c=^`")
	case "fragment":
		d.path += pick(r, "#f", "?a=b#f", "#", "#a/b?c", "#a b", "#100%")
	case "dots":
		d.path = pick(r, "/a/../", "/./", "/a/b/../../", "/../", "/a//../") + strings.TrimPrefix(d.path, "/") + pick(r, "", "/.", "/b/..", "/a/./b", "//b")
	case "case":
		d.scheme, d.host = pick(r, "HTTP", "Http", "hTTp"), strings.ToUpper(d.host)
	case "trailing dot":
		d.host += "."
	case "blank":
		d.path += pick(r, "/a b", " ", "/a%20b")
	}
}
