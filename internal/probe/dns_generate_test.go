package probe

import (
	"fmt"
	"math/rand/v2"
	"net"
	"slices"
	"strings"

	"golang.org/x/net/dns/dnsmessage"
)

// nameCase is a name that was generated.
type nameCase struct {
	number  int
	classes []string
	host    string // as it stands in a URL
}

func (c *nameCase) String() string {
	return fmt.Sprintf("case %d (%s) %q", c.number, strings.Join(c.classes, ", "), c.host)
}

func (c *nameCase) has(class string) bool {
	return slices.Contains(c.classes, class)
}

// nameWorld is a resolver's configuration that was generated, with the names that
// are looked up under it and what the nameserver answers.
type nameWorld struct {
	resolvConf string
	hosts      string
	search     []string
	noAAAA     bool
	cases      []*nameCase
	owners     map[string]*owner // by name, fully qualified and in lower case
}

// owner is how a nameserver answers for a name; one that is not there does not
// exist.
type owner struct {
	addrs  [2][]string // A and AAAA
	code   [2]dnsmessage.RCode
	silent [2]bool
	via    []string // names of a chain of CNAME records
	loop   bool     // it leads back to its beginning
	cut    bool     // over UDP, only the first record is sent
	noTCP  bool     // over TCP, the connection is closed
	opt    bool     // an OPT record comes first in the answer section
	shout  bool     // names come back in upper case
	noise  bool     // records of other types and names stand between
}

// respond answers q, which is for o; nil is silence.
func (o *owner) respond(q asked) []byte {
	family := 0
	if q.family == typeAAAA {
		family = 1
	}
	switch {
	case o.silent[family]:
		return nil
	case o.code[family] != dnsmessage.RCodeSuccess:
		return packed(q.respond(o.code[family]))
	}
	name := q.name
	if o.shout {
		name = strings.ToUpper(name)
	}
	var records []dnsmessage.Resource
	if o.opt {
		records = append(records, opt())
	}
	for _, next := range o.via {
		records = append(records, recordOf(name, next))
		name = next
	}
	if o.loop {
		records = append(records, recordOf(name, q.name))
	}
	if o.noise {
		records = append(records, recordOf("other."+q.name, "10.9.9.9"), dnsmessage.Resource{
			Header: dnsmessage.ResourceHeader{Name: dnsmessage.MustNewName(name), Class: dnsmessage.ClassINET},
			Body:   &dnsmessage.TXTResource{TXT: []string{"no address"}},
		})
	}
	for _, addr := range o.addrs[family] {
		records = append(records, recordOf(name, addr))
	}
	return o.fit(q, records)
}

// fit packs an answer, as far as it goes into a datagram.
func (o *owner) fit(q asked, records []dnsmessage.Resource) []byte {
	m := q.respond(dnsmessage.RCodeSuccess, records...)
	whole := packed(m)
	switch {
	case q.network == "tcp" && o.noTCP:
		return nil
	case q.network == "tcp", len(whole) <= 512 && !o.cut:
		return whole
	}
	m.Truncated = true
	m.Answers = m.Answers[:min(1, len(m.Answers))]
	return packed(m)
}

// answer is a nameserver that knows the owners of w.
func (w *nameWorld) answer(q asked) []byte {
	if o := w.owners[strings.ToLower(q.name)]; o != nil {
		return o.respond(q)
	}
	return nxdomain(q)
}

// Of the same number comes the same world, on every machine: with the cases from
// there on.
func generateWorld(first, cases int) *nameWorld {
	r := rand.New(rand.NewPCG(uint64(first), 0xd45))
	w := &nameWorld{owners: make(map[string]*owner)}
	domains := []string{"corp.test", "lab.corp.test", "test", "example.test", "."}
	r.Shuffle(len(domains), func(i, j int) { domains[i], domains[j] = domains[j], domains[i] })
	w.search = domains[:r.IntN(4)]
	var conf strings.Builder
	conf.WriteString(pick(r, "nameserver 127.0.0.1\n", "nameserver 127.0.0.1\n", "nameserver 127.0.0.2\nnameserver 127.0.0.1\n", "nameserver 127.0.0.3\nnameserver 127.0.0.1\n",
		"; a comment\nnameserver 127.0.0.1 # another\nnonsense\n", "", "nameserver not-an-address\nnameserver 127.0.0.1\n"))
	switch {
	case len(w.search) == 1 && w.search[0] != "." && r.IntN(2) == 0:
		conf.WriteString("domain " + w.search[0] + "\n")
	case len(w.search) > 0:
		conf.WriteString("search " + strings.Join(w.search, " ") + "\n")
	default:
		conf.WriteString("search .\n") // or it is the host's own domain
	}
	fmt.Fprintf(&conf, "options timeout:1 attempts:1 %s\n", pick(r, "", "", "ndots:0", "ndots:2", "ndots:5", "ndots:99", "edns0", "use-vc", "single-request", "single-request-reopen", "rotate"))
	if r.IntN(8) == 0 {
		w.noAAAA = true
		conf.WriteString("options no-aaaa\n")
	}
	w.resolvConf = conf.String()
	for i := range cases {
		w.add(r, first+i)
	}
	return w
}

