package probe

import (
	"strings"
	"testing"

	"golang.org/x/net/dns/dnsmessage"
)

// However strange an answer is, it comes to addresses of the family asked for,
// each once and not too many, or to a reason in one line.
func FuzzDNSAnswer(f *testing.F) {
	q, err := newQuestion("web.test.", typeA)
	if err != nil {
		f.Fatal(err)
	}
	const id = 0x1234
	ask, err := q.pack(id)
	if err != nil {
		f.Fatal(err)
	}
	var a asked
	if err := a.message.Unpack(ask); err != nil {
		f.Fatal(err)
	}
	a.name, a.family = "web.test.", typeA
	loop := a.respond(dnsmessage.RCodeSuccess, recordOf("web.test.", "a.test."), recordOf("a.test.", "web.test."))
	pushed := a.respond(dnsmessage.RCodeSuccess, opt(), recordOf("web.test.", "10.0.0.1"))
	pushed.Additionals = []dnsmessage.Resource{opt(), recordOf("web.test.", "10.0.0.2")}
	for _, seed := range [][]byte{
		good(a), nxdomain(a), truncated("10.0.0.1", "10.0.0.1")(a), packed(loop), packed(pushed), ask, ask[:12], nil,
		append(packed(loop), 0xc0, 0xff),
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, msg []byte) {
		if len(msg) > 2 {
			msg[0], msg[1] = id>>8, id&0xff
		}
		r, err := q.read(id, msg)
		if err != nil {
			if text := err.Error(); text == "" || strings.ContainsAny(text, "\n\x00") {
				t.Errorf("got the reason %q, want one in words", text)
			}
			return
		}
		seen := make(map[string]bool)
		for _, addr := range r.addrs {
			if !addr.Is4() || seen[addr.String()] {
				t.Errorf("got %v, want IPv4 addresses, each once", r.addrs)
			}
			seen[addr.String()] = true
		}
		if len(r.addrs) > maxAddresses || r.total < len(r.addrs) || r.noName && len(r.addrs) > 0 {
			t.Errorf("got %d of %d addresses, no name: %v", len(r.addrs), r.total, r.noName)
		}
	})
}
