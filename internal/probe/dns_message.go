package probe

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"golang.org/x/net/dns/dnsmessage"
)

// maxAddresses is how many addresses of one name are used: a name may have
// thousands, and an icmp replica asks every one.
const maxAddresses = 64

// maxAliases bounds the CNAME records from a name to its addresses: resolvers follow
// 8 to 16.
const maxAliases = 64

// dnsQuestion is a question to a nameserver: one name, one address family.
type dnsQuestion struct {
	name   dnsmessage.Name // fully qualified, in lower case
	family dnsmessage.Type // A or AAAA
}

// newQuestion fails for a name that DNS cannot have: with an empty label, or
// one of more than 63 bytes, or of more than 253 bytes as a whole.
func newQuestion(fqdn string, family dnsmessage.Type) (dnsQuestion, error) {
	name, err := dnsmessage.NewName(fqdn)
	if err != nil {
		return dnsQuestion{}, err
	}
	q := dnsQuestion{lowered(name), family}
	_, err = q.pack(0)
	return q, err
}

// pack returns the message that asks q. It has no EDNS record, as with glibc:
// resolvers that choke on one are still about.
func (q dnsQuestion) pack(id uint16) ([]byte, error) {
	m := dnsmessage.Message{
		Header:    dnsmessage.Header{ID: id, RecursionDesired: true},
		Questions: []dnsmessage.Question{{Name: q.name, Type: q.family, Class: dnsmessage.ClassINET}},
	}
	return m.Pack()
}

// dnsReply is the answer of a nameserver: addresses, or that there are none.
type dnsReply struct {
	addrs     []netip.Addr // each once, at most maxAddresses
	total     int          // the number in the answer
	names     []string     // that led to addrs: the one asked for, and its aliases
	noName    bool         // the name does not exist, for any type
	truncated bool         // the answer has more than was sent
}

// answerError says why the answer of a nameserver is of no use.
type answerError string

func (e answerError) Error() string { return string(e) }

// errForeign means that a message answers another question than the one asked.
var errForeign = errors.New("answer to another question")

// read parses msg as the answer to q asked under id. It is liberal: only the
// addresses of the name matter. The error is
// errForeign or an answerError.
func (q dnsQuestion) read(id uint16, msg []byte) (dnsReply, error) {
	var p dnsmessage.Parser
	h, err := p.Start(msg)
	if err != nil || h.ID != id || !h.Response {
		return dnsReply{}, errForeign
	}
	asked, err := p.AllQuestions()
	if err != nil {
		return dnsReply{}, answerError("malformed answer")
	}
	repeated := slices.ContainsFunc(asked, func(a dnsmessage.Question) bool {
		return a.Type == q.family && lowered(a.Name) == q.name
	})
	if len(asked) > 0 && !repeated {
		return dnsReply{}, errForeign
	}
	switch {
	case h.RCode == dnsmessage.RCodeNameError && repeated:
		return dnsReply{noName: true}, nil
	case h.RCode != dnsmessage.RCodeSuccess:
		return dnsReply{}, answerError(rcode(h.RCode))
	}
	r, err := q.collect(p)
	r.truncated = h.Truncated
	switch {
	case len(r.addrs) > 0 || r.truncated:
		return r, nil
	case err != nil:
		return r, err
	case !repeated:
		return r, answerError("answer without the question")
	case !h.Authoritative && !h.RecursionAvailable:
		// It neither knows nor looks it up for us: a word on itself, not on the name.
		return r, answerError("referral to other nameservers")
	}
	return r, nil
}

// collect returns the addresses of the name and of all that its CNAME records
// lead to, in whatever order the records come. p stands before the answers.
func (q dnsQuestion) collect(p dnsmessage.Parser) (dnsReply, error) {
	aliases := make(map[dnsmessage.Name]dnsmessage.Name)
	broken := eachRecord(p, func(h dnsmessage.ResourceHeader, p *dnsmessage.Parser) {
		if h.Type == dnsmessage.TypeCNAME {
			if c, err := p.CNAMEResource(); err == nil {
				aliases[lowered(h.Name)] = lowered(c.CNAME)
			}
		}
	})
	chain := map[dnsmessage.Name]bool{q.name: true}
	r := dnsReply{names: []string{q.name.String()}}
	for at, ok := aliases[q.name]; ok; at, ok = aliases[at] {
		if chain[at] {
			return dnsReply{}, answerError("CNAME loop")
		}
		if len(chain) > maxAliases {
			return dnsReply{}, answerError(fmt.Sprintf("over %d CNAME records one after another", maxAliases))
		}
		chain[at] = true
		r.names = append(r.names, at.String())
	}
	eachRecord(p, func(h dnsmessage.ResourceHeader, p *dnsmessage.Parser) {
		if h.Type != q.family || h.Class != dnsmessage.ClassINET || !chain[lowered(h.Name)] {
			return
		}
		addr, ok := addressOf(h, p)
		if !ok {
			return
		}
		r.total++
		if len(r.addrs) < maxAddresses && !slices.Contains(r.addrs, addr) {
			r.addrs = append(r.addrs, addr)
		}
	})
	return r, broken
}

// addressOf reads the body of an A or AAAA record.
func addressOf(h dnsmessage.ResourceHeader, p *dnsmessage.Parser) (netip.Addr, bool) {
	if h.Type == dnsmessage.TypeA {
		a, err := p.AResource()
		return netip.AddrFrom4(a.A), err == nil && h.Length == 4
	}
	a, err := p.AAAAResource()
	return netip.AddrFrom16(a.AAAA).Unmap(), err == nil && h.Length == 16
}

// eachRecord calls visit for every record of the answer section; where that
// holds an OPT record, which has no place there and has pushed another one out,
// for those of the other sections too. The error says that the message breaks
// off or does not parse; what comes before was visited.
func eachRecord(p dnsmessage.Parser, visit func(dnsmessage.ResourceHeader, *dnsmessage.Parser)) error {
	displaced := false
	for _, section := range []struct {
		header func() (dnsmessage.ResourceHeader, error)
		skip   func() error
	}{
		{p.AnswerHeader, p.SkipAnswer},
		{p.AuthorityHeader, p.SkipAuthority},
		{p.AdditionalHeader, p.SkipAdditional},
	} {
		for {
			h, err := section.header()
			if errors.Is(err, dnsmessage.ErrSectionDone) {
				break
			}
			if err == nil {
				displaced = displaced || h.Type == dnsmessage.TypeOPT
				body := p // a visitor may read it or not
				visit(h, &body)
			}
			if section.skip() != nil {
				return answerError("malformed answer")
			}
		}
		if !displaced {
			return nil
		}
	}
	return nil
}

// lowered returns name with its ASCII letters in lower case (RFC 4343).
func lowered(name dnsmessage.Name) dnsmessage.Name {
	for i, c := range name.Data[:name.Length] {
		if 'A' <= c && c <= 'Z' {
			name.Data[i] = c + ('a' - 'A')
		}
	}
	clear(name.Data[name.Length:]) // names are compared as arrays
	return name
}

// rcode returns the usual word for the code of a refusal (RFC 1035, 4.1.1).
func rcode(code dnsmessage.RCode) string {
	switch code {
	case dnsmessage.RCodeFormatError:
		return "FORMERR"
	case dnsmessage.RCodeServerFailure:
		return "SERVFAIL"
	case dnsmessage.RCodeNameError:
		return "NXDOMAIN without the question"
	case dnsmessage.RCodeNotImplemented:
		return "NOTIMP"
	case dnsmessage.RCodeRefused:
		return "REFUSED"
	}
	return fmt.Sprintf("response code %d", code)
}