func addressOfIPv4(r *rand.Rand) string {
	return net.IPv4(10, byte(r.IntN(256)), byte(r.IntN(256)), byte(1+r.IntN(254))).String()
}

func addressOfIPv6(r *rand.Rand) string {
	return fmt.Sprintf("2001:db8::%x:%x", 1+r.IntN(0xfffe), 1+r.IntN(0xfffe))
}

// plainOwner has a few addresses of either family, or of both.
func plainOwner(r *rand.Rand) *owner {
	o := new(owner)
	families := 1 + r.IntN(3)
	for range 1 + r.IntN(4) {
		if families&1 != 0 {
			o.addrs[0] = append(o.addrs[0], addressOfIPv4(r))
		}
		if families&2 != 0 {
			o.addrs[1] = append(o.addrs[1], addressOfIPv6(r))
		}
	}
	return o
}

// nameMutation makes a case one of a class.
type nameMutation struct {
	class string
	apply func(r *rand.Rand, w *nameWorld, c *nameCase, o *owner)
}

// add adds a case of that number.
func (w *nameWorld) add(r *rand.Rand, number int) {
	c := &nameCase{number: number, host: fmt.Sprintf("n%d", number)}
	o := plainOwner(r)
	chosen := []nameMutation{nameMutations[number%len(nameMutations)]}
	if r.IntN(3) == 0 {
		chosen = append(chosen, pick(r, nameMutations...))
	}
	where := r.IntN(3) // is it as it stands, or in a domain of the search list?
	if where == 0 || len(w.search) == 0 {
		c.host += ".zone"
	}
	for _, m := range chosen {
		if !c.has(m.class) {
			c.classes = append(c.classes, m.class)
			m.apply(r, w, c, o)
		}
	}
	w.cases = append(w.cases, c)
	name := strings.TrimSuffix(strings.ToLower(c.host), ".") + "."
	if where == 0 || len(w.search) == 0 || strings.HasSuffix(c.host, ".") {
		w.owners[name] = o
		return
	}
	c.classes = append(c.classes, "search")
	for _, domain := range w.search {
		if domain != "." && r.IntN(4) == 0 {
			w.owners[name+domain+"."] = pick(r, &owner{}, plainOwner(r), failingOwner(pick(r, refusalCodes...)))
		}
	}
	if domain := pick(r, w.search...); domain != "." {
		name += domain + "."
	}
	w.owners[name] = o
}

var refusalCodes = []dnsmessage.RCode{dnsmessage.RCodeServerFailure, dnsmessage.RCodeRefused, dnsmessage.RCodeFormatError, dnsmessage.RCodeNotImplemented}

func failingOwner(code dnsmessage.RCode) *owner { return &owner{code: [2]dnsmessage.RCode{code, code}} }

