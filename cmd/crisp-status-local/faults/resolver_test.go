//go:build faults

package faults

import (
	"testing"
	"time"
)

// named are the replicas whose addresses the resolver knows.
var named = []string{"tcp://db.lan:80", "http://web.lan/", "icmp://web.lan"}

func TestResolver(t *testing.T) {
	t.Parallel()
	lying := func(l lie) func(*lab) func() {
		return func(lab *lab) func() { return lab.resolver.tells(l) }
	}
	slow := func(d time.Duration) func(*lab) func() {
		return func(l *lab) func() {
			l.resolver.delay.Store(int64(d))
			return func() { l.resolver.delay.Store(0) }
		}
	}
	code := func(rcode byte) lie {
		return func(query, _ []byte) []byte {
			reply := append([]byte(nil), query...)
			reply[2], reply[3] = 0x81, 0x80|rcode
			return reply
		}
	}
	silence := func(_, _ []byte) []byte { return nil }
	try(t, []fault{
		{name: "dead", lasts: 20 * time.Second, begin: lying(silence)},
		{name: "dead for a minute", lasts: time.Minute, begin: lying(silence)},
		{name: "not listening", lasts: 20 * time.Second, begin: func(l *lab) func() {
			return filter(l.t, "input", "udp dport 53 reject")
		}},
		{name: "slow", lasts: 20 * time.Second, begin: slow(time.Second)},
		{name: "slower than an attempt may take", lasts: 20 * time.Second, begin: slow(8 * time.Second)},
		{name: "every second answer is lost", lasts: 20 * time.Second, begin: func(l *lab) func() {
			return filter(l.t, "input", "udp dport 53 numgen inc mod 2 == 0 drop")
		}},
		{name: "fails", lasts: 20 * time.Second, begin: lying(code(2))},
		{name: "refuses", lasts: 20 * time.Second, begin: lying(code(5))},
		{name: "knows no name", lasts: 20 * time.Second, begin: lying(code(3))},
		{name: "knows no address", lasts: 20 * time.Second, begin: lying(code(0))},
		{name: "answers with random bytes", lasts: 20 * time.Second, begin: lying(func(query, _ []byte) []byte {
			reply := append([]byte(nil), query...)
			for i := 2; i < len(reply); i++ {
				reply[i] = byte(i * 37)
			}
			return reply
		})},
		{name: "answers another question", lasts: 20 * time.Second, begin: lying(func(_, honest []byte) []byte {
			reply := append([]byte(nil), honest...)
			reply[13] ^= 1 // a letter of the name
			return reply
		})},
		{name: "answers with another id", lasts: 20 * time.Second, begin: lying(func(_, honest []byte) []byte {
			reply := append([]byte(nil), honest...)
			reply[0] ^= 0xff
			return reply
		})},
		{name: "answers with half of the truth", lasts: 20 * time.Second, begin: lying(func(_, honest []byte) []byte {
			return honest[:len(honest)*2/3]
		})},
		{name: "leads to an address where nobody is", lasts: 10 * time.Second, unsure: named, begin: lying(func(_, honest []byte) []byte {
			reply := append([]byte(nil), honest...)
			reply[len(reply)-1] = 200
			reply[len(reply)-2] = 7
			return reply
		})},
	})
}
