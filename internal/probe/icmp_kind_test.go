package probe

import "testing"

func TestKindOfICMPSocketInWords(t *testing.T) {
	for _, tt := range []struct {
		v4, v6 *echoSocket
		want   string
	}{
		{nil, nil, ""},
		{&echoSocket{raw: true}, &echoSocket{raw: true}, "raw socket (CAP_NET_RAW), IPv4 and IPv6"},
		{&echoSocket{}, nil, "unprivileged socket (net.ipv4.ping_group_range), IPv4 alone"},
		{nil, &echoSocket{}, "unprivileged socket (net.ipv4.ping_group_range), IPv6 alone"},
	} {
		p := &Prober{pinger: &pinger{v4: tt.v4, v6: tt.v6}}
		if got := p.ICMP(); got != tt.want {
			t.Errorf("got %q, want %q", got, tt.want)
		}
	}
}