var nameMutations = []nameMutation{
	{"plain", func(*rand.Rand, *nameWorld, *nameCase, *owner) {}},
	{"alias", func(r *rand.Rand, _ *nameWorld, c *nameCase, o *owner) {
		for i := range 1 + r.IntN(8) {
			o.via = append(o.via, fmt.Sprintf("alias%d-%d.test.", c.number, i))
		}
	}},
	{"alias loop", func(r *rand.Rand, _ *nameWorld, c *nameCase, o *owner) {
		o.via, o.loop, o.addrs = []string{fmt.Sprintf("loop%d.test.", c.number)}, true, [2][]string{}
	}},
	{"no address", func(_ *rand.Rand, _ *nameWorld, _ *nameCase, o *owner) { o.addrs = [2][]string{} }},
	{"no name", func(_ *rand.Rand, _ *nameWorld, _ *nameCase, o *owner) {
		o.code = [2]dnsmessage.RCode{dnsmessage.RCodeNameError, dnsmessage.RCodeNameError}
	}},
	{"fails", func(r *rand.Rand, _ *nameWorld, _ *nameCase, o *owner) { *o = *failingOwner(pick(r, refusalCodes...)) }},
	{"AAAA fails", func(r *rand.Rand, _ *nameWorld, _ *nameCase, o *owner) {
		o.code[1] = pick(r, append(refusalCodes, dnsmessage.RCodeNameError)...)
	}},
	{"A fails", func(r *rand.Rand, _ *nameWorld, _ *nameCase, o *owner) {
		o.code[0] = pick(r, append(refusalCodes, dnsmessage.RCodeNameError)...)
	}},
	{"AAAA silent", func(r *rand.Rand, _ *nameWorld, _ *nameCase, o *owner) { o.silent[1] = r.IntN(5) == 0 }},
	{"cut", func(r *rand.Rand, _ *nameWorld, _ *nameCase, o *owner) { o.cut = true }},
	{"cut, no TCP", func(r *rand.Rand, _ *nameWorld, _ *nameCase, o *owner) { o.cut, o.noTCP = true, true }},
	{"many", func(r *rand.Rand, _ *nameWorld, _ *nameCase, o *owner) {
		for range r.IntN(200) {
			o.addrs[0] = append(o.addrs[0], addressOfIPv4(r))
			o.addrs[1] = append(o.addrs[1], addressOfIPv6(r))
		}
	}},
	{"OPT first", func(_ *rand.Rand, _ *nameWorld, _ *nameCase, o *owner) { o.opt = true }},
	{"odd case", func(r *rand.Rand, _ *nameWorld, c *nameCase, o *owner) {
		o.shout = true
		c.host = strings.ToUpper(c.host)
	}},
	{"noise", func(_ *rand.Rand, _ *nameWorld, _ *nameCase, o *owner) { o.noise = true }},
	{"twice", func(_ *rand.Rand, _ *nameWorld, _ *nameCase, o *owner) {
		o.addrs[0], o.addrs[1] = append(o.addrs[0], o.addrs[0]...), append(o.addrs[1], o.addrs[1]...)
	}},
	{"trailing dot", func(_ *rand.Rand, _ *nameWorld, c *nameCase, _ *owner) { c.host += "." }},
	{"odd name", func(r *rand.Rand, _ *nameWorld, c *nameCase, _ *owner) {
		c.host = pick(r, "_%s", "-%s", "%s-", "a_%s", "%s_", "xn--%s", strings.Repeat("l", 55)+"%s", strings.Repeat("l", 64)+"%s", strings.Repeat("long.", 52)+"%s", "a..%s", "%s..", ".%s", "*.%s", "1.%s", "%s.0x")
		c.host = strings.Replace(c.host, "%s", fmt.Sprintf("n%d", c.number), 1)
	}},
	{"number", func(r *rand.Rand, _ *nameWorld, c *nameCase, _ *owner) {
		c.host = pick(r, "127.1", "0x7f.1", "0X7F.0.0.1", "0177.0.0.1", "017700000001", "2130706433", "127.0.0.1", "127.0.0.1.", "0", "1.2.3", "0x.1", "256.1.1.1", "1.2.3.4.5", "4294967296", "08.1.1.1", "1.2.3.0x4", "[::1]", "[2001:DB8::1]")
	}},
	{"in hosts", func(r *rand.Rand, w *nameWorld, c *nameCase, _ *owner) {
		for range 1 + r.IntN(3) {
			addr := pick(r, addressOfIPv4(r), addressOfIPv6(r), "::ffff:10.1.2.3")
			other := fmt.Sprintf("other%d", c.number)
			w.hosts += fmt.Sprintf(pick(r, "%s %s\n", "%s\t%s # a comment\n", "  %s %s\n", "%s "+other+" %s\n", "%s %s "+other+"\n", "%s "+strings.ToUpper("%s")+"\n", "%s %s"), addr, strings.TrimSuffix(c.host, "."))
			w.hosts = strings.TrimSuffix(w.hosts, "\n") + "\n"
		}
		w.hosts += pick(r, "", "# nothing\n", "not-an-address "+c.host+"\n", "10.0.0.300 "+c.host+"\n", "127.1 "+c.host+"x\n")
	}},
	{"localhost", func(r *rand.Rand, _ *nameWorld, c *nameCase, _ *owner) {
		c.host = pick(r, "localhost", "LOCALHOST", "localhost.", fmt.Sprintf("n%d.localhost", c.number))
	}},
}
